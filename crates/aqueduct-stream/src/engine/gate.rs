//! How chunks get from the reader to the workers.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use super::shared::Shared;
use super::window::Share;
use super::work::{Message, Work};
use crate::batch::Batch;
use crate::config::Overflow;
use crate::error::RunError;
use crate::source::Chunk;

/// Admits chunks into the window and gives them their place in the order of the input.
pub(super) struct Gate {
    shared: Arc<Shared>,
    work: Sender<Work>,
    /// With at most once, batches go to the committer first, which commits their positions.
    ahead: Option<Sender<Message>>,
    sequence: u64,
}

impl Gate {
    pub(super) fn new(shared: Arc<Shared>, work: Sender<Work>, committer: Sender<Message>) -> Self {
        let ahead = shared.options.is_ahead().then_some(committer);
        Self { shared, work, ahead, sequence: 0 }
    }

    /// Waits for room and hands a chunk on. `dropped` items were let go just before it.
    pub(super) fn admit(&mut self, chunk: Chunk, dropped: u64) -> Result<(), RunError> {
        let mut batch = Batch::new(self.sequence, chunk);
        batch.dropped = dropped;
        self.send(batch)
    }

    /// Hands on that items were let go at the end of the input. `last` is the chunk with the last of them.
    fn admit_nothing(&mut self, last: Chunk, dropped: u64) -> Result<(), RunError> {
        let mut batch = Batch::new(self.sequence, Chunk { items: 0, weight: 0, ..last });
        batch.dropped = dropped;
        batch.decoded = true;
        self.send(batch)
    }

    fn send(&mut self, mut batch: Batch) -> Result<(), RunError> {
        let share = Share { items: batch.chunk.items, bytes: batch.chunk.weight };
        self.shared.window.enter(share);
        batch.busy = Some(self.shared.options.clock.busy());
        self.shared
            .options
            .progress
            .read(batch.chunk.items as u64 + batch.dropped, batch.chunk.weight as u64);
        self.sequence += 1;
        // Each piece of work carries the way back for work that was put aside, so the channel closes by itself
        // when the reader is done and nothing is under way.
        let piece = Work { batch, fresh: true, back: self.work.clone() };
        match &self.ahead {
            None => self.work.send(piece).map_err(|_| RunError::Thread { thread: "worker" }),
            Some(committer) => committer
                .send(Message::Ahead(Box::new(piece)))
                .map_err(|_| RunError::Thread { thread: "committer" }),
        }
    }
}

/// What has been read and has no room in the window yet. It holds as much as the window; then something goes.
#[derive(Debug)]
pub(super) struct Backlog {
    overflow: Overflow,
    items_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
    /// Signalled when something comes, or nothing will come any more.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Waiting>,
    items: usize,
    bytes: usize,
    /// Items that were let go behind the last chunk of the queue, and the chunk with the last of them.
    tail: Option<(u64, Chunk)>,
    closed: bool,
}

/// A chunk, and how many items were let go just before it.
#[derive(Debug)]
struct Waiting {
    chunk: Chunk,
    dropped: u64,
}

impl Backlog {
    pub(super) fn new(overflow: Overflow, items_max: usize, bytes_max: usize) -> Self {
        Self { overflow, items_max, bytes_max, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes a chunk, or lets something go. Never waits.
    pub(super) fn push(&self, chunk: Chunk) {
        let mut state = self.lock();
        let fits = |state: &State| {
            state.chunks.is_empty()
                || (state.items + chunk.items <= self.items_max
                    && state.bytes + chunk.weight <= self.bytes_max)
        };
        if self.overflow == Overflow::DropNewest && !fits(&state) {
            let before = state.tail.take().map_or(0, |(items, _)| items);
            state.tail = Some((before + chunk.items as u64, chunk));
            return;
        }
        let mut dropped = state.tail.take().map_or(0, |(items, _)| items);
        while !fits(&state) {
            let Some(oldest) = state.chunks.pop_front() else { break };
            state.items -= oldest.chunk.items;
            state.bytes -= oldest.chunk.weight;
            let gone = oldest.dropped + oldest.chunk.items as u64;
            match state.chunks.front_mut() {
                Some(next) => next.dropped += gone,
                None => dropped += gone,
            }
        }
        state.items += chunk.items;
        state.bytes += chunk.weight;
        state.chunks.push_back(Waiting { chunk, dropped });
        self.changed.notify_one();
    }

    /// Nothing will be pushed any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Hands everything on until the reader is done.
    pub(super) fn drain(&self, gate: &mut Gate) -> Result<(), RunError> {
        loop {
            let mut state = self.lock();
            while state.chunks.is_empty() && !state.closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if let Some(Waiting { chunk, dropped }) = state.chunks.pop_front() {
                state.items -= chunk.items;
                state.bytes -= chunk.weight;
                drop(state);
                gate.admit(chunk, dropped)?;
                continue;
            }
            let tail = state.tail.take();
            drop(state);
            return match tail {
                Some((dropped, last)) => gate.admit_nothing(last, dropped),
                None => Ok(()),
            };
        }
    }

    /// No code panics under this lock, so a poisoned one still guards whole figures.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
