//! The run of a workload: hands parts to a pool while it may, and counts what becomes of them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aqueduct_core::{Classified, ConfigError, ErrorClass, Instant, Phase, ShutdownSignal};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::report::ratio;
use super::{Items, Mapped, Partition, PartitionError, Workload, WorkloadReport};
use crate::account::{Account, Attempt};
use crate::error::{JobError, MapError, SubmitError};
use crate::job::{Context, Job};
use crate::limits::{Limit, Limits};
use crate::pool::{Canceller, CpuPool, IoPool, Pool, Ticket};
use crate::usage;

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
        shutdown: ShutdownSignal,
        function: F,
    ) -> Result<Mapped<R, E>, MapError>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
        E: Classified + Send + 'static,
        F: Fn(Partition<T>) -> Result<R, E> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        let submit = |part: Part<T>| {
            let function = Arc::clone(&function);
            self.try_submit(Job::default(), move |context| {
                let (attempt, partition) = part.begin(context)?;
                attempt.end(function(partition)).map_err(Refused::Failed)
            })
        };
        map(self, data, workload, shutdown, submit).await
    }
}

impl IoPool {
    /// The same as [`CpuPool::map`] for a function that waits. It is dropped where the other one is asked to end.
    ///
    /// # Errors
    ///
    /// [`MapError`] when nothing was run.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, parts that have not ended are cancelled.
    pub async fn map<T, R, E, F, A>(
        &self,
        data: Arc<[T]>,
        workload: &Workload,
        shutdown: ShutdownSignal,
        function: F,
    ) -> Result<Mapped<R, E>, MapError>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
        E: Classified + Send + 'static,
        F: Fn(Partition<T>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, E>> + Send + 'static,
    {
        let function = Arc::new(function);
        let submit = |part: Part<T>| {
            let function = Arc::clone(&function);
            self.try_submit(Job::default(), move |context| {
                let (begun, function) = (part.begin(&context), Arc::clone(&function));
                async move {
                    let (attempt, partition) = begun?;
                    attempt.end(function(partition).await).map_err(Refused::Failed)
                }
            })
        };
        map(self, data, workload, shutdown, submit).await
    }
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
type Ended<R, E> = BoxFuture<'static, (usize, Result<R, JobError<Refused<E>>>)>;

/// Runs a workload with what submits one of its parts to a pool.
async fn map<T, R, E>(
    pool: &Pool,
    data: Arc<[T]>,
    workload: &Workload,
    mut shutdown: ShutdownSignal,
    submit: impl Fn(Part<T>) -> Result<Ticket<R, Refused<E>>, SubmitError>,
) -> Result<Mapped<R, E>, MapError>
where
    R: Send + 'static,
    E: Send + 'static,
{
    ConfigError::check("partitions", workload.partitions, 1, usize::MAX)?;
    workload.limits.check()?;
    let count = workload.partitions.min(data.len());
    let mut run = Run::begin(pool, workload.limits, count);
    let ranges: Vec<Range<usize>> = (0..count).map(|index| cut(data.len(), count, index)).collect();
    let mut results: Vec<Option<Result<R, JobError<Refused<E>>>>> = (0..count).map(|_| None).collect();
    let mut tickets: FuturesUnordered<Ended<R, E>> = FuturesUnordered::new();
    let mut cancellers = Cancellers(Vec::new());
    let mut left = ranges.iter().cloned().enumerate().peekable();
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
        let wanted = pool.figures().size.saturating_mul(2);
        let mut full = false;
        while !ended
            && phase == Phase::Running
            && tickets.len() < wanted
            && let Some((index, range)) = left.peek().cloned()
        {
            match submit(run.part(index, Items { data: Arc::clone(&data), range })) {
                Ok(ticket) => {
                    cancellers.0.push(ticket.canceller());
                    tickets.push(ticket.map(move |result| (index, result)).boxed());
                    left.next();
                }
                Err(SubmitError::Full { .. }) => {
                    full = true;
                    break;
                }
                Err(error) if index == 0 => return Err(error.into()),
                // Somebody else has drained the pool: what has begun ends, and nothing else does.
                Err(_) => ended = true,
            }
        }
        if tickets.is_empty() && !full {
            break;
        }
        let next_phase = if phase == Phase::Running { Phase::Draining } else { Phase::Stopping };
        tokio::select! {
            biased;
            () = shutdown.reached(next_phase), if phase < Phase::Stopping => phase = next_phase,
            Some((index, result)) = tickets.next() => {
                run.ended();
                if let Some(place) = results.get_mut(index) {
                    *place = Some(result);
                }
            }
            // Somebody else has filled the pool; an end of one of their jobs makes room, too.
            () = pool.has_room(), if full => {}
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

/// A part on its way to a worker, and what its attempts account with.
struct Part<T> {
    index: usize,
    items: Items<T>,
    account: Arc<Account>,
    clock: aqueduct_core::Clock,
    /// The start of the run, from which on it waits.
    came: Instant,
    retries_max: Option<u64>,
}

impl<T> Part<T> {
    fn begin<E>(&self, context: &Context) -> Result<(Attempt, Partition<T>), Refused<E>> {
        if context.attempt > 1 && !self.account.retry(self.retries_max) {
            return Err(Refused::Over);
        }
        let bytes = size_of_val(&*self.items);
        let attempt = Attempt::begin(&self.account, &self.clock, self.index, bytes, self.came);
        let partition = Partition {
            index: self.index,
            items: self.items.clone(),
            first: self.items.range.start,
            attempt: context.attempt,
            cancel: context.cancel.clone(),
        };
        Ok((attempt, partition))
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
fn cut(items: usize, parts: usize, index: usize) -> Range<usize> {
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
    pool: &'a Pool,
    limits: Limits,
    limit: Option<Limit>,
    account: Arc<Account>,
    began: Instant,
    capacity_began: Duration,
    workers: Arc<AtomicUsize>,
    cpu_began: Duration,
    memory_at: Instant,
}

impl<'a> Run<'a> {
    fn begin(pool: &'a Pool, limits: Limits, count: usize) -> Self {
        let now = pool.clock().now();
        Self {
            pool,
            limits,
            limit: None,
            account: Arc::new(Account::new(count)),
            began: now,
            capacity_began: pool.figures().capacity,
            workers: pool.workers_high(),
            cpu_began: usage::cpu_time(),
            memory_at: now,
        }
    }

    fn part<T>(&self, index: usize, items: Items<T>) -> Part<T> {
        Part {
            index,
            items,
            account: Arc::clone(&self.account),
            clock: self.pool.clock().clone(),
            came: self.began,
            retries_max: self.limits.retries_max,
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
        if self.account.retries_are_over() && self.limit.is_none() {
            self.limit = self.limits.retries_max.map(Limit::Retries);
        }
    }

    fn report(self) -> WorkloadReport {
        let now = self.pool.clock().now();
        let sums = self.account.sums();
        WorkloadReport {
            total: now.since(self.began),
            busy: sums.busy,
            capacity: self.pool.figures().capacity.saturating_sub(self.capacity_began),
            workers_high: self.workers.load(Ordering::Relaxed),
            queue_wait_p50: sums.wait(50),
            queue_wait_p99: sums.wait(99),
            skew: ratio(sums.longest, sums.busy) * sums.begun() as f64,
            errors: sums.errors,
            retries: sums.retries,
            bytes_high: sums.bytes_high,
            memory_high: usage::memory().map(|(_, high)| high),
            cpu: usage::cpu_time().saturating_sub(self.cpu_began),
            limit: self.limit,
        }
    }
}
