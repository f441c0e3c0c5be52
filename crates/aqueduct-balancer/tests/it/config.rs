use std::time::Duration;

use aqueduct_balancer::{
    Algorithm, Balancer, Builder, Config, Endpoint, FailureShare, Latency, Outliers, SlowStart, SuccessRate,
};
use aqueduct_core::{Classified, Clock, ErrorClass, Timestamp};

use crate::SECOND;

#[test]
fn a_configuration_that_cannot_work_is_refused_with_field_value_and_range() {
    let outliers = |change: fn(&mut Outliers)| {
        let mut outliers = Outliers::default();
        change(&mut outliers);
        Config::builder().outliers(outliers)
    };
    let slow = |aggression, share_min| {
        Config::builder().slow_start(SlowStart { window: SECOND, aggression, share_min })
    };
    let algorithm = |algorithm| Config::builder().algorithm(algorithm);
    let cases: [(&str, Builder); 22] = [
        ("algorithm.choices", algorithm(Algorithm::LeastConnections { choices: 1 })),
        ("algorithm.choices", algorithm(Algorithm::LeastConnections { choices: 9 })),
        ("algorithm.hot_quantile", algorithm(Algorithm::Adaptive { hot_quantile: f64::NAN })),
        ("algorithm.table", algorithm(Algorithm::Maglev { table: 0 })),
        ("algorithm.table", algorithm(Algorithm::Maglev { table: u32::MAX })),
        ("algorithm.factor", algorithm(Algorithm::BoundedLoad { factor: 1.0 })),
        ("algorithm.factor", algorithm(Algorithm::BoundedLoad { factor: f64::INFINITY })),
        ("latency.decay", Config::builder().latency(Latency { decay: Duration::ZERO, ..Latency::default() })),
        ("latency.seed", Config::builder().latency(Latency { seed: Duration::MAX, ..Latency::default() })),
        ("panic_below", Config::builder().panic_below(1.1)),
        ("panic_below", Config::builder().panic_below(f64::NAN)),
        ("overprovisioning", Config::builder().overprovisioning(0.9)),
        ("overprovisioning", Config::builder().overprovisioning(f64::NAN)),
        ("retry_after_max", Config::builder().retry_after_max(Duration::MAX)),
        ("slow_start.aggression", slow(0.0, 0.1)),
        ("slow_start.share_min", slow(1.0, f64::NAN)),
        ("outliers.share_max", outliers(|outliers| outliers.share_max = -0.1)),
        ("outliers.interval", outliers(|outliers| outliers.interval = Duration::ZERO)),
        ("outliers.base", outliers(|outliers| outliers.base = SECOND * 301)),
        ("outliers.consecutive_failures", outliers(|outliers| outliers.consecutive_failures = Some(0))),
        (
            "outliers.success_rate.deviations",
            outliers(|outliers| {
                outliers.success_rate = Some(SuccessRate { deviations: f64::NAN, ..SuccessRate::default() });
            }),
        ),
        (
            "outliers.failure_share.threshold",
            outliers(|outliers| {
                outliers.failure_share = Some(FailureShare { threshold: 0.0, ..FailureShare::default() });
            }),
        ),
    ];
    for (field, builder) in cases {
        let error = builder.build().expect_err(field);
        assert_eq!((error.field, error.class()), (field, ErrorClass::Invalid));
        assert!(!error.value.is_empty() && !error.allowed.is_empty());
    }
    assert_eq!(Config::default(), Config::builder().build().expect("the default works"));
}

#[test]
fn endpoints_that_cannot_be_are_refused() {
    let check = |endpoints: Vec<Endpoint<()>>| {
        let (clock, _) = Clock::manual(Timestamp(0));
        Balancer::new(endpoints, Config::default(), clock).map(drop).expect_err("they cannot be").to_string()
    };
    let named = |name: &str| Endpoint::new(name, ());
    assert_eq!(check(vec![]), "endpoints is none, allowed is at least one");
    assert_eq!(
        check(vec![named("a"), named("a")]),
        "name is \"a\", allowed is a name that no other endpoint has"
    );
    assert_eq!(check(vec![named("a").with_weight(0)]), "weight is 0, allowed is 1 to 10000");
    assert_eq!(check(vec![named("")]), "name is \"\", allowed is 1 to 128 bytes");
}
