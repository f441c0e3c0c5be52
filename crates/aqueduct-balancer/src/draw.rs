use aqueduct_core::Random;

/// Draws among endpoints in proportion to their weights, in O(1).
///
/// The alias method: A. J. Walker, "New fast method for generating discrete random numbers with arbitrary frequency
/// distributions", Electronics Letters 10, 1974; tables as in M. D. Vose, "A linear algorithm for generating random
/// numbers with a given distribution", IEEE Transactions on Software Engineering 17, 1991.
#[derive(Debug)]
pub(crate) struct Draw {
    count: usize,
    /// For each slot the chance that it is itself, and who it is else. Empty where all weights are equal.
    slots: Vec<(f64, usize)>,
    /// The mean weight over the weight of each: how much one call fills it. Empty where all weights are equal.
    fill: Vec<f32>,
}

impl Draw {
    /// Weights are above zero.
    pub(crate) fn new(weights: &[f64]) -> Self {
        let count = weights.len();
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        if equal {
            return Self { count, slots: Vec::new(), fill: Vec::new() };
        }
        let mean = weights.iter().sum::<f64>() / float(count);
        let mut slots: Vec<_> =
            weights.iter().enumerate().map(|(index, weight)| (weight / mean, index)).collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) = (0..count).partition(|index| slots[*index].0 < 1.0);
        while let (Some(poor), Some(rich)) = (small.pop(), large.pop()) {
            slots[poor].1 = rich;
            slots[rich].0 -= 1.0 - slots[poor].0;
            if slots[rich].0 < 1.0 { small.push(rich) } else { large.push(rich) }
        }
        // What is left is a whole slot, but for rounding.
        for whole in small.into_iter().chain(large) {
            slots[whole].0 = 1.0;
        }
        Self { count, slots, fill: weights.iter().map(|weight| narrow(mean / weight)).collect() }
    }

    pub(crate) fn one(&self, random: &mut Random) -> usize {
        let index = below(random, self.count);
        match self.slots.get(index) {
            Some((chance, other)) if random.unit() >= *chance => *other,
            _ => index,
        }
    }

    /// Another one than `first`, which is itself where there is no other.
    pub(crate) fn other(&self, first: usize, random: &mut Random) -> usize {
        if !self.slots.is_empty() {
            // A weight that takes nearly all draws would be drawn again and again.
            for _ in 0..2 {
                let second = self.one(random);
                if second != first {
                    return second;
                }
            }
        }
        if self.count < 2 {
            return first;
        }
        let second = below(random, self.count - 1);
        if second < first { second } else { second + 1 }
    }

    /// A second one to compare with `first`: another one where all weights are equal, and else one by weight again,
    /// which may be the same: were it always another one, it would be drawn far more often than its weight says.
    pub(crate) fn rival(&self, first: usize, random: &mut Random) -> usize {
        if self.slots.is_empty() { self.other(first, random) } else { self.one(random) }
    }

    /// By how much a time must be shorter to count. Times of equals differ a little, and an endpoint that is seldom
    /// drawn must not win each time for it.
    pub(crate) fn margin(&self) -> f32 {
        if self.slots.is_empty() { 1.0 } else { 0.9 }
    }

    /// How much `calls` under way fill it: their number, where all weights are equal.
    pub(crate) fn filled(&self, index: usize, calls: u32) -> f32 {
        // Calls under way are far below 2^24.
        calls as f32 * self.fill.get(index).copied().unwrap_or(1.0)
    }
}

/// A number below `count`, or 0.
pub(crate) fn below(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or(0)
}

fn float(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a ratio of weights needs no more than seven digits")]
fn narrow(ratio: f64) -> f32 {
    ratio as f32
}
