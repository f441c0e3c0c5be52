use std::thread;
use std::time::Duration;

use aqueduct_core::Random;
use aqueduct_metrics::Histogram;
use proptest::prelude::*;

/// What a quantile means: the smallest value that at least the share `q` of the values does not exceed.
fn exact_quantile(sorted: &[u64], q: f64) -> u64 {
    let reached = (1_u32..).map(f64::from).zip(sorted).find(|(count, _)| *count >= q * sorted.len() as f64);
    *reached.expect("q is at most 1").1
}

fn check_quantiles(values: &[u64]) {
    let histogram = Histogram::default();
    values.iter().for_each(|value| histogram.record(*value));
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let seen = histogram.read();
    for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
        let exact = exact_quantile(&sorted, q);
        let given = seen.quantile(q).expect("there are values");
        let error = u128::from(given.abs_diff(exact));
        assert!(error * 128 <= u128::from(exact), "q {q}: {given} instead of {exact}");
    }
    assert_eq!(seen.count(), sorted.len() as u64);
    assert_eq!((seen.min(), seen.max()), (sorted.first().copied(), sorted.last().copied()));
    let sum = sorted.iter().fold(0_u64, |sum, value| sum.wrapping_add(*value));
    assert_eq!(seen.sum(), sum);
    assert_eq!(seen.mean(), Some(sum as f64 / sorted.len() as f64));
}

proptest! {
    #[test]
    fn a_quantile_is_within_one_128th_of_the_sorted_values(
        // Shifting spreads the values over every order of magnitude.
        values in prop::collection::vec((any::<u64>(), 0..64_u32).prop_map(|(value, bits)| value >> bits), 1..300)
    ) {
        check_quantiles(&values);
    }
}

#[test]
fn a_quantile_of_many_latencies_is_within_one_128th() {
    // Latencies as services have them: most near the median, some a thousand times as long.
    let mut random = Random::seeded(7);
    let values: Vec<u64> = (0..100_000)
        .map(|_| {
            let tail = random.below(26);
            50_000 + random.below(1 << tail)
        })
        .collect();
    check_quantiles(&values);
}

#[test]
fn values_below_128_are_exact() {
    let histogram = Histogram::default();
    (0..128).for_each(|value| histogram.record(value));
    let seen = histogram.read();
    for value in 0..128_u32 {
        assert_eq!(seen.quantile(f64::from(value + 1) / 128.0), Some(u64::from(value)));
        assert_eq!(seen.at_most(u64::from(value)), u64::from(value) + 1);
    }
}

#[test]
fn nothing_recorded_has_no_quantile_and_no_mean() {
    let seen = Histogram::default().read();
    assert_eq!((seen.count(), seen.sum()), (0, 0));
    assert_eq!((seen.min(), seen.max(), seen.mean(), seen.quantile(0.5)), (None, None, None, None));
}

#[test]
fn a_share_outside_zero_and_one_has_no_quantile() {
    let histogram = Histogram::default();
    histogram.record(1);
    for q in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(histogram.read().quantile(q), None, "{q}");
    }
}

#[test]
fn the_largest_and_the_smallest_values_are_kept_exactly() {
    let histogram = Histogram::default();
    histogram.record(u64::MAX);
    histogram.record(0);
    let seen = histogram.read();
    assert_eq!((seen.min(), seen.max()), (Some(0), Some(u64::MAX)));
    assert_eq!((seen.quantile(0.0), seen.quantile(0.5)), (Some(0), Some(0)));
    histogram.record_duration(Duration::MAX);
    assert_eq!(histogram.read().count(), 3);
}

#[test]
fn no_record_is_lost_and_every_reader_sees_a_whole_distribution() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    let histogram = Histogram::default();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let histogram = histogram.clone();
            scope.spawn(move || (0..EACH).for_each(|value| histogram.record(value * THREADS + thread)));
        }
        scope.spawn(|| {
            for _ in 0..200 {
                let seen = histogram.read();
                if let (Some(min), Some(max), Some(median)) = (seen.min(), seen.max(), seen.quantile(0.5)) {
                    assert!(min <= median && median <= max, "{min} {median} {max}");
                }
            }
        });
    });
    let seen = histogram.read();
    let all = THREADS * EACH;
    assert_eq!((seen.count(), seen.sum()), (all, all * (all - 1) / 2));
}
