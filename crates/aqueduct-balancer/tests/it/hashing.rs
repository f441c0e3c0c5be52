use std::collections::BTreeMap;

use aqueduct_balancer::{Algorithm, Balancer, Config, Endpoint, Health};
use aqueduct_core::{Clock, Random, Timestamp, Verdict};

use crate::{balancer, endpoint, with};

/// cloudflare/pingora: pingora-ketama/test-data, Apache-2.0: what nginx answered to 1,001 paths (`$request_uri,
/// $upstream_addr`) with `hash $request_uri consistent` over 10.0.0.1:443 to 10.0.0.9:443, weight 100 each.
const NGINX: &str = include_str!("data/nginx-ketama.csv");

#[test]
fn ketama_puts_every_key_where_nginx_puts_it() {
    let (clock, _) = Clock::manual(Timestamp(0));
    let endpoints = (1..=9).map(|host| Endpoint::new(format!("10.0.0.{host}:443"), ()).with_weight(100));
    let config = with(Algorithm::Ketama).build().expect("it is right");
    let balancer = Balancer::new(endpoints, config, clock).expect("they are endpoints");
    let pairs: Vec<_> = NGINX.lines().filter_map(|line| line.split_once(',')).collect();
    assert!(pairs.len() >= 1_000);
    let same = pairs.iter().filter(|(path, upstream)| {
        balancer.pick_for(path.as_bytes()).is_ok_and(|lease| lease.name() == *upstream)
    });
    assert_eq!(same.count(), pairs.len());
}

const HASHES: [Algorithm; 3] =
    [Algorithm::Ketama, Algorithm::Maglev { table: 65_537 }, Algorithm::BoundedLoad { factor: 2.0 }];

/// Where each of so many keys belongs.
fn places(balancer: &Balancer<usize>, keys: u32) -> Vec<usize> {
    let place = |key: u32| {
        let lease = balancer.pick_for(&key.to_le_bytes()).expect("there are endpoints");
        let index = *lease.value();
        lease.finish(Verdict::Success);
        index
    };
    (0..keys).map(place).collect()
}

#[test]
fn a_key_stays_where_it_is() {
    for algorithm in HASHES {
        let (one, _hand) = balancer(&[1; 20], with(algorithm));
        let (other, _hand) = balancer(&[1; 20], with(algorithm));
        assert_eq!(places(&one, 2_000), places(&other, 2_000), "another process puts it elsewhere");
        assert_eq!(places(&one, 2_000), places(&one, 2_000));
    }
}

#[test]
fn an_endpoint_that_comes_or_goes_moves_at_most_twice_the_keys_it_must() {
    const KEYS: u32 = 20_000;
    for algorithm in HASHES {
        let (balancer, _hand) = balancer(&[1; 100], with(algorithm));
        let before = places(&balancer, KEYS);
        balancer.add(endpoint(100)).expect("the name is free");
        let with_one_more = places(&balancer, KEYS);
        balancer.remove(&crate::name(50)).expect("it is there");
        let after = places(&balancer, KEYS);
        let moved = |left: &[usize], right: &[usize]| {
            left.iter().zip(right).filter(|(left, right)| left != right).count()
        };
        let must = |places: &[usize], index| places.iter().filter(|place| **place == index).count();
        let came = moved(&before, &with_one_more) as f64 / must(&with_one_more, 100) as f64;
        let went = moved(&with_one_more, &after) as f64 / must(&with_one_more, 50) as f64;
        assert!(came <= 2.0 && went <= 2.0, "{algorithm:?}: {came} and {went}");
        if !matches!(algorithm, Algorithm::Maglev { .. }) {
            assert_eq!((came, went), (1.0, 1.0));
        }
    }
}

#[test]
fn an_endpoint_that_is_not_well_lends_its_keys_and_gets_them_back() {
    for algorithm in HASHES {
        let (balancer, _hand) = balancer(&[1; 10], with(algorithm));
        let before = places(&balancer, 5_000);
        balancer.set_health("d", Health::Unhealthy).expect("it is there");
        let meanwhile = places(&balancer, 5_000);
        for (was, is) in before.iter().zip(&meanwhile) {
            assert!(*is != 3 && (was == is || *was == 3));
        }
        balancer.set_health("d", Health::Healthy).expect("it is there");
        assert_eq!(places(&balancer, 5_000), before);
    }
}

#[test]
fn keys_are_spread_by_weight() {
    for (algorithm, error) in [(Algorithm::Ketama, 0.25), (Algorithm::Maglev { table: 65_537 }, 0.1)] {
        let weights = [1, 2, 3, 4];
        let (balancer, _hand) = balancer(&weights, with(algorithm));
        let places = places(&balancer, 50_000);
        for (index, weight) in weights.iter().enumerate() {
            let share = places.iter().filter(|place| **place == index).count() as f64 / 50_000.0;
            let expected = f64::from(*weight) / 10.0;
            assert!((share / expected - 1.0).abs() < error, "{algorithm:?}: {share} for {expected}");
        }
    }
}

/// Maglev's table is what the paper says: between the emptiest and the fullest there is about a hundredth.
#[test]
fn maglev_spreads_more_evenly_than_a_ring() {
    let spread = |algorithm| {
        let (balancer, _hand) = balancer(&[1; 50], with(algorithm));
        let mut counts = BTreeMap::new();
        places(&balancer, 200_000).into_iter().for_each(|place| *counts.entry(place).or_insert(0) += 1);
        let counts: Vec<i32> = counts.into_values().collect();
        f64::from(*counts.iter().max().expect("50")) / f64::from(*counts.iter().min().expect("50"))
    };
    assert!(spread(Algorithm::Maglev { table: 65_537 }) < 1.2);
    assert!(spread(Algorithm::Ketama) > 1.2);
}

#[test]
fn bounded_load_gives_no_endpoint_more_than_its_bound() {
    let mut random = Random::seeded(9);
    for factor in [1.05, 1.25, 2.0] {
        let weights = [1, 1, 2, 4];
        let (balancer, _hand) = balancer(&weights, with(Algorithm::BoundedLoad { factor }));
        let mut leases = Vec::new();
        for _ in 0..3_000 {
            // Three quarters of the calls have one of three keys.
            let key = if random.unit() < 0.75 { random.below(3) } else { random.below(1_000) };
            let lease = balancer.pick_for(&key.to_le_bytes()).expect("there are four");
            let under_way = leases.len() as f64 + 1.0;
            let index = *lease.value();
            let bound = (factor * under_way * f64::from(weights[index]) / 8.0).ceil();
            assert!(f64::from(balancer.snapshot()[index].in_flight) <= bound);
            leases.push(lease);
            if leases.len() == 200 {
                let index = usize::try_from(random.below(200)).expect("it is small");
                drop(leases.swap_remove(index));
            }
        }
    }
}

#[test]
fn a_session_sticks_and_spills_only_when_its_endpoint_is_full() {
    let (balancer, _hand) = balancer(&[1; 4], with(Algorithm::BoundedLoad { factor: 1.25 }));
    let home = *balancer.pick_for(b"session").expect("there are four").value();
    let leases: Vec<_> = (0..8).map(|_| balancer.pick_for(b"session").expect("there are four")).collect();
    assert!(leases.iter().filter(|lease| *lease.value() == home).count() <= 3, "1.25 of 8 by 4 is 2.5");
    drop(leases);
    assert_eq!(*balancer.pick_for(b"session").expect("there are four").value(), home);
}

#[test]
fn without_a_key_a_hash_strategy_takes_any() {
    for algorithm in HASHES {
        let (balancer, _hand) = balancer(&[1; 4], with(algorithm));
        assert_eq!(crate::shares(&balancer, 1_000).len(), 4);
    }
    let (plain, _hand) = balancer(&[1; 4], Config::builder());
    assert!(plain.pick_for(b"a key that means nothing").is_ok());
}
