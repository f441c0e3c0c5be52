use std::time::Duration;

use aqueduct_breaker::{Builder, Config, Machine, Mode, Reason, State, Tally, Window};
use aqueduct_core::{Instant, Verdict};
use proptest::prelude::*;

fn at(millis: u64) -> Instant {
    Instant::default().after(Duration::from_millis(millis))
}

/// No chance in it, so that times are exact.
fn plain() -> Builder {
    Config::builder().open_jitter(0.0)
}

fn machine(builder: Builder) -> Machine {
    Machine::new(builder.build().unwrap(), 1)
}

fn call(machine: &mut Machine, now: Instant, verdict: Verdict, took: Duration) -> bool {
    match machine.try_acquire(now) {
        Ok(grant) => {
            machine.finish(now, grant, verdict, took);
            true
        }
        Err(_) => false,
    }
}

fn succeed(machine: &mut Machine, now: Instant) -> bool {
    call(machine, now, Verdict::Success, Duration::ZERO)
}

fn fail(machine: &mut Machine, now: Instant) -> bool {
    call(machine, now, Verdict::FAILURE, Duration::ZERO)
}

#[test]
fn the_window_slides_after_any_number_of_successes() {
    for successes in [0, 100, 1_000, 100_000] {
        let mut machine = machine(plain());
        for _ in 0..successes {
            assert!(succeed(&mut machine, at(0)));
        }
        let mut failures = 0;
        while fail(&mut machine, at(0)) {
            failures += 1;
        }
        // The minimum of calls alone decides at first; later it is half of the window.
        assert_eq!(failures, if successes == 0 { 20 } else { 50 }, "after {successes}");
        assert_eq!(machine.state(), State::Open);
    }
}

#[test]
fn it_stays_open_longer_each_time_and_starts_over_when_it_has_closed() {
    let second = Duration::from_secs(1);
    let mut machine =
        machine(plain().consecutive_failures(1).open_for(second, 2.0, second * 5).half_open(1, second));
    let mut now = 0;
    for seconds in [1, 2, 4, 5, 5] {
        assert!(fail(&mut machine, at(now)));
        let refused = machine.try_acquire(at(now)).unwrap_err();
        assert_eq!(refused.retry_after, Some(second * seconds));
        now += u64::from(seconds) * 1_000;
        assert!(machine.try_acquire(at(now - 1)).is_err());
    }
    assert!(succeed(&mut machine, at(now)));
    assert_eq!(machine.state(), State::Closed);
    assert!(fail(&mut machine, at(now)));
    assert_eq!(machine.try_acquire(at(now)).unwrap_err().retry_after, Some(second));
}

#[test]
fn a_wait_that_was_asked_for_is_kept_up_to_its_bound() {
    let second = Duration::from_secs(1);
    for (asked, kept) in [(3, 3), (0, 1), (900, 60)] {
        let builder =
            plain().consecutive_failures(1).open_for(second, 2.0, second).retry_after_max(second * 60);
        let mut machine = machine(builder);
        let verdict = Verdict::Failure { retry_after: Some(second * asked) };
        assert!(call(&mut machine, at(0), verdict, Duration::ZERO));
        assert_eq!(machine.try_acquire(at(0)).unwrap_err().retry_after, Some(second * kept), "{asked}");
    }
}

#[test]
fn slow_calls_open_it_too() {
    let slow = Duration::from_millis(200);
    let mut machine =
        machine(plain().failure_rate(None).slow_calls(Duration::from_millis(100), 0.5).minimum_calls(4));
    for took in [slow, Duration::ZERO, Duration::ZERO, slow] {
        assert!(call(&mut machine, at(0), Verdict::Success, took));
    }
    let snapshot = machine.snapshot(at(0));
    assert_eq!((snapshot.state, snapshot.transitions[0].reason), (State::Open, Reason::SlowRate));
}

#[test]
fn probes_decide_and_what_began_before_does_not_count() {
    let second = Duration::from_secs(1);
    let mut machine =
        machine(plain().consecutive_failures(2).open_for(second, 1.0, second).half_open(3, second * 10));
    let old = machine.try_acquire(at(0)).unwrap();
    assert!(fail(&mut machine, at(0)) && fail(&mut machine, at(0)));
    let probes: Vec<_> = (0..3).map(|_| machine.try_acquire(at(1_000)).unwrap()).collect();
    let refused = machine.try_acquire(at(1_000)).unwrap_err();
    assert_eq!(refused.to_string(), "the circuit is half-open, and all its probes are under way");
    // A call from before the circuit opened ends now, and says nothing about the probes.
    machine.finish(at(1_000), old, Verdict::FAILURE, Duration::ZERO);
    machine.finish(at(1_000), probes[0], Verdict::Success, Duration::ZERO);
    // One is given up: another one may take its place.
    machine.finish(at(1_000), probes[1], Verdict::Ignore, Duration::ZERO);
    let another = machine.try_acquire(at(1_000)).unwrap();
    assert!(machine.try_acquire(at(1_000)).is_err());
    machine.finish(at(1_000), another, Verdict::Success, Duration::ZERO);
    assert_eq!(machine.state(), State::HalfOpen);
    machine.finish(at(1_000), probes[2], Verdict::Success, Duration::ZERO);
    assert_eq!(machine.state(), State::Closed);
}

#[test]
fn probes_that_are_lost_do_not_wedge_it() {
    let second = Duration::from_secs(1);
    let mut machine =
        machine(plain().consecutive_failures(1).open_for(second, 1.0, second).half_open(1, second * 10));
    assert!(fail(&mut machine, at(0)));
    let lost = machine.try_acquire(at(1_000)).unwrap();
    assert!(machine.try_acquire(at(11_000)).is_err());
    assert_eq!(machine.state(), State::HalfOpen);
    assert!(machine.try_acquire(at(11_001)).is_err());
    assert_eq!(machine.state(), State::Open);
    let snapshot = machine.snapshot(at(11_001));
    assert_eq!(snapshot.transitions.last().unwrap().reason, Reason::ProbesLate);
    // It comes back late, and does not count.
    machine.finish(at(11_001), lost, Verdict::Success, Duration::ZERO);
    assert_eq!(machine.state(), State::Open);
    assert!(succeed(&mut machine, at(12_001)));
    assert_eq!(machine.state(), State::Closed);
}

#[test]
fn a_moment_that_lies_before_the_last_one_opens_and_closes_nothing() {
    let second = Duration::from_secs(1);
    let mut machine =
        machine(plain().consecutive_failures(3).open_for(second, 1.0, second).half_open(1, second));
    while fail(&mut machine, at(5_000)) {}
    for earlier in [5_000, 4_000, 0, 5_999] {
        assert!(!succeed(&mut machine, at(earlier)), "open until 6 s, asked at {earlier} ms");
        assert_eq!(machine.state(), State::Open);
    }
    assert!(succeed(&mut machine, at(6_000)));
    assert_eq!(machine.state(), State::Closed);
    assert!(succeed(&mut machine, at(0)), "closed, whatever the time");
}

#[test]
fn a_person_may_decide() {
    let mut machine = machine(plain().consecutive_failures(1));
    machine.set_mode(at(0), Mode::ForcedOpen);
    assert_eq!(machine.try_acquire(at(0)).unwrap_err().to_string(), "the circuit is held open by hand");
    machine.set_mode(at(0), Mode::ForcedClosed);
    assert!(fail(&mut machine, at(0)) && fail(&mut machine, at(0)));
    assert_eq!(machine.snapshot(at(0)).window, Tally { calls: 2, failed: 2, slow: 0 });
    machine.set_mode(at(0), Mode::MetricsOnly);
    assert!(fail(&mut machine, at(0)) && fail(&mut machine, at(0)));
    let snapshot = machine.snapshot(at(0));
    assert_eq!(snapshot.state, State::Closed);
    assert!(snapshot.transitions.iter().any(|change| change.to == State::Open && !change.real));
    machine.set_mode(at(0), Mode::Disabled);
    assert!(fail(&mut machine, at(0)));
    machine.set_mode(at(0), Mode::Automatic);
    assert!(fail(&mut machine, at(0)));
    assert_eq!(machine.state(), State::Open);
    machine.reset(at(0));
    assert_eq!(machine.state(), State::Closed);
}

#[test]
fn a_new_configuration_keeps_what_was_counted() {
    let mut machine = machine(plain());
    for _ in 0..15 {
        assert!(fail(&mut machine, at(0)));
    }
    machine.set_config(plain().minimum_calls(16).build().unwrap());
    assert!(fail(&mut machine, at(0)));
    assert_eq!(machine.state(), State::Open);
}

/// A call that ended at a time, and how.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: u64,
    failed: bool,
    slow: bool,
}

fn tally<'a>(calls: impl Iterator<Item = &'a Ended>) -> Tally {
    calls.fold(Tally::default(), |sum, call| Tally {
        calls: sum.calls + 1,
        failed: sum.failed + u32::from(call.failed),
        slow: sum.slow + u32::from(call.slow),
    })
}

fn calls() -> impl Strategy<Value = Vec<Ended>> {
    let one = (0_u64..400, any::<bool>(), any::<bool>());
    prop::collection::vec(one, 1..300).prop_map(|steps| {
        let mut now = 0;
        steps
            .into_iter()
            .map(|(step, failed, slow)| {
                // Mostly close together, sometimes a long pause, sometimes a step back.
                now = if step > 390 { now + 10_000 } else { (now + step % 40).saturating_sub(step % 3) };
                Ended { at: now, failed, slow }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_window_of_calls_is_the_last_so_many(calls in calls(), size in 1_u32..70) {
        let slow = Duration::from_millis(5);
        let builder = plain().window(Window::Calls(size)).minimum_calls(1).slow_calls(slow, 1.0);
        let mut machine = machine(builder);
        machine.set_mode(at(0), Mode::ForcedClosed);
        for (number, ended) in calls.iter().enumerate() {
            let verdict = if ended.failed { Verdict::FAILURE } else { Verdict::Success };
            let took = if ended.slow { slow * 2 } else { slow };
            prop_assert!(call(&mut machine, at(ended.at), verdict, took));
            let from = (number + 1).saturating_sub(size as usize);
            prop_assert_eq!(machine.snapshot(at(ended.at)).window, tally(calls[from..=number].iter()));
        }
    }

    #[test]
    fn a_window_of_time_is_the_last_so_many_buckets(calls in calls(), buckets in 1_u32..10, each in 1_u64..60) {
        let window = Window::Time { buckets, each: Duration::from_millis(each) };
        let slow = Duration::from_millis(5);
        let mut machine = machine(plain().window(window).minimum_calls(1).slow_calls(slow, 1.0));
        machine.set_mode(at(0), Mode::ForcedClosed);
        // A clock that goes back stands still for the window: the call counts in the newest bucket.
        let mut counted: Vec<Ended> = Vec::new();
        let mut newest = 0;
        for ended in &calls {
            newest = newest.max(ended.at / each);
            counted.push(Ended { at: newest, ..*ended });
            let verdict = if ended.failed { Verdict::FAILURE } else { Verdict::Success };
            let took = if ended.slow { slow * 2 } else { slow };
            prop_assert!(call(&mut machine, at(ended.at), verdict, took));
            let wanted = tally(counted.iter().filter(|call| call.at + u64::from(buckets) > newest));
            prop_assert_eq!(machine.snapshot(at(ended.at)).window, wanted);
        }
    }

    #[test]
    fn no_history_wedges_it_or_admits_a_probe_too_many(
        steps in prop::collection::vec((0_u64..3_000, 0_u8..6), 1..400),
        probes in 1_u32..5,
    ) {
        let second = Duration::from_secs(1);
        let builder = plain().consecutive_failures(2).open_for(second, 2.0, second * 4).half_open(probes, second * 2);
        let mut machine = machine(builder);
        let mut now = 0;
        let mut under_way = Vec::new();
        for (step, action) in steps {
            now += step;
            if action < 3 {
                let before = machine.state();
                if let Ok(grant) = machine.try_acquire(at(now)) {
                    if machine.state() != before {
                        under_way.clear();
                    }
                    under_way.push(grant);
                }
                if machine.state() == State::HalfOpen {
                    prop_assert!(under_way.len() <= probes as usize, "{} probes", under_way.len());
                }
            } else if let Some(grant) = under_way.pop() {
                let verdict = [Verdict::Success, Verdict::FAILURE, Verdict::Ignore][usize::from(action - 3)];
                let before = machine.state();
                machine.finish(at(now), grant, verdict, Duration::ZERO);
                if machine.state() != before {
                    under_way.clear();
                }
            }
        }
        // Whatever has happened, well-behaved calls close it in the end.
        let mut closed = false;
        for _ in 0..100 {
            now += 5_000;
            while succeed(&mut machine, at(now)) && machine.state() != State::Closed {}
            closed |= machine.state() == State::Closed;
        }
        prop_assert!(closed);
    }
}
