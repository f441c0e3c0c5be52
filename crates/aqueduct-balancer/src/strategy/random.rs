use super::{Ask, Candidates, Strategy};
use crate::draw::Draw;

/// By chance, in proportion to the weights.
#[derive(Debug)]
pub(crate) struct Weighted(Draw);

impl Weighted {
    pub(crate) fn new(weights: &[f64]) -> Self {
        Self(Draw::new(weights))
    }
}

impl Strategy for Weighted {
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize> {
        (from.count() > 0).then(|| self.0.one(&mut ask.random))
    }
}
