use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ManualClock, Timestamp};
use aqueduct_ratelimit::{Algorithm, Config, Limits, Quota, Reason};

/// What a model's provider allows: calls and tokens.
fn limits() -> (Limits<2>, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let requests = Config::new(Quota::per_minute(60).expect("a test's own"));
    let tokens = Config::new(Quota::per_minute(6_000).expect("a test's own"));
    (
        Limits::new([("requests", requests), ("tokens", tokens)], clock)
            .expect("buckets go with every quota"),
        hand,
    )
}

#[test]
fn several_limits_give_all_or_nothing() {
    let (limits, hand) = limits();
    limits.check([1, 5_900]).expect("it is all there");
    for _ in 0..10 {
        let denied = limits.check([1, 500]).expect_err("tokens are short");
        assert_eq!((denied.name, denied.retry_after()), ("tokens", Some(Duration::from_secs(4))));
    }
    // Not one request was used by those who were denied tokens.
    limits.check([59, 100]).expect("the rest of both");
    assert_eq!(limits.check([1, 0]).expect_err("requests are short").name, "requests");
    hand.advance(Duration::from_secs(60));
    limits.check([60, 6_000]).expect("all of it is back");
}

#[test]
fn the_longest_wait_is_told() {
    let (limits, _hand) = limits();
    limits.check([60, 6_000]).expect("it is all there");
    let denied = limits.check([3, 100]).expect_err("both are short");
    assert_eq!((denied.name, denied.retry_after()), ("requests", Some(Duration::from_secs(3))));
    let denied = limits.check([3, 1_000]).expect_err("both are short");
    assert_eq!(denied.to_string(), "tokens: the limit is reached; ask again in 10s");
    let denied = limits.check([1, 6_001]).expect_err("there never are so many");
    assert_eq!((denied.name, denied.denied.reason, denied.retry_after()), ("tokens", Reason::TooLarge, None));
}

#[test]
fn what_was_not_used_is_given_back() {
    let (limits, _hand) = limits();
    limits.check([1, 6_000]).expect("it is all there");
    limits.refund([0, 5_000]);
    limits.check([1, 5_000]).expect("it was given back");
    limits.drain(Duration::from_secs(7));
    assert_eq!(limits.check([1, 1]).expect_err("it is drained").retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn they_are_waited_for_together_and_in_order() {
    let (limits, hand) = limits();
    let limits = Arc::new(limits);
    limits.check([1, 6_000]).expect("it is all there");
    let tasks: Vec<_> = [1_000, 10, 10]
        .into_iter()
        .map(|tokens| {
            let limits = Arc::clone(&limits);
            tokio::spawn(async move { limits.acquire([1, tokens]).await })
        })
        .collect();
    let mut waited = Duration::ZERO;
    loop {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let Some(step) = hand.advance_to_next() else { break };
        waited += step;
    }
    for task in tasks {
        task.await.expect("it does not panic").expect("it is given in the end");
    }
    // The large one first, and then the small ones, who did not overtake it.
    assert_eq!(waited, Duration::from_millis(10_200));
    assert_eq!(limits.acquire([61, 0]).await.expect_err("there never are so many").name, "requests");
}

#[test]
fn a_window_may_stand_beside_a_bucket() {
    let (clock, _hand) = Clock::manual(Timestamp(0));
    let burst = Config::new(Quota::per_second(5).expect("a test's own"));
    let day = Config::new(Quota::new(8, Duration::from_hours(24)).expect("a test's own"))
        .with_algorithm(Algorithm::SlidingLog);
    let limits = Limits::new([("burst", burst), ("day", day)], clock).expect("a test's own");
    limits.check([5, 5]).expect("it is all there");
    assert_eq!(limits.check([1, 4]).expect_err("both are short").name, "day");
}
