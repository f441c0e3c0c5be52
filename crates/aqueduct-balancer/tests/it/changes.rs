use aqueduct_balancer::{Algorithm, ChangeError, Config, Outliers, State};
use aqueduct_core::Verdict;

use crate::{ALGORITHMS, SECOND, balancer, endpoint, pick, shares, with};

#[tokio::test]
async fn a_drained_endpoint_is_not_chosen_and_finishes_what_it_has() {
    for algorithm in ALGORITHMS {
        let (balancer, _hand) = balancer(&[1, 1, 1], with(algorithm));
        let leases: Vec<_> =
            (0..200_u32).map(|key| balancer.pick_for(&key.to_le_bytes()).expect("there are three")).collect();
        let (mut leases, others): (Vec<_>, Vec<_>) =
            leases.into_iter().partition(|lease| lease.name() == "b");
        drop(others);
        assert!(leases.len() > 1, "{algorithm:?}");
        balancer.drain("b").expect("it is there");
        for key in 0..200_u32 {
            assert_ne!(balancer.pick_for(&key.to_le_bytes()).expect("two are left").name(), "b");
        }
        let drained = {
            let balancer = balancer.clone();
            tokio::spawn(async move { balancer.drained("b").await })
        };
        let last = leases.pop().expect("there are some");
        leases.into_iter().for_each(|lease| lease.finish(Verdict::Success));
        tokio::task::yield_now().await;
        assert!(!drained.is_finished());
        assert_eq!(balancer.snapshot()[1].state, State::Draining);
        last.finish(Verdict::Success);
        drained.await.expect("it does not panic");
        balancer.remove("b").expect("it is there");
        assert_eq!(balancer.snapshot().len(), 2);
        // Nothing to wait for.
        balancer.drained("b").await;
        balancer.drained("a").await;
    }
}

#[test]
fn endpoints_come_and_go_while_calls_are_under_way() {
    let (balancer, _hand) = balancer(&[1, 1], with(Algorithm::RoundRobin));
    let old = balancer.pick().expect("there are two");
    balancer.add(endpoint(2).with_weight(3)).expect("the name is free");
    assert!(balancer.add(endpoint(2)).is_err(), "the name is taken");
    assert_eq!(shares(&balancer, 300).len(), 3);
    balancer.remove("a").expect("it is there");
    balancer.remove("b").expect("it is there");
    assert_eq!(balancer.remove("b"), Err(ChangeError::Unknown));
    assert_eq!(balancer.drain("b"), Err(ChangeError::Unknown));
    old.finish(Verdict::Success);
    assert_eq!(shares(&balancer, 10).len(), 1);
    balancer.remove("c").expect("it is there");
    assert_eq!(balancer.pick().map(drop).expect_err("none is left").retry_after, None);
    // A name is free again, and a new endpoint by it starts anew.
    balancer.add(endpoint(0)).expect("the name is free");
    assert_eq!(balancer.snapshot()[0].requests, 0);
}

#[test]
fn a_weight_can_be_changed_while_calls_are_under_way() {
    let (balancer, _hand) = balancer(&[1, 1], with(Algorithm::WeightedRoundRobin));
    let lease = balancer.pick().expect("there are two");
    balancer.set_weight("b", 4).expect("it is there");
    let shares = shares(&balancer, 1_000);
    assert!((shares[&0] - 0.2).abs() < 1e-9 && (shares[&1] - 0.8).abs() < 1e-9);
    drop(lease);
    assert!(
        matches!(balancer.set_weight("b", 0), Err(ChangeError::Config(error)) if error.field == "weight")
    );
    assert_eq!(balancer.snapshot()[1].weight, 4);
    assert_eq!(balancer.set_weight("x", 1), Err(ChangeError::Unknown));
}

#[test]
fn a_configuration_is_swapped_and_what_is_known_is_kept() {
    let (balancer, hand) = balancer(&[1; 4], with(Algorithm::RoundRobin));
    for _ in 0..20 {
        let lease = balancer.pick().expect("there are four");
        let verdict = if *lease.value() == 3 { Verdict::FAILURE } else { Verdict::Success };
        lease.finish(verdict);
    }
    let lease = balancer.pick().expect("there are three");
    for algorithm in ALGORITHMS {
        balancer.set_config(with(algorithm).build().expect("it is right"));
        let figures = &balancer.snapshot()[3];
        assert_eq!((figures.state, figures.failures), (State::Ejected, 5));
        assert!((0..50).all(|_| pick(&balancer) != 3), "{algorithm:?}");
        assert_eq!(balancer.snapshot().iter().map(|figures| figures.in_flight).sum::<u32>(), 1);
    }
    hand.advance(SECOND * 10);
    balancer.set_config(Config::builder().outliers(None::<Outliers>).build().expect("it is right"));
    assert_eq!(balancer.snapshot()[3].state, State::Active, "nobody is ejected without a rule");
    drop(lease);
}
