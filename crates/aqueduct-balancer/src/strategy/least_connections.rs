use super::power_of_two::emptier;
use super::{Ask, Candidates, Strategy};
use crate::draw::Draw;

/// The one with the fewest calls under way for its weight: of all where there are few, else of some that are drawn.
/// Of equals, the one that was drawn first, so that weights and not the order decide.
#[derive(Debug)]
pub(crate) struct LeastConnections {
    draw: Draw,
    choices: u32,
}

/// Up to so many are compared all: their loads are read in the time that it takes to draw some of them.
const FEW: usize = 8;

impl LeastConnections {
    pub(crate) fn new(weights: &[f64], choices: u32) -> Self {
        Self { draw: Draw::new(weights), choices }
    }
}

impl Strategy for LeastConnections {
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize> {
        let count = from.count();
        if count == 0 {
            return None;
        }
        let first = self.draw.one(&mut ask.random);
        let mut best = first;
        if count <= FEW {
            for next in (first + 1..count).chain(0..first) {
                best = emptier(&self.draw, from, best, next);
            }
        } else {
            for _ in 1..self.choices {
                let next = self.draw.other(best, &mut ask.random);
                best = emptier(&self.draw, from, best, next);
            }
        }
        Some(best)
    }
}
