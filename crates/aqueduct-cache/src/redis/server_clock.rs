use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aqueduct_core::{Instant, Timestamp};

/// The time of the server, as far as it is known here.
///
/// The dates in Redis are those of its own clock, so that processes whose clocks differ agree on the age of an entry. It is
/// asked for its time with each heartbeat, and not with each read; between two of them the monotonic clock goes on, so that
/// a local clock that is set to another time changes nothing. A date is wrong by half a round trip at most (Cristian,
/// "Probabilistic clock synchronization", Distributed Computing 3, 1989).
#[derive(Debug)]
pub(super) struct ServerClock {
    /// Milliseconds of the server's time at the start of the local clock; `UNKNOWN` where it does not tell. Alone in its
    /// meaning, so no ordering is needed.
    start: AtomicI64,
    /// The round trip of the best answer, and when that was. Guards the choice between two answers.
    best: Mutex<Option<(Duration, Instant)>>,
}

const UNKNOWN: i64 = i64::MIN;

/// An old answer becomes worse by a thousandth of its age: clocks of machines drift apart by less, and a server whose clock
/// was set is believed after a while.
const DRIFT: u32 = 1_000;

impl ServerClock {
    pub(super) fn new() -> Self {
        Self { start: AtomicI64::new(UNKNOWN), best: Mutex::new(None) }
    }

    /// Forgets: the next connection may lead to another server.
    pub(super) fn forget(&self) {
        *self.best.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.start.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Takes an answer to a question that was asked at `asked` and answered at `answered`.
    pub(super) fn learn(&self, server: Timestamp, asked: Instant, answered: Instant) {
        let round_trip = answered.since(asked);
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((least, at)) = *best
            && round_trip > least + answered.since(at) / DRIFT
        {
            return;
        }
        *best = Some((round_trip, answered));
        let middle = asked.after(round_trip / 2);
        self.start.store(server.0.saturating_sub(millis(middle)), Ordering::Relaxed);
    }

    /// How far the server is ahead of the local date, which is `wall` at the moment `now`.
    pub(super) fn ahead(&self, now: Instant, wall: Timestamp) -> Ahead {
        Ahead(match self.start.load(Ordering::Relaxed) {
            UNKNOWN => 0,
            start => start.saturating_add(millis(now)).saturating_sub(wall.0),
        })
    }
}

/// By how many milliseconds the server is ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead(i64);

impl Ahead {
    /// The server's date for one of here.
    pub(super) fn there(self, date: Timestamp) -> Timestamp {
        Timestamp(date.0.saturating_add(self.0))
    }

    /// The date of here for one of the server's.
    pub(super) fn here(self, date: Timestamp) -> Timestamp {
        Timestamp(date.0.saturating_sub(self.0))
    }
}

fn millis(instant: Instant) -> i64 {
    i64::try_from(instant.elapsed_since_start().as_millis()).unwrap_or(i64::MAX)
}
