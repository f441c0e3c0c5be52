use std::time::Duration;

use aqueduct_core::Random;
use aqueduct_testkit::backend::{Quota, RetryAfter, Script};

use super::client::{Client, SECOND, balances, manual, started};

#[tokio::test]
async fn the_quota_is_counted_exactly() {
    let (clock, hand) = manual();
    let quota = Quota { calls: 5, window: SECOND };
    let backend = started(Script::builder().quota(quota).clock(clock.clone())).await;
    let mut client = Client::to(&backend).await;
    let mut random = Random::seeded(7);
    let (mut came, mut admitted): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let (mut refused, mut worst) = (0, 0);
    for _ in 0..400 {
        hand.advance(Duration::from_millis(random.below(300)));
        let now = clock.now().elapsed_since_start();
        let within = |log: &[Duration]| log.iter().filter(|at| now - **at < SECOND).count();
        let room = within(&admitted) < 5;
        came.push(now);
        worst = worst.max(within(&came));
        let got = client.get("/item/a").await;
        assert_eq!(got.status, if room { 200 } else { 429 }, "at {now:?}");
        if room {
            admitted.push(now);
        } else {
            refused += 1;
            assert_eq!(got.field("retry-after"), "1");
        }
    }
    let account = backend.stop().await;
    assert_eq!((account.total.over_quota, account.total.status(429)), (refused, refused));
    assert_eq!(account.total.calls_in_window_max, Some(worst as u64));
    assert!(refused > 20 && account.total.ok > 100, "{account:?}");
    balances(&account);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_slips_past_the_quota_among_many_at_once() {
    let quota = Quota { calls: 100, window: Duration::from_hours(1) };
    let backend = started(Script::builder().hosts(2).quota(quota)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut client = Client::open(&backend, number % 2).await.expect("it listens");
        tasks.spawn(async move {
            for _ in 0..50 {
                client.get("/item/a").await;
            }
        });
    }
    tasks.join_all().await;
    let account = backend.stop().await;
    assert_eq!((account.total.ok, account.total.over_quota), (100, 300));
    assert_eq!(account.total.calls_in_window_max, Some(400));
    balances(&account);
}

#[tokio::test]
async fn each_host_has_the_quota_that_is_given_to_each() {
    let (clock, hand) = manual();
    let quota = Quota { calls: 2, window: 3 * SECOND };
    let backend = started(Script::builder().hosts(2).quota_per_host(quota).clock(clock)).await;
    for host in 0..2 {
        let mut client = Client::open(&backend, host).await.expect("it listens");
        for status in [200, 200, 429] {
            assert_eq!(client.get("/item/a").await.status, status);
        }
    }
    hand.advance(3 * SECOND);
    assert_eq!(Client::to(&backend).await.get("/item/a").await.status, 200);
    let account = backend.account();
    assert_eq!(account.hosts[0].calls_in_window_max, Some(3));
    assert_eq!(account.total.calls_in_window_max, Some(6));
}

#[tokio::test]
async fn who_comes_back_when_he_was_told_to_is_served() {
    for form in [RetryAfter::Seconds, RetryAfter::Date] {
        let (clock, hand) = manual();
        let quota = Quota { calls: 1, window: Duration::from_millis(4_500) };
        let script = Script::builder().quota(quota).retry_after(form).clock(clock.clone());
        let backend = started(script).await;
        let mut client = Client::to(&backend).await;
        hand.advance(Duration::from_millis(200));
        assert_eq!(client.get("/item/a").await.status, 200);
        hand.advance(Duration::from_millis(200));
        let refused = client.get("/item/a").await;
        let told = refused.field("retry-after");
        let wait = if form == RetryAfter::Seconds {
            Duration::from_secs(told.parse().expect("seconds"))
        } else {
            let date = httpdate::parse_http_date(told).expect("a date");
            let date = date.duration_since(std::time::UNIX_EPOCH).expect("it is long after");
            date - Duration::from_millis(u64::try_from(clock.wall().0).expect("it is long after"))
        };
        assert!(wait < Duration::from_secs(6), "{told}");
        hand.advance(wait);
        assert_eq!(client.get("/item/a").await.status, 200, "{told}");
    }
}
