use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, ManualClock, Timestamp, Verdict};
use aqueduct_retry::{
    Advice, Budget, BudgetConfig, CallError, Config, Deadline, Ended, Event, Growth, Limit, Retry, Schedule,
};
use proptest::prelude::*;

use crate::{BUSY, Broken, PASSING, at, run, seconds};

const SECOND: Duration = Duration::from_secs(1);

fn with(config: Config) -> (Retry, Clock, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    (Retry::new(config, clock.clone()).expect("it is in the ranges"), clock, hand)
}

/// The moments at which a call that always fails so is made.
fn moments(
    retry: &Retry,
    clock: &Clock,
    hand: &ManualClock,
    error: Broken,
) -> (Vec<Duration>, CallError<Broken>) {
    let mut moments = Vec::new();
    let call = retry.call(async |_| {
        moments.push(clock.now().elapsed_since_start());
        Err::<(), _>(error)
    });
    let error = run(hand, call).expect_err("it always fails");
    (moments, error)
}

#[test]
fn by_default_there_are_three_retries_after_the_first_call_and_the_waits_are_2_4_and_8_seconds() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let retry = Retry::default().with_clock(clock.clone());
    let (moments, error) = moments(&retry, &clock, &hand, PASSING);
    assert_eq!(moments, seconds(&[0, 2, 6, 14]));
    assert_eq!(error.attempts, 4);
    assert_eq!(error.ended, Ended::Limit(Limit::Retries));
    assert_eq!(error.error, Some(PASSING));
    assert_eq!(error.to_string(), "call in 4 attempts: all retries are used");
}

/// smithy-lang/smithy-rs, aws/sdk/integration-tests/dynamodb/tests/retry-spec.rs (Apache-2.0), restated: without
/// jitter four attempts wait for 25 + 50 + 100 ms, and three with the older first delay for 1 + 2 s.
#[test]
fn the_waits_of_the_sdk_for_dynamodb_come_out() {
    for (first, attempts, waited) in [(25, 4, 175), (1_000, 3, 3_000)] {
        let first = Duration::from_millis(first);
        let schedule =
            Schedule::builder(Growth::Exponential { first, factor: 2.0 }).retries_max(attempts - 1);
        let schedule = schedule.build().expect("it is in the ranges");
        let (retry, clock, hand) = with(Config { schedule, ..Config::default() });
        let (moments, error) = moments(&retry, &clock, &hand, BUSY);
        assert_eq!((moments.last(), error.attempts), (Some(&Duration::from_millis(waited)), attempts));
    }
}

#[test]
fn only_overload_and_what_failed_in_passing_is_tried_again() {
    for (class, attempts) in [
        (ErrorClass::Invalid, 1),
        (ErrorClass::Overload, 4),
        (ErrorClass::Transient, 4),
        (ErrorClass::Permanent, 1),
        (ErrorClass::Cancelled, 1),
        (ErrorClass::Internal, 1),
    ] {
        let (retry, clock, hand) = with(Config::default());
        let (_, error) = moments(&retry, &clock, &hand, Broken(class));
        let ended = if attempts == 1 { Ended::Final } else { Ended::Limit(Limit::Retries) };
        assert_eq!((error.attempts, error.ended), (attempts, ended), "{class}");
        assert_eq!(error.class(), class, "the error keeps its class");
    }
}

#[test]
fn a_call_that_succeeds_in_the_end_gives_its_value() {
    let (retry, _, hand) = with(Config::default());
    let call = retry.call(async |attempt| if attempt < 3 { Err(PASSING) } else { Ok(attempt) });
    assert_eq!(run(&hand, call), Ok(3));
}

#[test]
fn a_refusal_is_handed_back_at_once_and_costs_no_budget() {
    let (retry, clock, hand) = with(Config::default());
    let budget = BudgetConfig { ratio: 0.0, per_second: 1.0, window: SECOND * 10 };
    let budget = Arc::new(Budget::new(budget).expect("it is in the ranges"));
    let retry = retry.with_budget(Arc::clone(&budget));
    let refused = Advice::Refused { retry_after: Some(SECOND) };

    let error =
        run(&hand, retry.call_with(|_| refused, async |_| Err::<(), _>("open"))).expect_err("refused");
    assert_eq!((error.error, error.attempts, error.ended), (Some("open"), 0, Ended::Refused));
    assert_eq!(error.retry_after, Some(SECOND));
    assert_eq!(clock.now(), at(0.0), "nobody waited");
    assert_eq!(error.to_string(), "make the call: it was refused");

    // The circuit opens between the first attempt and the second: what was withdrawn for that one comes back.
    let judge = |result: &Result<(), &str>| if *result == Err("open") { refused } else { Advice::AGAIN };
    let call = retry.call_with(judge, async |attempt| Err(if attempt == 1 { "broken" } else { "open" }));
    let error = run(&hand, call).expect_err("refused");
    assert_eq!((error.error, error.attempts, error.ended), (Some("open"), 1, Ended::Refused));
    assert_eq!(budget.balance(clock.now()), 10);
}

#[test]
fn an_empty_budget_ends_the_retries_and_a_call_that_stops_waiting_gives_its_share_back() {
    let (retry, clock, hand) = with(Config::default());
    let config = BudgetConfig { ratio: 0.0, per_second: 0.1, window: SECOND * 10 };
    let budget = Arc::new(Budget::new(config).expect("it is in the ranges"));
    let retry = retry.with_budget(Arc::clone(&budget));
    {
        let mut waiting = std::pin::pin!(retry.call(async |_| Err::<(), _>(PASSING)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert_eq!(budget.balance(clock.now()), 0);
    }
    assert_eq!(hand.waiting(), 0, "nothing is left behind");
    assert_eq!(budget.balance(clock.now()), 1);
    let (_, error) = moments(&retry, &clock, &hand, PASSING);
    assert_eq!((error.attempts, error.ended), (2, Ended::Limit(Limit::Budget)));
}

#[test]
fn a_call_never_takes_longer_than_its_deadline() {
    let (retry, clock, hand) = with(Config { time_max: Some(5 * SECOND), ..Config::default() });
    let (moments, error) = moments(&retry, &clock, &hand, PASSING);
    assert_eq!(moments, seconds(&[0, 2]));
    assert_eq!(clock.now(), at(2.0), "the wait of four seconds was not begun");
    assert_eq!(error.ended, Ended::Limit(Limit::Deadline));

    // An attempt that is under way is dropped.
    let (retry, clock, hand) = with(Config { time_max: Some(5 * SECOND), ..Config::default() });
    let hangs = retry.call(async |_| std::future::pending::<Result<(), Broken>>().await);
    let error = run(&hand, hangs).expect_err("it hangs");
    assert_eq!((error.error, error.attempts, error.ended), (None, 1, Ended::Limit(Limit::Deadline)));
    assert_eq!(error.class(), ErrorClass::Transient);
    assert_eq!(error.to_string(), "call in time: the deadline comes first");
    assert_eq!(clock.now(), at(5.0));
}

#[test]
fn an_inherited_deadline_counts_when_it_is_earlier() {
    let (retry, clock, hand) = with(Config { time_max: Some(5 * SECOND), ..Config::default() });
    let hangs = async |_| std::future::pending::<Result<(), Broken>>().await;
    let call = retry.call_within(Deadline::at(at(3.0)), Advice::of_result, hangs);
    run(&hand, call).expect_err("it hangs");
    assert_eq!(clock.now(), at(3.0));
    let over = retry.call_within(Deadline::at(at(3.0)), Advice::of_result, hangs);
    let error = run(&hand, over).expect_err("it is over");
    assert_eq!((error.error, error.attempts, error.ended), (None, 0, Ended::Limit(Limit::Deadline)));
}

#[test]
fn an_attempt_takes_its_own_longest_time_or_what_is_left() {
    let config =
        Config { attempt_time_max: Some(3 * SECOND), time_max: Some(7 * SECOND), ..Config::default() };
    let (retry, clock, hand) = with(config);
    let mut begun = Vec::new();
    let call = retry.call(async |_| {
        begun.push(clock.now().elapsed_since_start());
        std::future::pending::<Result<(), Broken>>().await
    });
    let error = run(&hand, call).expect_err("it hangs");
    assert_eq!(begun, seconds(&[0, 5]), "three seconds of the first attempt, two of the wait");
    assert_eq!(clock.now(), at(7.0), "the second has two left");
    assert_eq!((error.attempts, error.ended), (2, Ended::Limit(Limit::Deadline)));
}

#[test]
fn an_answer_with_the_last_moment_counts() {
    let (retry, clock, hand) = with(Config { attempt_time_max: Some(SECOND), ..Config::default() });
    let call = retry.call(async |_| {
        clock.sleep(SECOND).await;
        Ok::<_, Broken>(1)
    });
    assert_eq!(run(&hand, call), Ok(1));
}

#[test]
fn a_wait_that_the_other_side_asks_for_is_kept_within_bounds() {
    let asking = |seconds: u64| {
        let (retry, clock, hand) = with(Config::default());
        let again = move |_: &Result<(), &str>| Advice::Again {
            retry_after: Some(SECOND * u32::try_from(seconds).unwrap()),
        };
        let error = run(&hand, retry.call_with(again, async |_| Err("busy"))).expect_err("it is busy");
        (clock.now().elapsed_since_start(), error.ended, error.retry_after)
    };
    assert_eq!(asking(9), (27 * SECOND, Ended::Limit(Limit::Retries), Some(9 * SECOND)));
    assert_eq!(asking(20), (20 * SECOND, Ended::Limit(Limit::Elapsed), Some(20 * SECOND)));
    assert_eq!(asking(301), (Duration::ZERO, Ended::Limit(Limit::RetryAfter), Some(301 * SECOND)));
}

#[test]
fn an_answer_can_be_judged_worth_a_retry_and_is_given_back_when_there_is_none() {
    let (retry, _, hand) = with(Config::default());
    let judge = |result: &Result<u16, Broken>| match result {
        Ok(503) => Verdict::FAILURE.into(),
        _ => Verdict::Success.into(),
    };
    let mut calls = 0;
    let unavailable = retry.call_with(judge, async |_| {
        calls += 1;
        Ok(503)
    });
    assert_eq!(run(&hand, unavailable), Ok(503));
    assert_eq!(calls, 4);
}

#[test]
fn another_schedule_counts_from_the_next_delay_on() {
    let (retry, clock, hand) = with(Config::default());
    let slower =
        Schedule::builder(Growth::Constant { delay: 5 * SECOND }).build().expect("it is in the ranges");
    let mut moments = Vec::new();
    let call = retry.call(async |attempt| {
        moments.push(clock.now().elapsed_since_start());
        if attempt == 2 {
            retry.set_config(Config { schedule: slower, ..Config::default() }).expect("it is in the ranges");
        }
        Err::<(), _>(PASSING)
    });
    run(&hand, call).expect_err("it always fails");
    assert_eq!(moments, seconds(&[0, 2, 7, 12]));
}

#[test]
fn a_time_of_zero_is_refused_with_field_value_and_range() {
    let zero = Some(Duration::ZERO);
    for (wrong, message) in [
        (Config { time_max: zero, ..Config::default() }, "time_max is 0ns, allowed is 1ns to 2592000s"),
        (
            Config { attempt_time_max: zero, ..Config::default() },
            "attempt_time_max is 0ns, allowed is 1ns to 2592000s",
        ),
    ] {
        let error = Retry::new(wrong, Clock::manual(Timestamp(0)).0).expect_err("it is wrong");
        assert_eq!(error.to_string(), message);
        let (retry, _, _) = with(Config::default());
        assert_eq!(retry.set_config(wrong), Err(error));
        assert_eq!(retry.config(), Config::default());
    }
}

#[test]
fn a_call_without_a_runtime_waits_and_gives_up_alike() {
    let (retry, _, hand) = with(Config::default());
    let mut waits = Vec::new();
    let sleep = |delay| {
        waits.push(delay);
        hand.advance(delay);
    };
    let error =
        retry.call_blocking(Advice::of_result, sleep, |_| Err::<(), _>(PASSING)).expect_err("it fails");
    assert_eq!(waits, seconds(&[2, 4, 8]));
    assert_eq!((error.attempts, error.ended), (4, Ended::Limit(Limit::Retries)));
}

#[test]
fn whoever_observes_is_told_everything_in_order() {
    let (retry, _, hand) = with(Config::default());
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let retry = retry.with_observer(move |event| seen.lock().unwrap().push(*event));
    let call = retry
        .call(async |attempt| Err::<(), _>(if attempt == 1 { BUSY } else { Broken(ErrorClass::Permanent) }));
    run(&hand, call).expect_err("it fails");
    let expected = [
        Event::Failed { attempt: 1 },
        Event::Retrying { attempt: 2, delay: 2 * SECOND },
        Event::GaveUp { attempts: 2, ended: Ended::Final },
    ];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_call_can_run_on_any_thread() {
    let retry = Arc::new(Retry::default());
    let task = tokio::spawn(async move { retry.call(async |attempt| Ok::<_, Broken>(attempt)).await });
    assert_eq!(task.await.expect("it does not panic"), Ok(1));
}

proptest! {
    #[test]
    fn no_call_outlives_its_deadline_or_makes_an_attempt_too_many(
        retries_max in 0..6_u32, time in 1..20_000_u64, attempt_time in 1..10_000_u64,
        takes in prop::collection::vec(0..5_000_u64, 1..8), seed: u64,
    ) {
        let [time, attempt_time] = [time, attempt_time].map(Duration::from_millis);
        let schedule = Schedule::builder(Growth::Decorrelated { first: Duration::from_millis(10) })
            .retries_max(retries_max)
            .build()
            .expect("it is in the ranges");
        let config = Config { schedule, time_max: Some(time), attempt_time_max: Some(attempt_time) };
        let (retry, clock, hand) = with(config);
        let retry = retry.with_seed(seed);
        let mut attempts = 0;
        let call = retry.call(async |attempt: u32| {
            attempts += 1;
            clock.sleep(Duration::from_millis(takes[attempt as usize % takes.len()])).await;
            Err::<(), _>(PASSING)
        });
        let error = run(&hand, call).expect_err("it always fails");
        prop_assert!(clock.now().elapsed_since_start() <= time);
        prop_assert!(attempts <= retries_max + 1);
        prop_assert_eq!(attempts, error.attempts);
    }
}

/// A refusal as a breaker or a limiter gives it: of the class of overload, and yet not to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shut;

impl Classified for Shut {
    fn class(&self) -> ErrorClass {
        ErrorClass::Overload
    }

    fn is_refusal(&self) -> bool {
        true
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(SECOND)
    }
}

#[test]
fn a_refusal_says_so_itself_and_is_not_repeated() {
    let (retry, clock, hand) = with(Config::default());
    let error = run(&hand, retry.call(async |_| Err::<(), _>(Shut))).expect_err("refused");
    assert_eq!((error.attempts, error.ended, error.retry_after), (0, Ended::Refused, Some(SECOND)));
    assert!(error.is_refusal());
    assert_eq!(clock.now(), at(0.0), "nobody waited");
}
