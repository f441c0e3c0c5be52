//! One load for all who want the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;
use tokio::sync::{Mutex, MutexGuard};

/// The loads that are under way, by key.
pub(crate) struct Flights<T> {
    under_way: DashMap<Box<[u8]>, Arc<Flight<T>>>,
}

/// Whoever holds the lock loads; the others wait for it, in the order of coming. The outcome is left in it. Who leads and is
/// dropped, or panics, lets go of the lock with nothing left in it, and the next one leads.
struct Flight<T> {
    outcome: Mutex<Option<T>>,
    /// Somebody has set or removed the key since the load began: what it brings is already old.
    is_overtaken: AtomicBool,
}

/// Somebody on a flight. Whoever leaves last takes it out of the table.
pub(crate) struct Seat<'a, T> {
    flights: &'a Flights<T>,
    key: &'a [u8],
    flight: Arc<Flight<T>>,
}

impl<T> Flights<T> {
    pub(crate) fn new() -> Self {
        Self { under_way: DashMap::new() }
    }

    /// Takes a seat on the flight of a key; there is one from now on.
    pub(crate) fn board<'a>(&'a self, key: &'a [u8]) -> Seat<'a, T> {
        let boarded = self.under_way.get(key).map(|flight| Arc::clone(&flight));
        let flight = boarded.unwrap_or_else(|| Arc::clone(&self.under_way.entry(key.into()).or_default()));
        Seat { flights: self, key, flight }
    }

    pub(crate) fn is_under_way(&self, key: &[u8]) -> bool {
        self.under_way.contains_key(key)
    }

    /// Says that the key was set or removed by somebody who did not load it: what is being loaded is old, and nobody who comes
    /// later is to have it.
    pub(crate) fn overtake(&self, key: &[u8]) {
        if let Some((_, flight)) = self.under_way.remove(key) {
            flight.is_overtaken.store(true, Ordering::SeqCst);
        }
    }

    /// The same of every key: something was invalidated.
    pub(crate) fn overtake_all(&self) {
        self.under_way.retain(|_, flight| {
            flight.is_overtaken.store(true, Ordering::SeqCst);
            false
        });
    }
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self { outcome: Mutex::default(), is_overtaken: AtomicBool::new(false) }
    }
}

impl<T> Seat<'_, T> {
    /// Waits until there is an outcome, or until it is this one's turn to lead.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it gives up its place in the line.
    pub(crate) async fn turn(&self) -> Turn<'_, T> {
        Turn { seat: self, outcome: self.flight.outcome.lock().await }
    }
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        self.flights.under_way.remove_if(self.key, |_, other| {
            // The table's own and this one: whoever boards has the table's lock first, as this has.
            Arc::ptr_eq(&self.flight, other) && Arc::strong_count(other) == 2
        });
    }
}

/// The turn of one on a flight: to take what is there, or to lead.
pub(crate) struct Turn<'a, T> {
    seat: &'a Seat<'a, T>,
    outcome: MutexGuard<'a, Option<T>>,
}

impl<T: Clone> Turn<'_, T> {
    /// What a leader has left.
    pub(crate) fn outcome(&self) -> Option<T> {
        self.outcome.clone()
    }

    /// Starts to lead: what was set before now is not older than what will be loaded.
    pub(crate) fn lead(&self) {
        self.seat.flight.is_overtaken.store(false, Ordering::SeqCst);
    }

    /// Tells whether somebody has set or removed the key meanwhile.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.seat.flight.is_overtaken.load(Ordering::SeqCst)
    }

    /// Leaves the outcome to those who wait, and closes the flight to newcomers.
    pub(crate) fn land(mut self, outcome: T) {
        self.seat
            .flights
            .under_way
            .remove_if(self.seat.key, |_, other| Arc::ptr_eq(&self.seat.flight, other));
        *self.outcome = Some(outcome);
    }
}
