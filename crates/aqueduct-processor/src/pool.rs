//! A pool: who waits, who runs, who is late. One lock guards all of it; no code of a job runs under it.

mod cpu;
mod io;
mod keeper;
mod ticket;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aqueduct_core::{Clock, ConfigError, ErrorClass, Instant, Phase, Random, ShutdownSignal};
use aqueduct_retry::{Attempt, Ended, Limit, Next};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::cancel::{Cancel, Why};
use crate::config::Config;
use crate::error::{StartError, SubmitError};
use crate::figures::{Drained, Figures, Health};
use crate::job::{Context, Job};
use crate::line::{Line, Place, Waiting, rank};

pub use cpu::CpuPool;
pub use io::IoPool;
pub use ticket::Ticket;
pub(crate) use ticket::{Canceller, End, Reply};

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
    /// Makes a pool for work that waits: futures on the tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a setting cannot be, or there is no runtime.
    pub fn io(config: Config, clock: Clock) -> Result<IoPool, StartError> {
        IoPool::start(config, clock)
    }

    /// Makes a pool for work that computes: threads of its own, one job a thread. Deadlines and retries are kept by a
    /// task on the tokio runtime of the caller.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a setting cannot be, there is no runtime, or the system gives no thread.
    pub fn cpu(config: Config, clock: Clock) -> Result<CpuPool, StartError> {
        CpuPool::start(config, clock)
    }

    /// Lets another number of jobs run at once, from now on. What runs is finished all the same.
    ///
    /// Where the number of threads adapts, this is the most. The fewest are [`Config::size_min`] as before, but never more
    /// than this; where that is `None`, there are as many threads as this, always.
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
    /// Returns after the grace and [`Config::cancel_grace`] at the latest.
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

/// A pool, whatever it runs.
pub(crate) trait Control: Send + Sync {
    fn resize(&self, size: usize) -> Result<(), ConfigError>;
    fn figures(&self) -> Figures;
    fn health(&self) -> Health;
    /// The most workers that there are, from now on until it is dropped.
    fn mark(&self) -> Arc<AtomicUsize>;
    /// Room for jobs.
    fn room(&self) -> &Semaphore;
    fn config(&self) -> &Config;
    /// Cancels one job, if it has not ended.
    fn cancel(&self, place: Place);
    /// Takes nothing new.
    fn close(&self);
    /// Takes nothing new, and cancels everything.
    fn stop(&self);
    fn is_idle(&self) -> bool;
    /// Told whenever the last job has ended.
    fn emptied(&self) -> &Notify;
}

/// The work of a job, and how it is set going.
pub(crate) trait Crew: Send + Sized + 'static {
    /// Sets going what may go.
    fn kick<'a>(shared: &'a Arc<Shared<Self>>, state: MutexGuard<'a, State<Self>>);

    /// How many workers there are.
    fn present(state: &State<Self>) -> usize {
        state.size
    }
}

/// A job from its submission to its end.
pub(crate) struct Entry<W> {
    place: Place,
    job: Job,
    pub(crate) work: W,
    reply: Arc<dyn Reply>,
    pub(crate) cancel: Cancel,
    /// The attempts that have begun.
    attempts: u32,
    first_began: Instant,
    previous_delay: Duration,
    submitted: Instant,
    /// When it is to be cancelled.
    due: Option<Instant>,
    /// Its room in the pool, while it does not run.
    room: Option<OwnedSemaphorePermit>,
}

impl<W> Entry<W> {
    pub(crate) fn context(&self) -> Context {
        Context { attempt: self.attempts, cancel: self.cancel.clone() }
    }
}

/// What is kept of a job while its work is with a thread or a task.
struct Running {
    since: Instant,
    attempts: u32,
    key: Option<Arc<str>>,
    bytes: u64,
    reply: Arc<dyn Reply>,
    cancel: Cancel,
    due: Option<Instant>,
    /// Its room in the pool; given up with its place.
    room: Option<OwnedSemaphorePermit>,
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
    reply: Option<(Arc<dyn Reply>, End, u32)>,
    _work: Option<W>,
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

pub(crate) struct State<W> {
    line: Line<Entry<W>>,
    /// Jobs that wait for their next attempt.
    delayed: BTreeMap<(Instant, u64), Entry<W>>,
    running: HashMap<u64, Running>,
    /// Jobs by when they are to be cancelled, or, cancelled, to be given up.
    due: BTreeMap<(Instant, u64), Place>,
    size: usize,
    /// Threads that serve this pool. Not used where tasks do.
    threads: usize,
    /// Those that have begun and not yet looked for a job.
    starting: usize,
    /// For each thread that waits for a job, since when. Whoever takes one takes the latest, whichever thread it is, so
    /// the first tells how long there has been a thread too many.
    idle: VecDeque<Instant>,
    /// Whether the system last gave no thread where one was wanted.
    lacks_threads: bool,
    /// Up to when the workers' time is added up.
    counted: Instant,
    /// Each has the most workers that there were since it was made.
    marks: Vec<Weak<AtomicUsize>>,
    /// When a job was last taken, or the first one came.
    taken: Instant,
    next_id: u64,
    closed: bool,
    stopped: bool,
    figures: Figures,
    random: Random,
}

/// What a pool, its threads and tasks and its keeper share.
pub(crate) struct Shared<W> {
    state: Mutex<State<W>>,
    config: Config,
    clock: Clock,
    handle: Handle,
    /// Room for jobs.
    room: Arc<Semaphore>,
    /// Wakes idle threads.
    work: Condvar,
    /// Wakes the keeper.
    keeper: Notify,
    emptied: Notify,
    me: Weak<Self>,
}

// ---- Shared ----

impl<W: Crew> Shared<W> {
    fn start(config: Config, clock: Clock) -> Result<Arc<Self>, StartError> {
        config.check()?;
        let handle = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let now = clock.now();
        let state = State {
            line: Line::new(config.per_key_max, config.bytes_max),
            delayed: BTreeMap::new(),
            running: HashMap::new(),
            due: BTreeMap::new(),
            size: config.size,
            threads: 0,
            starting: 0,
            idle: VecDeque::new(),
            lacks_threads: false,
            counted: now,
            marks: Vec::new(),
            taken: now,
            next_id: 0,
            closed: false,
            stopped: false,
            figures: Figures::default(),
            // Chance spreads retries here; nothing is replayed by it.
            random: Random::seeded(RandomState::new().hash_one(0_u8)),
        };
        let room = Arc::new(Semaphore::new(config.jobs_max));
        let shared = Arc::new_cyclic(|me| Self {
            state: Mutex::new(state),
            config,
            clock,
            handle,
            room,
            work: Condvar::new(),
            keeper: Notify::new(),
            emptied: Notify::new(),
            me: me.clone(),
        });
        shared.count_workers(&mut shared.lock(), now);
        shared.handle.spawn(keeper::keep(Arc::downgrade(&shared)));
        Ok(shared)
    }

    fn pool(self: &Arc<Self>) -> Pool {
        Pool(Arc::new(Owner { control: Arc::clone(self) as Arc<dyn Control>, clock: self.clock.clone() }))
    }

    /// Nothing panics under this lock but for a bug of ours; values are whole between any two statements that could.
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, job: &Job) -> Result<(), SubmitError> {
        let (bytes, bytes_max) = (job.bytes, self.config.bytes_max);
        if bytes > bytes_max { Err(SubmitError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    fn try_room(&self, job: &Job) -> Result<OwnedSemaphorePermit, SubmitError> {
        self.check(job)?;
        Arc::clone(&self.room).try_acquire_owned().map_err(|error| match error {
            tokio::sync::TryAcquireError::Closed => SubmitError::Closed,
            tokio::sync::TryAcquireError::NoPermits => SubmitError::Full { jobs_max: self.config.jobs_max },
        })
    }

    async fn room(&self, job: &Job) -> Result<OwnedSemaphorePermit, SubmitError> {
        self.check(job)?;
        Arc::clone(&self.room).acquire_owned().await.map_err(|_| SubmitError::Closed)
    }

    async fn room_within(&self, job: &Job, wait: Duration) -> Result<OwnedSemaphorePermit, SubmitError> {
        tokio::select! {
            biased;
            room = self.room(job) => room,
            () = self.clock.sleep(wait) => Err(SubmitError::Full { jobs_max: self.config.jobs_max }),
        }
    }

    /// Puts a job into the line.
    fn push(
        self: &Arc<Self>,
        room: OwnedSemaphorePermit,
        job: Job,
        work: W,
        reply: Arc<dyn Reply>,
    ) -> Result<Place, SubmitError> {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.closed {
            return Err(SubmitError::Closed);
        }
        state.next_id += 1;
        let place = (rank(now, job.priority, self.config.ageing), state.next_id);
        let due = job.within.map(|within| now.after(within));
        if let Some(due) = due {
            state.due.insert((due, place.1), place);
            self.keeper.notify_one();
        }
        let entry = Entry {
            place,
            job,
            work,
            reply,
            cancel: Cancel::default(),
            attempts: 0,
            first_began: now,
            previous_delay: Duration::ZERO,
            submitted: now,
            due,
            room: Some(room),
        };
        state.wait(entry, now);
        W::kick(self, state);
        Ok(place)
    }

    /// Takes the next job, which runs from now on, if one more may.
    fn take(&self, state: &mut State<W>, now: Instant) -> Option<Entry<W>> {
        if state.running.len() >= state.workers(&self.config) {
            return None;
        }
        let mut entry = state.line.pop()?;
        state.taken = now;
        if entry.attempts == 0 {
            entry.first_began = now;
            if let Some(metrics) = &self.config.metrics {
                metrics.waited(now.since(entry.submitted));
            }
        }
        entry.attempts = entry.attempts.saturating_add(1);
        let running = Running {
            since: now,
            attempts: entry.attempts,
            key: entry.job.key.clone(),
            bytes: entry.job.bytes,
            reply: Arc::clone(&entry.reply),
            cancel: entry.cancel.clone(),
            due: entry.due,
            room: entry.room.take(),
        };
        state.running.insert(entry.place.1, running);
        Some(entry)
    }

    /// An attempt has ended; the job has, or waits for the next one. `Err` when its place was given up long ago.
    fn ended(
        &self,
        state: &mut State<W>,
        mut entry: Entry<W>,
        came: Came,
        now: Instant,
    ) -> Result<Told<W>, W> {
        let Some(running) = state.running.remove(&entry.place.1) else {
            state.figures.abandoned -= 1;
            return Err(entry.work);
        };
        state.line.ended(running.key.as_ref(), running.bytes);
        let ran = now.since(running.since);
        state.figures.busy += ran;
        if let Some(metrics) = &self.config.metrics {
            metrics.ran(ran);
        }
        let end = match (came, entry.cancel.why()) {
            (Came::Done, _) => End::Done,
            (Came::Panicked(message), _) => End::Panicked(message),
            (_, Some(Why::Late)) => End::Late { abandoned: false },
            // A future that was dropped and not cancelled: its runtime is gone.
            (_, Some(Why::Unwanted)) | (Came::Dropped, None) => End::Cancelled { abandoned: false },
            (Came::Failed { class, retry_after }, None) => {
                match self.again(state, &entry, class, retry_after, now) {
                    Err(ended) => End::Failed(ended),
                    Ok(delay) => {
                        (entry.previous_delay, entry.room) = (delay, running.room);
                        state.figures.retries += 1;
                        state.delayed.insert((now.after(delay), entry.place.1), entry);
                        self.keeper.notify_one();
                        return Ok(Told { reply: None, _work: None });
                    }
                }
            }
        };
        Ok(self.end(state, entry, running.due, end))
    }

    /// Says how long to wait before the next attempt, or why there is none.
    fn again(
        &self,
        state: &mut State<W>,
        entry: &Entry<W>,
        class: ErrorClass,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Result<Duration, Ended> {
        if !class.is_retryable() {
            return Err(Ended::Final);
        }
        let failed = Attempt {
            number: entry.attempts,
            elapsed: now.since(entry.first_began),
            previous_delay: entry.previous_delay,
            retry_after,
        };
        match self.config.retry.next(&failed, &mut state.random) {
            Next::Stop(limit) => Err(Ended::Limit(limit)),
            Next::Wait(delay) if entry.due.is_some_and(|due| now.after(delay) >= due) => {
                Err(Ended::Limit(Limit::Deadline))
            }
            Next::Wait(delay) => Ok(delay),
        }
    }

    /// A job that neither waits nor runs any more has ended.
    fn end(&self, state: &mut State<W>, entry: Entry<W>, due: Option<Instant>, end: End) -> Told<W> {
        if let Some(due) = due {
            state.due.remove(&(due, entry.place.1));
        }
        self.count(state, &end);
        Told { reply: Some((entry.reply, end, entry.attempts)), _work: Some(entry.work) }
    }

    fn count(&self, state: &mut State<W>, end: &End) {
        let figures = &mut state.figures;
        match end {
            End::Done => figures.done += 1,
            End::Failed(_) => figures.failed += 1,
            End::Panicked(_) => figures.panicked += 1,
            End::Late { .. } => figures.late += 1,
            End::Cancelled { .. } => figures.cancelled += 1,
        }
        if let Some(metrics) = &self.config.metrics {
            metrics.ended(end);
        }
        if state.is_idle() {
            self.emptied.notify_waiters();
        }
    }

    /// Adds up the workers' time until now, and counts who is there from now on. To be called whenever that changes.
    fn count_workers(&self, state: &mut State<W>, now: Instant) {
        let (before, present) = (state.figures.present, W::present(state));
        let workers = u32::try_from(before).unwrap_or(u32::MAX);
        state.figures.capacity += now.since(state.counted) * workers;
        state.counted = now;
        if before == present {
            return;
        }
        state.figures.present = present;
        state.figures.present_high = state.figures.present_high.max(present);
        state.marks.retain(|mark| match mark.upgrade() {
            // Read by whoever has had an answer under the same lock.
            Some(mark) => {
                mark.fetch_max(present, Ordering::Relaxed);
                true
            }
            None => false,
        });
        if let Some(metrics) = &self.config.metrics {
            metrics.workers(before, present);
        }
    }

    /// Takes a job that does not run out of the pool.
    fn withdraw(&self, state: &mut State<W>, place: Place, end: End) -> Option<Told<W>> {
        let entry = state.line.remove(place).or_else(|| {
            let at = state.delayed.iter().find(|(_, entry)| entry.place == place).map(|(at, _)| *at)?;
            state.delayed.remove(&at)
        })?;
        let due = entry.due;
        Some(self.end(state, entry, due, end))
    }

    /// Asks the work of a job that runs to end. If it does not within the grace, the keeper gives its place up.
    fn ask_to_end(&self, state: &mut State<W>, place: Place, why: Why, now: Instant) -> bool {
        let Some(running) = state.running.get_mut(&place.1) else { return false };
        if running.cancel.is_cancelled() {
            return true;
        }
        running.cancel.set(why);
        let due = now.after(self.config.cancel_grace);
        if let Some(old) = running.due.replace(due) {
            state.due.remove(&(old, place.1));
        }
        state.due.insert((due, place.1), place);
        self.keeper.notify_one();
        true
    }

    /// Gives up the place of work that does not return.
    fn abandon(&self, state: &mut State<W>, place: Place) -> Option<Told<W>> {
        let running = state.running.remove(&place.1)?;
        state.line.ended(running.key.as_ref(), running.bytes);
        // The thread that has it serves this pool no more; whoever has it finds no entry when it comes back.
        state.threads = state.threads.saturating_sub(1);
        self.count_workers(state, self.clock.now());
        state.figures.abandoned += 1;
        state.figures.given_up += 1;
        let end = match running.cancel.why() {
            Some(Why::Unwanted) => End::Cancelled { abandoned: true },
            _ => End::Late { abandoned: true },
        };
        self.count(state, &end);
        Some(Told { reply: Some((running.reply, end, running.attempts)), _work: None })
    }
}

impl<W> State<W> {
    /// Puts a job into the line, for the first time or again.
    fn wait(&mut self, entry: Entry<W>, now: Instant) {
        if self.line.len() == 0 {
            // Nobody waited until now.
            self.taken = now;
        }
        let waiting = Waiting { key: entry.job.key.clone(), bytes: entry.job.bytes, item: entry };
        self.line.push(waiting.item.place, waiting);
    }

    /// How many jobs may run at once: what is lost beyond what is made up for makes the pool smaller.
    fn workers(&self, config: &Config) -> usize {
        self.size.saturating_sub(self.figures.abandoned.saturating_sub(config.abandoned_max))
    }

    fn is_idle(&self) -> bool {
        self.line.len() == 0 && self.delayed.is_empty() && self.running.is_empty()
    }

    /// The fewest threads that there are to be.
    fn threads_min(&self, config: &Config) -> usize {
        config.size_min.unwrap_or(self.size).min(self.workers(config))
    }

    /// How many jobs can run at once: not more than there are threads, where the system gives no other.
    fn can_run(&self, config: &Config) -> usize {
        let workers = self.workers(config);
        if self.lacks_threads { self.threads.min(workers) } else { workers }
    }

    /// When there will have been a thread too many for so long that one ends; in the past for those that are about to.
    fn unneeded(&self, config: &Config) -> impl Iterator<Item = Instant> {
        let spare = self.threads.saturating_sub(self.threads_min(config));
        self.idle.iter().take(spare).map(|since| since.after(config.idle_max))
    }
}

impl<W> Drop for Shared<W> {
    fn drop(&mut self) {
        if let Some(metrics) = &self.config.metrics {
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            metrics.workers(state.figures.present, 0);
        }
    }
}

impl<W: Crew> Control for Shared<W> {
    fn resize(&self, size: usize) -> Result<(), ConfigError> {
        self.config.check_size(size)?;
        let mut state = self.lock();
        state.size = size;
        self.count_workers(&mut state, self.clock.now());
        self.work.notify_all();
        if let Some(me) = self.me.upgrade() {
            W::kick(&me, state);
        }
        Ok(())
    }

    fn figures(&self) -> Figures {
        let now = self.clock.now();
        let mut state = self.lock();
        self.count_workers(&mut state, now);
        let (bytes, bytes_high) = state.line.bytes();
        Figures {
            size: state.size,
            waiting: state.line.len(),
            delayed: state.delayed.len(),
            running: state.running.len(),
            bytes,
            bytes_high,
            ..state.figures.clone()
        }
    }

    fn health(&self) -> Health {
        let now = self.clock.now();
        let state = self.lock();
        let stalled = if state.line.len() == 0 { Duration::ZERO } else { now.since(state.taken) };
        let workers = state.can_run(&self.config);
        let live = stalled <= self.config.stall_max && workers > 0 && !state.stopped;
        Health { live, stalled, workers, present: W::present(&state) }
    }

    fn room(&self) -> &Semaphore {
        &self.room
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn mark(&self) -> Arc<AtomicUsize> {
        let mut state = self.lock();
        let mark = Arc::new(AtomicUsize::new(W::present(&state)));
        state.marks.retain(|mark| mark.strong_count() > 0);
        state.marks.push(Arc::downgrade(&mark));
        mark
    }

    fn cancel(&self, place: Place) {
        let now = self.clock.now();
        let told = {
            let mut state = self.lock();
            if self.ask_to_end(&mut state, place, Why::Unwanted, now) {
                return;
            }
            self.withdraw(&mut state, place, End::Cancelled { abandoned: false })
        };
        if let Some(told) = told {
            told.now();
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.room.close();
    }

    fn stop(&self) {
        let now = self.clock.now();
        let mut told = Vec::new();
        {
            let mut state = self.lock();
            (state.closed, state.stopped) = (true, true);
            self.room.close();
            let waiting = state.line.clear();
            for entry in waiting.into_iter().chain(std::mem::take(&mut state.delayed).into_values()) {
                let due = entry.due;
                told.push(self.end(&mut state, entry, due, End::Cancelled { abandoned: false }));
            }
            let running: Vec<u64> = state.running.keys().copied().collect();
            for id in running {
                // Only the number tells jobs that run apart.
                self.ask_to_end(&mut state, (Instant::ZERO, id), Why::Unwanted, now);
            }
            self.work.notify_all();
            self.keeper.notify_one();
        }
        for told in told {
            told.now();
        }
    }

    fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    fn emptied(&self) -> &Notify {
        &self.emptied
    }
}

/// Both pools are a [`Pool`] with a way to submit.
impl Deref for IoPool {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        self.pool()
    }
}

impl Deref for CpuPool {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        self.pool()
    }
}

/// Runs what drops values of a job. If one of them panics, that is nobody else's failure; the hook for panics tells of it.
fn let_go(drop: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(drop));
}

/// The text of a panic.
pub(crate) fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is no text".to_owned())
}
