//! A job from its submission to its end, as the pool keeps it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{ErrorClass, Instant};
use tokio::sync::OwnedSemaphorePermit;

use crate::cancel::Cancel;
use crate::end::End;
use crate::job::{Context, Job};
use crate::line::Place;

/// A job from its submission to its end.
pub(crate) struct Entry<W> {
    pub(super) place: Place,
    pub(super) job: Job,
    pub(crate) work: W,
    pub(super) reply: Arc<dyn Reply>,
    pub(crate) cancel: Cancel,
    /// The attempts that have begun.
    pub(super) attempts: u32,
    pub(super) first_began: Instant,
    pub(super) previous_delay: Duration,
    pub(super) submitted: Instant,
    /// When it is to be cancelled.
    pub(super) due: Option<Instant>,
    /// Its room in the pool, while it does not run.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl<W> Entry<W> {
    pub(crate) fn context(&self) -> Context {
        Context { attempt: self.attempts, cancel: self.cancel.clone() }
    }
}

/// What is kept of a job while its work is with a thread or a task.
pub(super) struct Running {
    pub(super) since: Instant,
    pub(super) attempts: u32,
    pub(super) key: Option<Arc<str>>,
    pub(super) bytes: u64,
    pub(super) reply: Arc<dyn Reply>,
    pub(super) cancel: Cancel,
    pub(super) due: Option<Instant>,
    /// Its room in the pool; given up with its place.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Came {
    /// The result is in the reply.
    Done,
    /// The error is in the reply.
    Failed {
        class: ErrorClass,
        retry_after: Option<Duration>,
    },
    Panicked(String),
    /// The future was dropped.
    Dropped,
}

/// What is told, and let go, once the lock is free: both run code of the job.
#[must_use = "whoever waits for the job waits for this"]
pub(crate) struct Told<W> {
    pub(super) reply: Option<(Arc<dyn Reply>, End, u32)>,
    pub(super) _work: Option<W>,
}

impl<W> Told<W> {
    pub(crate) fn now(mut self) {
        let_go(move || {
            if let Some((reply, end, attempts)) = self.reply.take() {
                reply.end(end, attempts);
            }
        });
    }
}

/// Where a job leaves its results, whatever their type.
pub(crate) trait Reply: Send + Sync {
    /// Tells how the job ended. The first end counts.
    fn end(&self, end: End, attempts: u32);
}

/// Runs what drops values of a job. If one of them panics, that is nobody else's failure; the hook for panics tells of it.
pub(super) fn let_go(drop: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(drop));
}

/// The text of a panic.
pub(crate) fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is no text".to_owned())
}
