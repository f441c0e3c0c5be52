//! Who writes a key, and whether somebody has.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;
use tokio::sync::{Mutex, MutexGuard};

/// One writer at a time for each key below memory, and a number that changes with each write.
///
/// Whoever reads a level and wants to copy what it found into a faster one notes the number first. If it has changed by the
/// time of the copy, somebody has written meanwhile, and what was found may be older than what was written.
///
/// Many keys share a stripe. Then a writer waits for another without need, and a copy is not made that could have been.
pub(crate) struct Writes {
    stripes: Box<[Stripe]>,
    hasher: DefaultHashBuilder,
}

#[derive(Default)]
struct Stripe {
    changes: AtomicU64,
    /// Held while the levels are written one after the other.
    writer: Mutex<()>,
}

const STRIPES: usize = 1 << 10;

impl Writes {
    pub(crate) fn new() -> Self {
        let stripes = (0..STRIPES).map(|_| Stripe::default()).collect();
        Self { stripes, hasher: DefaultHashBuilder::default() }
    }

    /// The number to compare with later.
    pub(crate) fn changes(&self, key: &[u8]) -> u64 {
        self.of(key).changes.load(Ordering::SeqCst)
    }

    /// Says that the key is written, and gives the number from now on.
    pub(crate) fn changed(&self, key: &[u8]) -> u64 {
        self.of(key).changes.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) async fn write(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.of(key).writer.lock().await
    }

    /// The same without waiting.
    pub(crate) fn try_write(&self, key: &[u8]) -> Option<MutexGuard<'_, ()>> {
        self.of(key).writer.try_lock().ok()
    }

    fn of(&self, key: &[u8]) -> &Stripe {
        let hash = self.hasher.hash_one(key);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is left is less than the number of stripes"
        )]
        let at = (hash % STRIPES as u64) as usize;
        &self.stripes[at]
    }
}
