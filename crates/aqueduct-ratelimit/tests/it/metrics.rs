use std::num::NonZeroUsize;
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use aqueduct_metrics::Registry;
use aqueduct_ratelimit::{KeyedRateLimiter, Metrics, Quota, RateLimiter};

#[tokio::test]
async fn what_is_given_and_what_is_not_is_counted_once() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let registry = Registry::default();
    let metrics = Metrics::register(&registry, "api").expect("nobody else uses the names");
    let quota = Quota::per_second(2).expect("a test's own");
    let limiter = RateLimiter::token_bucket(quota, clock.clone()).with_metrics(metrics.clone());
    let keyed: KeyedRateLimiter<u64> =
        KeyedRateLimiter::new(quota, NonZeroUsize::MIN, clock).with_metrics(metrics);
    assert!(limiter.check().is_ok() && keyed.check(&1).is_ok());
    assert!(limiter.check_n(2).is_err() && limiter.check_n(3).is_err());
    hand.advance(Duration::from_secs(1));
    limiter.acquire().await.expect("it is there");
    let text = registry.snapshot().to_text();
    for line in [
        "checks_total{limit=\"api\",outcome=\"allowed\"} 3",
        "checks_total{limit=\"api\",outcome=\"limit\"} 1",
        "checks_total{limit=\"api\",outcome=\"too_large\"} 1",
        "wait_seconds_count{limit=\"api\"} 1",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
