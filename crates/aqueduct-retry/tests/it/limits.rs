use std::time::Duration;

use aqueduct_core::Random;
use aqueduct_retry::{Attempt, Builder, Growth, Jitter, Limit, Next, Schedule};
use proptest::prelude::*;

use crate::{seconds, waits};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn without_retries_the_first_failure_is_the_last() -> Result<(), aqueduct_retry::ConfigError> {
    let schedule = Schedule::builder(Growth::Constant { delay: SECOND }).retries_max(0).build()?;
    assert_eq!(waits(&schedule, 1), (vec![], Limit::Retries));
    let uncounted = Attempt { number: 0, ..Attempt::default() };
    assert_eq!(schedule.next(&uncounted, &mut Random::seeded(1)), Next::Stop(Limit::Retries));
    Ok(())
}

#[test]
fn a_wait_that_would_end_too_late_is_not_begun() -> Result<(), aqueduct_retry::ConfigError> {
    let schedule = Builder::default().retries_max(10).elapsed_max(14 * SECOND).build()?;
    assert_eq!(waits(&schedule, 1), (seconds(&[2, 4, 8]), Limit::Elapsed), "the last wait ends just in time");

    // The time that the calls take counts as well.
    let slow = Attempt { number: 3, elapsed: 7 * SECOND, ..Attempt::default() };
    assert_eq!(schedule.next(&slow, &mut Random::seeded(1)), Next::Stop(Limit::Elapsed));
    Ok(())
}

#[test]
fn a_wait_that_the_other_side_asks_for_is_believed_up_to_its_bound() -> Result<(), aqueduct_retry::ConfigError>
{
    let ask = |schedule: Schedule, seconds| {
        let failed = Attempt { retry_after: Some(SECOND * seconds), ..Attempt::default() };
        schedule.next(&failed, &mut Random::seeded(1))
    };
    let by_default = Builder::default().elapsed_max(SECOND * 3_600).build()?;
    assert_eq!(ask(by_default, 300), Next::Wait(SECOND * 300));
    assert_eq!(ask(by_default, 301), Next::Stop(Limit::RetryAfter));
    let never = Builder::default().retry_after_max(Duration::ZERO).build()?;
    assert_eq!(ask(never, 0), Next::Wait(SECOND * 2));
    assert_eq!(ask(never, 1), Next::Stop(Limit::RetryAfter));
    Ok(())
}

#[test]
fn a_limit_says_in_words_why_it_stopped() {
    assert_eq!(Limit::Retries.to_string(), "all retries are used");
    assert_eq!(Limit::Elapsed.to_string(), "the next retry would come too late");
    assert_eq!(Limit::RetryAfter.to_string(), "the other side asks for too long a wait");
    assert_eq!(Limit::Budget.to_string(), "the budget for retries is used up");
    assert_eq!(Limit::Deadline.to_string(), "the deadline comes first");
}

fn growths() -> impl Strategy<Value = Growth> {
    let first = (1..=1_000_000_000_u64).prop_map(Duration::from_nanos);
    prop_oneof![
        first.clone().prop_map(|delay| Growth::Constant { delay }),
        first.clone().prop_map(|first| Growth::Linear { first }),
        (first.clone(), 1.0..=100.0).prop_map(|(first, factor)| Growth::Exponential { first, factor }),
        first.prop_map(|first| Growth::Decorrelated { first }),
    ]
}

/// Any schedule that can be built, and its longest delay.
fn schedules() -> impl Strategy<Value = (Schedule, Duration)> {
    let jitter = prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal)];
    let (delay_max, elapsed_max) = (1_000..=86_400_000_u64, 1..=2_592_000_000_u64);
    (growths(), jitter, 0..100_u32, delay_max, elapsed_max).prop_map(
        |(growth, jitter, retries, delay, elapsed)| {
            let jitter = if matches!(growth, Growth::Decorrelated { .. }) { Jitter::None } else { jitter };
            let delay_max = Duration::from_millis(delay);
            let builder = Schedule::builder(growth).jitter(jitter).retries_max(retries).delay_max(delay_max);
            let schedule = builder.elapsed_max(Duration::from_millis(elapsed)).build();
            (schedule.expect("every field is in its range"), delay_max)
        },
    )
}

/// Durations of every order of magnitude, the extremes among them.
fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (any::<u64>(), 0..64_u32).prop_map(|(nanoseconds, bits)| Duration::from_nanos(nanoseconds >> bits)),
    ]
}

proptest! {
    #[test]
    fn no_wait_is_longer_than_the_cap_or_ends_too_late_and_no_retry_is_one_too_many(
        (schedule, delay_max) in schedules(), calls in prop::collection::vec(0..10_000_u64, 1..100), seed: u64
    ) {
        let mut random = Random::seeded(seed);
        let mut attempt = Attempt::default();
        for call in calls.iter().cycle() {
            attempt.elapsed += Duration::from_millis(*call);
            let Next::Wait(delay) = schedule.next(&attempt, &mut random) else { break };
            prop_assert!(delay <= delay_max, "{delay:?} is longer than {delay_max:?}");
            attempt.elapsed += delay;
            prop_assert!(attempt.elapsed <= schedule.elapsed_max(), "{:?} is too late", attempt.elapsed);
            attempt.number += 1;
            attempt.previous_delay = delay;
        }
        prop_assert!(attempt.number - 1 <= schedule.retries_max());
    }

    #[test]
    fn no_figure_is_too_extreme(
        (schedule, delay_max) in schedules(),
        number in prop_oneof![0..4_u32, Just(u32::MAX), any::<u32>()],
        (elapsed, previous_delay, retry_after) in (durations(), durations(), prop::option::of(durations())),
        seed: u64,
    ) {
        let failed = Attempt { number, elapsed, previous_delay, retry_after };
        if let Next::Wait(delay) = schedule.next(&failed, &mut Random::seeded(seed)) {
            prop_assert!(delay <= delay_max.max(retry_after.unwrap_or_default()));
            prop_assert!(retry_after.is_none_or(|asked| delay >= asked));
            prop_assert!(elapsed + delay <= schedule.elapsed_max());
        }
    }
}

#[test]
fn the_most_extreme_schedule_reaches_its_cap_and_no_further() -> Result<(), aqueduct_retry::ConfigError> {
    let day = Duration::from_hours(24);
    for growth in [
        Growth::Linear { first: day },
        Growth::Exponential { first: day, factor: 100.0 },
        Growth::Exponential { first: Duration::from_nanos(1), factor: 100.0 },
    ] {
        let schedule =
            Schedule::builder(growth).retries_max(u32::MAX).delay_max(day).elapsed_max(30 * day).build()?;
        let late = Attempt { number: u32::MAX, ..Attempt::default() };
        assert_eq!(schedule.next(&late, &mut Random::seeded(1)), Next::Wait(day), "{growth:?}");
    }
    Ok(())
}
