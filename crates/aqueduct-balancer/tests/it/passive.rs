use aqueduct_balancer::{Algorithm, Balancer, Config, State};
use aqueduct_core::{ManualClock, Verdict};

use crate::{ALGORITHMS, MILLISECOND, SECOND, balancer, shares, with};

/// So many calls, each of a millisecond but those of endpoint 0, which fails at once while `broken`.
fn calls(balancer: &Balancer<usize>, hand: &ManualClock, calls: usize, broken: bool) -> usize {
    let mut to_the_bad_one = 0;
    for call in 0..calls {
        let lease = balancer.pick_for(&call.to_le_bytes()).expect("there are others");
        let bad = *lease.value() == 0;
        to_the_bad_one += usize::from(bad);
        if bad && broken {
            lease.finish(Verdict::FAILURE);
        } else {
            hand.advance(MILLISECOND);
            lease.finish(Verdict::Success);
        }
    }
    to_the_bad_one
}

#[test]
fn an_endpoint_that_fails_at_once_gets_three_in_a_hundred_at_most() {
    for algorithm in ALGORITHMS {
        let (balancer, hand) = balancer(&[1; 4], with(algorithm));
        calls(&balancer, &hand, 20, true);
        let bad = calls(&balancer, &hand, 400, true);
        assert!(bad <= 12, "{algorithm:?} gave it {bad} of 400");
    }
}

#[test]
fn an_endpoint_that_is_well_again_has_its_share_within_an_ejection() {
    for algorithm in ALGORITHMS {
        let (balancer, hand) = balancer(&[1; 4], with(algorithm));
        calls(&balancer, &hand, 1_000, true);
        // Some other call may have failed the moment before it recovered.
        hand.advance(SECOND * 30);
        calls(&balancer, &hand, 20, false);
        let share = calls(&balancer, &hand, 4_000, false);
        assert!((500..1_600).contains(&share), "{algorithm:?} gave it {share} of 4000");
    }
}

#[test]
fn a_wait_that_was_asked_for_moves_the_traffic_at_once() {
    for algorithm in ALGORITHMS {
        let (balancer, hand) = balancer(&[1; 4], with(algorithm));
        let lease = balancer.pick().expect("there are four");
        let busy = *lease.value();
        lease.finish(Verdict::Failure { retry_after: Some(SECOND * 20) });
        assert_eq!(balancer.snapshot()[busy].state, State::Resting);
        for call in 0..2_000_u32 {
            hand.advance(MILLISECOND * 9);
            let lease = balancer.pick_for(&call.to_le_bytes()).expect("there are others");
            assert_ne!(*lease.value(), busy, "{algorithm:?}");
            lease.finish(Verdict::Success);
        }
        hand.advance(SECOND * 2);
        assert_eq!(balancer.snapshot()[busy].state, State::Active);
    }
}

#[test]
fn a_wait_that_was_asked_for_has_a_limit() {
    let (balancer, hand) = balancer(&[1], Config::builder().retry_after_max(SECOND * 300));
    let lease = balancer.pick().expect("it is there");
    lease.finish(Verdict::Failure { retry_after: Some(SECOND * 86_400) });
    hand.advance(SECOND * 299);
    assert!(balancer.pick().is_err());
    hand.advance(SECOND);
    assert!(balancer.pick().is_ok());
}

#[test]
fn two_endpoints_lose_one_of_them_and_one_none() {
    let (pair, hand) = balancer(&[1, 1], with(Algorithm::RoundRobin));
    calls(&pair, &hand, 100, true);
    assert_eq!(shares(&pair, 10).keys().copied().collect::<Vec<_>>(), [1]);
    // All of them fail: one stays.
    for _ in 0..100 {
        pair.pick().expect("one is always left").finish(Verdict::FAILURE);
    }
    assert_eq!(pair.snapshot().iter().filter(|figures| figures.state == State::Ejected).count(), 1);

    let (alone, hand) = balancer(&[1], Config::builder());
    assert_eq!(calls(&alone, &hand, 100, true), 100);
    assert_eq!(alone.snapshot()[0].ejections, 0);
}

#[test]
fn ejections_grow_while_an_endpoint_stays_bad() {
    let (balancer, hand) = balancer(&[1; 4], with(Algorithm::RoundRobin));
    let mut lasted = Vec::new();
    for _ in 0..4 {
        while balancer.snapshot()[0].state != State::Ejected {
            let lease = balancer.pick().expect("there are others");
            let verdict = if *lease.value() == 0 { Verdict::FAILURE } else { Verdict::Success };
            lease.finish(verdict);
        }
        let mut seconds = 0;
        while balancer.snapshot()[0].state == State::Ejected {
            hand.advance(SECOND);
            seconds += 1;
        }
        lasted.push(seconds);
    }
    assert_eq!(lasted, [30, 60, 90, 120]);
}
