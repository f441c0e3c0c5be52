use aqueduct_balancer::{Algorithm, Balancer, Lease, SlowStart};
use aqueduct_core::{Random, Verdict};

use crate::{MILLISECOND, SECOND, balancer, endpoint, pick, shares, with};

#[test]
fn round_robin_takes_one_after_the_other() {
    let (balancer, _hand) = balancer(&[1, 1, 1], with(Algorithm::RoundRobin));
    let picks: Vec<_> = (0..7).map(|_| pick(&balancer)).collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn weighted_round_robin_is_as_smooth_as_in_nginx() {
    for (weights, expected) in [
        // The example of the commit that brought it to nginx (52327e0627383dbfb62cb1ca5e39c1c3e8a4bb6a).
        (vec![5, 1, 1], "aabacaa"),
        (vec![1, 1, 1], "abc"),
        (vec![4, 2], "aba"),
        (vec![3, 2, 1], "abacba"),
    ] {
        let (balancer, _hand) = balancer(&weights, with(Algorithm::WeightedRoundRobin));
        let expected: Vec<_> = expected.bytes().map(|byte| usize::from(byte - b'a')).collect();
        for _ in 0..3 {
            let picks: Vec<_> = expected.iter().map(|_| pick(&balancer)).collect();
            assert_eq!(picks, expected, "{weights:?}");
        }
    }
}

/// The loop of nginx, as it is written.
fn naive(weights: &[u32]) -> Vec<usize> {
    let total = weights.iter().sum::<u32>();
    let mut current = vec![0_i64; weights.len()];
    (0..total)
        .map(|_| {
            let mut best = 0;
            for index in 0..weights.len() {
                current[index] += i64::from(weights[index]);
                if current[index] > current[best] {
                    best = index;
                }
            }
            current[best] -= i64::from(total);
            best
        })
        .collect()
}

#[test]
fn weighted_round_robin_is_the_loop_of_nginx_for_any_weights() {
    let mut random = Random::seeded(1);
    for _ in 0..50 {
        let weights: Vec<_> = (0..=random.below(8))
            .map(|_| u32::try_from(random.below(40)).expect("it is small") + 1)
            .collect();
        let (balancer, _hand) = balancer(&weights, with(Algorithm::WeightedRoundRobin));
        for expected in naive(&weights) {
            assert_eq!(pick(&balancer), expected, "{weights:?}");
        }
    }
}

#[test]
fn a_long_schedule_is_exact_and_smooth() {
    // Too long for the loop; the turns of each are at even distances.
    let weights: Vec<u32> = (0..1_000).map(|index| 1 + index % 10).collect();
    let total: u32 = weights.iter().sum();
    let (balancer, _hand) = balancer(&weights, with(Algorithm::WeightedRoundRobin));
    let picks: Vec<_> = (0..total).map(|_| pick(&balancer)).collect();
    for (index, weight) in weights.iter().enumerate() {
        let turns: Vec<_> =
            picks.iter().enumerate().filter(|(_, pick)| **pick == index).map(|(turn, _)| turn).collect();
        assert_eq!(turns.len(), *weight as usize);
        let widest = turns.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        assert!(f64::from(u32::try_from(widest).expect("it is small")) <= 1.2 * f64::from(total / weight));
    }
}

#[test]
fn idle_endpoints_get_their_weights_to_the_hundredth() {
    // tower-rs/tower#696 divides the load by the weight, and a weight of 99 % gets 66 %.
    for algorithm in [
        Algorithm::Random,
        Algorithm::WeightedRoundRobin,
        Algorithm::PowerOfTwo,
        Algorithm::LeastResponseTime,
        Algorithm::LeastConnections { choices: 2 },
        Algorithm::Adaptive { hot_quantile: 0.84 },
    ] {
        for weights in [
            vec![99, 1],
            vec![3, 1],
            vec![1, 1, 1, 1],
            vec![50, 30, 15, 5],
            vec![8, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        ] {
            let (balancer, hand) = balancer(&weights, with(algorithm));
            let mut shares = vec![0.0; weights.len()];
            for call in 0..60_000 {
                let lease = balancer.pick().expect("there is one");
                hand.advance(MILLISECOND);
                // At first they do not know how fast each is.
                shares[*lease.value()] += if call < 10_000 { 0.0 } else { 1.0 / 50_000.0 };
                lease.finish(Verdict::Success);
            }
            let total: u32 = weights.iter().sum();
            for (index, weight) in weights.iter().enumerate() {
                let share: f64 = shares[index];
                let error = (share - f64::from(*weight) / f64::from(total)).abs();
                assert!(error <= 0.01, "{algorithm:?} {weights:?}: {index} has {share}");
            }
        }
    }
}

/// The share of each while `under_way` calls are, of which one that is drawn ends after the other.
fn shares_under_load(balancer: &Balancer<usize>, endpoints: usize, under_way: usize, calls: u32) -> Vec<f64> {
    let mut random = Random::seeded(3);
    let mut leases: Vec<Lease<usize>> = Vec::new();
    let mut counts = vec![0_u32; endpoints];
    for _ in 0..calls {
        if leases.len() == under_way {
            let index = usize::try_from(random.below(under_way as u64)).expect("it is small");
            leases.swap_remove(index).finish(Verdict::Success);
        }
        let lease = balancer.pick().expect("there is one");
        counts[*lease.value()] += 1;
        leases.push(lease);
    }
    counts.into_iter().map(|count| f64::from(count) / f64::from(calls)).collect()
}

#[test]
fn busy_endpoints_get_their_weights_to_the_hundredth() {
    for algorithm in [Algorithm::PowerOfTwo, Algorithm::LeastConnections { choices: 2 }] {
        for (weights, under_way) in
            [(vec![99, 1], 10), (vec![99, 1], 200), (vec![3, 1], 40), (vec![50, 30, 15, 5], 100)]
        {
            let (balancer, _hand) = balancer(&weights, with(algorithm));
            let shares = shares_under_load(&balancer, weights.len(), under_way, 100_000);
            let total: u32 = weights.iter().sum();
            for (weight, share) in weights.iter().zip(&shares) {
                let error = (share - f64::from(*weight) / f64::from(total)).abs();
                assert!(error <= 0.01, "{algorithm:?} {weights:?} with {under_way}: {shares:?}");
            }
        }
    }
}

#[test]
fn least_connections_takes_the_emptiest_of_few() {
    let (balancer, _hand) = balancer(&[1; 5], with(Algorithm::LeastConnections { choices: 2 }));
    let mut leases = Vec::new();
    for round in 1..=20 {
        for _ in 0..5 {
            leases.push(balancer.pick().expect("there are five"));
        }
        assert!(balancer.snapshot().iter().all(|figures| figures.in_flight == round));
    }
}

#[test]
fn two_choices_keep_the_fullest_near_the_mean() {
    let fullest = |algorithm| {
        let (balancer, _hand) = balancer(&[1; 100], with(algorithm));
        let leases: Vec<_> = (0..1_000).map(|_| balancer.pick().expect("there are many")).collect();
        let fullest =
            balancer.snapshot().iter().map(|figures| figures.in_flight).max().expect("there are some");
        drop(leases);
        fullest
    };
    // ln ln n / ln 2 above the mean (Mitzenmacher 2001), where chance alone gives about 9 more.
    assert!(fullest(Algorithm::PowerOfTwo) <= 13);
    assert!(fullest(Algorithm::LeastConnections { choices: 4 }) <= 12);
    assert!(fullest(Algorithm::Random) >= 16);
}

#[test]
fn a_slow_start_gives_a_new_endpoint_its_share_little_by_little() {
    let slow = SlowStart { window: SECOND * 60, aggression: 1.0, share_min: 0.1 };
    for algorithm in [Algorithm::WeightedRoundRobin, Algorithm::PowerOfTwo, Algorithm::Random] {
        let (balancer, hand) = balancer(&[1, 1], with(algorithm).slow_start(slow));
        hand.advance(SECOND * 60);
        pick(&balancer);
        balancer.add(endpoint(2)).expect("the name is free");
        for (after, weight) in [(0, 0.1), (15, 0.25), (15, 0.5), (15, 0.75), (15, 1.0)] {
            hand.advance(SECOND * after + MILLISECOND);
            let share = shares(&balancer, 20_000)[&2];
            assert!((share - weight / (2.0 + weight)).abs() < 0.01, "{algorithm:?}: {share} for {weight}");
        }
    }
}

#[test]
fn a_slow_start_follows_the_formula_of_envoy() {
    let slow = |aggression| SlowStart { window: SECOND * 60, aggression, share_min: 0.1 };
    let at = |aggression, seconds| slow(aggression).share(SECOND * seconds);
    for (aggression, seconds, share) in [
        (1.0, 0, 0.1),
        (1.0, 6, 0.1),
        (1.0, 30, 0.5),
        (1.0, 60, 1.0),
        (1.0, 90, 1.0),
        (2.0, 15, 0.5),
        (0.5, 30, 0.25),
    ] {
        assert!((at(aggression, seconds) - share).abs() < 1e-12, "{aggression} after {seconds}");
    }
}
