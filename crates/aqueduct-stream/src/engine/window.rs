use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bounds what is in flight. The reader waits here when it is full.
#[derive(Debug)]
pub(super) struct Window {
    limits: Limits,
    state: Mutex<State>,
    /// Signalled when something leaves.
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) batches: usize,
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// What is in flight. Guarded as a whole, so that its figures agree.
#[derive(Debug, Default)]
struct State {
    batches: usize,
    items: usize,
    bytes: usize,
    /// Batches that wait for a worker or are with one; the others wait for a service, a delay or a commit.
    working: usize,
    /// Until the shape of every table is known, batches go through one at a time.
    narrow: bool,
    /// A thread has panicked: nothing will leave any more, so nobody must wait for it.
    closed: bool,
}

/// What one batch takes of the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

impl Window {
    pub(super) fn new(limits: Limits, narrow: bool) -> Self {
        let state = State { narrow, ..State::default() };
        Self { limits, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits until a batch of this size fits. A batch larger than the whole window fits when it is empty.
    pub(super) fn enter(&self, share: Share) {
        let mut state = self.lock();
        while !state.closed
            && state.batches > 0
            && (state.narrow
                || state.batches >= self.limits.batches
                || state.items + share.items > self.limits.items
                || state.bytes + share.bytes > self.limits.bytes)
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.batches += 1;
        state.items += share.items;
        state.bytes += share.bytes;
        state.working += 1;
    }

    /// A batch is committed or given up.
    pub(super) fn leave(&self, share: Share) {
        let mut state = self.lock();
        state.batches -= 1;
        state.items -= share.items;
        state.bytes -= share.bytes;
        self.changed.notify_one();
    }

    /// The tables' shapes are known.
    pub(super) fn widen(&self) {
        self.lock().narrow = false;
        self.changed.notify_one();
    }

    /// Nobody waits here any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// A worker takes a batch up again.
    pub(super) fn resume(&self) {
        self.lock().working += 1;
    }

    /// A worker has let go of a batch. Tells whether no other is being worked on.
    pub(super) fn rest(&self) -> bool {
        let mut state = self.lock();
        state.working -= 1;
        state.working == 0
    }

    /// Tells whether no batch is being worked on right now.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().working == 0
    }

    /// No code panics under this lock, so a poisoned one still guards whole figures.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
