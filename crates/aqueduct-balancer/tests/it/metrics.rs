use aqueduct_balancer::{Algorithm, Metrics};
use aqueduct_core::Verdict;
use aqueduct_metrics::Registry;

use crate::{balancer, endpoint, with};

fn lines(registry: &Registry) -> Vec<String> {
    let text = registry.snapshot().to_text();
    let ours = text.lines().filter(|line| line.starts_with("aqueduct_balancer"));
    ours.filter(|line| !line.ends_with(" 0")).map(|line| line.replace("aqueduct_balancer_", "")).collect()
}

#[test]
fn every_call_and_every_ejection_is_counted_once() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry, "shop").expect("nobody else uses the names");
    let (balancer, _hand) = balancer(&[1, 1], with(Algorithm::RoundRobin));
    let balancer = balancer.with_metrics(metrics);
    for _ in 0..5 {
        balancer.pick().expect("it is there").finish(Verdict::Success);
        balancer.pick().expect("it is there").finish(Verdict::FAILURE);
    }
    balancer.pick().expect("one is left").finish(Verdict::Ignore);
    drop(balancer.pick());
    let lease = balancer.pick();
    assert_eq!(
        lines(&registry),
        [
            "calls_total{balancer=\"shop\",endpoint=\"a\",outcome=\"cancelled\"} 1",
            "calls_total{balancer=\"shop\",endpoint=\"a\",outcome=\"ignored\"} 1",
            "calls_total{balancer=\"shop\",endpoint=\"a\",outcome=\"success\"} 5",
            "calls_total{balancer=\"shop\",endpoint=\"b\",outcome=\"failure\"} 5",
            "ejections_total{balancer=\"shop\",endpoint=\"b\",cause=\"consecutive_failures\"} 1",
            "in_flight{balancer=\"shop\",endpoint=\"a\"} 1",
            "well_endpoints{balancer=\"shop\"} 1",
        ]
    );
    balancer.add(endpoint(2)).expect("the name is free");
    assert!(lines(&registry).contains(&"well_endpoints{balancer=\"shop\"} 2".to_owned()));
    drop(lease);
    for name in ["a", "b", "c"] {
        balancer.remove(name).expect("it is there");
    }
    assert!(balancer.pick().is_err());
    assert!(lines(&registry).contains(&"no_endpoint_total{balancer=\"shop\"} 1".to_owned()));
}
