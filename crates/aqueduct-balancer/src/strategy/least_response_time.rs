use super::{Ask, Candidates, Strategy};
use crate::draw::Draw;

/// The one of two that are drawn that should answer sooner: its time, recent failures included, for each call that it
/// would then have.
///
/// Source: Finagle's P2C with `PeakEwma`, and the penalty for failures of linkerd2-proxy (2026). Ours draws by weight,
/// and counts the calls under way by what they fill, so that a weight is a share and not a preference.
#[derive(Debug)]
pub(crate) struct LeastResponseTime(Draw);

impl LeastResponseTime {
    pub(crate) fn new(weights: &[f64]) -> Self {
        Self(Draw::new(weights))
    }
}

impl Strategy for LeastResponseTime {
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize> {
        if from.count() == 0 {
            return None;
        }
        let first = self.0.one(&mut ask.random);
        let second = self.0.rival(first, &mut ask.random);
        let cost = |index: usize| {
            let load = from.load(index);
            load.latency(ask.now, from.tuning()) * (self.0.filled(index, load.in_flight()) + 1.0)
        };
        Some(if cost(second) < cost(first) * self.0.margin() { second } else { first })
    }
}
