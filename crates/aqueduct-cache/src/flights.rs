//! One load for all who want the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The loads that are under way, by key.
pub(crate) struct Flights<T> {
    under_way: DashMap<Box<[u8]>, Arc<Flight<T>>>,
}

/// Whoever holds the lock loads; the others wait for it, in the order of coming. The outcome is left in it. Who leads and is
/// dropped, or panics, lets go of the lock with nothing left in it, and the next one leads.
struct Flight<T> {
    outcome: Arc<Mutex<Option<T>>>,
    /// Somebody has set or removed the key since this flight was in the table: what is loaded on it is already old.
    is_overtaken: AtomicBool,
}

/// Somebody on a flight. Whoever leaves last takes it out of the table.
struct Seat<'a, T> {
    flights: &'a Flights<T>,
    key: &'a [u8],
    flight: Arc<Flight<T>>,
}

impl<T> Flights<T> {
    pub(crate) fn new() -> Self {
        Self { under_way: DashMap::new() }
    }

    /// Takes a seat on the flight of a key; there is one from now on.
    fn board<'a>(&'a self, key: &'a [u8]) -> Seat<'a, T> {
        let boarded = self.under_way.get(key).map(|flight| Arc::clone(&flight));
        let flight = boarded.unwrap_or_else(|| Arc::clone(&self.under_way.entry(key.into()).or_default()));
        Seat { flights: self, key, flight }
    }

    /// Waits until there is an outcome, or until it is this one's turn to lead. A flight that was overtaken before anybody led it is
    /// not in the table any more, where the next one who sets or removes the key would find it; its passengers change to another.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it gives up its place in the line.
    pub(crate) async fn turn<'a>(&'a self, key: &'a [u8]) -> Turn<'a, T> {
        loop {
            let seat = self.board(key);
            let outcome = Arc::clone(&seat.flight.outcome).lock_owned().await;
            if outcome.is_some() || !seat.flight.is_overtaken() {
                return Turn { outcome, seat };
            }
        }
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
        Self { outcome: Arc::default(), is_overtaken: AtomicBool::new(false) }
    }
}

impl<T> Flight<T> {
    fn is_overtaken(&self) -> bool {
        self.is_overtaken.load(Ordering::SeqCst)
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
    /// Let go of before the seat, so that who waits for it finds the flight as it was.
    outcome: OwnedMutexGuard<Option<T>>,
    seat: Seat<'a, T>,
}

impl<T: Clone> Turn<'_, T> {
    /// What a leader has left.
    pub(crate) fn outcome(&self) -> Option<T> {
        self.outcome.clone()
    }

    /// Tells whether somebody has set or removed the key meanwhile.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.seat.flight.is_overtaken()
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

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn who_leads_can_be_overtaken_whatever_became_of_who_led_before() {
        let flights = Flights::<u32>::new();
        let first = flights.turn(b"key").await;
        let mut second = pin!(flights.turn(b"key"));
        tokio::select! {
            biased;
            _ = &mut second => panic!("the first one leads"),
            () = ready(()) => {}
        }
        flights.overtake(b"key");
        assert!(first.is_overtaken());
        drop(first);
        let second = second.await;
        assert!(second.outcome().is_none() && !second.is_overtaken());
        // What it loads from now on is old when somebody sets the key.
        flights.overtake(b"key");
        assert!(second.is_overtaken());
    }
}
