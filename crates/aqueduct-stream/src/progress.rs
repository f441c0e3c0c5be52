use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_core::Counts;

/// Live figures of a run, for whoever watches it.
///
/// All loads and stores are relaxed: each figure is right by itself, and a reader may see one a moment before
/// another.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    read_bytes: AtomicU64,
    total_bytes: AtomicU64,
    delivered: AtomicU64,
    dead_lettered: AtomicU64,
    skipped: AtomicU64,
    retries: AtomicU64,
    epochs: AtomicU64,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// Items read.
    pub read: u64,
    /// Bytes of input read.
    pub read_bytes: u64,
    /// Bytes of input there are; 0 when nobody knows.
    pub total_bytes: u64,
    /// Items delivered and committed.
    pub delivered: u64,
    /// Items dead-lettered and committed.
    pub dead_lettered: u64,
    /// Items skipped and committed.
    pub skipped: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Commits.
    pub epochs: u64,
}

impl Progress {
    /// Reads all figures.
    #[must_use]
    pub fn snapshot(&self) -> ProgressSnapshot {
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        ProgressSnapshot {
            read: get(&self.read),
            read_bytes: get(&self.read_bytes),
            total_bytes: get(&self.total_bytes),
            delivered: get(&self.delivered),
            dead_lettered: get(&self.dead_lettered),
            skipped: get(&self.skipped),
            retries: get(&self.retries),
            epochs: get(&self.epochs),
        }
    }

    pub(crate) fn total(&self, bytes: u64) {
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, items: u64, bytes: u64) {
        self.read.fetch_add(items, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts attempts beyond the first that a stage makes by itself.
    pub fn retried(&self, attempts: u64) {
        self.retries.fetch_add(attempts, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self, counts: &Counts) {
        self.delivered.fetch_add(counts.delivered, Ordering::Relaxed);
        self.dead_lettered.fetch_add(counts.dead_lettered, Ordering::Relaxed);
        self.skipped.fetch_add(counts.skipped, Ordering::Relaxed);
        self.epochs.fetch_add(1, Ordering::Relaxed);
    }
}
