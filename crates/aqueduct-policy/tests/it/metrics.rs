use aqueduct_metrics::Registry;
use aqueduct_policy::{Call, Metrics, Policy, Scope};
use aqueduct_ratelimit::Quota;

use crate::{MS, PASSING, Scripted, circuit, clock, retries, run};

#[test]
fn each_call_and_each_attempt_is_counted_once() {
    let (clock, hand) = clock();
    let registry = Registry::default();
    let metrics = Metrics::register(&registry, "api").expect("nobody else uses the names");
    let service =
        Scripted::new(&clock, |request| (MS, if request == 0 { Err(PASSING) } else { Ok(request) }));
    let quota = Quota::per_second(10).and_then(|quota| quota.with_burst(1)).expect("in range");
    let policy = Policy::builder().retry(retries(2, MS)).rate_limit(quota, Scope::Shared).breaker(circuit());
    let policy = policy.metrics(metrics).clock(clock).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    assert!(run(&hand, backend.call(Call::new(1).key("a"))).is_ok());
    assert!(run(&hand, backend.call(Call::new(0).key("b"))).is_err());
    assert!(run(&hand, backend.call(Call::new(0).key("b"))).is_err());
    assert!(run(&hand, backend.call(Call::new(0).key("b"))).is_err());
    let text = registry.snapshot().to_text();
    for line in [
        "calls_total{policy=\"api\",outcome=\"success\"} 1",
        "calls_total{policy=\"api\",outcome=\"failed\"} 1",
        "calls_total{policy=\"api\",outcome=\"circuit\"} 2",
        "attempts_total{policy=\"api\",kind=\"first\"} 3",
        "attempts_total{policy=\"api\",kind=\"retry\"} 2",
        "token_wait_seconds_count{policy=\"api\"} 4",
        "policy_in_flight{policy=\"api\"} 0",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
