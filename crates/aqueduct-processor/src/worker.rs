//! A worker: takes messages of a queue, runs a handler over them, and settles them by what came of it.

mod config;
mod handler;
mod link;
mod report;
mod run;

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ConfigError, Instant, ShutdownSignal};
use aqueduct_queue::Queue;
use tokio::sync::Notify;

use crate::error::{RunError, StartError};
use crate::figures::Health;
use crate::pool::{CpuPool, IoPool, Pool, Watch};

pub use config::{Suspects, WorkerConfig};
pub use handler::Work;
pub use report::{RunEnd, RunReport};

use handler::Hands;

/// Which worker it is: another name at each start, so that nobody takes a new one for one that has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(u64);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker-{:016x}", self.0)
    }
}

/// A worker over a queue. [`run`](Self::run) is all that it does.
pub struct Worker {
    queue: Queue,
    clock: Clock,
    config: WorkerConfig,
    hands: Hands,
    shared: Arc<Shared>,
    identity: Identity,
}

/// What a worker and its handles share.
pub(crate) struct Shared {
    /// Guards what handles read and the run writes.
    state: Mutex<HandleState>,
    /// Tells the run of another size.
    resized: Notify,
}

#[derive(Clone, Debug)]
struct HandleState {
    report: RunReport,
    /// Since when the store of the queue answers with errors, or not at all.
    failing: Option<Instant>,
    last_error: Option<String>,
    /// When it last took a message, while it can take none.
    full_since: Option<Instant>,
}

/// What looks at a worker that runs, and resizes it. Cheap to clone.
#[derive(Clone)]
pub struct WorkerHandle {
    pool: Watch,
    clock: Clock,
    stall_max: Duration,
    shared: Arc<Shared>,
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

impl Worker {
    /// A worker whose handler waits: futures on the runtime of the caller.
    ///
    /// The clock must be that of the queue.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn io<E, F, R>(
        queue: Queue,
        config: WorkerConfig,
        clock: Clock,
        handler: F,
    ) -> Result<Self, StartError>
    where
        E: Classified + fmt::Display,
        F: Fn(Work) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
    {
        config.check()?;
        let pool: IoPool = Pool::io(config.pool_config(), clock.clone())?;
        Ok(Self::new(queue, config, clock, Hands::io(pool, handler)))
    }

    /// A worker whose handler computes: threads of its own.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn cpu<E, F>(queue: Queue, config: WorkerConfig, clock: Clock, handler: F) -> Result<Self, StartError>
    where
        E: Classified + fmt::Display,
        F: Fn(&Work) -> Result<(), E> + Send + Sync + 'static,
    {
        config.check()?;
        let pool: CpuPool = Pool::cpu(config.pool_config(), clock.clone())?;
        Ok(Self::new(queue, config, clock, Hands::cpu(pool, handler)))
    }

    fn new(queue: Queue, config: WorkerConfig, clock: Clock, hands: Hands) -> Self {
        let identity = Identity(RandomState::new().hash_one(clock.wall()));
        let report = RunReport::new(identity);
        let state = Mutex::new(HandleState { report, failing: None, last_error: None, full_since: None });
        let shared = Arc::new(Shared { state, resized: Notify::new() });
        Self { queue, clock, config, hands, shared, identity }
    }

    /// Which worker it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What looks at the worker while it runs.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle {
            pool: self.hands.pool().watch(),
            clock: self.clock.clone(),
            stall_max: self.config.pool.stall_max,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Works until it is asked to drain or to stop, or reaches a limit.
    ///
    /// It reserves what there are free slots for, keeps the leases while handlers run, and settles in groups. While the
    /// store of the queue fails, it tries again, with growing delays, and [`WorkerHandle::health`] says so. When it is
    /// asked to drain, it takes nothing new and lets handlers finish for [`WorkerConfig::grace`]; what has not is
    /// cancelled and given back without an attempt. Asked to stop, it does that at once.
    ///
    /// # Errors
    ///
    /// [`RunError`] when the store was closed under it.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, handlers are cancelled, and messages come again when their leases run out.
    pub async fn run(self, shutdown: ShutdownSignal) -> Result<RunReport, RunError> {
        run::run(self, shutdown).await
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("identity", &self.identity).field("queue", &self.queue).finish()
    }
}

// ---- WorkerHandle ----

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
    fn lock(&self) -> MutexGuard<'_, HandleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
