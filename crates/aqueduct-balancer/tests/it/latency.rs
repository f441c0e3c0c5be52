use aqueduct_balancer::{Algorithm, Balancer, Config};
use aqueduct_core::Verdict;

use crate::{MILLISECOND, SECOND, balancer, with};

/// A lease of this one. The others are kept meanwhile, so that it is not too full to be chosen.
fn take(balancer: &Balancer<usize>, index: usize) -> aqueduct_balancer::Lease<usize> {
    let mut others = Vec::new();
    for _ in 0..1_000 {
        let lease = balancer.pick().expect("there is one");
        if *lease.value() == index {
            return lease;
        }
        others.push(lease);
    }
    panic!("{index} is never chosen");
}

fn latency(balancer: &Balancer<usize>, index: usize) -> f64 {
    balancer.snapshot()[index].latency.expect("it has answered").as_secs_f64() * 1e3
}

#[test]
fn a_peak_replaces_the_estimate_and_faster_answers_pull_it_down() {
    let (balancer, hand) = balancer(&[1], Config::builder());
    let answer = |millis| {
        let lease = take(&balancer, 0);
        hand.advance(MILLISECOND * millis);
        lease.finish(Verdict::Success);
        latency(&balancer, 0)
    };
    assert!((answer(10) - 10.0).abs() < 1e-3);
    assert!((answer(200) - 200.0).abs() < 1e-3);
    // One decay later 1/e of the way is left.
    hand.advance(SECOND * 10 - MILLISECOND * 20);
    let expected = 20.0 + (200.0 - 20.0) * (-1.0_f64).exp();
    assert!((answer(20) - expected).abs() < 0.1);
}

#[test]
fn reading_changes_nothing() {
    let read = |times: u32| {
        let (balancer, hand) = balancer(&[1], Config::builder());
        let lease = take(&balancer, 0);
        hand.advance(MILLISECOND * 100);
        lease.finish(Verdict::Success);
        for _ in 0..times {
            hand.advance(SECOND * 10 / times);
            let _ = balancer.snapshot();
        }
        latency(&balancer, 0)
    };
    assert!((read(1) - read(1_000)).abs() < 1e-6);
}

#[test]
fn the_fastest_of_many_gets_the_most_and_every_one_gets_some() {
    for algorithm in [Algorithm::LeastResponseTime, Algorithm::Adaptive { hot_quantile: 0.84 }] {
        let (balancer, hand) = balancer(&[1; 4], with(algorithm));
        let mut counts = [0_u32; 4];
        for _ in 0..4_000 {
            let lease = balancer.pick().expect("there are four");
            let index = *lease.value();
            counts[index] += 1;
            hand.advance(MILLISECOND * [5, 20, 20, 80][index]);
            lease.finish(Verdict::Success);
        }
        assert!(counts[0] > 1_400 && counts[3] < 400 && counts[3] > 0, "{algorithm:?}: {counts:?}");
    }
}

/// Two endpoints that have both answered within 10 ms.
fn alike() -> (Balancer<usize>, aqueduct_core::ManualClock) {
    let (balancer, hand) = balancer(&[1, 1], Config::builder());
    for index in [0, 1] {
        let lease = take(&balancer, index);
        hand.advance(MILLISECOND * 10);
        lease.finish(Verdict::Success);
    }
    (balancer, hand)
}

/// How many of 50 calls go to the first.
fn to_the_first(balancer: &Balancer<usize>) -> usize {
    (0..50).filter(|_| balancer.pick().is_ok_and(|lease| *lease.value() == 0)).count()
}

#[test]
fn one_failure_turns_calls_away_at_once() {
    let (balancer, _hand) = alike();
    assert!(to_the_first(&balancer) > 0);
    take(&balancer, 0).finish(Verdict::FAILURE);
    assert_eq!(to_the_first(&balancer), 0);
    assert_eq!(balancer.snapshot()[0].ejections, 0);
}

#[test]
fn a_success_excuses_a_failure_only_if_it_began_after_it() {
    let (balancer, hand) = alike();
    // The other one is slower, so that nothing but the failure keeps calls away.
    let slow = take(&balancer, 1);
    hand.advance(MILLISECOND * 200);
    slow.finish(Verdict::Success);
    let early = take(&balancer, 0);
    hand.advance(MILLISECOND * 10);
    let failing = take(&balancer, 0);
    failing.finish(Verdict::FAILURE);
    early.finish(Verdict::Success);
    assert_eq!(to_the_first(&balancer), 0);
    let late = take(&balancer, 0);
    hand.advance(MILLISECOND);
    late.finish(Verdict::Success);
    assert_eq!(to_the_first(&balancer), 50);
}

#[test]
fn a_failure_is_forgotten_when_the_penalty_has_faded() {
    let (balancer, hand) = alike();
    take(&balancer, 0).finish(Verdict::FAILURE);
    hand.advance(SECOND * 9);
    assert_eq!(to_the_first(&balancer), 0);
    hand.advance(SECOND);
    assert!(to_the_first(&balancer) > 0);
}

#[test]
fn an_endpoint_that_nobody_knows_gets_one_call_at_once_and_not_all() {
    let (balancer, hand) = balancer(&[1; 3], Config::builder());
    for _ in 0..100 {
        let lease = balancer.pick().expect("there are three");
        hand.advance(MILLISECOND);
        lease.finish(Verdict::Success);
    }
    assert!(balancer.snapshot().iter().all(|figures| figures.successes > 20));
    balancer.add(crate::endpoint(3)).expect("the name is free");
    let leases: Vec<_> = (0..40).map(|_| balancer.pick().expect("there are four")).collect();
    assert_eq!(
        leases.iter().filter(|lease| *lease.value() == 3).count(),
        1,
        "the others answer in 1 ms, not in 30"
    );
}
