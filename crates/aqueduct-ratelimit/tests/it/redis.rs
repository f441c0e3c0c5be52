use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, ManualClock, Timestamp};
use aqueduct_metrics::Registry;
use aqueduct_ratelimit::{
    Allowed, Denied, Enforcement, Event, Metrics, OnFailure, Quota, Reason, RedisBuilder, RedisConfig,
    RedisLimiter, StoreFailure,
};
use aqueduct_testkit::RedisServer;

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const TIMEOUT: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(500);

fn server() -> RedisServer {
    RedisServer::start().expect("it is installed, as the error says how")
}

fn client(url: &str) -> redis::Client {
    redis::Client::open(url).expect("it is a url of redis")
}

/// So slow that no token comes back while a test runs, and so many at once.
fn burst(tokens: u64) -> Quota {
    Quota::new(1, DAY).and_then(|quota| quota.with_burst(tokens)).expect("a test's own")
}

fn config(quota: Quota) -> RedisBuilder {
    RedisConfig::builder(quota).on_failure(OnFailure::Closed)
}

/// A limiter whose time stands still, so that no answer is ever too late by itself.
fn limiter(url: &str, config: RedisBuilder) -> (RedisLimiter, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    (RedisLimiter::new(client(url), config.build().expect("a test's own"), clock), hand)
}

fn ask(port: u16, line: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).expect("it listens");
    BufReader::new(stream).lines().map_while(Result::ok).collect()
}

/// The microseconds of the server's clock.
fn time(server: &RedisServer) -> u64 {
    let answer = ask(server.port(), "TIME");
    let number = |at: usize| answer[at].parse::<u64>().expect("it is a number");
    number(2) * 1_000_000 + number(4)
}

/// Lets a call wait until its time is over.
async fn too_late<T>(hand: &ManualClock, call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    loop {
        tokio::select! {
            biased;
            done = &mut call => return done,
            () = tokio::task::yield_now() => hand.advance(TIMEOUT),
        }
    }
}

fn unavailable(result: &Result<Allowed, Denied>) -> bool {
    matches!(result, Err(Denied { reason: Reason::Unavailable, .. }))
}

#[tokio::test]
async fn gives_what_is_there_and_says_how_long_until_more() {
    let server = server();
    let quota = Quota::per_hour(1).and_then(|quota| quota.with_burst(3)).expect("a test's own");
    let (limiter, _) = limiter(&server.url(), config(quota));
    assert_eq!(limiter.peek("a", 3).await.map(|allowed| allowed.remaining), Ok(0));
    for remaining in [2, 1, 0] {
        let allowed = limiter.check("a").await.expect("it is there");
        assert_eq!(allowed.remaining, remaining);
        let used = u32::try_from(3 - remaining).expect("it is small");
        assert!(allowed.reset_after <= HOUR * used && allowed.reset_after > HOUR * (used - 1), "{allowed:?}");
    }
    let denied = limiter.check("a").await.expect_err("nothing is left");
    let wait = denied.retry_after.expect("it will come");
    assert!(denied.reason == Reason::Limit && wait <= HOUR && wait > HOUR / 2, "{denied:?}");
    assert_eq!(limiter.check_n("a", 4).await.map_err(|denied| denied.reason), Err(Reason::TooLarge));
    assert!(limiter.check("b").await.is_ok(), "another key is another bucket");
}

#[tokio::test]
async fn what_was_denied_is_given_after_the_wait_that_was_told_by_the_clock_of_the_server() {
    let server = server();
    let quota = Quota::per_second(50).and_then(|quota| quota.with_burst(1)).expect("a test's own");
    let (limiter, _) = limiter(&server.url(), config(quota).denials(0));
    for _ in 0..5 {
        while limiter.check("a").await.is_err() {}
        let before = time(&server);
        let Err(denied) = limiter.check("a").await else { continue };
        let after = time(&server);
        let wait = u64::try_from(denied.retry_after.expect("it will come").as_micros()).expect("it is short");
        let mut last = after;
        loop {
            let asked = time(&server);
            let result = limiter.check("a").await;
            if result.is_ok() {
                assert!(time(&server) >= before + wait, "not before");
                break;
            }
            assert!(asked < after + wait, "asked at {asked}, which is {wait} after {after}");
            last = last.max(asked);
        }
    }
}

#[tokio::test]
async fn peek_refund_reset_and_drain_do_what_they_say() {
    let server = server();
    let (limiter, _) = limiter(&server.url(), config(burst(4)));
    limiter.check_n("a", 3).await.expect("it is there");
    assert_eq!(limiter.peek("a", 0).await.map(|allowed| allowed.remaining), Ok(1));
    assert!(limiter.check_n("a", 2).await.is_err());
    assert!(limiter.check_n("a", 1).await.is_ok(), "fewer than were denied may be there");
    limiter.refund("a", 2).await.expect("the server is there");
    assert_eq!(limiter.peek("a", 0).await.map(|allowed| allowed.remaining), Ok(2));
    limiter.drain("a", HOUR).await.expect("the server is there");
    let wait = limiter.check("a").await.expect_err("it is drained").retry_after.expect("it will come");
    assert!(wait <= HOUR && wait > HOUR / 2, "{wait:?}");
    limiter.reset("a").await.expect("the server is there");
    assert_eq!(limiter.peek("a", 4).await.map(|allowed| allowed.remaining), Ok(0));
    limiter.refund("a", 9).await.expect("the server is there");
    assert_eq!(ask(server.port(), "DBSIZE")[0], ":0", "what is as new is not kept");
}

#[tokio::test]
async fn a_change_of_quota_keeps_what_was_used() {
    let server = server();
    let (limiter, _) = limiter(&server.url(), config(burst(10)));
    limiter.check_n("a", 4).await.expect("it is there");
    for tokens in [20, 50_000, 5] {
        limiter.set_quota(burst(tokens)).expect("a test's own");
        let allowed = limiter.peek("a", 0).await.expect("some is left");
        let missing = tokens - allowed.remaining;
        assert!(
            (4..=5).contains(&missing),
            "{missing} of {tokens} are missing: four, and the part of one by rounding up"
        );
    }
}

#[tokio::test]
async fn a_burst_of_50_000_with_one_a_day_is_exact() {
    let server = server();
    let (limiter, _) = limiter(&server.url(), config(burst(50_000)));
    assert!(limiter.check_n("a", 49_999).await.is_ok());
    assert!(limiter.check("a").await.is_ok());
    let denied = limiter.check("a").await.expect_err("nothing is left");
    assert!(denied.retry_after.is_some_and(|wait| wait <= DAY && wait > DAY - HOUR), "{denied:?}");
}

const CHILD: &str = "AQUEDUCT_TEST_REDIS";

/// Not a test by itself: what each of the eight processes does.
#[tokio::test]
async fn one_of_eight_processes() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let (limiter, _) = limiter(&url, config(burst(500)));
    let mut allowed = 0;
    for _ in 0..400 {
        match limiter.check("shared").await {
            Ok(_) => allowed += 1,
            Err(denied) => assert_eq!(denied.reason, Reason::Limit),
        }
    }
    println!("allowed={allowed}.");
}

#[test]
fn eight_processes_with_one_quota_use_exactly_that() {
    let server = server();
    let child = || {
        Command::new(std::env::current_exe().expect("it is running"))
            .args(["--exact", "redis::one_of_eight_processes", "--nocapture"])
            .env(CHILD, server.url())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started again")
    };
    let children: Vec<_> = (0..8).map(|_| child()).collect();
    let mut sum = 0;
    for child in children {
        let output = child.wait_with_output().expect("it was started");
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, rest) = text.split_once("allowed=").expect("it says so");
        let (number, _) = rest.split_once('.').expect("it ends");
        sum += number.parse::<u64>().expect("it is a number");
    }
    assert_eq!(sum, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_that_come_back_are_never_given_twice() {
    let server = server();
    let (rate, at_once) = (1_000_u64, 10_u64);
    let quota = Quota::per_second(rate).and_then(|quota| quota.with_burst(at_once)).expect("a test's own");
    let start = time(&server);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (limiter, _) = limiter(&server.url(), config(quota).denials(0));
            tokio::spawn(async move {
                let mut allowed = 0;
                for _ in 0..200 {
                    allowed += u64::from(limiter.check("a").await.is_ok());
                }
                allowed
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("it ends");
    }
    let came = (time(&server) - start) * rate / 1_000_000;
    assert!(sum <= at_once + came, "{sum} were given where {at_once} and {came} were there");
    assert!(sum >= at_once);
}

/// A port on which nobody listens.
fn nobody() -> String {
    let mut server = server();
    server.kill().expect("it was running");
    server.url()
}

#[tokio::test]
async fn without_a_server_open_gives_and_closed_does_not() {
    let url = nobody();
    let (open, _) = limiter(&url, RedisConfig::builder(burst(1)));
    let (closed, _) = limiter(&url, config(burst(1)));
    for _ in 0..10 {
        assert!(open.check("a").await.is_ok());
        let denied = closed.check("a").await.expect_err("it cannot be asked");
        assert_eq!(denied, Denied { retry_after: Some(PAUSE), reason: Reason::Unavailable });
        assert_eq!(denied.class(), ErrorClass::Overload);
    }
    let error = closed.refund("a", 1).await.expect_err("it cannot be asked");
    assert_eq!((error.failure, error.retry_after()), (StoreFailure::Paused, Some(PAUSE)));
    assert_eq!(error.class(), ErrorClass::Transient);
}

#[tokio::test]
async fn without_a_server_local_gives_each_process_its_part() {
    let local = OnFailure::Local {
        processes: NonZeroU32::new(4).expect("it is not zero"),
        keys: NonZeroUsize::new(100).expect("it is not zero"),
    };
    let (limiter, hand) = limiter(&nobody(), config(burst(20)).on_failure(local));
    let mut allowed = 0;
    for _ in 0..20 {
        allowed += u32::from(limiter.check("a").await.is_ok());
    }
    assert_eq!(allowed, 5);
    hand.advance(DAY * 4);
    assert!(limiter.check("a").await.is_ok(), "one in four days, a quarter of the quota");
    assert!(limiter.check("a").await.is_err());
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_one_time_out_and_is_asked_again_after_the_pause() {
    let server = server();
    let (limiter, hand) = limiter(&server.url(), config(burst(10)));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&failures);
    let limiter = limiter.with_observer(move |event| {
        if let Event::Unanswered(failure) = event {
            told.lock().expect("nobody panics").push(*failure);
        }
    });
    assert!(limiter.check("a").await.is_ok());
    server.freeze().expect("it is running");
    assert!(unavailable(&too_late(&hand, limiter.check("a")).await));
    for _ in 0..100 {
        assert!(unavailable(&limiter.check("a").await), "at once");
    }
    hand.advance(PAUSE);
    assert!(
        unavailable(&too_late(&hand, limiter.check("a")).await),
        "a new connection is not answered either"
    );
    server.thaw().expect("it is running");
    hand.advance(PAUSE);
    assert!(limiter.check("a").await.is_ok());
    let failures = failures.lock().expect("nobody panics");
    let late = failures.iter().filter(|failure| **failure == StoreFailure::TimedOut).count();
    assert_eq!((late, failures.len()), (2, 102));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_killed_and_started_again_under_load_is_used_again() {
    let mut server = server();
    let (limiter, hand) = limiter(&server.url(), config(burst(50_000)));
    let limiter = Arc::new(limiter);
    let stop = Arc::new(AtomicBool::new(false));
    let (allowed, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (limiter, stop) = (Arc::clone(&limiter), Arc::clone(&stop));
            let (allowed, refused) = (Arc::clone(&allowed), Arc::clone(&refused));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match limiter.check("a").await {
                        Ok(_) => allowed.fetch_add(1, Ordering::Relaxed),
                        Err(denied) => {
                            assert_eq!(denied.reason, Reason::Unavailable);
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let more = async |count: &AtomicU64, step: Duration| {
        let before = count.load(Ordering::Relaxed);
        while count.load(Ordering::Relaxed) < before + 10 {
            hand.advance(step);
            tokio::task::yield_now().await;
        }
    };
    for _ in 0..3 {
        more(&allowed, Duration::ZERO).await;
        server.kill().expect("it was running");
        more(&refused, Duration::ZERO).await;
        server.restart().expect("its port is free");
        hand.advance(PAUSE);
        // A connection that was on its way when the server was killed may cost another pause.
        more(&allowed, Duration::from_millis(1)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no caller saw anything else");
    }
}

#[tokio::test]
async fn a_replica_is_a_failure_that_is_told() {
    let main = server();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &main.port().to_string()])
        .expect("it is installed");
    let (limiter, _) = limiter(&replica.url(), config(burst(10)));
    let error = limiter.drain("a", HOUR).await.expect_err("it may not write");
    assert_eq!(error.failure, StoreFailure::ReadOnly);
    assert!(unavailable(&limiter.check("a").await));
}

#[tokio::test]
async fn a_server_without_memory_is_a_failure_that_is_told() {
    let server = RedisServer::start_with(&["--maxmemory", "1b"]).expect("it is installed");
    let (limiter, _) = limiter(&server.url(), config(burst(10)));
    let error = limiter.drain("a", HOUR).await.expect_err("it cannot keep it");
    assert_eq!((error.failure, error.class()), (StoreFailure::Full, ErrorClass::Overload));
    assert!(unavailable(&limiter.check("a").await));
}

#[tokio::test]
async fn a_key_that_holds_something_else_fails_alone() {
    let server = server();
    ask(server.port(), "RPUSH ratelimit:list 1");
    ask(server.port(), "SET ratelimit:text hello");
    let (limiter, _) = limiter(&server.url(), config(burst(10)));
    for key in ["list", "text"] {
        let error = limiter.refund(key, 1).await.expect_err("it is no limit");
        assert_eq!((error.failure, error.retry_after), (StoreFailure::Other, None), "{key}");
        assert!(unavailable(&limiter.check(key).await), "{key}");
    }
    assert!(limiter.check("a").await.is_ok());
}

#[tokio::test]
async fn a_denied_key_is_not_asked_again_before_its_time() {
    let mut server = server();
    let (limiter, hand) = limiter(&server.url(), config(burst(1)));
    assert!(limiter.check("a").await.is_ok());
    let first = limiter.check("a").await.expect_err("nothing is left").retry_after.expect("it will come");
    server.kill().expect("it was running");
    hand.advance(HOUR);
    let denied = limiter.check("a").await.expect_err("it is remembered");
    assert_eq!(denied, Denied { retry_after: Some(first - HOUR), reason: Reason::Limit });
    hand.advance(first - HOUR);
    assert!(unavailable(&limiter.check("a").await), "now the server would have to say");
}

#[tokio::test]
async fn a_shadow_counts_and_refuses_nothing() {
    let server = server();
    let registry = Registry::default();
    let metrics = Metrics::register(&registry, "api").expect("nobody else uses the names");
    let (limiter, _) = limiter(&server.url(), config(burst(1)).enforcement(Enforcement::Shadow));
    let limiter = limiter.with_metrics(metrics);
    for _ in 0..3 {
        assert!(limiter.check("a").await.is_ok());
    }
    ask(server.port(), "SET ratelimit:text hello");
    assert!(limiter.check("text").await.is_ok(), "in the shadow a failure refuses nothing either");
    let text = registry.snapshot().to_text();
    for line in [
        "checks_total{limit=\"api\",outcome=\"allowed\"} 1",
        "checks_total{limit=\"api\",outcome=\"limit\"} 2",
        "checks_total{limit=\"api\",outcome=\"unavailable\"} 1",
        "store_failures_total{limit=\"api\",kind=\"other\"} 1",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn what_cannot_work_is_an_error_that_names_it() {
    let field = |config: RedisBuilder| config.build().map(drop).map_err(|error| error.field);
    let quota = Quota::default();
    assert_eq!(field(config(quota)), Ok(()));
    assert_eq!(field(config(quota).timeout(Duration::ZERO)), Err("timeout"));
    assert_eq!(field(config(quota).pause(HOUR)), Err("pause"));
    assert_eq!(field(config(quota).denials(usize::MAX)), Err("denials"));
    assert_eq!(field(config(quota).prefix("p".repeat(257))), Err("prefix"));
    let odd = Quota::new(999_999_937, Duration::from_secs(1)).expect("one a nanosecond may be");
    assert_eq!(field(config(odd)), Err("quota"));
    let local = OnFailure::Local { processes: NonZeroU32::MAX, keys: NonZeroUsize::MIN };
    assert_eq!(field(config(quota).on_failure(local)), Err("processes"));
}

#[test]
fn it_can_be_shared_and_its_calls_sent() {
    fn send<T: Send>(_: T) {}
    fn share<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let (limiter, _) = limiter("redis://127.0.0.1:1/", config(burst(1)));
    share(&limiter);
    send(limiter.check("a"));
}
