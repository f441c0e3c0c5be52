use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ask, Candidates, Strategy};

/// One after the other.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    /// Relaxed: two threads get two turns, in whatever order.
    turn: Arc<AtomicUsize>,
}

impl RoundRobin {
    pub(crate) fn new(turn: Arc<AtomicUsize>) -> Self {
        Self { turn }
    }
}

impl Strategy for RoundRobin {
    fn choose(&self, from: &dyn Candidates, _: &mut Ask<'_>) -> Option<usize> {
        self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(from.count())
    }
}
