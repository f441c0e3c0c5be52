//! A pool for work that computes: threads of its own, one job a thread.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use aqueduct_core::{Classified, Clock};

use super::{Came, Control, Crew, Entry, Pool, Shared, State, Ticket, let_go, message, ticket};
use crate::config::Config;
use crate::error::{StartError, SubmitError};
use crate::job::{Context, Job};

/// A pool for work that computes. Cheap to clone; see [`Pool`].
#[derive(Clone)]
pub struct CpuPool {
    pool: Pool,
    shared: Arc<Shared<CpuWork>>,
}

/// Makes an attempt.
pub(super) struct CpuWork(Box<dyn FnMut(&Context) -> Came + Send>);

impl CpuPool {
    pub(super) fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let shared = Shared::<CpuWork>::start(config, clock)?;
        // From here on a failure below drops the pool, which ends the threads that were started.
        let pool = shared.pool();
        {
            let mut state = shared.lock();
            while state.threads < state.size {
                start_thread(&shared, &mut state).map_err(StartError::Thread)?;
            }
        }
        Ok(Self { pool, shared })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
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
    pub async fn submit<T, E, F>(&self, job: Job, work: F) -> Result<Ticket<T, E>, SubmitError>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
        F: FnMut(&Context) -> Result<T, E> + Send + 'static,
    {
        let room = self.shared.room(&job).await?;
        self.push(room, job, work)
    }

    /// The same, and waits at most so long.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub async fn submit_within<T, E, F>(
        &self,
        job: Job,
        wait: Duration,
        work: F,
    ) -> Result<Ticket<T, E>, SubmitError>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
        F: FnMut(&Context) -> Result<T, E> + Send + 'static,
    {
        let room = self.shared.room_within(&job, wait).await?;
        self.push(room, job, work)
    }

    /// Hands in a job if there is room for it. It may be called from any thread.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn try_submit<T, E, F>(&self, job: Job, work: F) -> Result<Ticket<T, E>, SubmitError>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
        F: FnMut(&Context) -> Result<T, E> + Send + 'static,
    {
        let room = self.shared.try_room(&job)?;
        self.push(room, job, work)
    }

    fn push<T, E, F>(
        &self,
        room: tokio::sync::OwnedSemaphorePermit,
        job: Job,
        mut work: F,
    ) -> Result<Ticket<T, E>, SubmitError>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
        F: FnMut(&Context) -> Result<T, E> + Send + 'static,
    {
        let (answer, receiver) = ticket::pair();
        let reply = Arc::clone(&answer);
        let work = CpuWork(Box::new(move |context| answer.keep(work(context))));
        let place = self.shared.push(room, job, work, reply)?;
        let pool = Arc::downgrade(&self.shared) as std::sync::Weak<dyn Control>;
        Ok(Ticket { receiver, pool, place })
    }
}

impl fmt::Debug for CpuPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CpuPool").field(&self.figures()).finish()
    }
}

impl Crew for CpuWork {
    fn kick<'a>(shared: &'a Arc<Shared<Self>>, mut state: MutexGuard<'a, State<Self>>) {
        while !state.stopped && state.threads < state.workers(&shared.config) {
            // Where the system gives no thread, the keeper comes again.
            if start_thread(shared, &mut state).is_err() {
                break;
            }
        }
        if state.idle > 0 && state.line.has_ready() {
            shared.work.notify_one();
        }
    }

    fn workers(state: &State<Self>, config: &Config) -> usize {
        state.threads.min(state.workers(config))
    }

    fn lacks_threads(state: &State<Self>, config: &Config) -> bool {
        !state.stopped && state.threads < state.workers(config)
    }
}

fn start_thread(shared: &Arc<Shared<CpuWork>>, state: &mut State<CpuWork>) -> std::io::Result<()> {
    let pool = Arc::clone(shared);
    Builder::new().name(format!("{}-worker", shared.config.name)).spawn(move || serve(pool))?;
    state.threads += 1;
    Ok(())
}

/// A thread of the pool. If it dies, its job ends, and another thread takes its place.
struct Thread {
    shared: Arc<Shared<CpuWork>>,
    /// The job that it has.
    entry: Option<Entry<CpuWork>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut state = self.shared.lock();
        state.figures.replaced += 1;
        // Of a job that was given up the thread does not count any more.
        let told = match self.entry.take() {
            None => {
                state.threads = state.threads.saturating_sub(1);
                None
            }
            Some(entry) => {
                let came = Came::Panicked("its thread died".to_owned());
                let told = self.shared.ended(&mut state, entry, came, self.shared.clock.now());
                if told.is_ok() {
                    state.threads = state.threads.saturating_sub(1);
                }
                told.ok()
            }
        };
        CpuWork::kick(&self.shared, state);
        if let Some(told) = told {
            told.now();
        }
    }
}

fn serve(shared: Arc<Shared<CpuWork>>) {
    let mut thread = Thread { shared, entry: None };
    let mut came = None;
    while next(&mut thread, came.take()) {
        let Some(entry) = thread.entry.as_mut() else { return };
        let context = entry.context();
        let attempt = catch_unwind(AssertUnwindSafe(|| (entry.work.0)(&context)));
        came = Some(attempt.unwrap_or_else(|payload| Came::Panicked(message(&*payload))));
    }
}

/// Gives back the job that the thread has, and waits for another one; both under one lock. `false` when the thread is
/// not wanted any more.
fn next(thread: &mut Thread, came: Option<Came>) -> bool {
    let shared = Arc::clone(&thread.shared);
    let mut now = shared.clock.now();
    let mut state = shared.lock();
    if let (Some(entry), Some(came)) = (thread.entry.take(), came) {
        match shared.ended(&mut state, entry, came, now) {
            Err(work) => {
                // Another thread has taken its place long ago. There may be one to make up for fewer.
                CpuWork::kick(&shared, state);
                let_go(move || drop(work));
                return false;
            }
            Ok(told) => {
                // What is told and let go runs code of the job, so not under the lock; the next job is taken before,
                // so that nobody who waits for this thread waits for that code.
                let taken = shared.take(&mut state, now);
                CpuWork::kick(&shared, state);
                thread.entry = taken;
                told.now();
                if thread.entry.is_some() {
                    return true;
                }
                state = shared.lock();
            }
        }
    }
    loop {
        let surplus = state.threads > state.workers(&shared.config);
        if surplus || (state.stopped && state.line.len() == 0) {
            state.threads -= 1;
            return false;
        }
        if let Some(entry) = shared.take(&mut state, now) {
            thread.entry = Some(entry);
            // More may have become free than this thread takes.
            CpuWork::kick(&shared, state);
            return true;
        }
        state.idle += 1;
        state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        now = shared.clock.now();
    }
}
