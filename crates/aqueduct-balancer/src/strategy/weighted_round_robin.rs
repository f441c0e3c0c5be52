use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ask, Candidates, Strategy};

/// Smooth weighted round robin, worked out beforehand: a pick reads the next entry of a schedule.
///
/// The schedule is that of nginx (upstream_round_robin, 2012): each turn gives everybody their weight, the richest is
/// chosen and pays the sum. That takes the sum of the weights times their number, so for many endpoints each takes its
/// turns at even distances instead, which is as smooth and takes a sort.
#[derive(Debug)]
pub(crate) struct WeightedRoundRobin {
    schedule: Vec<usize>,
    /// Relaxed: two threads get two turns, in whatever order.
    turn: Arc<AtomicUsize>,
}

/// The longest schedule, unless there are more endpoints. A share is then within 1/16,384 of the calls.
const SLOTS_MAX: u64 = 16_384;
const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// About a millisecond of work.
const STEPS_MAX: u64 = 1 << 20;

impl WeightedRoundRobin {
    pub(crate) fn new(weights: &[f64], turn: Arc<AtomicUsize>) -> Self {
        let weights = whole(weights);
        let total: u64 = weights.iter().sum();
        let steps = total.saturating_mul(weights.len() as u64);
        let schedule = if steps <= STEPS_MAX { richest_first(&weights) } else { at_even_distances(&weights) };
        Self { schedule, turn }
    }
}

impl Strategy for WeightedRoundRobin {
    fn choose(&self, _: &dyn Candidates, _: &mut Ask<'_>) -> Option<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.schedule.len())?;
        self.schedule.get(turn).copied()
    }
}

/// The weights as whole numbers without a common divisor, whose sum is at most the longest schedule.
fn whole(weights: &[f64]) -> Vec<u64> {
    // Slow start makes fractions; hundredths of them are enough.
    let scale = if weights.iter().all(|weight| weight.fract() == 0.0) { 1.0 } else { 100.0 };
    let reduced = reduce(weights.iter().map(|weight| rounded(weight * scale)).collect());
    let total: u64 = reduced.iter().sum();
    if total <= SLOTS_MAX.max(weights.len() as u64) {
        return reduced;
    }
    let down = SLOTS_MAX as f64 / total as f64;
    reduce(reduced.into_iter().map(|weight| rounded(weight as f64 * down)).collect())
}

fn reduce(weights: Vec<u64>) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |left, right| divisor(left, *right)).max(1);
    weights.into_iter().map(|weight| weight / divisor).collect()
}

fn divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// The nearest whole number from 1 on.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "weights are from 0 to 10^6")]
fn rounded(weight: f64) -> u64 {
    weight.round().max(1.0) as u64
}

fn richest_first(weights: &[u64]) -> Vec<usize> {
    let total: u64 = weights.iter().sum();
    let mut purses = vec![0_i128; weights.len()];
    (0..total)
        .filter_map(|_| {
            for (purse, weight) in purses.iter_mut().zip(weights) {
                *purse += i128::from(*weight);
            }
            // Of equals the first, where `max_by_key` would take the last.
            let richest = purses.iter().enumerate().rev().max_by_key(|(_, purse)| **purse)?.0;
            purses[richest] -= i128::from(total);
            Some(richest)
        })
        .collect()
}

fn at_even_distances(weights: &[u64]) -> Vec<usize> {
    let turns = weights.iter().enumerate().flat_map(|(index, weight)| {
        // Multiples of the golden ratio leave no gaps and no clusters between the first turns.
        let first = (index as f64 * GOLDEN).fract();
        (0..*weight).map(move |turn| ((turn as f64 + first) / *weight as f64, index))
    });
    let mut turns: Vec<_> = turns.collect();
    turns.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    turns.into_iter().map(|(_, index)| index).collect()
}
