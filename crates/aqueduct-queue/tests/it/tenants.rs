use std::collections::HashMap;
use std::time::Duration;

use aqueduct_queue::{Config, Fairness, Priority, Queue};

use crate::store::{SECOND, drain, message, on_every_backend, take};

/// Works on so many messages one after the other, each for as long as its tenant's messages take, and tells how much
/// time each tenant got.
async fn work(
    queue: &Queue,
    time: &aqueduct_core::ManualClock,
    count: usize,
    takes: impl Fn(&str) -> Duration,
) -> HashMap<String, Duration> {
    let mut got: HashMap<String, Duration> = HashMap::new();
    for _ in 0..count {
        let delivery = take(queue).await;
        let tenant = delivery.message.tenant.as_deref().unwrap_or("").to_owned();
        let took = takes(&tenant);
        time.advance(took);
        *got.entry(tenant).or_default() += took;
        delivery.ack().await.unwrap();
    }
    got
}

async fn fill(queue: &Queue, tenant: &str, count: usize) {
    let messages = (0..count).map(|_| message(tenant).with_tenant(tenant)).collect();
    queue.publish_all(messages, Duration::ZERO).await.unwrap();
}

on_every_backend! {
    async fn a_quiet_tenant_does_not_wait_for_the_backlog_of_another(store) {
        let queue = store.queue().await;
        fill(&queue, "noisy", 500).await;
        work(&queue, &store.time, 20, |_| SECOND).await;
        fill(&queue, "quiet", 1).await;
        assert_eq!(take(&queue).await.message.tenant.as_deref(), Some("quiet"));
    }

    async fn tenants_get_the_same_time_however_long_their_messages_take(store) {
        let queue = store.queue().await;
        fill(&queue, "slow", 200).await;
        fill(&queue, "fast", 2000).await;
        let takes = |tenant: &str| if tenant == "slow" { SECOND } else { SECOND / 10 };
        let got = work(&queue, &store.time, 600, takes).await;
        let (slow, fast) = (got["slow"].as_secs_f64(), got["fast"].as_secs_f64());
        assert!((slow / fast - 1.0).abs() < 0.1, "slow {slow} s, fast {fast} s");
    }

    async fn a_tenant_of_three_shares_gets_three_times_the_time(store) {
        let queue = store.queue_with(Config::builder().weight("paying", 3).build().unwrap()).await;
        fill(&queue, "paying", 1000).await;
        fill(&queue, "free", 1000).await;
        let got = work(&queue, &store.time, 400, |_| SECOND).await;
        let ratio = got["paying"].as_secs_f64() / got["free"].as_secs_f64();
        assert!((2.7..3.3).contains(&ratio), "{ratio}");
    }

    async fn whoever_had_nothing_to_do_has_saved_nothing_up(store) {
        let queue = store.queue().await;
        fill(&queue, "busy", 1000).await;
        work(&queue, &store.time, 300, |_| SECOND).await;
        fill(&queue, "late", 1000).await;
        let got = work(&queue, &store.time, 100, |_| SECOND).await;
        assert!((45..=55).contains(&got["late"].as_secs()), "{got:?}");
    }

    async fn a_priority_lets_nobody_past_another_tenant(store) {
        let queue = store.queue().await;
        for _ in 0..10 {
            queue.publish(message("pushy").with_tenant("pushy").with_priority(Priority::Critical)).await.unwrap();
        }
        fill(&queue, "patient", 10).await;
        let got = work(&queue, &store.time, 10, |_| SECOND).await;
        assert_eq!(got["patient"], SECOND * 5);
    }

    async fn without_fairness_priorities_hold_over_all_tenants(store) {
        let queue = store.queue_with(Config::builder().fairness(Fairness::Off).build().unwrap()).await;
        fill(&queue, "a", 2).await;
        queue.publish(message("b").with_tenant("b").with_priority(Priority::Critical)).await.unwrap();
        let first = take(&queue).await;
        assert_eq!(first.message.tenant.as_deref(), Some("b"));
        first.ack().await.unwrap();
        // Switched on again, with what waits.
        fill(&queue, "b", 1).await;
        let queue = store.queue().await;
        let mut tenants = drain(&queue).await;
        tenants.sort();
        assert_eq!(tenants, ["a", "a", "b"]);
    }

    async fn the_shares_name_the_noisy_tenant(store) {
        let queue = store.queue().await;
        fill(&queue, "noisy", 100).await;
        fill(&queue, "quiet", 1).await;
        let held = queue.reserve_many(50, usize::MAX, Duration::ZERO).await.unwrap();
        fill(&queue, "quiet", 1).await;
        let shares = queue.tenants(10).await.unwrap();
        let noisy = shares.iter().find(|share| &*share.tenant == "noisy").unwrap();
        let quiet = shares.iter().find(|share| &*share.tenant == "quiet").unwrap();
        assert!(noisy.noisy, "{shares:?}");
        assert!(!quiet.noisy, "{shares:?}");
        assert_eq!((noisy.leased, noisy.ready), (49, 51));
        assert_eq!(queue.tenants(1).await.unwrap().len(), 1);
        drop(held);
    }
}
