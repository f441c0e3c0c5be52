use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::work::Work;

/// Lets batches through an ordered stage one at a time, in the order of the input.
#[derive(Debug, Default)]
pub(super) struct Turn {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The batch whose turn it is, or comes next.
    next: u64,
    /// Batches that came too early. They are within the window, so it bounds them.
    parked: BTreeMap<u64, Work>,
    /// The run stops: nobody waits here any more.
    closed: bool,
}

/// What becomes of a batch that comes to an ordered stage.
#[derive(Debug)]
pub(super) enum Entry {
    /// It is its turn; [`Turn::leave`] ends it.
    Now(Work),
    /// It is kept until its turn comes.
    Parked,
    /// The run stops, so its turn may never come.
    Closed(Work),
}

impl Turn {
    pub(super) fn enter(&self, work: Work) -> Entry {
        let mut state = self.lock();
        if state.closed {
            return Entry::Closed(work);
        }
        if work.batch.sequence == state.next {
            return Entry::Now(work);
        }
        state.parked.insert(work.batch.sequence, work);
        Entry::Parked
    }

    /// Ends a turn, and gives the batch whose turn it is now, if it waits already.
    pub(super) fn leave(&self) -> Option<Work> {
        let mut state = self.lock();
        state.next += 1;
        let next = state.next;
        state.parked.remove(&next)
    }

    /// Lets go of everything that waits.
    pub(super) fn close(&self) -> BTreeMap<u64, Work> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.parked)
    }

    /// No code panics under this lock, so a poisoned one still guards whole values.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
