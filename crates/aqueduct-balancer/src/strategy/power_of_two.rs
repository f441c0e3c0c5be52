use super::{Ask, Candidates, Strategy};
use crate::draw::Draw;

/// The one of two that are drawn with fewer calls under way for its weight.
///
/// Source: M. Mitzenmacher, "The power of two choices in randomized load balancing", IEEE Transactions on Parallel and
/// Distributed Systems 12, 2001. Ours draws by weight, and the second must make up for it: it is taken only if it would
/// still be no fuller with the call than the first is without. So idle endpoints get exactly their shares, and among
/// equal weights it is the usual rule. To divide by the weight alone gives a heavy idle endpoint everything.
#[derive(Debug)]
pub(crate) struct PowerOfTwo(Draw);

impl PowerOfTwo {
    pub(crate) fn new(weights: &[f64]) -> Self {
        Self(Draw::new(weights))
    }
}

impl Strategy for PowerOfTwo {
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize> {
        if from.count() == 0 {
            return None;
        }
        let first = self.0.one(&mut ask.random);
        let second = self.0.other(first, &mut ask.random);
        Some(emptier(&self.0, from, first, second))
    }
}

/// `second` if it would be no fuller with one call more than `first` is, else `first`.
pub(super) fn emptier(draw: &Draw, from: &dyn Candidates, first: usize, second: usize) -> usize {
    let now = draw.filled(first, from.load(first).in_flight());
    let then = draw.filled(second, from.load(second).in_flight().saturating_add(1));
    if then <= now { second } else { first }
}
