use std::time::Duration;

use aqueduct_core::{Clock, Instant, Timestamp};
use aqueduct_ratelimit::{Algorithm, Config, ConfigError, Limit, Quota, RateLimiter};

fn said<T>(result: Result<T, ConfigError>) -> String {
    result.map(drop).expect_err("it cannot be").to_string()
}

#[test]
fn what_cannot_be_is_refused_with_its_range() {
    assert_eq!(said(Quota::per_second(0)), "tokens is 0, allowed is 1 to 1000000000, one a nanosecond");
    assert_eq!(
        said(Quota::per_second(1_000_000_001)),
        "tokens is 1000000001, allowed is 1 to 1000000000, one a nanosecond"
    );
    assert_eq!(said(Quota::new(1, Duration::ZERO)), "per is 0ns, allowed is 1µs to 366 days");
    assert!(said(Quota::new(1, Duration::MAX)).ends_with("allowed is 1µs to 366 days"));
    let day = Quota::new(1, Duration::from_hours(24)).expect("it is within the ranges");
    assert_eq!(
        said(day.with_burst(0)),
        "burst is 0, allowed is 1 to 53375, as many as come back in 146 years"
    );
    // What governor 0.10 takes and gives 86,496 of.
    assert_eq!(
        said(day.with_burst(300_000)),
        "burst is 300000, allowed is 1 to 53375, as many as come back in 146 years"
    );
    assert!(said(day.with_burst(u64::MAX)).starts_with("burst is 18446744073709551615, allowed"));
    let many = Quota::per_minute(1_000_001).expect("it is within the ranges");
    let log = Config::new(many).with_algorithm(Algorithm::SlidingLog);
    let (clock, _) = Clock::manual(Timestamp(0));
    assert_eq!(
        said(RateLimiter::new(log, clock)),
        "tokens is 1000001, allowed is 1 to 1000000 where each use is remembered"
    );
}

#[test]
fn the_default_is_a_hundred_in_a_minute() {
    let quota = Quota::default();
    assert_eq!(quota, Quota::per_minute(100).expect("it is within the ranges"));
    assert_eq!((quota.tokens(), quota.per(), quota.burst()), (100, Duration::from_mins(1), 100));
}

#[test]
fn the_largest_burst_is_given_to_the_last_and_no_further() {
    let day = Quota::new(1, Duration::from_hours(24))
        .and_then(|day| day.with_burst(53_375))
        .expect("it is the largest");
    let mut limit = Limit::new(day, Algorithm::TokenBucket).expect("buckets go with every quota");
    // As late as a clock may be.
    let now = Instant::ZERO.after(Duration::from_hours(24 * 365 * 100));
    for left in (0..53_375).rev() {
        assert_eq!(limit.check(now, 1).expect("it is within the burst").remaining(), left);
    }
    assert_eq!(limit.check(now, 1).expect_err("it is used up").retry_after, Some(Duration::from_hours(24)));
}

#[test]
fn what_a_person_writes_down_is_kept() {
    for (quota, tokens, seconds) in [
        (Quota::per_second(7), 7, 1),
        (Quota::per_minute(60), 60, 60),
        (Quota::per_hour(5_000), 5_000, 3_600),
    ] {
        let quota = quota.expect("it is within the ranges");
        assert_eq!((quota.tokens(), quota.per()), (tokens, Duration::from_secs(seconds)));
    }
}
