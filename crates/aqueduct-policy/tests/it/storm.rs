use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aqueduct_policy::{Backend, Call, Concurrency, Endpoint, Policy, Scope};
use aqueduct_ratelimit::Quota;

use crate::{Crowd, MS, PASSING, SECOND, Scripted, clock, retries, run, share};

const CALLS: u32 = 3_000;

#[test]
fn a_backend_that_always_fails_is_called_by_the_budget_more_and_not_by_the_retries() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS, Err(PASSING)));
    let policy =
        Policy::builder().retry(retries(3, MS)).budget(share(0.2)).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    for request in 0..1_000 {
        assert!(run(&hand, backend.call(Call::new(request))).is_err());
    }
    assert!((1_100..=1_200).contains(&service.attempts()), "{}", service.attempts());
}

/// Sixteen callers make 3,000 calls. Gives how many succeeded, and how long it took.
fn day(
    services: [Scripted; 3],
    clock: &aqueduct_core::Clock,
    hand: &aqueduct_core::ManualClock,
) -> (Backend<Scripted, u32>, usize, Duration) {
    let [a, b, c] = services;
    let policy = Policy::builder().concurrency(Concurrency::fixed(16)).retry(retries(3, MS));
    let policy = policy.clock(clock.clone()).build().expect("in range");
    let backend = policy
        .over([Endpoint::new("a", a), Endpoint::new("b", b), Endpoint::new("c", c)])
        .expect("three names");
    let begun = clock.now();
    let left = Cell::new(CALLS);
    let mut crowd = Crowd::new();
    for _ in 0..16 {
        crowd.join(async {
            let mut good = 0;
            // Whoever is free makes the next call.
            while let Some(request) = left.get().checked_sub(1) {
                left.set(request);
                good += usize::from(backend.call(Call::new(request)).await.is_ok());
            }
            good
        });
    }
    let good = crowd.finish(hand).into_iter().map(|(_, good)| good).sum();
    (backend, good, clock.now().since(begun))
}

fn well(clock: &aqueduct_core::Clock) -> Scripted {
    Scripted::new(clock, |request| (MS * 10, Ok(request)))
}

#[test]
fn with_one_of_three_endpoints_dead_no_call_fails_and_two_thirds_of_the_attempts_are_good() {
    let (clock, hand) = clock();
    let dead = Scripted::new(&clock, |_| (Duration::ZERO, Err(PASSING)));
    let (backend, good, _) = day([well(&clock), dead, well(&clock)], &clock, &hand);
    let figures = backend.snapshot();
    assert_eq!((good, figures.failed), (CALLS as usize, 0), "{figures:?}");
    assert!(good as f64 / figures.attempts as f64 >= 0.66, "{figures:?}");
}

#[test]
fn with_one_of_three_endpoints_ten_times_slower_nine_tenths_of_the_goodput_are_left() {
    let (clock, hand) = clock();
    let (_, good, sound) = day([well(&clock), well(&clock), well(&clock)], &clock, &hand);
    assert_eq!(good, CALLS as usize);
    let slow = Scripted::new(&clock, |request| (MS * 100, Ok(request)));
    let (backend, good, took) = day([well(&clock), slow, well(&clock)], &clock, &hand);
    assert_eq!(good, CALLS as usize);
    let share = sound.as_secs_f64() / took.as_secs_f64();
    assert!(share >= 0.9, "{share}: {sound:?} and {took:?} {:?}", backend.snapshot().endpoints);
}

#[test]
fn at_a_fifth_of_failures_the_quota_is_used_up_and_kept() {
    let (clock, hand) = clock();
    let (made, now) = (AtomicU32::new(0), clock.clone());
    let service = Scripted::new(&clock, move |request| {
        let fails = made.fetch_add(1, Ordering::Relaxed).is_multiple_of(5);
        (MS * 20, if fails { Err(PASSING) } else { Ok(request) })
    });
    let quota = Quota::per_second(100).and_then(|quota| quota.with_burst(5)).expect("in range");
    let policy = Policy::builder().retry(retries(3, MS * 50)).rate_limit(quota, Scope::PerKey).clock(clock);
    let backend = policy.build().expect("in range").over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for _ in 0..32 {
        crowd.join(async {
            let mut good = 0;
            while now.now().elapsed_since_start() < SECOND * 60 {
                good += usize::from(backend.call(Call::new(1).key("a")).await.is_ok());
            }
            good
        });
    }
    let good: usize = crowd.finish(&hand).into_iter().map(|(_, good)| good).sum();
    let times = service.times();
    for (number, from) in times.iter().enumerate() {
        let within = times.iter().skip(number).take_while(|at| **at - *from < SECOND).count();
        assert!(within <= 105, "{within} in the second from {from:?}");
    }
    // A minute allows 6,000 attempts, and four of five succeed.
    assert!(good * 100 >= 4_800 * 95, "{good} of 4,800");
}
