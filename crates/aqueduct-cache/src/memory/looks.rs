use std::sync::atomic::{AtomicU64, Ordering};

/// How many looks found what they were for, and how many did not.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Looks {
    /// Counts one. For one thread at a time: of two at once one may not be counted, and nobody waits for a locked instruction.
    #[inline]
    pub(crate) fn count(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }
}
