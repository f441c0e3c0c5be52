//! What a pool, its threads and tasks and its keeper share: one lock guards all of it, and no code of a job runs under it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aqueduct_core::{Clock, Instant, Random};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::entry::{Entry, Reply, Running};
use super::state::State;
use crate::cancel::Cancel;
use crate::config::Config;
use crate::error::{StartError, SubmitError};
use crate::figures::Figures;
use crate::job::Job;
use crate::line::{Line, Place, rank};

/// The work of a job, and how it is set going.
pub(crate) trait Crew: Send + Sized + 'static {
    /// Sets going what may go.
    fn kick<'a>(shared: &'a Arc<Shared<Self>>, state: MutexGuard<'a, State<Self>>);

    /// How many workers there are.
    fn present(state: &State<Self>) -> usize {
        state.size
    }
}

/// What a pool, its threads and tasks and its keeper share.
pub(crate) struct Shared<W> {
    pub(super) state: Mutex<State<W>>,
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) handle: Handle,
    /// Room for jobs.
    pub(super) room: Arc<Semaphore>,
    /// Wakes idle threads.
    pub(super) work: Condvar,
    /// Wakes the keeper.
    pub(super) keeper: Notify,
    pub(super) emptied: Notify,
    pub(super) me: Weak<Self>,
}

impl<W: Crew> Shared<W> {
    pub(super) fn start(config: Config, clock: Clock) -> Result<Arc<Self>, StartError> {
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
        Ok(shared)
    }

    /// Nothing panics under this lock but for a bug of ours; values are whole between any two statements that could.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check(&self, job: &Job) -> Result<(), SubmitError> {
        let (bytes, bytes_max) = (job.bytes, self.config.bytes_max);
        if bytes > bytes_max { Err(SubmitError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    pub(super) fn try_room(&self, job: &Job) -> Result<OwnedSemaphorePermit, SubmitError> {
        self.check(job)?;
        Arc::clone(&self.room).try_acquire_owned().map_err(|error| match error {
            tokio::sync::TryAcquireError::Closed => SubmitError::Closed,
            tokio::sync::TryAcquireError::NoPermits => SubmitError::Full { jobs_max: self.config.jobs_max },
        })
    }

    pub(super) async fn room(&self, job: &Job) -> Result<OwnedSemaphorePermit, SubmitError> {
        self.check(job)?;
        Arc::clone(&self.room).acquire_owned().await.map_err(|_| SubmitError::Closed)
    }

    pub(super) async fn room_within(
        &self,
        job: &Job,
        wait: Duration,
    ) -> Result<OwnedSemaphorePermit, SubmitError> {
        tokio::select! {
            biased;
            room = self.room(job) => room,
            () = self.clock.sleep(wait) => Err(SubmitError::Full { jobs_max: self.config.jobs_max }),
        }
    }

    /// Puts a job into the line.
    pub(super) fn push(
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
    pub(super) fn take(&self, state: &mut State<W>, now: Instant) -> Option<Entry<W>> {
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

    /// Adds up the workers' time until now, and counts who is there from now on. To be called whenever that changes.
    pub(super) fn count_workers(&self, state: &mut State<W>, now: Instant) {
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
}

impl<W> Drop for Shared<W> {
    fn drop(&mut self) {
        if let Some(metrics) = &self.config.metrics {
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            metrics.workers(state.figures.present, 0);
        }
    }
}
