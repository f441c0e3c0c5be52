//! What looks at a worker while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, ConfigError, Instant};
use tokio::sync::Notify;

use crate::figures::Health;
use crate::pool::Watch;
use crate::report::RunReport;

/// What a worker and its handles share.
pub(crate) struct Shared {
    /// Guards what handles read and the run writes.
    pub(super) state: Mutex<HandleState>,
    /// Tells the run of another size.
    pub(super) resized: Notify,
}

#[derive(Clone, Debug)]
pub(super) struct HandleState {
    pub(super) report: RunReport,
    /// Since when the store of the queue answers with errors, or not at all.
    pub(super) failing: Option<Instant>,
    pub(super) last_error: Option<String>,
    /// When it last took a message, while it can take none.
    pub(super) full_since: Option<Instant>,
}

/// What looks at a worker that runs, and resizes it. Cheap to clone.
#[derive(Clone)]
pub struct WorkerHandle {
    pub(super) pool: Watch,
    pub(super) clock: Clock,
    pub(super) stall_max: Duration,
    pub(super) shared: Arc<Shared>,
}

/// Whether a worker gets on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerHealth {
    /// Whether it does: its pool does, the store of the queue has not failed for longer than
    /// [`Config::stall_max`](crate::Config::stall_max), and it has not been without room for another message for longer
    /// than that.
    pub live: bool,
    /// The pool.
    pub pool: Health,
    /// For how long it has taken nothing, while all slots are taken or a suspect runs alone.
    pub stalled: Option<Duration>,
    /// For how long the store has failed.
    pub failing: Option<Duration>,
    /// What it said last, while it fails.
    pub last_error: Option<String>,
}

impl WorkerHandle {
    /// Lets another number of handlers run at once, from now on.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; nothing has changed.
    pub fn resize(&self, size: usize) -> Result<(), ConfigError> {
        self.pool.resize(size)?;
        self.shared.resized.notify_one();
        Ok(())
    }

    /// Whether the worker gets on. For the probe of a supervisor outside.
    #[must_use]
    pub fn health(&self) -> WorkerHealth {
        let pool = self.pool.health();
        let state = self.shared.lock();
        let now = self.clock.now();
        let failing = state.failing.map(|since| now.since(since));
        let stalled = state.full_since.map(|since| now.since(since));
        let short = |time: Option<Duration>| time.is_none_or(|time| time <= self.stall_max);
        let live = pool.live && short(failing) && short(stalled);
        WorkerHealth { live, pool, stalled, failing, last_error: state.last_error.clone() }
    }

    /// What the run has done so far.
    #[must_use]
    pub fn report(&self) -> RunReport {
        let mut report = self.shared.lock().report.clone();
        report.pool = self.pool.figures();
        report
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerHandle").field(&self.report()).finish()
    }
}

impl Shared {
    pub(super) fn new(report: RunReport) -> Self {
        let state = HandleState { report, failing: None, last_error: None, full_since: None };
        Self { state: Mutex::new(state), resized: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HandleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
