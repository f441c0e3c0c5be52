use std::time::Duration;

use aqueduct_core::Classified;
use aqueduct_policy::{AimdConfig, Concurrency, GradientConfig, Policy, Scope};
use aqueduct_ratelimit::Quota;
use aqueduct_retry::{BudgetConfig, HedgeConfig};

#[test]
fn what_cannot_be_is_refused_with_its_field() {
    let quota = Quota::per_second(1).expect("in range");
    let aimd = AimdConfig { backoff: 1.0, ..AimdConfig::default() };
    let gradient = GradientConfig { smoothing: 0.0, ..GradientConfig::default() };
    for (builder, field) in [
        (Policy::builder().deadline(Duration::ZERO), "deadline"),
        (Policy::builder().attempt_timeout(Duration::from_hours(24 * 31)), "attempt_timeout"),
        (Policy::builder().concurrency(Concurrency::fixed(0)), "concurrency.limit"),
        (Policy::builder().concurrency(Concurrency::aimd(aimd)), "concurrency.backoff"),
        (Policy::builder().concurrency(Concurrency::gradient(gradient)), "concurrency.smoothing"),
        (Policy::builder().budget(BudgetConfig { ratio: 2.0, ..BudgetConfig::default() }), "ratio"),
        (Policy::builder().hedge(HedgeConfig { extra_max: 9, ..HedgeConfig::default() }), "extra_max"),
        (Policy::builder().rate_limit(quota, Scope::Shared).rate_limit(quota, Scope::Shared), "rate_limit"),
    ] {
        let error = builder.build().expect_err(field);
        assert_eq!(error.field, field);
        assert!(!error.class().is_retryable());
    }
    let both = Policy::builder().rate_limit(quota, Scope::Shared).rate_limit(quota, Scope::PerKey);
    assert!(both.build().is_ok());
}
