//! The handle of a pool: figures, size, drain.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use aqueduct_core::{Clock, ConfigError, Phase, ShutdownSignal};

use super::control::Control;
use super::shared::{Crew, Shared};
use crate::figures::{Drained, Figures, Health};

/// What both kinds of pool have in common. Cheap to clone; when the last clone of a pool is gone, its jobs are
/// cancelled.
#[derive(Clone)]
pub struct Pool(Arc<Owner>);

/// Ends the pool with its last handle. Threads and tasks hold what is shared, and not this.
struct Owner {
    control: Arc<dyn Control>,
    clock: Clock,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// Looks at a pool and resizes it, and does not keep it alive.
#[derive(Clone)]
pub(crate) struct Watch(Arc<dyn Control>);

impl Watch {
    pub(crate) fn resize(&self, size: usize) -> Result<(), ConfigError> {
        self.0.resize(size)
    }

    pub(crate) fn figures(&self) -> Figures {
        self.0.figures()
    }

    pub(crate) fn health(&self) -> Health {
        self.0.health()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.figures()).finish()
    }
}

impl Pool {
    pub(super) fn new<W: Crew>(shared: &Arc<Shared<W>>) -> Self {
        let control = Arc::clone(shared) as Arc<dyn Control>;
        Self(Arc::new(Owner { control, clock: shared.clock.clone() }))
    }

    /// Lets another number of jobs run at once, from now on. What runs is finished all the same.
    ///
    /// Where the number of threads adapts, this is the most. The fewest are
    /// [`Config::size_min`](crate::Config::size_min) as before, but never more than this; where that is `None`, there are
    /// as many threads as this, always.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the pool cannot have this size; nothing has changed.
    pub fn resize(&self, size: usize) -> Result<(), ConfigError> {
        self.0.control.resize(size)
    }

    /// What the pool has done and has.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.control.figures()
    }

    /// Whether the pool gets on. For the probe of a supervisor outside.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.control.health()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The most workers that there are, from now on until it is dropped.
    pub(crate) fn workers_high(&self) -> Arc<AtomicUsize> {
        self.0.control.mark()
    }

    /// The most memory of jobs that run.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.0.control.config().bytes_max
    }

    /// Waits until there is room for a job, or the pool takes nothing more.
    pub(crate) async fn has_room(&self) {
        let room = self.0.control.room();
        drop(room.acquire().await);
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.0.control))
    }

    /// Takes nothing new, and gives the jobs that it has so long to end, with their retries. Those that have not ended
    /// then are cancelled, and tell so by their tickets.
    ///
    /// Returns after the grace and [`Config::cancel_grace`](crate::Config::cancel_grace) at the latest.
    ///
    /// # Cancel safety
    ///
    /// A pool whose drain is dropped takes nothing new and finishes what it has.
    pub async fn drain(&self, grace: Duration) -> Drained {
        self.drain_until(self.0.clock.sleep(grace)).await
    }

    /// Waits until it is asked to drain, and does so; asked to stop, it waits no longer.
    ///
    /// # Cancel safety
    ///
    /// See [`drain`](Self::drain).
    pub async fn drain_on(&self, mut signal: ShutdownSignal, grace: Duration) -> Drained {
        signal.reached(Phase::Draining).await;
        let clock = self.0.clock.clone();
        let over = async move {
            tokio::select! {
                () = clock.sleep(grace) => {}
                () = signal.reached(Phase::Stopping) => {}
            }
        };
        self.drain_until(over).await
    }

    async fn drain_until(&self, over: impl Future<Output = ()>) -> Drained {
        let control = &self.0.control;
        let before = control.figures();
        control.close();
        tokio::select! {
            biased;
            () = idle(&**control) => {}
            () = over => {}
        }
        control.stop();
        idle(&**control).await;
        let after = control.figures();
        let cancelled = after.cancelled - before.cancelled;
        Drained {
            finished: after.ended() - before.ended() - cancelled,
            cancelled,
            abandoned: after.abandoned,
        }
    }
}

/// Waits until a pool has no job.
async fn idle(control: &dyn Control) {
    loop {
        // Made before the look, so that what happens in between is not missed.
        let changed = control.emptied().notified();
        if control.is_idle() {
            return;
        }
        changed.await;
    }
}
