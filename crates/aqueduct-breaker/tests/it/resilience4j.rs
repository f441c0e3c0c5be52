//! The scenarios of resilience4j as tables of our own: the steps and figures of CircuitBreakerStateMachineTest,
//! FixedSizeSlidingWindowMetricsTest and SlidingTimeWindowMetricsTest (github.com/resilience4j/resilience4j, Apache-2.0,
//! read in 2026-11).
//!
//! Three things are ours and differ on purpose. Half-open ends as soon as the probes under way cannot change the
//! outcome, where resilience4j waits for the last. A change empties the window, where resilience4j shows the figures that
//! led to it until the next one. And a mode is no state: what was counted stays when a person lets nobody decide.

use std::time::Duration;

use aqueduct_breaker::{Config, Machine, Mode, Reason, State, Tally, Window};
use aqueduct_core::{Instant, Verdict};

/// One step of a scenario.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A call that takes so many milliseconds and ends like this.
    Call(u64, Verdict),
    /// A call that may not be made.
    Refused,
    /// So many milliseconds pass.
    Pass(u64),
}

use Step::{Call, Pass, Refused};

const OK: Step = Call(0, Verdict::Success);
const ERROR: Step = Call(0, Verdict::FAILURE);
const IGNORED: Step = Call(0, Verdict::Ignore);
const SLOW_OK: Step = Call(5_000, Verdict::Success);
const SLOW_ERROR: Step = Call(5_000, Verdict::FAILURE);

struct Run {
    machine: Machine,
    now: Instant,
}

impl Run {
    fn new(window: Window, minimum: u32) -> Self {
        let second = Duration::from_secs(1);
        let config = Config::builder()
            .window(window)
            .minimum_calls(minimum)
            .failure_rate(0.5)
            .slow_calls(second * 4, 0.5)
            .open_for(second * 5, 1.5, second * 60)
            .open_jitter(0.0)
            .half_open(4, second * 600)
            .build()
            .expect("it is that of the source");
        Self { machine: Machine::new(config, 0), now: Instant::default() }
    }

    /// That of CircuitBreakerStateMachineTest: five calls within five seconds.
    fn of_the_source() -> Self {
        Self::new(Window::Time { buckets: 5, each: Duration::from_secs(1) }, 5)
    }

    fn take(&mut self, step: Step) {
        match step {
            Call(took, verdict) => {
                let grant = self.machine.try_acquire(self.now).expect("the call may be made");
                // How long it took is told, as in the source, and does not move the clock.
                self.machine.finish(self.now, grant, verdict, Duration::from_millis(took));
            }
            Refused => assert!(self.machine.try_acquire(self.now).is_err()),
            Pass(millis) => self.now = self.now.after(Duration::from_millis(millis)),
        }
    }

    /// Takes the steps; after each, the state and the figures (calls, failed, slow) must be those beside it.
    fn check(&mut self, table: &[(Step, State, [u32; 3])]) {
        for (line, (step, state, [calls, failed, slow])) in table.iter().enumerate() {
            self.take(*step);
            let snapshot = self.machine.snapshot(self.now);
            let wanted = Tally { calls: *calls, failed: *failed, slow: *slow };
            assert_eq!((snapshot.state, snapshot.window), (*state, wanted), "line {line}: {step:?}");
        }
    }

    fn open(mut self) -> Self {
        for _ in 0..5 {
            self.take(ERROR);
        }
        assert_eq!(self.machine.state(), State::Open);
        self
    }

    fn half_open(self) -> Self {
        let mut run = self.open();
        run.take(Pass(5_000));
        run
    }
}

const CLOSED: State = State::Closed;
const OPEN: State = State::Open;
const HALF_OPEN: State = State::HalfOpen;

#[test]
fn a_window_of_four_calls_slides() {
    // FixedSizeSlidingWindowMetricsTest, testSlidingWindowMetrics: rates 100, 50, 33, 25, 0. The minimum is out of
    // reach, so that only the window is looked at.
    let mut run = Run::new(Window::Calls(4), 4);
    run.machine.set_mode(run.now, Mode::ForcedClosed);
    run.check(&[
        (ERROR, CLOSED, [1, 1, 0]),
        (OK, CLOSED, [2, 1, 0]),
        (OK, CLOSED, [3, 1, 0]),
        (OK, CLOSED, [4, 1, 0]),
        (OK, CLOSED, [4, 0, 0]),
    ]);
}

#[test]
fn a_window_of_two_calls_slides_with_slow_ones() {
    // testSlidingWindowMetricsWithSlowCalls
    let mut run = Run::new(Window::Calls(2), 2);
    run.machine.set_mode(run.now, Mode::ForcedClosed);
    run.check(&[
        (SLOW_ERROR, CLOSED, [1, 1, 1]),
        (SLOW_OK, CLOSED, [2, 1, 2]),
        (OK, CLOSED, [2, 0, 1]),
        (OK, CLOSED, [2, 0, 0]),
        (OK, CLOSED, [2, 0, 0]),
    ]);
}

#[test]
fn two_slow_calls_of_five_are_counted_whatever_came_of_them() {
    // testSlowCallsPercentage, the same in both classes: 4 of 5 succeeded, 40 % were slow.
    for window in [Window::Calls(5), Window::Time { buckets: 5, each: Duration::from_secs(1) }] {
        let mut run = Run::new(window, 5);
        run.check(&[
            (SLOW_OK, CLOSED, [1, 0, 1]),
            (SLOW_ERROR, CLOSED, [2, 1, 2]),
            (OK, CLOSED, [3, 1, 2]),
            (OK, CLOSED, [4, 1, 2]),
            (OK, CLOSED, [5, 1, 2]),
        ]);
    }
}

#[test]
fn a_window_of_five_seconds_slides() {
    // SlidingTimeWindowMetricsTest, testSlidingTimeWindowMetrics
    let mut run = Run::of_the_source();
    run.machine.set_mode(run.now, Mode::ForcedClosed);
    run.check(&[
        (ERROR, CLOSED, [1, 1, 0]),
        (Pass(100), CLOSED, [1, 1, 0]),
        (OK, CLOSED, [2, 1, 0]),
        (Pass(100), CLOSED, [2, 1, 0]),
        (OK, CLOSED, [3, 1, 0]),
        (Pass(1_000), CLOSED, [3, 1, 0]),
        (OK, CLOSED, [4, 1, 0]),
        (Pass(1_000), CLOSED, [4, 1, 0]),
        (OK, CLOSED, [5, 1, 0]),
        (Pass(1_000), CLOSED, [5, 1, 0]),
        (ERROR, CLOSED, [6, 2, 0]),
        (Pass(1_000), CLOSED, [6, 2, 0]),
        (OK, CLOSED, [7, 2, 0]),
        // The first second with its three calls runs out.
        (Pass(1_000), CLOSED, [4, 1, 0]),
        (OK, CLOSED, [5, 1, 0]),
        (Pass(1_000), CLOSED, [4, 1, 0]),
        (OK, CLOSED, [5, 1, 0]),
        (Pass(5_000), CLOSED, [0, 0, 0]),
        (OK, CLOSED, [1, 0, 0]),
    ]);
}

#[test]
fn a_window_of_five_seconds_empties_by_itself() {
    // shouldClearSlidingTimeWindowMetrics
    let mut run = Run::of_the_source();
    run.check(&[
        (ERROR, CLOSED, [1, 1, 0]),
        (Pass(100), CLOSED, [1, 1, 0]),
        (OK, CLOSED, [2, 1, 0]),
        (Pass(700), CLOSED, [2, 1, 0]),
        (OK, CLOSED, [3, 1, 0]),
        (Pass(4_000), CLOSED, [3, 1, 0]),
        (Pass(1_000), CLOSED, [0, 0, 0]),
        (Pass(100), CLOSED, [0, 0, 0]),
        (OK, CLOSED, [1, 0, 0]),
    ]);
}

#[test]
fn it_opens_when_the_failure_rate_is_reached_by_the_fifth_call() {
    // shouldOpenAfterFailureRateThresholdExceeded: three of five, and nothing before the minimum.
    let mut run = Run::of_the_source();
    run.check(&[
        (ERROR, CLOSED, [1, 1, 0]),
        (ERROR, CLOSED, [2, 2, 0]),
        (ERROR, CLOSED, [3, 3, 0]),
        (OK, CLOSED, [4, 3, 0]),
        (OK, OPEN, [0, 0, 0]),
        (Refused, OPEN, [0, 0, 0]),
    ]);
    let snapshot = run.machine.snapshot(run.now);
    assert_eq!((snapshot.refused, snapshot.transitions[0].reason), (1, Reason::FailureRate));
}

#[test]
fn it_opens_when_the_slow_call_rate_is_reached() {
    // shouldOpenAfterSlowCallRateThresholdExceeded: 2 of 5 failed, 3 of 5 were slow.
    let mut run = Run::of_the_source();
    run.check(&[
        (SLOW_ERROR, CLOSED, [1, 1, 1]),
        (SLOW_OK, CLOSED, [2, 1, 2]),
        (Call(100, Verdict::FAILURE), CLOSED, [3, 2, 2]),
        (Call(100, Verdict::Success), CLOSED, [4, 2, 2]),
        (SLOW_OK, OPEN, [0, 0, 0]),
    ]);
    assert_eq!(run.machine.snapshot(run.now).transitions[0].reason, Reason::SlowRate);
}

#[test]
fn it_becomes_half_open_after_its_wait_and_waits_longer_the_next_time() {
    // shouldTransitionToHalfOpenAfterWaitDuration and ...AfterWaitInterval: 5 s, then 7.5 s.
    let mut run = Run::of_the_source().open();
    run.check(&[
        (Refused, OPEN, [0, 0, 0]),
        (Pass(3_000), OPEN, [0, 0, 0]),
        (Refused, OPEN, [0, 0, 0]),
        (Pass(3_000), OPEN, [0, 0, 0]),
        (ERROR, HALF_OPEN, [0, 0, 0]),
        (ERROR, OPEN, [0, 0, 0]),
        (Pass(6_000), OPEN, [0, 0, 0]),
        (Refused, OPEN, [0, 0, 0]),
        (Pass(5_000), OPEN, [0, 0, 0]),
        (OK, HALF_OPEN, [0, 0, 0]),
    ]);
}

#[test]
fn four_probes_are_let_through_and_one_that_is_given_back_is_free_again() {
    // shouldOnlyPermitFourCallsInHalfOpenState, shouldIncreaseCounterOnReleasePermission
    let mut run = Run::of_the_source().half_open();
    let grants: Vec<_> = (0..4).map(|_| run.machine.try_acquire(run.now).expect("a probe")).collect();
    run.take(Refused);
    run.take(Refused);
    run.machine.finish(run.now, grants[0], Verdict::Ignore, Duration::ZERO);
    assert!(run.machine.try_acquire(run.now).is_ok());
    run.take(Refused);
}

#[test]
fn probes_that_fail_or_are_slow_open_it_again() {
    // shouldTransitionBackToOpenStateWhenFailureRateIsAboveThreshold: two of four are half, so the other two are not
    // waited for; ...WhenSlowCallRateIsAboveThreshold likewise.
    Run::of_the_source().half_open().check(&[(ERROR, HALF_OPEN, [0, 0, 0]), (ERROR, OPEN, [0, 0, 0])]);
    Run::of_the_source().half_open().check(&[(SLOW_OK, HALF_OPEN, [0, 0, 0]), (SLOW_OK, OPEN, [0, 0, 0])]);
}

#[test]
fn one_failed_probe_of_four_closes_it() {
    // shouldTransitionBackToClosedStateWhenFailureIsBelowThreshold
    Run::of_the_source().half_open().check(&[
        (ERROR, HALF_OPEN, [0, 0, 0]),
        (OK, HALF_OPEN, [0, 0, 0]),
        (OK, HALF_OPEN, [0, 0, 0]),
        (OK, CLOSED, [0, 0, 0]),
        (OK, CLOSED, [1, 0, 0]),
    ]);
}

#[test]
fn ignored_probes_are_given_back_and_decide_nothing() {
    // shouldReleasePermissionWhenExceptionIgnored, shouldIgnoreExceptionsAndThenTransitionToClosed
    Run::of_the_source().half_open().check(&[
        (OK, HALF_OPEN, [0, 0, 0]),
        (OK, HALF_OPEN, [0, 0, 0]),
        (OK, HALF_OPEN, [0, 0, 0]),
        (IGNORED, HALF_OPEN, [0, 0, 0]),
        (ERROR, CLOSED, [0, 0, 0]),
    ]);
    Run::of_the_source().half_open().check(&[
        (IGNORED, HALF_OPEN, [0, 0, 0]),
        (IGNORED, HALF_OPEN, [0, 0, 0]),
        (IGNORED, HALF_OPEN, [0, 0, 0]),
        (IGNORED, HALF_OPEN, [0, 0, 0]),
        (OK, HALF_OPEN, [0, 0, 0]),
        (OK, HALF_OPEN, [0, 0, 0]),
        (OK, HALF_OPEN, [0, 0, 0]),
        (OK, CLOSED, [0, 0, 0]),
    ]);
}

#[test]
fn a_reset_forgets_what_was_counted_in_every_state() {
    // shouldResetMetrics, shouldResetToClosedState, shouldResetClosedState
    for mut run in [Run::of_the_source(), Run::of_the_source().open(), Run::of_the_source().half_open()] {
        run.machine.reset(run.now);
        run.check(&[(OK, CLOSED, [1, 0, 0]), (ERROR, CLOSED, [2, 1, 0])]);
        run.machine.reset(run.now);
        run.check(&[(OK, CLOSED, [1, 0, 0])]);
    }
}

#[test]
fn modes_hold_whatever_the_calls_say() {
    // shouldDisableCircuitBreaker, shouldForceOpenCircuitBreaker, shouldForceCloseCircuitBreaker
    let mut run = Run::of_the_source();
    run.machine.set_mode(run.now, Mode::Disabled);
    run.check(&[(OK, CLOSED, [0, 0, 0]), (ERROR, CLOSED, [0, 0, 0]), (ERROR, CLOSED, [0, 0, 0])]);
    let mut run = Run::of_the_source();
    run.machine.set_mode(run.now, Mode::ForcedOpen);
    run.check(&[
        (Refused, CLOSED, [0, 0, 0]),
        (Pass(6_000), CLOSED, [0, 0, 0]),
        (Refused, CLOSED, [0, 0, 0]),
    ]);
    assert_eq!(run.machine.snapshot(run.now).refused, 2);
    let mut run = Run::of_the_source();
    run.machine.set_mode(run.now, Mode::ForcedClosed);
    run.check(&[(OK, CLOSED, [1, 0, 0]), (ERROR, CLOSED, [2, 1, 0])]);
}

#[test]
fn a_mode_that_only_counts_reports_once_what_would_have_opened_it() {
    // shouldRecordMetricsInMetricsOnlyState
    let mut run = Run::of_the_source();
    run.machine.set_mode(run.now, Mode::MetricsOnly);
    run.check(&[
        (ERROR, CLOSED, [1, 1, 0]),
        (ERROR, CLOSED, [2, 2, 0]),
        (ERROR, CLOSED, [3, 3, 0]),
        (OK, CLOSED, [4, 3, 0]),
        (OK, CLOSED, [0, 0, 0]),
        (ERROR, CLOSED, [1, 1, 0]),
    ]);
    let reported = run.machine.snapshot(run.now).transitions;
    assert_eq!(reported.len(), 1);
    assert!(!reported[0].real && reported[0].reason == Reason::FailureRate);
}
