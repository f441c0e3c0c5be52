//! What is said about a job beside its work, and what its work is told.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_queue::Priority;

use crate::cancel::Cancel;

/// How a job is to be run. The default is a job of normal priority without a key, of no size, that may take its time.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// What goes first; what has waited long goes before what is more urgent and came later.
    pub priority: Priority,
    /// At most [`Config::per_key_max`](crate::Config::per_key_max) jobs of one key run at once.
    pub key: Option<Arc<str>>,
    /// The memory that it needs while it runs. The jobs that run need at most
    /// [`Config::bytes_max`](crate::Config::bytes_max) together, by their own account: nobody measures it.
    pub bytes: u64,
    /// The time from when it is submitted until it must have ended, with its waits and all its attempts.
    pub within: Option<Duration>,
}

impl Job {
    /// Sets what goes first.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the memory that it needs.
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the time that it has.
    #[must_use]
    pub fn with_within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }
}

/// What the work of a job is told at each attempt.
#[derive(Clone, Debug)]
pub struct Context {
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// Whether the job is to end.
    pub cancel: Cancel,
}
