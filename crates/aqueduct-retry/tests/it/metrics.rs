use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Clock, ErrorClass, Timestamp};
use aqueduct_metrics::Registry;
use aqueduct_retry::{
    Advice, After, Budget, BudgetConfig, Config, Deadline, Hedge, HedgeConfig, Metrics, Retry,
};

use crate::{BUSY, Broken, at, run};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn calls_are_counted_by_how_they_ended_and_attempts_by_why_they_were_made() {
    let registry = Registry::new(aqueduct_metrics::Config::default()).expect("the default is valid");
    let metrics = Metrics::register(&registry, "search").expect("nobody else has these names");
    let (clock, hand) = Clock::manual(Timestamp(0));
    let budget = BudgetConfig { ratio: 0.0, per_second: 10.0, window: SECOND };
    let budget = Arc::new(Budget::new(budget).expect("it is in the ranges"));
    let retry = Retry::new(Config::default(), clock.clone()).expect("the default is valid");
    let retry = retry.with_metrics(metrics.clone()).with_budget(Arc::clone(&budget));
    let hedge = HedgeConfig { after: After::Fixed(SECOND), ..HedgeConfig::default() };
    let hedge = Hedge::new(hedge, clock.clone()).expect("it is in the ranges").with_metrics(metrics);

    let good = retry.call(async |attempt| if attempt == 1 { Err(BUSY) } else { Ok(()) });
    run(&hand, good).expect("the second attempt succeeds");
    run(&hand, retry.call(async |_| Err::<(), _>(BUSY))).expect_err("three retries");
    let permanent = Broken(ErrorClass::Permanent);
    run(&hand, retry.call(async |_| Err::<(), _>(permanent))).expect_err("final");
    for (seconds, limit) in [(20, "elapsed"), (400, "retry_after")] {
        let again = |_: &_| Advice::Again { retry_after: Some(SECOND * seconds) };
        run(&hand, retry.call_with(again, async |_| Err::<(), _>(()))).expect_err(limit);
    }
    let refused = |_: &_| Advice::Refused { retry_after: None };
    run(&hand, retry.call_with(refused, async |_| Err::<(), _>(()))).expect_err("refused");
    let over = retry.call_within(Deadline::at(at(0.0)), Advice::of_result, async |_| Ok::<_, Broken>(()));
    run(&hand, over).expect_err("over");
    budget
        .set_config(BudgetConfig { ratio: 0.0, per_second: 0.0, window: SECOND }, clock.now())
        .expect("in the ranges");
    run(&hand, retry.call(async |_| Err::<(), _>(BUSY))).expect_err("no budget");
    let slow = retry.call(async |_| {
        hedge
            .attempt_with(Advice::of_result, async |number| {
                clock.sleep(if number == 1 { 9 * SECOND } else { SECOND }).await;
                Ok::<_, Broken>(number)
            })
            .await
    });
    assert_eq!(run(&hand, slow), Ok(2));

    let text = registry.snapshot().to_text();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("aqueduct_retry_")).collect();
    let calls = |outcome| format!("aqueduct_retry_calls_total{{retry=\"search\",outcome=\"{outcome}\"}}");
    let attempts = |kind| format!("aqueduct_retry_attempts_total{{retry=\"search\",kind=\"{kind}\"}}");
    for (series, value) in [
        (calls("success"), 2),
        (calls("final"), 1),
        (calls("refused"), 1),
        (calls("retries"), 1),
        (calls("elapsed"), 1),
        (calls("retry_after"), 1),
        (calls("deadline"), 1),
        (calls("budget"), 1),
        (attempts("first"), 7),
        (attempts("retry"), 5),
        (attempts("hedge"), 1),
        ("aqueduct_retry_hedges_won_total{retry=\"search\"}".to_owned(), 1),
    ] {
        assert!(lines.contains(&format!("{series} {value}").as_str()), "{series} {value}: {lines:#?}");
    }
    assert_eq!(lines.len(), 12);
}
