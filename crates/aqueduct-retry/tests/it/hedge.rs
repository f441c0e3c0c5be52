use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::{Clock, ErrorClass, Instant, ManualClock, Random, Timestamp};
use aqueduct_retry::{
    Advice, After, Budget, BudgetConfig, Config, Event, Growth, Hedge, HedgeConfig, Latencies, Retry,
    Schedule,
};
use proptest::prelude::*;

use crate::{Broken, PASSING, at, run};

const MS: Duration = Duration::from_millis(1);

fn fixed(delay: Duration, extra_max: u32) -> HedgeConfig {
    HedgeConfig { after: After::Fixed(delay), extra_max }
}

fn percentile(samples_min: u32) -> HedgeConfig {
    let after = After::Percentile { percentile: 0.95, samples_min, window: Duration::from_secs(10) };
    HedgeConfig { after, ..HedgeConfig::default() }
}

fn with(config: HedgeConfig) -> (Hedge, Clock, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    (Hedge::new(config, clock.clone()).expect("it is in the ranges"), clock, hand)
}

/// Counts attempts, however they end.
#[derive(Debug, Default)]
struct Attempts {
    started: Cell<u32>,
    finished: Cell<u32>,
    cancelled: Cell<u32>,
}

struct Attempt<'a> {
    of: &'a Attempts,
    finished: bool,
}

impl Attempts {
    fn start(&self) -> Attempt<'_> {
        self.started.set(self.started.get() + 1);
        Attempt { of: self, finished: false }
    }

    fn under_way(&self) -> u32 {
        self.started.get() - self.finished.get() - self.cancelled.get()
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let count = if self.finished { &self.of.finished } else { &self.of.cancelled };
        count.set(count.get() + 1);
    }
}

/// Makes a call whose attempts take so long and end so, and tells how many were begun and when it was over.
fn call(config: HedgeConfig, attempts: &[(u32, Result<u32, Broken>)]) -> (Result<u32, Broken>, u32, Instant) {
    let (hedge, clock, hand) = with(config);
    let counts = Attempts::default();
    let result = run(
        &hand,
        hedge.call(async |number| {
            let mut attempt = counts.start();
            let (takes, result) = attempts[number as usize - 1];
            clock.sleep(MS * takes).await;
            attempt.finished = true;
            result
        }),
    );
    assert_eq!(counts.under_way(), 0, "losers are dropped");
    (result, counts.started.get(), clock.now())
}

#[test]
fn a_fast_call_is_not_hedged() {
    assert_eq!(call(fixed(10 * MS, 1), &[(9, Ok(1))]), (Ok(1), 1, at(0.009)));
}

#[test]
fn the_first_answer_wins_and_the_losers_are_cancelled() {
    assert_eq!(call(fixed(10 * MS, 1), &[(50, Ok(1)), (20, Ok(2))]), (Ok(2), 2, at(0.03)));
    assert_eq!(call(fixed(10 * MS, 1), &[(15, Ok(1)), (20, Ok(2))]), (Ok(1), 2, at(0.015)));
}

#[test]
fn there_are_never_more_extra_attempts_than_allowed() {
    let slow = [(90, Ok(1)); 9];
    assert_eq!(call(fixed(10 * MS, 3), &slow), (Ok(1), 4, at(0.09)));
    assert_eq!(call(fixed(10 * MS, 8), &slow), (Ok(1), 9, at(0.09)));
}

#[test]
fn an_error_that_does_not_go_away_ends_it_at_once() {
    let permanent = Err(Broken(ErrorClass::Permanent));
    assert_eq!(call(fixed(10 * MS, 1), &[(50, Ok(1)), (20, permanent)]), (permanent, 2, at(0.03)));
    assert_eq!(call(fixed(10 * MS, 1), &[(12, permanent), (20, Ok(2))]), (permanent, 2, at(0.012)));
}

#[test]
fn a_failed_attempt_waits_for_the_other_and_begins_nothing() {
    let failed = Err(PASSING);
    assert_eq!(call(fixed(10 * MS, 1), &[(12, failed), (20, Ok(2))]), (Ok(2), 2, at(0.03)));
    assert_eq!(call(fixed(10 * MS, 1), &[(50, Ok(1)), (5, failed)]), (Ok(1), 2, at(0.05)));
    assert_eq!(call(fixed(10 * MS, 3), &[(12, failed), (40, failed)]), (failed, 2, at(0.05)));
    assert_eq!(call(fixed(10 * MS, 1), &[(5, failed)]), (failed, 1, at(0.005)), "nothing else runs");
}

#[test]
fn a_hedge_that_is_refused_was_not_made() {
    let (hedge, clock, hand) = with(fixed(10 * MS, 1));
    let budget = BudgetConfig { ratio: 0.0, per_second: 1.0, window: Duration::from_secs(1) };
    let budget = Arc::new(Budget::new(budget).expect("it is in the ranges"));
    let hedge = hedge.with_budget(Arc::clone(&budget));
    let judge = |result: &Result<u32, &str>| match result {
        Ok(_) => Advice::Stop,
        Err(_) => Advice::Refused { retry_after: None },
    };
    let call = hedge.call_with(judge, async |number| {
        if number > 1 {
            return Err("open");
        }
        clock.sleep(50 * MS).await;
        Ok(1)
    });
    assert_eq!(run(&hand, call), Ok(1));
    assert_eq!(budget.balance(clock.now()), 1);
    let refused = hedge.call_with(judge, async |_| Err("open"));
    assert_eq!(run(&hand, refused), Err("open"));
}

#[test]
fn an_empty_budget_lets_the_first_attempt_go_on_alone() {
    let (hedge, clock, hand) = with(fixed(10 * MS, 1));
    let budget = BudgetConfig { ratio: 0.5, per_second: 0.0, window: Duration::from_secs(10) };
    let hedge = hedge.with_budget(Arc::new(Budget::new(budget).expect("it is in the ranges")));
    let begun = Cell::new(0);
    for _ in 0..20 {
        let slow = hedge.call(async |_| {
            begun.set(begun.get() + 1);
            clock.sleep(50 * MS).await;
            Ok::<_, Broken>(())
        });
        run(&hand, slow).expect("it answers");
    }
    assert_eq!(begun.get(), 20 + 9, "each call pays half a hedge for those that come after it");
}

#[test]
fn nothing_is_hedged_before_enough_is_measured_and_then_what_is_slower_than_the_percentile() {
    let (hedge, clock, hand) = with(percentile(100));
    let take = |time: Duration| {
        let clock = clock.clone();
        let call = hedge.call(async move |_| {
            clock.sleep(time).await;
            Ok::<_, Broken>(())
        });
        run(&hand, call).expect("it answers");
    };
    for number in 1..=100_u32 {
        assert_eq!(hedge.delay(), None, "{number}");
        take(MS * number / 10);
    }
    let delay = hedge.delay().expect("a hundred are enough");
    assert!((Duration::from_micros(9_500)..Duration::from_micros(10_100)).contains(&delay), "{delay:?}");
    // What was measured in a window that is over says nothing any more.
    hand.advance(Duration::from_secs(20));
    assert_eq!(hedge.delay(), None);
}

#[test]
fn latencies_are_forgotten_by_halves_of_the_window() {
    let mut latencies = Latencies::new(Duration::from_secs(10), at(0.0));
    latencies.record(at(1.0), 10 * MS);
    latencies.record(at(6.0), 20 * MS);
    latencies.record(at(2.0), 20 * MS);
    assert_eq!(latencies.count(), 3, "the half before counts, and a clock that goes back forgets nothing");
    latencies.record(at(11.0), 40 * MS);
    assert_eq!(latencies.count(), 3, "what was measured up to 5 s is gone");
    assert!(latencies.percentile(0.01) >= Some(20 * MS));
    latencies.record(at(40.0), 80 * MS);
    assert_eq!(latencies.count(), 1);
    assert_eq!(Latencies::new(Duration::ZERO, at(0.0)).percentile(0.5), None);
}

#[test]
fn hedges_and_retries_share_one_budget() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let budget = BudgetConfig { ratio: 0.2, per_second: 0.0, window: Duration::from_hours(1) };
    let budget = Arc::new(Budget::new(budget).expect("it is in the ranges"));
    let schedule = Schedule::builder(Growth::Constant { delay: MS }).build().expect("it is in the ranges");
    let retry =
        Retry::new(Config { schedule, ..Config::default() }, clock.clone()).expect("it is in the ranges");
    let retry = retry.with_budget(Arc::clone(&budget));
    let hedge = Hedge::new(fixed(5 * MS, 1), clock.clone()).expect("it is in the ranges").with_budget(budget);
    let begun = Cell::new(0);
    for _ in 0..1_000 {
        let call = retry.call(async |_| {
            hedge
                .attempt_with(Advice::of_result, async |_| {
                    begun.set(begun.get() + 1);
                    clock.sleep(20 * MS).await;
                    Err::<(), _>(PASSING)
                })
                .await
        });
        run(&hand, call).expect_err("it always fails");
    }
    assert!((1_190..=1_200).contains(&begun.get()), "{}", begun.get());
}

#[test]
fn whoever_observes_is_told_of_each_hedge_and_of_those_that_paid() {
    let (hedge, clock, hand) = with(fixed(10 * MS, 1));
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let hedge = hedge.with_observer(move |event| seen.lock().unwrap().push(*event));
    let call = hedge.call(async |number| {
        clock.sleep(if number == 1 { 50 * MS } else { MS }).await;
        Ok::<_, Broken>(number)
    });
    assert_eq!(run(&hand, call), Ok(2));
    let expected = [Event::Hedged { attempt: 2, after: 10 * MS }, Event::HedgeWon { attempt: 2 }];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[test]
fn another_configuration_counts_from_the_next_call_on() {
    let (hedge, _, _) = with(fixed(10 * MS, 1));
    hedge.set_config(fixed(20 * MS, 1)).expect("it is in the ranges");
    assert_eq!(hedge.delay(), Some(20 * MS));
    hedge.set_config(HedgeConfig::default()).expect("the default is valid");
    assert_eq!(hedge.delay(), None);
}

#[test]
fn a_configuration_that_is_out_of_its_range_is_refused_with_field_value_and_range() {
    let of = |percentile, samples_min, window| HedgeConfig {
        after: After::Percentile { percentile, samples_min, window },
        extra_max: 1,
    };
    let second = Duration::from_secs(1);
    for (wrong, message) in [
        (fixed(MS, 0), "extra_max is 0, allowed is 1 to 8"),
        (fixed(MS, 9), "extra_max is 9, allowed is 1 to 8"),
        (fixed(Duration::ZERO, 1), "after is 0ns, allowed is 1ns to 86400s"),
        (of(1.0, 1, second), "percentile is 1.0, allowed is 0.5 to 0.999"),
        (of(f64::NAN, 1, second), "percentile is NaN, allowed is 0.5 to 0.999"),
        (of(0.9, 0, second), "samples_min is 0, allowed is 1 to 1000000"),
        (of(0.9, 1, MS), "window is 1ms, allowed is 1s to 3600s"),
    ] {
        let error = Hedge::new(wrong, Clock::manual(Timestamp(0)).0).expect_err("it is wrong");
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test]
async fn a_call_can_run_on_any_thread() {
    let hedge = Hedge::new(HedgeConfig::default(), Clock::system()).expect("the default is valid");
    let task = tokio::spawn(async move { hedge.call(async |number| Ok::<_, Broken>(number)).await });
    assert_eq!(task.await.expect("it does not panic"), Ok(1));
}

proptest! {
    #[test]
    fn every_attempt_that_starts_finishes_or_is_cancelled_and_the_budget_is_kept(
        calls in 1..60_u32, extra_max in 1..4_u32, ratio in 0.0..=1.0_f64, drop_after in 0..80_u64, seed: u64,
    ) {
        let (hedge, clock, hand) = with(fixed(10 * MS, extra_max));
        let budget = BudgetConfig { ratio, per_second: 0.0, window: Duration::from_hours(1) };
        let hedge = hedge.with_budget(Arc::new(Budget::new(budget).expect("it is in the ranges")));
        let (counts, random) = (Attempts::default(), RefCell::new(Random::seeded(seed)));
        for _ in 0..calls {
            let call = hedge.call(async |_| {
                let mut attempt = counts.start();
                let takes = random.borrow_mut().below(60);
                clock.sleep(Duration::from_millis(takes)).await;
                attempt.finished = true;
                match random.borrow_mut().below(4) {
                    0 => Err(PASSING),
                    1 => Err(Broken(ErrorClass::Permanent)),
                    _ => Ok(()),
                }
            });
            // Some callers lose patience.
            let impatient = async {
                let mut call = std::pin::pin!(call);
                let mut over = std::pin::pin!(clock.sleep(Duration::from_millis(drop_after)));
                std::future::poll_fn(|cx| {
                    if call.as_mut().poll(cx).is_ready() {
                        return std::task::Poll::Ready(());
                    }
                    over.as_mut().poll(cx)
                })
                .await;
            };
            run(&hand, impatient);
            prop_assert_eq!(counts.under_way(), 0);
        }
        let hedges = counts.started.get() - calls;
        prop_assert!(f64::from(hedges) <= ratio * f64::from(calls) + 1e-6, "{hedges} of {calls}");
    }

    #[test]
    fn a_percentile_is_at_most_a_sixteenth_above_that_of_the_sorted_values(
        share in 0.5..0.999_f64, values in prop::collection::vec((any::<u32>(), 0..32_u32), 1..300),
    ) {
        let mut latencies = Latencies::new(Duration::from_secs(10), Instant::ZERO);
        let mut sorted: Vec<_> =
            values.iter().map(|(value, bits)| Duration::from_micros(u64::from(value >> bits))).collect();
        for latency in &sorted {
            latencies.record(Instant::ZERO, *latency);
        }
        sorted.sort();
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "300")]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        let exact = sorted[rank - 1];
        let seen = latencies.percentile(share).expect("there are some");
        prop_assert!(exact <= seen, "{seen:?} is less than {exact:?}");
        prop_assert!(seen <= exact + exact / 16 + Duration::from_micros(2), "{seen:?} for {exact:?}");
    }
}
