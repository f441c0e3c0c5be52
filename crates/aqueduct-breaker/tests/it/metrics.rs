use std::time::Duration;

use aqueduct_breaker::{Breaker, Config, Metrics};
use aqueduct_core::{Clock, Timestamp, Verdict};
use aqueduct_metrics::Registry;

fn lines(registry: &Registry) -> Vec<String> {
    let text = registry.snapshot().to_text();
    let ours = text.lines().filter(|line| line.starts_with("aqueduct_breaker"));
    ours.filter(|line| !line.ends_with(" 0")).map(|line| line.replace("aqueduct_breaker_", "")).collect()
}

#[test]
fn every_call_and_every_change_is_counted_once() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let registry = Registry::default();
    let metrics = Metrics::register(&registry, "hosts").expect("nobody else uses the names");
    let second = Duration::from_secs(1);
    let config = Config::builder()
        .consecutive_failures(2)
        .open_for(second, 1.0, second)
        .open_jitter(0.0)
        .half_open(1, second);
    let config = config.build().expect("a test's own");
    let breakers = [1, 2].map(|_| Breaker::new(config.clone(), clock.clone()).with_metrics(metrics.clone()));
    let [first, second_one] = &breakers;
    let call =
        |breaker: &Breaker, verdict| breaker.try_acquire().map(|permit| permit.finish(verdict)).is_ok();

    // Enough for the window to be full of successes, which are counted without the lock.
    for _ in 0..150 {
        assert!(call(first, Verdict::Success));
    }
    drop(first.try_acquire());
    for breaker in &breakers {
        assert!(
            call(breaker, Verdict::FAILURE)
                && call(breaker, Verdict::FAILURE)
                && !call(breaker, Verdict::Success)
        );
    }
    assert_eq!(
        lines(&registry),
        [
            "calls_total{breaker=\"hosts\",outcome=\"failure\"} 4",
            "calls_total{breaker=\"hosts\",outcome=\"ignored\"} 1",
            "calls_total{breaker=\"hosts\",outcome=\"refused\"} 2",
            "calls_total{breaker=\"hosts\",outcome=\"success\"} 150",
            "not_closed{breaker=\"hosts\"} 2",
            "transitions_total{breaker=\"hosts\",to=\"open\"} 2",
        ]
    );
    hand.advance(Duration::from_secs(1));
    assert!(call(first, Verdict::Success));
    assert!(call(second_one, Verdict::FAILURE), "the probe fails, and it is open as before");
    assert!(lines(&registry).contains(&"not_closed{breaker=\"hosts\"} 1".to_owned()));
    drop(breakers);
    assert!(!lines(&registry).iter().any(|line| line.starts_with("not_closed")));
}
