//! Loading what nobody has, once for all who ask.

use std::error::Error;
use std::future::Future;

use aqueduct_core::Clock;

use crate::error::LoadError;
use crate::flights::Turn;
use crate::report::Source;

use super::held::{Found, Held, for_ever};
use super::{Inner, Landed, Outcome, SetOptions};

/// What a loader gives: a value, that there is none, or why it could not be had.
type Loaded<V> = Result<Option<V>, Box<dyn Error + Send + Sync>>;

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(crate) async fn get_or_load(
        &self,
        key: &[u8],
        options: SetOptions<'_>,
        load: impl Future<Output = Loaded<V>>,
    ) -> Outcome<V> {
        if let Found::Fresh(held, source) = self.look_in_memory(key) {
            self.counts.hit(source);
            return Ok(held.value);
        }
        let turn = self.flights.turn(key).await;
        if let Some(landed) = turn.outcome() {
            if landed.is_found {
                // It is in memory by now.
                self.counts.hit(Source::Memory);
            } else {
                self.counts.joined.increment();
                self.counts.misses.increment();
            }
            return landed.outcome;
        }
        let stale = match self.look(key).await {
            Found::Fresh(held, source) => {
                self.counts.hit(source);
                turn.land(Landed { outcome: Ok(held.value.clone()), is_found: true });
                return Ok(held.value);
            }
            // What was stored under another configuration may be held for longer than this one wants it.
            Found::Stale(held) if !self.config.stale.is_zero() => Some(held.value),
            _ => None,
        };
        self.counts.misses.increment();
        let outcome = match (self.load(key, options, load, &turn).await, stale) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(value)) => {
                self.counts.stale.increment();
                Ok(value)
            }
            (Err(error), None) => Err(LoadError::new(error)),
        };
        turn.land(Landed { outcome: outcome.clone(), is_found: false });
        outcome
    }

    /// Loads a value that nobody waits for. A load that fails leaves what is there as it is, to be tried again when half of the
    /// time that is left is over.
    pub(crate) async fn load_ahead(&self, key: &[u8], load: impl Future<Output = Loaded<V>>) {
        let turn = self.flights.turn(key).await;
        if turn.outcome().is_some() {
            return;
        }
        if let Ok(value) = self.load(key, SetOptions::new(), load, &turn).await {
            turn.land(Landed { outcome: Ok(value), is_found: false });
        } else if let Found::Fresh(held, _) = self.look_in_memory(key) {
            let now = self.levels.clock.coarse();
            let refresh_at = now.after(held.fresh_until.since(now) / 2);
            let seen = self.writes.changes(key);
            self.copy_up(key, Held { refresh_at, ..held }, seen, None).await;
        }
    }

    /// Loads a value and writes it on every level.
    async fn load(
        &self,
        key: &[u8],
        options: SetOptions<'_>,
        load: impl Future<Output = Loaded<V>>,
        turn: &Turn<'_, Landed<V>>,
    ) -> Loaded<V> {
        let begun = self.begin();
        self.counts.loads.increment();
        let loaded = load.await;
        match &loaded {
            Ok(value) => self.write(key, value.clone(), options, begun, Some(turn)).await,
            Err(_) => self.counts.load_failures.increment(),
        }
        loaded
    }

    /// Gives what is fresh in memory, and whether it is time to load it again.
    pub(crate) fn fresh_in_memory(&self, key: &[u8]) -> Option<(Option<V>, bool)> {
        let Found::Fresh(held, source) = self.look_in_memory(key) else { return None };
        self.counts.hit(source);
        let is_due = held.refresh_at != for_ever() && held.refresh_at <= self.levels.clock.coarse();
        Some((held.value, is_due))
    }

    pub(crate) fn is_in_memory(&self, key: &[u8]) -> bool {
        matches!(self.look_in_memory(key), Found::Fresh(..))
    }

    /// Tells whether a key is on any level, and copies it into the faster ones.
    pub(crate) async fn is_found(&self, key: &[u8]) -> bool {
        matches!(self.look(key).await, Found::Fresh(..))
    }

    pub(crate) fn is_loading(&self, key: &[u8]) -> bool {
        self.flights.is_under_way(key)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.levels.clock
    }
}
