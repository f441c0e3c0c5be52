//! What the threads of a run hand each other.

use crossbeam_channel::Sender;

use crate::batch::{Batch, Finished};

/// A batch for a worker.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batch: Batch,
    /// Whether it comes from the reader; else it comes back from a wait.
    pub(super) fresh: bool,
    /// The way back to the workers.
    pub(super) back: Sender<Work>,
}

impl Work {
    /// The batch as one that was not worked on, because the run stops.
    pub(super) fn give_up(self) -> Finished {
        let batch = self.batch;
        Finished { sequence: batch.sequence, chunk: batch.chunk, replayed: batch.replayed, results: None }
    }
}

/// What the committer hears.
pub(super) enum Message {
    /// A batch is through.
    Finished(Box<Finished>),
    /// A batch whose position is to be committed before it is worked on.
    Ahead(Box<Work>),
    /// A stage's answer waits to be journalled.
    Journal,
    /// No batch is being worked on: what is ready need not wait for more.
    Idle,
}
