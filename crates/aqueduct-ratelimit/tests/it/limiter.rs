use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::{Clock, Forget, Keyed, ManualClock, Timestamp, Verdict};
use aqueduct_ratelimit::{Algorithm, Config, Denied, Event, Quota, RateLimiter, Reason};

fn limiter(tokens: u64) -> (RateLimiter, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    (RateLimiter::token_bucket(Quota::per_second(tokens).expect("a test's own"), clock), hand)
}

#[test]
fn a_look_uses_nothing() {
    let (limiter, _hand) = limiter(3);
    for _ in 0..10 {
        assert_eq!(limiter.peek(3).expect("nothing was used").remaining(), 0);
    }
    assert_eq!(limiter.check_n(3).expect("it is all there").remaining(), 0);
    assert_eq!(limiter.check_n(4).expect_err("it never is").reason, Reason::TooLarge);
}

#[test]
fn a_reservation_gives_its_tokens_back_unless_it_is_kept() {
    let (limiter, _hand) = limiter(2);
    let first = limiter.reserve(2, Duration::ZERO).expect("they are there");
    let second = limiter.reserve(2, Duration::from_secs(1)).expect("they come in a second");
    assert_eq!((first.wait(), second.wait()), (Duration::ZERO, Duration::from_secs(1)));
    let refused = limiter.reserve(1, Duration::from_secs(1)).map(drop).expect_err("it comes later");
    assert_eq!(refused, Denied { retry_after: Some(Duration::from_millis(1_500)), reason: Reason::Wait });
    drop(second);
    first.keep();
    assert_eq!(
        limiter.peek(1).expect_err("the first was kept").retry_after,
        Some(Duration::from_millis(500))
    );
}

#[test]
fn a_counter_says_that_it_cannot_promise() {
    let (clock, _hand) = Clock::manual(Timestamp(0));
    let config = Config::default().with_algorithm(Algorithm::SlidingCounter);
    let limiter = RateLimiter::new(config, clock).expect("a test's own");
    let refused = limiter.reserve(1, Duration::MAX).map(drop).expect_err("it cannot");
    assert_eq!(refused.to_string(), "a sliding window of counts takes no reservations; wait and ask");
}

#[test]
fn too_many_requests_elsewhere_drain_it() {
    let (limiter, hand) = limiter(100);
    limiter.record(Verdict::Success);
    limiter.record(Verdict::FAILURE);
    assert!(limiter.check().is_ok());
    limiter.record(Verdict::Failure { retry_after: Some(Duration::from_secs(20)) });
    assert_eq!(limiter.check().expect_err("it is drained").retry_after, Some(Duration::from_secs(20)));
    hand.advance(Duration::from_secs(20));
    assert!(limiter.check().is_ok());
}

#[test]
fn what_happens_is_told_without_allocation_of_names() {
    let (limiter, _hand) = limiter(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let limiter = limiter.with_observer(move |event| told.lock().expect("nobody panics").push(*event));
    let quota = Quota::per_second(2).expect("a test's own");
    assert!(limiter.check().is_ok() && limiter.check().is_err());
    limiter.drain(Duration::from_secs(9));
    limiter.set_quota(quota).expect("a bucket takes each");
    let denied = Denied { retry_after: Some(Duration::from_secs(1)), reason: Reason::Limit };
    assert_eq!(
        *seen.lock().expect("nobody panics"),
        [Event::Denied(denied), Event::Drained(Duration::from_secs(9)), Event::QuotaChanged(quota)]
    );
}

#[test]
fn a_quota_that_changes_under_eight_threads_never_gives_more_than_the_larger() {
    for _ in 0..50 {
        let (limiter, _hand) = limiter(1);
        let (small, large) = (quota(100), quota(400));
        limiter.set_quota(small).expect("a bucket takes each");
        let given = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        given.fetch_add(u64::from(limiter.check().is_ok()), Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..100 {
                    limiter.set_quota(large).expect("a bucket takes each");
                    limiter.set_quota(small).expect("a bucket takes each");
                }
            });
        });
        // No time passes. What is missing is a nanosecond more after each change, so the last may be missing too.
        let given = given.into_inner();
        assert!((99..=400).contains(&given), "{given}");
    }
}

fn quota(tokens: u64) -> Quota {
    Quota::per_second(tokens).expect("a test's own")
}

#[test]
fn a_window_for_each_key_is_kept_as_long_as_it_holds_something() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let of_limiters = clock.clone();
    let config = Config::new(quota(3)).with_algorithm(Algorithm::SlidingLog);
    let make = move |_: &String| RateLimiter::new(config, of_limiters.clone()).expect("a test's own");
    let limiters: Keyed<String, RateLimiter> =
        Keyed::new(std::num::NonZeroUsize::MIN.saturating_add(1), Duration::from_hours(1), make);
    limiters.get("used", clock.now()).check().expect("it is new");
    limiters.get("looked at", clock.now()).peek(1).expect("it is new");
    limiters.get("new", clock.now());
    assert!(limiters.find("used").is_some() && limiters.find("looked at").is_none());
    hand.advance(Duration::from_secs(1));
    assert!(limiters.get("used", clock.now()).may_forget(clock.now()));
    assert_eq!(limiters.displaced(), 0);
}

#[test]
fn limiters_go_from_thread_to_thread() {
    fn both<T: Send + Sync>() {}
    both::<RateLimiter>();
    both::<aqueduct_ratelimit::KeyedRateLimiter<String>>();
    both::<aqueduct_ratelimit::Limits<2>>();
    both::<aqueduct_ratelimit::Reservation<'_>>();
}
