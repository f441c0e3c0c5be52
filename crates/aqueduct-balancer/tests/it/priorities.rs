use aqueduct_balancer::{Algorithm, Balancer, Config, Endpoint, Health, Portion, Standing, portions};
use aqueduct_core::{Clock, Timestamp, Verdict};

use crate::SECOND;

/// Hundredths of the calls, and whether it panics, for each priority of 100 endpoints of which so many are well.
fn check(well: &[usize], expected: &[(u32, bool)]) {
    let standings: Vec<_> = well.iter().map(|well| Standing { well: *well, all: 100 }).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(hundredths, panic)| Portion { hundredths: *hundredths, panic: *panic })
        .collect();
    assert_eq!(portions(&standings, 1.4, 0.5), expected, "{well:?}");
}

/// envoyproxy/envoy: docs/root/intro/arch_overview/upstream/load_balancing/priority.rst, Apache-2.0: three tables. They
/// say nothing about panic; that is computed.
#[test]
fn priorities_are_those_of_the_tables_of_envoy() {
    for (well, first) in [(100, 100), (72, 100), (71, 99), (50, 70), (25, 35), (0, 0)] {
        check(&[well, 100], &[(first, false), (100 - first, false)]);
    }
    for (well, traffic, panic) in [
        ([100, 100], [100, 0], false),
        ([72, 72], [100, 0], false),
        ([71, 71], [99, 1], false),
        ([50, 50], [70, 30], false),
        ([25, 100], [35, 65], false),
        ([25, 25], [50, 50], true),
    ] {
        check(&well, &traffic.map(|hundredths| (hundredths, panic)));
    }
    for (well, traffic, panic) in [
        ([100, 100, 100], [100, 0, 0], false),
        ([72, 72, 100], [100, 0, 0], false),
        ([71, 71, 100], [99, 1, 0], false),
        ([50, 50, 100], [70, 30, 0], false),
        ([25, 100, 100], [35, 65, 0], false),
        ([25, 25, 100], [35, 35, 30], false),
        ([25, 25, 20], [36, 36, 28], true),
    ] {
        check(&well, &traffic.map(|hundredths| (hundredths, panic)));
    }
}

/// The same place, `panic_threshold.rst`: two tables. Two rows of the second, (50, 60) with 50 and 50 hundredths and
/// (25, 100) with 25 and 75, contradict `priority.rst` and the formula in it, which give 70 and 30, 35 and 65; they are
/// here by the formula.
#[test]
fn panic_is_that_of_the_tables_of_envoy() {
    for (well, first) in [(72, 100), (71, 99), (50, 70), (25, 35), (0, 0)] {
        check(&[well, 100], &[(first, false), (100 - first, false)]);
    }
    check(&[72, 72], &[(100, false), (0, false)]);
    check(&[71, 71], &[(99, false), (1, false)]);
    check(&[50, 60], &[(70, false), (30, false)]);
    check(&[25, 100], &[(35, false), (65, false)]);
    check(&[25, 25], &[(50, true), (50, true)]);
    check(&[5, 65], &[(7, true), (93, false)]);
    // "All traffic will be redirected to P=0", and nothing where panic is off.
    check(&[0, 0], &[(100, true), (0, false)]);
    let none = [Standing { well: 0, all: 4 }];
    assert_eq!(portions(&none, 1.4, 0.0), [Portion::default()]);
}

#[test]
fn portions_are_all_calls_or_none() {
    for first in 0..=20 {
        for second in 0..=20 {
            for third in 0..=3 {
                let standings =
                    [(first, 20), (second, 20), (third, 3)].map(|(well, all)| Standing { well, all });
                let sum: u32 = portions(&standings, 1.4, 0.5).iter().map(|portion| portion.hundredths).sum();
                assert_eq!(sum, 100);
            }
        }
    }
    assert!(portions(&[], 1.4, 0.5).is_empty());
    assert_eq!(portions(&[Standing { well: 0, all: 0 }], 1.4, 0.5), [Portion::default()]);
}

/// Ten endpoints of each of two priorities.
fn two_priorities(algorithm: Algorithm, panic_below: f64) -> Balancer<usize> {
    let (clock, _) = Clock::manual(Timestamp(0));
    let endpoints = (0..20_u8)
        .map(|index| Endpoint::new(format!("{index}"), usize::from(index)).with_priority(index / 10 * 3));
    let config =
        Config::builder().algorithm(algorithm).panic_below(panic_below).build().expect("it is right");
    Balancer::new(endpoints, config, clock).expect("they are endpoints")
}

fn make_unhealthy(balancer: &Balancer<usize>, indices: impl Iterator<Item = usize>) {
    for index in indices {
        balancer.set_health(&index.to_string(), Health::Unhealthy).expect("it is there");
    }
}

#[test]
fn what_the_first_priority_cannot_take_goes_to_the_next() {
    for algorithm in [Algorithm::PowerOfTwo, Algorithm::Ketama] {
        let balancer = two_priorities(algorithm, 0.5);
        let second = || {
            let picks = (0..10_000_u32).map(|call| {
                let lease = balancer.pick_for(&call.to_le_bytes()).expect("there are some");
                let index = *lease.value();
                lease.finish(Verdict::Success);
                index
            });
            picks.filter(|index| *index >= 10).count()
        };
        assert_eq!(second(), 0);
        make_unhealthy(&balancer, 0..2);
        assert_eq!(second(), 0, "80 % and 1.4 times that are enough");
        make_unhealthy(&balancer, 2..5);
        assert!((2_800..3_200).contains(&second()));
        make_unhealthy(&balancer, 5..10);
        assert_eq!(second(), 10_000);
    }
}

#[test]
fn a_priority_that_panics_uses_all_its_endpoints() {
    let balancer = two_priorities(Algorithm::RoundRobin, 0.5);
    make_unhealthy(&balancer, (0..8).chain(10..18));
    for _ in 0..1_000 {
        balancer.pick().expect("it panics").finish(Verdict::Success);
    }
    assert!(balancer.snapshot().iter().all(|figures| figures.successes > 20));
}

#[test]
fn without_panic_nothing_that_is_not_well_is_chosen() {
    let balancer = two_priorities(Algorithm::RoundRobin, 0.0);
    make_unhealthy(&balancer, 0..19);
    assert_eq!(*balancer.pick().expect("one is well").value(), 19);
    make_unhealthy(&balancer, 19..20);
    assert!(balancer.pick().is_err());
}

#[test]
fn panic_leaves_those_alone_that_asked_for_it() {
    let balancer = two_priorities(Algorithm::Random, 1.0);
    for _ in 0..20 {
        let lease = balancer.pick().expect("some do not rest");
        lease.finish(Verdict::Failure { retry_after: Some(SECOND) });
    }
    assert_eq!(balancer.pick().map(drop).expect_err("all rest").retry_after, Some(SECOND));
}
