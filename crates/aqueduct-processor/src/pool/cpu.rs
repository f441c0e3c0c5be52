//! A pool for work that computes: threads of its own, one job a thread.

use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use aqueduct_core::{Classified, Clock};

use super::control::Control;
use super::entry::{Came, Entry, let_go, message};
use super::handle::Pool;
use super::keeper::keep;
use super::shared::{Crew, Shared};
use super::state::State;
use super::ticket::{Ticket, pair};
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

impl Pool {
    /// Makes a pool for work that computes: threads of its own, one job a thread. Deadlines and retries are kept by a
    /// task on the tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a setting cannot be, there is no runtime, or the system gives no thread.
    pub fn cpu(config: Config, clock: Clock) -> Result<CpuPool, StartError> {
        CpuPool::start(config, clock)
    }
}

impl CpuPool {
    fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let shared = Shared::<CpuWork>::start(config, clock)?;
        keep(&shared);
        // From here on a failure below drops the pool, which ends the threads that were started.
        let pool = Pool::new(&shared);
        {
            let mut state = shared.lock();
            while state.threads < state.threads_min(&shared.config) {
                start_thread(&shared, &mut state).map_err(StartError::Thread)?;
            }
        }
        Ok(Self { pool, shared })
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
        let (answer, receiver) = pair();
        let reply = Arc::clone(&answer);
        let work = CpuWork(Box::new(move |context| answer.keep(work(context))));
        let place = self.shared.push(room, job, work, reply)?;
        let pool = Arc::downgrade(&self.shared) as std::sync::Weak<dyn Control>;
        Ok(Ticket { receiver, pool, place })
    }
}

/// A pool with a way to submit.
impl Deref for CpuPool {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.pool
    }
}

impl fmt::Debug for CpuPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CpuPool").field(&self.figures()).finish()
    }
}

impl Crew for CpuWork {
    fn kick<'a>(shared: &'a Arc<Shared<Self>>, mut state: MutexGuard<'a, State<Self>>) {
        let mut lacks_threads = false;
        while !lacks_threads && wants_thread(&state, &shared.config) {
            lacks_threads = start_thread(shared, &mut state).is_err();
        }
        if lacks_threads && !state.lacks_threads {
            // It comes again when the system may give one.
            shared.keeper.notify_one();
        }
        state.lacks_threads = lacks_threads;
        if !state.idle.is_empty() && state.line.has_ready() {
            shared.work.notify_one();
        }
    }

    fn present(state: &State<Self>) -> usize {
        state.threads
    }
}

/// Whether there are fewer threads than there are to be, always or now that a job waits and none is free. One that begins
/// looks for another one when it has taken its job, so there is never more than one on the way for those that wait.
fn wants_thread(state: &State<CpuWork>, config: &Config) -> bool {
    let one_more = state.line.has_ready() && state.idle.is_empty() && state.starting == 0;
    let wanted = if one_more { state.workers(config) } else { state.threads_min(config) };
    !state.stopped && state.threads < wanted
}

fn start_thread(shared: &Arc<Shared<CpuWork>>, state: &mut State<CpuWork>) -> std::io::Result<()> {
    let pool = Arc::clone(shared);
    Builder::new().name(format!("{}-worker", shared.config.name)).spawn(move || serve(pool))?;
    state.threads += 1;
    state.starting += 1;
    shared.count_workers(state, shared.clock.now());
    Ok(())
}

/// A thread of the pool. If it dies, its job ends, and another thread takes its place.
struct Thread {
    shared: Arc<Shared<CpuWork>>,
    /// The job that it has.
    entry: Option<Entry<CpuWork>>,
    /// Whether it has not looked for a job yet.
    starting: bool,
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
        self.shared.count_workers(&mut state, self.shared.clock.now());
        CpuWork::kick(&self.shared, state);
        if let Some(told) = told {
            told.now();
        }
    }
}

fn serve(shared: Arc<Shared<CpuWork>>) {
    let mut thread = Thread { shared, entry: None, starting: true };
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
    if std::mem::take(&mut thread.starting) {
        state.starting -= 1;
    }
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
                now = shared.clock.now();
                state = shared.lock();
            }
        }
    }
    let mut waits = false;
    loop {
        let surplus = state.threads > state.workers(&shared.config);
        let ends = surplus || (state.stopped && state.line.len() == 0);
        if !ends && let Some(entry) = shared.take(&mut state, now) {
            if waits {
                state.idle.pop_back();
            }
            if state.unneeded(&shared.config).next().is_some_and(|at| at <= now) {
                // It may have been woken to end. Then another one does.
                shared.work.notify_one();
            }
            thread.entry = Some(entry);
            // More may have become free than this thread takes.
            CpuWork::kick(&shared, state);
            return true;
        }
        if ends || (waits && state.unneeded(&shared.config).next().is_some_and(|at| at <= now)) {
            if waits {
                state.idle.pop_front();
                // It may have come for the first alone.
                shared.keeper.notify_one();
            }
            state.threads -= 1;
            shared.count_workers(&mut state, now);
            return false;
        }
        if !waits {
            waits = true;
            state.idle.push_back(now);
            // While others wait, the keeper comes for the first of them.
            if state.idle.len() == 1 && state.threads > state.threads_min(&shared.config) {
                shared.keeper.notify_one();
            }
        }
        state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        now = shared.clock.now();
    }
}
