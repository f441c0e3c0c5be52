use std::time::Duration;

use aqueduct_core::Random;
use aqueduct_retry::{Attempt, Builder, Growth, Jitter, Limit, Next, Schedule};
use proptest::prelude::*;

use crate::{seconds, waits};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// Six retries without a limit that would matter.
fn long(growth: Growth) -> Builder {
    Schedule::builder(growth).retries_max(6).delay_max(HOUR).elapsed_max(HOUR)
}

fn check(builder: Builder, expected: &[u64]) {
    let schedule = builder.build().expect("the schedule is right");
    assert_eq!(waits(&schedule, 1), (seconds(expected), Limit::Retries), "{schedule:?}");
}

#[test]
fn the_default_waits_2_4_and_8_seconds_and_gives_up() {
    let default = Schedule::default();
    assert_eq!(waits(&default, 1), (seconds(&[2, 4, 8]), Limit::Retries));
    assert_eq!(Builder::default().build(), Ok(default), "the default is within its own ranges");
}

#[test]
fn each_growth_gives_its_series() {
    check(long(Growth::Constant { delay: 3 * SECOND }), &[3, 3, 3, 3, 3, 3]);
    check(long(Growth::Constant { delay: Duration::ZERO }), &[0, 0, 0, 0, 0, 0]);
    check(long(Growth::Linear { first: 2 * SECOND }), &[2, 4, 6, 8, 10, 12]);
    check(long(Growth::Exponential { first: SECOND, factor: 3.0 }), &[1, 3, 9, 27, 81, 243]);
    check(long(Growth::Exponential { first: SECOND, factor: 1.0 }), &[1, 1, 1, 1, 1, 1]);
}

#[test]
fn growth_ends_at_the_cap() {
    let capped = |growth| long(growth).delay_max(5 * SECOND);
    check(capped(Growth::Linear { first: 2 * SECOND }), &[2, 4, 5, 5, 5, 5]);
    check(capped(Growth::Exponential { first: 2 * SECOND, factor: 2.0 }), &[2, 4, 5, 5, 5, 5]);
}

#[test]
fn the_same_seed_gives_the_same_delays_and_another_seed_others() -> Result<(), aqueduct_retry::ConfigError> {
    let jittered = long(Growth::Linear { first: SECOND }).jitter(Jitter::Full).build()?;
    let decorrelated = long(Growth::Decorrelated { first: SECOND }).build()?;
    for schedule in [jittered, decorrelated] {
        assert_eq!(waits(&schedule, 7), waits(&schedule, 7));
        assert_ne!(waits(&schedule, 7), waits(&schedule, 8));
    }
    Ok(())
}

#[test]
fn jitter_spreads_evenly_over_its_range() -> Result<(), aqueduct_retry::ConfigError> {
    for (jitter, low, high) in [(Jitter::Full, 0.0, 10.0), (Jitter::Equal, 5.0, 10.0)] {
        let schedule = Schedule::builder(Growth::Constant { delay: 10 * SECOND }).jitter(jitter).build()?;
        let mut random = Random::seeded(3);
        let delays: Vec<f64> = (0..10_000)
            .filter_map(|_| schedule.next(&Attempt::default(), &mut random).delay())
            .map(|delay| delay.as_secs_f64())
            .collect();
        let share = |from: f64, to: f64| {
            let width = high - low;
            let inside = |delay: &&f64| (low + from * width..low + to * width).contains(*delay);
            delays.iter().filter(inside).count()
        };
        // A quarter of ten thousand is 2,500 with a standard deviation of 43.
        for quarter in [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)] {
            let count = share(quarter.0, quarter.1);
            assert!((2_300..2_700).contains(&count), "{jitter:?}: {count} in {quarter:?}");
        }
        assert_eq!(share(0.0, 1.0), delays.len(), "{jitter:?}: no delay outside of its range");
    }
    Ok(())
}

#[test]
fn a_wait_that_the_other_side_asks_for_is_never_cut_short() {
    let schedule = Schedule::default();
    let asked =
        |retry_after| schedule.next(&Attempt { retry_after, ..Attempt::default() }, &mut Random::seeded(1));
    assert_eq!(asked(Some(SECOND)), Next::Wait(2 * SECOND), "ours is longer");
    assert_eq!(
        asked(Some(12 * SECOND)),
        Next::Wait(12 * SECOND),
        "theirs is longer, and longer than our cap"
    );
    assert_eq!(asked(Some(30 * SECOND)), Next::Wait(30 * SECOND), "it ends just in time");
    assert_eq!(asked(Some(31 * SECOND)), Next::Stop(Limit::Elapsed), "and not before ours would be over");
}

proptest! {
    #[test]
    fn a_decorrelated_delay_is_between_the_first_and_three_times_the_one_before(
        seed: u64, first in 1..5_000_u64, cap in 5_000..100_000_u64, previous in 0..200_000_u64
    ) {
        let [first, cap, previous_delay] = [first, cap, previous].map(Duration::from_millis);
        let schedule = Schedule::builder(Growth::Decorrelated { first })
            .delay_max(cap)
            .elapsed_max(HOUR)
            .build()
            .expect("the schedule is right");
        let failed = Attempt { previous_delay, ..Attempt::default() };
        let delay = schedule.next(&failed, &mut Random::seeded(seed)).delay().expect("no limit is reached");
        let longest = (3 * previous_delay).clamp(3 * first, 3 * cap).min(cap);
        prop_assert!(first <= delay && delay <= longest, "{first:?} <= {delay:?} <= {longest:?}");
    }

    #[test]
    fn exponential_growth_is_repeated_multiplication(first in 1..1_000_u64, factor in 1..100_u32, retries in 1..40_u32) {
        let first = Duration::from_millis(first);
        let schedule = Schedule::builder(Growth::Exponential { first, factor: f64::from(factor) })
            .retries_max(retries)
            .delay_max(HOUR)
            .elapsed_max(HOUR)
            .build()
            .expect("the schedule is right");
        let mut expected = first;
        for number in 1..=retries {
            let delay = schedule.next(&Attempt { number, ..Attempt::default() }, &mut Random::seeded(1)).delay();
            let error = delay.expect("no limit is reached").abs_diff(expected);
            prop_assert!(error <= Duration::from_nanos(1), "attempt {number}: {delay:?} is not {expected:?}");
            expected = expected.saturating_mul(factor).min(HOUR);
        }
    }
}
