use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aqueduct_core::Clock;
use async_trait::async_trait;

use crate::config::Config;
use crate::invalidations::{Invalidations, Scope};
use crate::level::{Level, LevelError, Place};
use crate::levels::drawn;
use crate::memory::{Memory, Terms};
use crate::stats::Stats;
use crate::stored::Stored;

/// A [`Level`] in the memory of this process: a node that needs no server.
///
/// An entry weighs 1, whatever its bytes are. What was invalidated is remembered of 10,000 namespaces; with more, everything is
/// forgotten, and another [origin](Invalidations::origin) says so.
#[derive(Debug)]
pub struct Local {
    values: Memory<Vec<u8>, Stored>,
    /// Guards what was invalidated. Nothing else is locked under it.
    known: Mutex<Known>,
    clock: Clock,
}

#[derive(Debug)]
struct Known {
    origin: u64,
    namespaces: HashMap<Box<str>, Invalidations>,
}

/// A program names its namespaces; this is far more than it has.
const NAMESPACES_MAX: usize = 10_000;

impl Local {
    /// An empty node on the system's clock.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_clock(config, Clock::system())
    }

    /// The same on another clock.
    #[must_use]
    pub fn with_clock(config: Config, clock: Clock) -> Self {
        let known = Known { origin: drawn(), namespaces: HashMap::new() };
        Self { values: Memory::with_clock(config, clock.clone()), known: Mutex::new(known), clock }
    }

    /// Gives what it has done and what it holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.values.stats()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is done under it does not panic half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Level for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn get(&self, place: Place<'_>) -> Result<Option<Stored>, LevelError> {
        let stored = self.values.get(&joined(place));
        // The two clocks may part: the date of the machine is set, its time goes on.
        Ok(stored.filter(|stored| stored.held_still(self.clock.wall()).is_none_or(|still| !still.is_zero())))
    }

    async fn set(&self, place: Place<'_>, stored: &Stored) -> Result<(), LevelError> {
        let still = stored.held_still(self.clock.wall());
        let terms = still.map_or_else(Terms::new, |still| Terms::new().ttl(still));
        self.values.insert_on(joined(place), stored.clone(), terms);
        Ok(())
    }

    async fn remove(&self, place: Place<'_>) -> Result<(), LevelError> {
        self.values.remove(&joined(place));
        Ok(())
    }

    async fn invalidations(&self, namespace: &str) -> Result<Invalidations, LevelError> {
        Ok(self.known().namespaces.get(namespace).cloned().unwrap_or_default())
    }

    async fn invalidate(&self, namespace: &str, scope: &Scope, edition: u64) -> Result<u64, LevelError> {
        let mut known = self.known();
        if known.namespaces.len() >= NAMESPACES_MAX && !known.namespaces.contains_key(namespace) {
            known.namespaces.clear();
            known.origin = drawn();
        }
        let origin = known.origin;
        let invalidations = known.namespaces.entry(namespace.into()).or_default();
        invalidations.origin = origin;
        let edition = edition.max(invalidations.edition().saturating_add(1));
        invalidations.add(scope.clone(), edition);
        Ok(edition)
    }

    async fn ping(&self) -> Result<(), LevelError> {
        Ok(())
    }
}

/// One key of both, in which no two places are the same.
fn joined(place: Place<'_>) -> Vec<u8> {
    let length = place.namespace.len().to_le_bytes();
    [&length, place.namespace.as_bytes(), place.key].concat()
}
