use super::ONLY;
use crate::memory::nodes::{Moved, Nodes};

/// One list and a hand that walks from its end to its front, and takes who was not asked for since it came by last
/// (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024, algorithm 1).
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    hand: Option<u32>,
}

impl Sieve {
    /// O(1) in the long run: each entry that is passed was asked for.
    pub(crate) fn victim<T>(&mut self, nodes: &mut Nodes<T>) -> Option<u32> {
        let mut at = self.hand.or_else(|| nodes.tail(ONLY))?;
        while nodes.set_touched(at, 0) > 0 {
            at = nodes.before(at).or_else(|| nodes.tail(ONLY))?;
        }
        self.hand = Some(at);
        Some(at)
    }

    pub(crate) fn leaves<T>(&mut self, nodes: &Nodes<T>, at: u32) {
        if self.hand == Some(at) {
            self.hand = nodes.before(at);
        }
    }

    /// Entries have other places now.
    pub(crate) fn moved(&mut self, moved: &Moved) {
        self.hand = self.hand.map(|at| moved.to(at));
    }
}
