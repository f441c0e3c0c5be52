use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use aqueduct_balancer::{Algorithm, Config, State};
use aqueduct_core::{Random, Verdict};

use crate::{ALGORITHMS, MILLISECOND, SECOND, balancer, endpoint, name, with};

proptest::proptest! {
    /// Whatever is added, drained, removed, picked, finished and dropped: what is under way is what is leased, what is
    /// drained is not chosen, and somebody is always left by ejections.
    #[test]
    fn leases_are_never_lost_or_counted_twice(
        algorithm in 0..ALGORITHMS.len(),
        steps in proptest::collection::vec((0_u8..12, 0_usize..64), 1..150),
    ) {
        let (balancer, hand) = balancer(&[1, 2, 3], with(ALGORITHMS[algorithm]));
        let mut leases = Vec::new();
        let mut next = 3;
        for (step, which) in steps {
            match step {
                0 => {
                    balancer.add(endpoint(next).with_weight(1 + u32::try_from(which % 4).unwrap())).unwrap();
                    next += 1;
                }
                1 => drop(balancer.drain(&name(which % next))),
                2 => drop(balancer.remove(&name(which % next))),
                3..7 => {
                    let before = balancer.snapshot();
                    if let Ok(lease) = balancer.pick_for(&which.to_le_bytes()) {
                        let chosen = before.iter().find(|figures| *figures.name == *lease.name()).unwrap();
                        proptest::prop_assert_eq!(chosen.state, State::Active);
                        leases.push(lease);
                    }
                }
                7..11 if !leases.is_empty() => {
                    let lease = leases.swap_remove(which % leases.len());
                    match step {
                        7 => lease.finish(Verdict::Success),
                        8 | 9 => lease.finish(Verdict::FAILURE),
                        _ => drop(lease),
                    }
                }
                _ => hand.advance(MILLISECOND * 7 * u32::try_from(which).unwrap()),
            }
            let mut held = BTreeMap::new();
            leases.iter().for_each(|lease| *held.entry(lease.name().to_owned()).or_insert(0) += 1);
            let figures = balancer.snapshot();
            for figures in &figures {
                proptest::prop_assert_eq!(figures.in_flight, held.get(&*figures.name).copied().unwrap_or(0));
            }
            let there = figures.iter().filter(|figures| figures.state != State::Draining).count();
            let out = figures.iter().filter(|figures| figures.state == State::Ejected).count();
            proptest::prop_assert!(out <= (there / 2).max(1) && (there == 0 || out < there));
            proptest::prop_assert_eq!(balancer.pick().is_ok(), there > 0);
        }
    }
}

#[test]
fn eight_threads_lose_no_lease_and_no_call() {
    const CALLS: u64 = 3_000;
    for algorithm in ALGORITHMS {
        let (balancer, hand) = balancer(&[1, 2, 3, 4, 5], with(algorithm));
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (balancer, hand, start) = (&balancer, &hand, &start);
                scope.spawn(move || {
                    let mut random = Random::seeded(thread);
                    start.wait();
                    for call in 0..CALLS {
                        let lease = balancer.pick_for(&call.to_le_bytes()).expect("some are always left");
                        match random.below(10) {
                            0 => hand.advance(SECOND),
                            1 => hand.advance(MILLISECOND),
                            _ => {}
                        }
                        match random.below(4) {
                            0 => lease.finish(Verdict::FAILURE),
                            1 => lease.finish(Verdict::Ignore),
                            2 => drop(lease),
                            _ => lease.finish(Verdict::Success),
                        }
                    }
                });
            }
        });
        let figures = balancer.snapshot();
        assert!(figures.iter().all(|figures| figures.in_flight == 0));
        assert_eq!(figures.iter().map(|figures| figures.requests).sum::<u64>(), 8 * CALLS, "{algorithm:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_was_drained_stays_empty_while_threads_pick() {
    for round in 0..10 {
        let (balancer, _hand) = balancer(&[1, 1], with(Algorithm::PowerOfTwo));
        let stop = AtomicBool::new(false);
        let start = Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    while !stop.load(Ordering::Relaxed) {
                        drop(balancer.pick().expect("one is left"));
                    }
                });
            }
            start.wait();
            for _ in 0..round {
                std::thread::yield_now();
            }
            balancer.drain("a").expect("it is there");
            while balancer.snapshot()[0].in_flight > 0 {
                std::thread::yield_now();
            }
            // From here on nobody has it, however old the view of a thread is.
            let ended = balancer.snapshot()[0].cancelled;
            for _ in 0..20 {
                std::thread::yield_now();
            }
            assert_eq!(balancer.snapshot()[0].cancelled, ended);
            stop.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn the_same_seed_gives_the_same_picks() {
    let picks = || {
        let (balancer, _hand) = balancer(&[1; 10], Config::builder());
        (0..100).map(|_| *balancer.pick().expect("there are ten").value()).collect::<Vec<_>>()
    };
    assert_eq!(picks(), picks());
}
