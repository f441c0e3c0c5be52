//! The shared limiter against a real redis-server.

#![cfg(feature = "redis")]

use std::num::{NonZeroU32, NonZeroUsize};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::Clock;
use aqueduct_metrics::Registry;
use aqueduct_ratelimit::{
    Enforcement, Metrics, OnFailure, Quota, Reason, RedisBuilder, RedisConfig, RedisEvent, RedisLimiter,
    StoreFailure,
};
use aqueduct_testkit::RedisServer;

/// So slow that nothing comes back while a test runs.
fn per_day(burst: u64) -> RedisBuilder {
    let quota = Quota::new(24, Duration::from_hours(24)).and_then(|quota| quota.with_burst(burst));
    // A machine that does many things at once is slower than a Redis should be.
    RedisConfig::builder(quota.expect("a test's own")).timeout(Duration::from_secs(10))
}

fn server() -> RedisServer {
    RedisServer::start().unwrap_or_else(|error| panic!("{error}"))
}

fn limiter(url: &str, builder: RedisBuilder) -> RedisLimiter {
    RedisLimiter::new(url, builder.build().expect("a test's own"), Clock::system())
        .expect("the address is one")
}

type Seen = Arc<Mutex<Vec<RedisEvent>>>;

fn observed(limiter: RedisLimiter) -> (RedisLimiter, Seen) {
    let seen = Seen::default();
    let told = Arc::clone(&seen);
    (limiter.with_observer(move |event| told.lock().expect("nobody panics").push(*event)), seen)
}

fn failures(seen: &Seen) -> Vec<StoreFailure> {
    let events = seen.lock().expect("nobody panics");
    let failed =
        |event: &RedisEvent| if let RedisEvent::Failed(failure) = event { Some(*failure) } else { None };
    events.iter().filter_map(failed).collect()
}

/// Asks the server itself.
async fn command(server: &RedisServer, words: &[&str]) {
    let client = redis::Client::open(server.url()).expect("the address is one");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it listens");
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).exec_async(&mut connection).await.expect("it does as it is told");
}

#[tokio::test]
async fn a_shared_bucket_gives_its_burst_and_tells_the_exact_wait() {
    let server = server();
    let limiter = limiter(&server.url(), per_day(5));
    for left in (0..5).rev() {
        assert_eq!(limiter.check("a", 1).await.expect("the burst").remaining(), left);
    }
    let denied = limiter.check("a", 1).await.expect_err("it is used up");
    let wait = denied.retry_after.expect("a token comes in an hour");
    assert!(wait <= Duration::from_hours(1) && wait > Duration::from_mins(59), "{wait:?}");
    assert_eq!(limiter.check("b", 5).await.expect("another key").remaining(), 0);
    assert_eq!(limiter.check("c", 6).await.expect_err("there never are so many").reason, Reason::TooLarge);
}

#[tokio::test]
async fn a_look_uses_nothing_and_what_is_given_back_is_there() {
    let server = server();
    let limiter = limiter(&server.url(), per_day(5));
    assert_eq!(limiter.peek("a", 2).await.expect("it is all there").remaining(), 3);
    limiter.check("a", 5).await.expect("it is all there");
    assert!(limiter.peek("a", 1).await.is_err());
    limiter.refund("a", 3).await.expect("it answers");
    assert_eq!(limiter.check("a", 2).await.expect("it was given back").remaining(), 1);
    limiter.refund("a", 1_000).await.expect("it answers");
    assert_eq!(limiter.peek("a", 0).await.expect("a look").remaining(), 5, "never more than the burst");
    limiter.check("a", 5).await.expect("it is all there");
    assert!(limiter.check("a", 1).await.is_err());
    limiter.reset("a").await.expect("it answers");
    assert!(limiter.check("a", 5).await.is_ok());
}

#[tokio::test]
async fn a_key_that_was_denied_is_not_asked_about_again_before_its_time() {
    let mut server = server();
    let (limiter, seen) = observed(limiter(&server.url(), per_day(2)));
    limiter.check("a", 1).await.expect("the burst");
    let first = limiter.check("a", 2).await.expect_err("one is left");
    server.kill().expect("it was running");
    let again = limiter.check("a", 2).await.expect_err("one is left");
    assert!(again.retry_after <= first.retry_after && again.reason == Reason::Limit);
    assert_eq!(failures(&seen), [], "nobody asked");
    // Fewer might be there, so that is asked.
    assert_eq!(limiter.check("a", 1).await.expect_err("it is gone").reason, Reason::Unavailable);
    assert_eq!(failures(&seen), [StoreFailure::Unreachable]);
}

const URL: &str = "AQUEDUCT_TEST_SHARED_REDIS";
const ASKED: u64 = 400;

/// One of the processes of the next test, which starts this binary again with this name; alone it does nothing.
#[tokio::test]
async fn one_of_eight_processes() {
    let Ok(url) = std::env::var(URL) else { return };
    let limiter = limiter(&url, per_day(1_000));
    let mut given = 0;
    for number in 0..ASKED {
        given += u64::from(limiter.check("shared", 1 + number % 2).await.is_ok()) * (1 + number % 2);
    }
    println!("given={given}");
}

#[test]
fn eight_processes_with_one_quota_get_the_quota_and_nothing_more() {
    let server = server();
    let this = std::env::current_exe().expect("a test knows its binary");
    let children: Vec<_> = (0..8)
        .map(|_| {
            Command::new(&this)
                .args(["--exact", "redis::one_of_eight_processes", "--nocapture"])
                .env(URL, server.url())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it runs already")
        })
        .collect();
    let mut given = 0;
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&output.stdout);
        let figure = said.split("given=").nth(1).and_then(|rest| rest.split_whitespace().next());
        given += figure.and_then(|figure| figure.parse::<u64>().ok()).unwrap_or_else(|| panic!("{said}"));
    }
    // 4,800 were asked for. A token comes back in an hour, and the test takes no hour.
    assert_eq!(given, 1_000);
}

#[tokio::test]
async fn what_cannot_be_asked_is_denied_given_or_counted_here() {
    let mut server = server();
    let url = server.url();
    server.kill().expect("it was running");
    let closed = limiter(&url, per_day(8));
    let denied = closed.check("a", 1).await.expect_err("nobody answers");
    assert_eq!((denied.reason, denied.retry_after), (Reason::Unavailable, Some(Duration::from_secs(1))));
    assert!(closed.refund("a", 1).await.is_err() && closed.reset("a").await.is_err());

    let open = limiter(&url, per_day(8).on_failure(OnFailure::Open));
    for _ in 0..100 {
        open.check("a", 1).await.expect("everything is given");
    }
    let four = NonZeroU32::new(4).expect("it is not zero");
    let local = limiter(&url, per_day(8).on_failure(OnFailure::Local { processes: four }));
    let mut given = 0;
    for _ in 0..100 {
        given += u32::from(local.check("a", 1).await.is_ok());
    }
    assert_eq!(given, 2, "a quarter of eight");
    assert_eq!(open.check("a", 9).await.expect_err("there never are so many").reason, Reason::TooLarge);
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_under_load_is_used_again() {
    let mut server = server();
    let (limiter, seen) =
        observed(limiter(&server.url(), per_day(1_000).retry_every(Duration::from_millis(1))));
    let limiter = Arc::new(limiter);
    limiter.check("warm", 1).await.expect("the burst");
    let load: Vec<_> = (0..4)
        .map(|task| {
            let limiter = Arc::clone(&limiter);
            tokio::spawn(async move {
                let key = format!("key-{task}");
                let (mut given, mut unavailable) = (0_u64, 0_u64);
                // Until it was gone and is back.
                loop {
                    match limiter.check(&key, 1).await {
                        Ok(_) if unavailable > 0 => return (given, unavailable),
                        Ok(_) => given += 1,
                        Err(denied) if denied.reason == Reason::Unavailable => unavailable += 1,
                        Err(_) => {}
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    while !seen.lock().expect("nobody panics").iter().any(|event| matches!(event, RedisEvent::Failed(_))) {
        // The first round kills it, the others find it gone.
        let _ = server.kill();
        tokio::task::yield_now().await;
    }
    server.restart().expect("its port is free again");
    for task in load {
        let (given, unavailable) = task.await.expect("it does not panic");
        assert!(given <= 1_000 && unavailable > 0);
    }
    assert!(seen.lock().expect("nobody panics").contains(&RedisEvent::Back));
}

#[tokio::test]
async fn a_server_that_stands_still_costs_one_time_out_and_no_more() {
    let server = server();
    let (limiter, seen) = observed(limiter(
        &server.url(),
        per_day(100)
            .timeout(Duration::from_millis(20))
            .retry_every(Duration::from_hours(1))
            .on_failure(OnFailure::Open),
    ));
    server.freeze().expect("it is running");
    for _ in 0..1_000 {
        limiter.check("a", 1).await.expect("everything is given");
    }
    server.thaw().expect("it is there");
    assert_eq!(failures(&seen), [StoreFailure::TimedOut]);
}

#[tokio::test]
async fn a_replica_a_full_server_another_type_and_a_password_are_told_apart() {
    let (primary, replica) = (server(), server());
    command(&replica, &["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
    let full = RedisServer::start_with(&["--maxmemory", "1"]).unwrap_or_else(|error| panic!("{error}"));
    let other = server();
    command(&other, &["RPUSH", "ratelimit:a", "1"]).await;
    let text = server();
    command(&text, &["SET", "ratelimit:a", "no bucket"]).await;
    let locked =
        RedisServer::start_with(&["--requirepass", "secret"]).unwrap_or_else(|error| panic!("{error}"));
    for (server, wanted) in [
        (&replica, StoreFailure::ReadOnly),
        (&full, StoreFailure::Full),
        (&other, StoreFailure::WrongType),
        (&text, StoreFailure::WrongType),
        (&locked, StoreFailure::Forbidden),
    ] {
        let (limiter, seen) = observed(limiter(&server.url(), per_day(5)));
        assert_eq!(limiter.check("a", 1).await.expect_err("it cannot").reason, Reason::Unavailable);
        assert_eq!(failures(&seen), [wanted]);
    }
    // One wrong key is no reason to leave the others alone.
    let limiter = limiter(&other.url(), per_day(5));
    assert!(limiter.check("a", 1).await.is_err() && limiter.check("b", 1).await.is_ok());
    let with_password = format!("redis://:secret@127.0.0.1:{}/", locked.port());
    assert!(self::limiter(&with_password, per_day(5)).check("a", 1).await.is_ok());
}

#[tokio::test]
async fn a_limit_that_is_tried_out_gives_everything_and_tells_what_it_would_deny() {
    let server = server();
    let registry = Registry::default();
    let metrics = Metrics::register(&registry, "api").expect("nobody else uses the names");
    let (limiter, seen) = observed(limiter(&server.url(), per_day(3).enforcement(Enforcement::Shadow)));
    let limiter = limiter.with_metrics(metrics);
    for _ in 0..10 {
        limiter.check("a", 1).await.expect("everything is given");
    }
    let told = seen.lock().expect("nobody panics");
    assert_eq!(told.iter().filter(|event| matches!(event, RedisEvent::WouldDeny(_))).count(), 7);
    assert!(registry.snapshot().to_text().contains("would_deny_total{limit=\"api\"} 7"));
}

#[tokio::test]
async fn a_bucket_that_is_full_again_leaves_nothing_in_redis() {
    let server = server();
    let limiter = limiter(&server.url(), per_day(5));
    limiter.check("a", 2).await.expect("the burst");
    limiter.refund("a", 2).await.expect("it answers");
    let client = redis::Client::open(server.url()).expect("the address is one");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it listens");
    let keys: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await.expect("it answers");
    assert_eq!(keys, 0);
    limiter.check("a", 2).await.expect("the burst");
    let lives: i64 =
        redis::cmd("PTTL").arg("ratelimit:a").query_async(&mut connection).await.expect("it answers");
    // Two of a token an hour, and a millisecond for the rounding.
    assert!((7_100_000..=7_200_001).contains(&lives), "{lives}");
}

#[test]
fn what_cannot_be_is_refused_with_its_range() {
    let said = |builder: RedisBuilder| builder.build().expect_err("it cannot be").to_string();
    assert_eq!(said(per_day(5).timeout(Duration::ZERO)), "timeout is 0ns, allowed is 1ms to 60s");
    assert_eq!(
        said(per_day(5).retry_every(Duration::from_hours(2))),
        "retry_every is 7200s, allowed is 1ms to 3600s"
    );
    let odd = Quota::new(7, Duration::from_hours(24)).and_then(|quota| quota.with_burst(300_000));
    let odd = said(RedisConfig::builder(odd.expect("it is within the ranges")));
    assert!(
        odd.starts_with("quota is 7 in 86400s, 300000 at once, allowed is a burst that fills within 2^53"),
        "{odd}"
    );
    let config = per_day(5).keys_max(NonZeroUsize::MIN).build().expect("a test's own");
    let wrong = RedisLimiter::new("http://:secret@example.org", config, Clock::system())
        .expect_err("it is no address");
    assert_eq!(
        wrong.to_string(),
        "url is not an address of Redis, allowed is redis://[USER:PASSWORD@]HOST:PORT/[DB]"
    );
    let year = Quota::new(1, Duration::from_hours(24 * 366)).expect("it is within the ranges");
    let two = NonZeroU32::new(2).expect("it is not zero");
    let share = RedisConfig::builder(year).on_failure(OnFailure::Local { processes: two });
    assert!(said(share).starts_with("per is 63244800s"));
}
