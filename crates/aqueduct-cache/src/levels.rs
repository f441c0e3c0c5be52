//! The levels below memory, and what of them is believed.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aqueduct_core::{Clock, Random};

use crate::guard::Guard;

/// What all namespaces of a cache have below memory.
pub(crate) struct Levels {
    pub(crate) clock: Clock,
    disk: Option<Guard>,
    shared: Option<Guard>,
    session: Arc<AtomicU64>,
    chance: Mutex<Random>,
}

impl Levels {
    pub(crate) fn new(
        clock: Clock,
        disk: Option<Guard>,
        shared: Option<Guard>,
        session: Arc<AtomicU64>,
    ) -> Self {
        let chance = Mutex::new(Random::seeded(drawn()));
        Self { clock, disk, shared, session, chance }
    }

    pub(crate) fn disk(&self) -> Option<&Guard> {
        self.disk.as_ref()
    }

    pub(crate) fn shared(&self) -> Option<&Guard> {
        self.shared.as_ref()
    }

    /// Tells whether there is nothing below memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.disk.is_none() && self.shared.is_none()
    }

    /// In which stretch of hearing from the shared level this is; 0 without one. What was kept in another may have been changed by
    /// others without a word.
    pub(crate) fn session(&self) -> u64 {
        self.session.load(Ordering::SeqCst)
    }

    /// A number between 0 and 1.
    pub(crate) fn chance(&self) -> f64 {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).unit()
    }

    pub(crate) async fn close(&self) {
        for level in self.disk().into_iter().chain(self.shared()) {
            level.close().await;
        }
    }
}

/// A number that no other process draws.
pub(crate) fn drawn() -> u64 {
    // Each has keys of its own, and they are from the system's source of chance.
    RandomState::new().hash_one(0_u8) | 1
}
