use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::{Clock, ErrorClass, Instant, Timestamp};
use aqueduct_retry::{Answer, Cubic, Throttle};
use proptest::prelude::*;

use crate::{BUSY, Broken, at, run};

const SECOND: Duration = Duration::from_secs(1);

/// A throttle of one call in two seconds, with no token left.
fn slow() -> (Throttle, Clock, aqueduct_core::ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let throttle = Throttle::new(clock.clone());
    throttle.report(Answer::Throttled);
    assert_eq!(throttle.rate(), Some(0.5));
    (throttle, clock, hand)
}

#[test]
fn nothing_is_held_back_before_the_other_side_asks_for_less() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let throttle = Throttle::new(clock.clone());
    for _ in 0..10_000 {
        assert_eq!(throttle.try_acquire(), Ok(()));
        throttle.report(Answer::Taken);
    }
    assert_eq!(throttle.rate(), None);
    let failed = throttle.call(async || Err::<(), _>(Broken(ErrorClass::Transient)));
    run(&hand, failed).expect_err("it fails");
    assert_eq!(throttle.rate(), None, "a failure is no throttling");
    run(&hand, throttle.call(async || Err::<(), _>(BUSY))).expect_err("it is busy");
    assert!(throttle.rate().is_some());
}

#[test]
fn a_refusal_says_how_long_to_wait() {
    let (throttle, _, hand) = slow();
    let refusal = throttle.try_acquire().expect_err("there is no token");
    assert_eq!(refusal.retry_after, 2 * SECOND);
    hand.advance(2 * SECOND);
    assert_eq!(throttle.try_acquire(), Ok(()));
    let refusal = run(&hand, throttle.acquire_within(SECOND)).expect_err("it comes too late");
    assert_eq!(refusal.to_string(), "begin now: the rate is throttled; ask again in 2s");
}

#[test]
fn who_waits_is_served_in_turn_and_a_waiter_that_is_dropped_gives_its_turn_back() {
    let (throttle, clock, hand) = slow();
    let (throttle, turns) = (Arc::new(throttle), Arc::new(Mutex::new(Vec::new())));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut waiting: Vec<_> = (0..4)
        .map(|number| {
            let (throttle, turns, clock) = (Arc::clone(&throttle), Arc::clone(&turns), clock.clone());
            let mut turn = Box::pin(async move {
                throttle.acquire().await;
                turns.lock().unwrap().push((number, clock.now()));
            });
            assert!(turn.as_mut().poll(&mut context).is_pending());
            turn
        })
        .collect();
    // The last one goes away: the next to come has its turn.
    drop(waiting.pop());
    let refusal = throttle.try_acquire().expect_err("three are waiting");
    assert_eq!(refusal.retry_after, 8 * SECOND);
    for _ in 0..3 {
        hand.advance_to_next();
        waiting.retain_mut(|turn| turn.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(*turns.lock().unwrap(), [(0, at(2.0)), (1, at(4.0)), (2, at(6.0))]);
}

#[test]
fn the_rate_finds_what_the_other_side_takes() {
    // It takes ten a second and throttles what is more; a hundred a second would like to call.
    let (clock, hand) = Clock::manual(Timestamp(0));
    let throttle = Throttle::new(clock.clone());
    let (mut served, mut second, mut taken, mut throttled) = (0_u32, 0, 0, 0);
    while clock.now() < at(120.0) {
        if throttle.try_acquire().is_ok() {
            let now = clock.now().elapsed_since_start().as_secs();
            if now != second {
                (second, taken) = (now, 0);
            }
            taken += 1;
            let answer = if taken > 10 { Answer::Throttled } else { Answer::Taken };
            if now >= 20 {
                served += u32::from(answer == Answer::Taken);
                throttled += u32::from(answer == Answer::Throttled);
            }
            throttle.report(answer);
        }
        hand.advance(Duration::from_millis(10));
    }
    assert!(served > 700, "{served} of 1,000 that it would have taken");
    assert!(throttled < 100, "{throttled} were in vain; without a throttle 9,000 would be");
}

#[test]
fn the_rate_does_not_run_away_while_little_is_sent() {
    let mut cubic = Cubic::new(at(0.0));
    cubic.report(at(0.0), Answer::Throttled);
    // One call in two seconds for an hour: the curve would be at some billions.
    for seconds in 1..1_800 {
        cubic.report(at(2.0 * f64::from(seconds)), Answer::Taken);
    }
    assert!((cubic.sent_rate() - 0.5).abs() < 1e-9);
    let rate = cubic.rate().expect("it is on");
    assert!((rate - 1.0).abs() < 1e-9, "twice what is sent, not {rate}");
}

proptest! {
    #[test]
    fn no_answers_and_no_clock_break_it(
        steps in prop::collection::vec((any::<bool>(), prop_oneof![0..2_000_u64, any::<u64>()]), 1..200)
    ) {
        let mut cubic = Cubic::new(at(1e6));
        for (throttled, nanoseconds) in steps {
            let now = Instant::ZERO.after(Duration::from_micros(nanoseconds));
            cubic.report(now, if throttled { Answer::Throttled } else { Answer::Taken });
            let wait = cubic.reserve(now);
            prop_assert!(cubic.rate().is_none_or(|rate| rate >= 0.5 && rate.is_finite()));
            prop_assert!(wait <= Duration::from_secs(2 * 201), "{wait:?}");
        }
    }
}
