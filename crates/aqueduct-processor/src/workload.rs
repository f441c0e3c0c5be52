//! A partitioned workload: one function over the parts of a data set, on a pool, with an account of where the time went.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aqueduct_core::{Classified, ConfigError, ErrorClass, Instant, Phase, ShutdownSignal};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use crate::cancel::Cancel;
use crate::error::{JobError, MapError, SubmitError};
use crate::job::Job;
use crate::limits::{Limit, Limits};
use crate::pool::{Canceller, CpuPool};
use crate::usage;

/// How a workload is run.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Into how many parts the data is cut, of sizes that differ by one at most. From 1; never more than there are items.
    /// Several for each worker even out parts that take longer.
    pub partitions: usize,
    /// What the run may use. Its retries are those of all partitions together.
    pub limits: Limits,
}

/// A part of the data, as the function gets it.
#[derive(Debug)]
pub struct Partition<'a, T> {
    /// Its number, from 0.
    pub index: usize,
    /// Its items.
    pub items: &'a [T],
    /// The number of the first of them in the whole data set.
    pub first: usize,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether the work is to end. It is asked to when a limit is reached and when the run is asked to stop.
    pub cancel: &'a Cancel,
}

/// What came of a workload.
#[derive(Debug)]
pub struct Mapped<R, E> {
    /// The result of each partition, or why there is none, in the order of the data.
    pub results: Vec<Result<R, PartitionError<E>>>,
    /// Where the time went.
    pub report: WorkloadReport,
}

/// Why a partition has no result.
#[derive(Debug)]
pub struct PartitionError<E> {
    /// Its items.
    pub items: Range<usize>,
    /// What came of its job; with [`JobError::Cancelled`] and no attempts, the run ended before its turn.
    pub error: JobError<E>,
}

/// Where the time of a workload went.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadReport {
    /// The time from start to end.
    pub total: Duration,
    /// The time in which the function ran, in all attempts of all partitions together.
    pub busy: Duration,
    /// The workers' time: how many there were, each moment, times how long. A worker that was added counts from then on.
    pub capacity: Duration,
    /// How long partitions waited for their first attempt, from the start of the run: the median.
    pub queue_wait_p50: Duration,
    /// The wait that one in a hundred exceeds.
    pub queue_wait_p99: Duration,
    /// The time that the longest partition ran, divided by the mean of all that ran: 1 when all are equal, and the number
    /// of partitions when one did everything. 0 when none ran.
    pub skew: f64,
    /// How many attempts of each partition failed, panicked or were late.
    pub errors: Vec<u32>,
    /// Attempts after the first, of all partitions.
    pub retries: u64,
    /// The most bytes of data that were worked on at once: items times the size of the type, without what they point to.
    pub bytes_high: u64,
    /// The most memory that the process ever had, in bytes, where the system tells.
    pub memory_high: Option<u64>,
    /// The time that the whole process has computed meanwhile.
    pub cpu: Duration,
    /// The limit that ended it, if one did.
    pub limit: Option<Limit>,
}

impl WorkloadReport {
    /// The share of the workers' time in which the function ran: busy / (workers x wall). What is missing to 1 was lost to
    /// handing out, to waiting for retries, and to workers without a partition at the end.
    #[must_use]
    pub fn parallel_efficiency(&self) -> f64 {
        ratio(self.busy, self.capacity)
    }

    /// The cores' worth of computing that the process did, divided by the workers: cpu / (workers x wall). Below the
    /// efficiency where the function waits, or the workers are more than the cores.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        ratio(self.cpu, self.capacity)
    }

    /// The share of attempts that failed.
    #[must_use]
    pub fn error_ratio(&self) -> f64 {
        let failed: u64 = self.errors.iter().map(|errors| u64::from(*errors)).sum();
        let attempts = self.errors.len() as u64 + self.retries;
        if attempts == 0 { 0.0 } else { failed as f64 / attempts as f64 }
    }
}

fn ratio(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

/// What the attempts of a workload write down.
#[derive(Debug)]
struct Account {
    /// For each partition: its wait, the time it ran, its failures. The lock is taken twice an attempt.
    partitions: Mutex<Vec<(Option<Duration>, Duration, u32)>>,
    retries: AtomicU64,
    /// Whether a retry was refused; read by the run once a job has ended, which orders it.
    retries_over: AtomicBool,
    bytes: AtomicU64,
    bytes_high: AtomicU64,
}

/// Why an attempt gave no result.
#[derive(Debug)]
enum Refused<E> {
    Failed(E),
    /// No retry is left.
    Over,
}

impl<E: Classified> Classified for Refused<E> {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Failed(error) => error.class(),
            Self::Over => ErrorClass::Cancelled,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(error) => error.retry_after(),
            Self::Over => None,
        }
    }
}

/// The result of a part that runs, with its number.
type Part<R, E> = BoxFuture<'static, (usize, Result<R, JobError<Refused<E>>>)>;

impl CpuPool {
    /// Runs a function over the parts of a data set, several at once, and waits for all of them. A part that fails in
    /// passing is tried again as the pool's schedule says; one that fails for good fails alone. The pool may be resized
    /// meanwhile.
    ///
    /// When a limit is reached, or the run is asked to stop, parts that have not begun are left out, those that run are
    /// asked to end, and the report says why. Asked to drain, it begins nothing new and finishes what runs.
    ///
    /// # Errors
    ///
    /// [`MapError`] when nothing was run.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, parts that have not begun are cancelled and those that run are asked to end.
    pub async fn map<T, R, E, F>(
        &self,
        data: Arc<[T]>,
        workload: &Workload,
        mut shutdown: ShutdownSignal,
        function: F,
    ) -> Result<Mapped<R, E>, MapError>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
        E: Classified + Send + 'static,
        F: Fn(Partition<'_, T>) -> Result<R, E> + Send + Sync + 'static,
    {
        ConfigError::check("partitions", workload.partitions, 1, usize::MAX)?;
        workload.limits.check()?;
        let count = workload.partitions.min(data.len());
        let mut run = Run::begin(self, workload.limits, count);
        let function = Arc::new(function);
        let ranges: Vec<Range<usize>> = (0..count).map(|index| part(data.len(), count, index)).collect();
        let mut results: Vec<Option<Result<R, JobError<Refused<E>>>>> = (0..count).map(|_| None).collect();
        let mut tickets: FuturesUnordered<Part<R, E>> = FuturesUnordered::new();
        let mut cancellers = Cancellers(Vec::new());
        let mut next = 0;
        let mut phase = Phase::Running;
        let mut ended = false;
        loop {
            if phase == Phase::Running && run.limit.is_none() {
                run.look();
            }
            let stops = run.limit.is_some() || phase == Phase::Stopping;
            if stops && !ended {
                ended = true;
                cancellers.cancel();
            }
            // No more than the pool has workers, and one for each to take next: so a drain has little to wait for.
            let wanted = self.figures().size.saturating_mul(2);
            while !ended && phase == Phase::Running && next < count && tickets.len() < wanted {
                let work = run.work(next, ranges[next].clone(), Arc::clone(&data), Arc::clone(&function));
                // Somebody else may have filled the pool; then the next end of a part makes room, if there is one.
                let submitted = if tickets.is_empty() {
                    self.submit(Job::default(), work).await
                } else {
                    self.try_submit(Job::default(), work)
                };
                let ticket = match submitted {
                    Ok(ticket) => ticket,
                    Err(SubmitError::Full { .. }) => break,
                    Err(error) if next == 0 => return Err(error.into()),
                    // Somebody else has drained the pool: what has begun ends, and nothing else does.
                    Err(_) => {
                        ended = true;
                        break;
                    }
                };
                cancellers.0.push(ticket.canceller());
                let index = next;
                tickets.push(ticket.map(move |result| (index, result)).boxed());
                next += 1;
            }
            if tickets.is_empty() {
                break;
            }
            let next_phase = if phase == Phase::Running { Phase::Draining } else { Phase::Stopping };
            tokio::select! {
                biased;
                () = shutdown.reached(next_phase), if phase < Phase::Stopping => phase = next_phase,
                Some((index, result)) = tickets.next() => {
                    run.ended();
                    results[index] = Some(result);
                }
                () = run.wait(), if !ended => {}
            }
        }
        let report = run.report();
        let results = results.into_iter().zip(ranges).map(|(result, items)| {
            let gone = Err(JobError::Cancelled { attempts: 0, abandoned: false });
            result.unwrap_or(gone).map_err(|error| PartitionError { items, error: plain(error) })
        });
        Ok(Mapped { results: results.collect(), report })
    }
}

/// The jobs that were begun. Those that have ended do not mind being cancelled.
struct Cancellers(Vec<Canceller>);

impl Cancellers {
    fn cancel(&mut self) {
        // The last ones first: a worker that becomes free must not find one that is to be left out.
        for canceller in self.0.drain(..).rev() {
            canceller.cancel();
        }
    }
}

impl Drop for Cancellers {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The items of a part: the first parts have one more where it does not come out even.
fn part(items: usize, parts: usize, index: usize) -> Range<usize> {
    let (each, more) = (items / parts, items % parts);
    let first = index * each + index.min(more);
    first..first + each + usize::from(index < more)
}

/// What the function said, or that there was no retry for it.
fn plain<E>(error: JobError<Refused<E>>) -> JobError<E> {
    match error {
        JobError::Failed { error: Refused::Failed(error), attempts, ended } => {
            JobError::Failed { error, attempts, ended }
        }
        // The attempt that was refused was none.
        JobError::Failed { error: Refused::Over, attempts, .. } => {
            JobError::Cancelled { attempts: attempts.saturating_sub(1), abandoned: false }
        }
        JobError::Panicked { message, attempts } => JobError::Panicked { message, attempts },
        JobError::Late { attempts, abandoned } => JobError::Late { attempts, abandoned },
        JobError::Cancelled { attempts, abandoned } => JobError::Cancelled { attempts, abandoned },
    }
}

/// A workload that runs.
struct Run<'a> {
    pool: &'a CpuPool,
    limits: Limits,
    limit: Option<Limit>,
    account: Arc<Account>,
    began: Instant,
    capacity_began: Duration,
    cpu_began: Duration,
    memory_at: Instant,
}

impl<'a> Run<'a> {
    fn begin(pool: &'a CpuPool, limits: Limits, count: usize) -> Self {
        let now = pool.clock().now();
        let account = Account {
            partitions: Mutex::new(vec![(None, Duration::ZERO, 0); count]),
            retries: AtomicU64::new(0),
            retries_over: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            bytes_high: AtomicU64::new(0),
        };
        Self {
            pool,
            limits,
            limit: None,
            account: Arc::new(account),
            began: now,
            capacity_began: pool.figures().capacity,
            cpu_began: usage::cpu_time(),
            memory_at: now,
        }
    }

    /// The work of a partition.
    fn work<T, R, E, F>(
        &self,
        index: usize,
        range: Range<usize>,
        data: Arc<[T]>,
        function: Arc<F>,
    ) -> impl FnMut(&crate::job::Context) -> Result<R, Refused<E>> + Send + 'static
    where
        T: Send + Sync + 'static,
        R: 'static,
        E: 'static,
        F: Fn(Partition<'_, T>) -> Result<R, E> + Send + Sync + 'static,
    {
        let (account, clock) = (Arc::clone(&self.account), self.pool.clock().clone());
        let retries_max = self.limits.retries_max;
        let began = self.began;
        move |context| {
            let now = clock.now();
            if context.attempt > 1 && !account.retry(retries_max) {
                return Err(Refused::Over);
            }
            let items = &data[range.clone()];
            let mut attempt = Attempt::begin(&account, &clock, index, size_of_val(items), began, now);
            let partition = Partition {
                index,
                items,
                first: range.start,
                attempt: context.attempt,
                cancel: &context.cancel,
            };
            let result = function(partition);
            attempt.failed = result.is_err();
            result.map_err(Refused::Failed)
        }
    }

    /// Looks whether a limit is reached.
    fn look(&mut self) {
        let now = self.pool.clock().now();
        if let Some(time) = self.limits.time_max
            && now.since(self.began) >= time
        {
            self.limit = Some(Limit::Time(time));
        } else if self.limits.memory_bytes_max.is_some() && now >= self.memory_at {
            self.memory_at = now.after(Limits::MEMORY_EVERY);
            self.limit = self.limits.memory();
        }
    }

    /// Waits until it is time to look.
    async fn wait(&self) {
        let time = self.limits.time_max.map(|time| self.began.after(time));
        let memory = self.limits.memory_bytes_max.map(|_| self.memory_at);
        let clock = self.pool.clock();
        match time.into_iter().chain(memory).min() {
            Some(at) => clock.sleep(at.since(clock.now())).await,
            None => std::future::pending().await,
        }
    }

    /// A part has ended, perhaps because there was no retry for it.
    fn ended(&mut self) {
        if self.account.retries_over.load(Ordering::Relaxed) && self.limit.is_none() {
            self.limit = self.limits.retries_max.map(Limit::Retries);
        }
    }

    fn report(self) -> WorkloadReport {
        let now = self.pool.clock().now();
        let partitions = self.account.lock().clone();
        let mut waits: Vec<Duration> = partitions.iter().filter_map(|(wait, ..)| *wait).collect();
        waits.sort_unstable();
        // The nearest rank: the smallest wait that so many of a hundred do not exceed.
        let rank = |of_hundred: usize| (waits.len() * of_hundred).div_ceil(100).saturating_sub(1);
        let quantile = |of_hundred| waits.get(rank(of_hundred)).copied().unwrap_or_default();
        let busy: Duration = partitions.iter().map(|(_, ran, _)| *ran).sum();
        let longest = partitions.iter().map(|(_, ran, _)| *ran).max().unwrap_or_default();
        let skew = if busy.is_zero() { 0.0 } else { ratio(longest, busy) * waits.len() as f64 };
        WorkloadReport {
            total: now.since(self.began),
            busy,
            capacity: self.pool.figures().capacity.saturating_sub(self.capacity_began),
            queue_wait_p50: quantile(50),
            queue_wait_p99: quantile(99),
            skew,
            errors: partitions.iter().map(|(.., errors)| *errors).collect(),
            retries: self.account.retries.load(Ordering::Relaxed),
            bytes_high: self.account.bytes_high.load(Ordering::Relaxed),
            memory_high: usage::memory().map(|(_, high)| high),
            cpu: usage::cpu_time().saturating_sub(self.cpu_began),
            limit: self.limit,
        }
    }
}

impl Account {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Option<Duration>, Duration, u32)>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the retries that there may be.
    fn retry(&self, retries_max: Option<u64>) -> bool {
        let most = retries_max.unwrap_or(u64::MAX);
        let taken = self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |retries| {
            (retries < most).then_some(retries + 1)
        });
        if taken.is_err() {
            self.retries_over.store(true, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

/// One attempt under way; it is accounted for however it ends.
struct Attempt<'a> {
    account: &'a Account,
    clock: &'a aqueduct_core::Clock,
    index: usize,
    bytes: u64,
    began: Instant,
    /// A panic is a failure, too.
    failed: bool,
}

impl<'a> Attempt<'a> {
    fn begin(
        account: &'a Account,
        clock: &'a aqueduct_core::Clock,
        index: usize,
        bytes: usize,
        run_began: Instant,
        now: Instant,
    ) -> Self {
        let bytes = bytes as u64;
        let all = account.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        account.bytes_high.fetch_max(all, Ordering::Relaxed);
        account.lock()[index].0.get_or_insert(now.since(run_began));
        Self { account, clock, index, bytes, began: now, failed: true }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        let ran = self.clock.now().since(self.began);
        let mut partitions = self.account.lock();
        partitions[self.index].1 += ran;
        partitions[self.index].2 += u32::from(self.failed);
    }
}
