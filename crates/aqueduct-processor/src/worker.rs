//! A worker: takes messages of a queue, runs a handler over them, and settles them by what came of it.

mod config;
mod handle;
mod handler;
mod leases;
mod link;
mod outcome;
mod reserve;
mod run;
mod settle;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use aqueduct_core::{Classified, Clock};
use aqueduct_queue::Queue;

use crate::error::StartError;
use crate::pool::{CpuPool, IoPool, Pool};
use crate::report::{Identity, RunReport};

pub use config::{Suspects, WorkerConfig};
pub use handle::{WorkerHandle, WorkerHealth};
pub use handler::Work;

use handle::Shared;
use handler::Hands;

/// A worker over a queue. [`run`](Self::run) is all that it does.
pub struct Worker {
    queue: Queue,
    clock: Clock,
    config: WorkerConfig,
    hands: Hands,
    /// The most messages that its handler gets at once.
    bundle_max: usize,
    shared: Arc<Shared>,
    identity: Identity,
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
        Ok(Self::new(queue, config, clock, 1, Hands::io(pool, handler)))
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
        Ok(Self::new(queue, config, clock, 1, Hands::cpu(pool, handler)))
    }

    /// A worker whose handler waits and gets several messages at once: what there is, up to
    /// [`WorkerConfig::bundle_max`], without waiting for more. It answers for each message, in their order, or fails for
    /// all of them; a panic, and time that is over, is a failure of all. The answers of a bundle are settled in one write.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn io_bundles<E, F, R>(
        queue: Queue,
        config: WorkerConfig,
        clock: Clock,
        handler: F,
    ) -> Result<Self, StartError>
    where
        E: Classified + fmt::Display,
        F: Fn(Vec<Work>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<Result<(), E>>, E>> + Send + 'static,
    {
        config.check()?;
        let pool: IoPool = Pool::io(config.pool_config(), clock.clone())?;
        let bundle_max = config.bundle_max;
        Ok(Self::new(queue, config, clock, bundle_max, Hands::io_bundles(pool, handler)))
    }

    /// The same with a handler that computes.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn cpu_bundles<E, F>(
        queue: Queue,
        config: WorkerConfig,
        clock: Clock,
        handler: F,
    ) -> Result<Self, StartError>
    where
        E: Classified + fmt::Display,
        F: Fn(&[Work]) -> Result<Vec<Result<(), E>>, E> + Send + Sync + 'static,
    {
        config.check()?;
        let pool: CpuPool = Pool::cpu(config.pool_config(), clock.clone())?;
        let bundle_max = config.bundle_max;
        Ok(Self::new(queue, config, clock, bundle_max, Hands::cpu_bundles(pool, handler)))
    }

    fn new(queue: Queue, config: WorkerConfig, clock: Clock, bundle_max: usize, hands: Hands) -> Self {
        let identity = Identity::new(&clock);
        let shared = Arc::new(Shared::new(RunReport::new(identity)));
        Self { queue, clock, config, hands, bundle_max, shared, identity }
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
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("identity", &self.identity).field("queue", &self.queue).finish()
    }
}
