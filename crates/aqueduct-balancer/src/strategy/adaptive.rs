use std::sync::atomic::{AtomicU32, Ordering};

use super::{Ask, Candidates, Strategy};
use crate::draw::Draw;

/// The hot-cold rule: an endpoint is hot when it has more calls under way than a quantile of what is usual. Of the cold
/// ones the fastest is chosen, and where all are hot, the least loaded.
///
/// Source: Wydrowski, Kleinberg, Rumble, Archer, "Load is not what you should balance: introducing Prequal", NSDI 2024.
/// There, probes bring the signals of other processes; here they are at hand, so there is no pool, and the quantile is
/// followed by "frugal streaming" (Ma, Muthukrishnan, Sandler, 2013): one figure that moves with what is seen.
#[derive(Debug)]
pub(crate) struct Adaptive {
    draw: Draw,
    /// The bits of the quantile of what is seen, as an `f32`. Relaxed: a step that is lost is one of many.
    quantile: AtomicU32,
    up: f32,
    down: f32,
}

/// Prequal probes about three times a query.
const CHOICES: usize = 3;

impl Adaptive {
    pub(crate) fn new(weights: &[f64], quantile: f64) -> Self {
        let up = narrow(quantile);
        Self { draw: Draw::new(weights), quantile: AtomicU32::new(0), up: up / 4.0, down: (1.0 - up) / 4.0 }
    }
}

impl Strategy for Adaptive {
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize> {
        if from.count() == 0 {
            return None;
        }
        let limit = f32::from_bits(self.quantile.load(Ordering::Relaxed));
        let seen = |index: usize| {
            let load = from.load(index);
            let filled = self.draw.filled(index, load.in_flight());
            // Hot before cold, then the load of the hot ones, the time of the cold ones.
            if filled > limit { (true, filled) } else { (false, load.latency(ask.now, from.tuning())) }
        };
        let first = self.draw.one(&mut ask.random);
        let filled = self.draw.filled(first, from.load(first).in_flight());
        let step = if filled > limit { self.up } else { -self.down };
        self.quantile.store((limit + step).max(0.0).to_bits(), Ordering::Relaxed);

        let (mut best, mut least) = (first, seen(first));
        for _ in 1..CHOICES {
            let next = self.draw.rival(best, &mut ask.random);
            let load = seen(next);
            if load < (least.0, least.1 * self.draw.margin()) {
                (best, least) = (next, load);
            }
        }
        Some(best)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a quantile needs no more than seven digits")]
fn narrow(quantile: f64) -> f32 {
    quantile as f32
}
