use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use aqueduct_breaker::{Breaker, CallError, Config, Machine, Mode, State, Window};
use aqueduct_core::{Clock, Timestamp, Verdict};

fn config() -> Config {
    let second = Duration::from_secs(1);
    let builder = Config::builder().consecutive_failures(3).open_for(second, 1.0, second).open_jitter(0.0);
    builder.half_open(5, second * 10).build().unwrap()
}

fn open(breaker: &Breaker) {
    while let Ok(permit) = breaker.try_acquire() {
        permit.finish(Verdict::FAILURE);
    }
}

#[test]
fn sixty_four_threads_never_have_a_probe_too_many() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let breaker = Breaker::new(config(), clock);
    for _ in 0..50 {
        open(&breaker);
        hand.advance(Duration::from_secs(1));
        let start = Barrier::new(64);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    start.wait();
                    if let Ok(permit) = breaker.try_acquire() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                        // It neither ends nor gives itself back while the others try.
                        std::mem::forget(permit);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 5);
        breaker.reset();
    }
}

#[test]
fn a_person_takes_over_an_open_circuit_at_once() {
    let (clock, _hand) = Clock::manual(Timestamp(0));
    let breaker = Breaker::new(config(), clock);
    open(&breaker);
    breaker.set_mode(Mode::ForcedOpen);
    assert_eq!(breaker.try_acquire().unwrap_err().to_string(), "the circuit is held open by hand");
    breaker.set_mode(Mode::Disabled);
    assert!(breaker.refuses().is_none() && breaker.try_acquire().is_ok());
}

#[test]
fn an_open_circuit_keeps_its_time_whatever_becomes_of_the_date() {
    let year = 31_556_952_000;
    let (clock, hand) = Clock::manual(Timestamp(50 * year));
    let breaker = Breaker::new(config(), clock.clone());
    open(&breaker);
    for wall in [0, 49 * year, 51 * year, i64::MAX] {
        hand.set_wall(Timestamp(wall));
        assert_eq!(clock.wall(), Timestamp(wall));
        assert_eq!(breaker.refuses().unwrap().retry_after, Some(Duration::from_secs(1)));
    }
    // A machine that slept: the time is over once, and as many probes pass as ever.
    hand.advance(Duration::from_hours(1_000));
    let permits: Vec<_> = std::iter::from_fn(|| breaker.try_acquire().ok()).collect();
    assert_eq!((permits.len(), breaker.state()), (5, State::HalfOpen));
}

#[test]
fn calls_on_many_threads_are_all_counted() {
    let (clock, _) = Clock::manual(Timestamp(0));
    let config =
        Config::builder().window(aqueduct_breaker::Window::Calls(4_096)).failure_rate(1.0).build().unwrap();
    let breaker = Breaker::new(config, clock);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let breaker = &breaker;
            scope.spawn(move || {
                for call in 0..500 {
                    let permit = breaker.try_acquire().unwrap();
                    permit.finish(if call % 5 == 0 && thread > 0 {
                        Verdict::FAILURE
                    } else {
                        Verdict::Success
                    });
                }
            });
        }
    });
    let window = breaker.snapshot().window;
    assert_eq!((window.calls, window.failed), (4_000, 700));
}

#[test]
fn a_permit_that_is_dropped_is_free_again_and_says_nothing() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let breaker = Breaker::new(config(), clock);
    for _ in 0..10 {
        drop(breaker.try_acquire().unwrap());
    }
    assert_eq!(breaker.snapshot().window.calls, 0);
    open(&breaker);
    hand.advance(Duration::from_secs(1));
    for _ in 0..20 {
        drop(breaker.try_acquire().unwrap());
    }
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[tokio::test]
async fn a_call_is_made_judged_or_refused_and_something_else_done_instead() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let changes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&changes);
    let breaker =
        Breaker::new(config(), clock).with_observer(move |change| seen.lock().unwrap().push(change.to));
    assert_eq!(breaker.call(async || Ok::<_, String>(1)).await, Ok(1));
    // The caller's own mistakes are not held against the other side.
    for _ in 0..9 {
        let result = breaker.call_with(|_| Verdict::Ignore, async || Err::<(), _>("mine")).await;
        assert_eq!(result, Err(CallError::Failed("mine")));
    }
    for _ in 0..3 {
        assert_eq!(breaker.call(async || Err::<(), _>("theirs")).await, Err(CallError::Failed("theirs")));
    }
    let refused = breaker.call(async || -> Result<(), &str> { panic!("it must not be called") }).await;
    assert!(
        matches!(refused, Err(CallError::Refused(refusal)) if refusal.retry_after == Some(Duration::from_secs(1)))
    );
    let other = breaker.call_or(async || Ok::<_, String>(1), async |_| Ok(2)).await;
    assert_eq!(other, Ok(2));
    assert_eq!(breaker.snapshot().refused, 2);
    hand.advance(Duration::from_secs(1));
    for _ in 0..5 {
        assert_eq!(breaker.call(async || Ok::<_, String>(1)).await, Ok(1));
    }
    assert_eq!(*changes.lock().unwrap(), [State::Open, State::HalfOpen, State::Closed]);
    breaker.set_mode(Mode::ForcedOpen);
    assert!(breaker.try_acquire().is_err());
}

proptest::proptest! {
    /// The ways around the lock change nothing: a breaker does what its machine does.
    #[test]
    fn a_breaker_is_its_machine(
        calls in proptest::collection::vec((0_u8..40, 0_u64..40, 0_u8..30), 1..600),
        size in 1_u32..120,
        slow in proptest::bool::ANY,
        time in proptest::bool::ANY,
    ) {
        let (clock, hand) = Clock::manual(Timestamp(0));
        let milli = Duration::from_millis(1);
        let window = if time { Window::Time { buckets: size, each: milli * 50 } } else { Window::Calls(size) };
        let mut builder = Config::builder().window(window).minimum_calls(size.div_ceil(3)).failure_rate(0.2);
        if slow {
            builder = builder.slow_calls(milli * 20, 0.7);
        }
        let config = builder.open_for(milli * 100, 2.0, milli * 400).half_open(2, milli * 300).build().unwrap();
        let breaker = Breaker::seeded(config.clone(), clock.clone(), 3);
        let mut machine = Machine::new(config, 3);
        for (outcome, takes, look) in calls {
            let verdict = match outcome {
                0..35 => Verdict::Success,
                35..39 => Verdict::FAILURE,
                _ => Verdict::Ignore,
            };
            let begun = clock.now();
            let (permit, grant) = (breaker.try_acquire(), machine.try_acquire(begun));
            proptest::prop_assert_eq!(permit.is_ok(), grant.is_ok());
            hand.advance(milli * u32::try_from(takes).unwrap());
            if let (Ok(permit), Ok(grant)) = (permit, grant) {
                permit.finish(verdict);
                machine.finish(clock.now(), grant, verdict, clock.now().since(begun));
            }
            // Looking counts what was put aside, so it must not be done each time.
            if look == 0 {
                proptest::prop_assert_eq!(breaker.snapshot(), machine.snapshot(clock.now()));
            }
        }
    }
}

#[test]
fn breakers_and_permits_go_from_thread_to_thread() {
    fn both<T: Send + Sync>() {}
    both::<Breaker>();
    both::<aqueduct_breaker::Permit<&Breaker>>();
    both::<aqueduct_breaker::Permit<Arc<Breaker>>>();
}
