use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use aqueduct_retry::{Budget, BudgetConfig, Config, Growth, Jitter, Retry, Schedule};

use crate::{PASSING, run};

/// Everything fails for a minute. How often it is called for each call that somebody makes, beside the reserve.
fn amplification(budget: Option<BudgetConfig>) -> f64 {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let schedule = Schedule::builder(Growth::Constant { delay: Duration::from_millis(20) })
        .jitter(Jitter::Full)
        .build()
        .expect("it is in the ranges");
    let config = Config { schedule, ..Config::default() };
    let mut retry = Retry::new(config, clock.clone()).expect("it is in the ranges").with_seed(4);
    let reserve = budget.map_or(0.0, |budget| budget.per_second * 70.0);
    if let Some(budget) = budget {
        retry = retry.with_budget(Arc::new(Budget::new(budget).expect("it is in the ranges")));
    }
    let (mut calls, mut attempts) = (0.0, 0.0);
    while clock.now().elapsed_since_start() < Duration::from_mins(1) {
        calls += 1.0;
        let call = retry.call(async |_| {
            attempts += 1.0;
            Err::<(), _>(PASSING)
        });
        run(&hand, call).expect_err("everything fails");
        hand.advance(Duration::from_millis(3));
    }
    (attempts - reserve) / calls
}

#[test]
fn when_everything_fails_the_traffic_grows_by_the_budget_and_no_more() {
    let budget = BudgetConfig { ratio: 0.2, per_second: 0.0, ..BudgetConfig::default() };
    assert!((amplification(None) - 4.0).abs() < 1e-9, "three retries make four of one");
    let alone = amplification(Some(budget));
    assert!((1.199..=1.2).contains(&alone), "{alone}");
    let with_reserve = amplification(Some(BudgetConfig { per_second: 1.0, ..budget }));
    assert!(with_reserve <= 1.2, "{with_reserve}");
}
