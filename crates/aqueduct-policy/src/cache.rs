//! The contract of a cache, and one call for all who ask for the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A future of a [`Cache`].
pub type CacheFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Remembers answers. What goes wrong in it is its own affair: it has nothing, or keeps nothing.
pub trait Cache<Req, Res>: Send + Sync {
    /// The key of what a request asks for; `None` for one whose answer is not to be remembered.
    fn key(&self, request: &Req) -> Option<String>;

    /// The answer that is remembered under a key.
    fn get<'a>(&'a self, key: &'a str) -> CacheFuture<'a, Option<Res>>;

    /// Remembers an answer. It may drop it at once.
    fn put<'a>(&'a self, key: &'a str, answer: &'a Res) -> CacheFuture<'a, ()>;
}

/// The calls that are under way, by cache key.
pub(crate) struct Flights<Res> {
    /// Guards the table. Nothing waits under it.
    under_way: Mutex<HashMap<String, Flight<Res>>>,
}

/// Whoever holds the lock makes the call; the others wait for it, in the order of coming. The answer is left in it.
type Flight<Res> = Arc<tokio::sync::Mutex<Option<Res>>>;

/// Somebody on a flight. Whoever leaves last takes it out of the table.
pub(crate) struct Seat<'a, Res> {
    flights: &'a Flights<Res>,
    key: &'a str,
    flight: Option<Flight<Res>>,
}

impl<Res> Flights<Res> {
    pub(crate) fn new() -> Self {
        Self { under_way: Mutex::default() }
    }

    pub(crate) fn board<'a>(&'a self, key: &'a str) -> (Seat<'a, Res>, Flight<Res>) {
        let flight = Arc::clone(self.lock().entry(key.to_owned()).or_default());
        (Seat { flights: self, key, flight: Some(Arc::clone(&flight)) }, flight)
    }

    /// Nothing under this lock panics, so a poisoned one still guards a whole table.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flight<Res>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Res> Seat<'_, Res> {
    /// Closes the flight to newcomers: its answer is in the cache.
    pub(crate) fn land(&self) {
        let mut under_way = self.flights.lock();
        if let (Some(flight), Some(other)) = (&self.flight, under_way.get(self.key))
            && Arc::ptr_eq(flight, other)
        {
            under_way.remove(self.key);
        }
    }
}

impl<Res> Drop for Seat<'_, Res> {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        let Some(flight) = self.flight.take() else { return };
        if let Entry::Occupied(entry) = under_way.entry(self.key.to_owned())
            && Arc::ptr_eq(entry.get(), &flight)
        {
            drop(flight);
            // Only the table's own is left: whoever boards takes the lock of the table first.
            if Arc::strong_count(entry.get()) == 1 {
                entry.remove();
            }
        }
    }
}
