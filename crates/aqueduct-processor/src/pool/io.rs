//! A pool for work that waits: futures on the runtime, so many at once.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use aqueduct_core::{Classified, Clock};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::control::Control;
use super::entry::{Came, Entry, message};
use super::handle::Pool;
use super::keeper::keep;
use super::shared::{Crew, Shared};
use super::state::State;
use super::ticket::{Ticket, pair};
use crate::config::Config;
use crate::error::{StartError, SubmitError};
use crate::job::{Context, Job};

/// A pool for work that waits. Cheap to clone; see [`Pool`].
#[derive(Clone)]
pub struct IoPool {
    pool: Pool,
    shared: Arc<Shared<IoWork>>,
}

/// Makes the future of an attempt.
pub(super) struct IoWork(Box<dyn FnMut(Context) -> BoxFuture<'static, Came> + Send>);

impl Pool {
    /// Makes a pool for work that waits: futures on the tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a setting cannot be, or there is no runtime.
    pub fn io(config: Config, clock: Clock) -> Result<IoPool, StartError> {
        IoPool::start(config, clock)
    }
}

impl IoPool {
    fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let shared = Shared::start(config, clock)?;
        keep(&shared);
        Ok(Self { pool: Pool::new(&shared), shared })
    }

    /// Hands in a job, and waits for room as long as it takes. `work` is called once for each attempt.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], but never [`SubmitError::Full`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, nothing is handed in.
    pub async fn submit<T, E, F, R>(&self, job: Job, work: F) -> Result<Ticket<T, E>, SubmitError>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
        F: FnMut(Context) -> R + Send + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
    {
        let room = self.shared.room(&job).await?;
        self.push(room, job, work)
    }

    /// The same, and waits at most so long.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub async fn submit_within<T, E, F, R>(
        &self,
        job: Job,
        wait: Duration,
        work: F,
    ) -> Result<Ticket<T, E>, SubmitError>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
        F: FnMut(Context) -> R + Send + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
    {
        let room = self.shared.room_within(&job, wait).await?;
        self.push(room, job, work)
    }

    /// Hands in a job if there is room for it.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn try_submit<T, E, F, R>(&self, job: Job, work: F) -> Result<Ticket<T, E>, SubmitError>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
        F: FnMut(Context) -> R + Send + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
    {
        let room = self.shared.try_room(&job)?;
        self.push(room, job, work)
    }

    fn push<T, E, F, R>(
        &self,
        room: tokio::sync::OwnedSemaphorePermit,
        job: Job,
        mut work: F,
    ) -> Result<Ticket<T, E>, SubmitError>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
        F: FnMut(Context) -> R + Send + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (answer, receiver) = pair();
        let reply = Arc::clone(&answer);
        let work = IoWork(Box::new(move |context| {
            let attempt = work(context);
            let answer = Arc::clone(&answer);
            Box::pin(async move { answer.keep(attempt.await) })
        }));
        let place = self.shared.push(room, job, work, reply)?;
        let pool = Arc::downgrade(&self.shared) as std::sync::Weak<dyn Control>;
        Ok(Ticket { receiver, pool, place })
    }
}

/// A pool with a way to submit.
impl Deref for IoPool {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl fmt::Debug for IoPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IoPool").field(&self.figures()).finish()
    }
}

impl Crew for IoWork {
    fn kick<'a>(shared: &'a Arc<Shared<Self>>, mut state: MutexGuard<'a, State<Self>>) {
        while let Some(entry) = shared.take(&mut state, shared.clock.now()) {
            // A runtime that shuts down drops the task at once, and that takes the lock.
            drop(state);
            shared.handle.spawn(serve(Slot { shared: Arc::clone(shared), entry: Some(entry) }));
            state = shared.lock();
        }
    }
}

/// A job in a task. Whatever becomes of the task, the job ends.
struct Slot {
    shared: Arc<Shared<IoWork>>,
    entry: Option<Entry<IoWork>>,
}

impl Slot {
    fn end(mut self, came: Came) {
        let Some(entry) = self.entry.take() else { return };
        let shared = &self.shared;
        let mut state = shared.lock();
        let told = shared.ended(&mut state, entry, came, shared.clock.now());
        IoWork::kick(shared, state);
        if let Ok(told) = told {
            told.now();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let came = if std::thread::panicking() {
            Came::Panicked("while it was dropped".to_owned())
        } else {
            // The runtime is shutting down.
            Came::Dropped
        };
        let mut state = self.shared.lock();
        if matches!(came, Came::Panicked(_)) {
            state.figures.replaced += 1;
        }
        let told = self.shared.ended(&mut state, entry, came, self.shared.clock.now());
        drop(state);
        // Not from here: where the runtime is gone, each new task would be dropped by the one before.
        self.shared.keeper.notify_one();
        if let Ok(told) = told {
            told.now();
        }
    }
}

async fn serve(mut slot: Slot) {
    let Some(entry) = slot.entry.as_mut() else { return };
    let (context, cancel) = (entry.context(), entry.cancel.clone());
    let work = &mut entry.work.0;
    let attempt = AssertUnwindSafe(async move { work(context).await }).catch_unwind();
    let came = tokio::select! {
        biased;
        came = attempt => came.unwrap_or_else(|payload| Came::Panicked(message(&*payload))),
        () = cancel.cancelled() => Came::Dropped,
    };
    slot.end(came);
}
