//! Phases: functions in order that the items of a batch go through, each on a pool of its own.

mod report;
mod run;

use std::fmt;
use std::sync::Arc;

use aqueduct_core::{Classified, Clock, ConfigError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::job::{Context, Job};
use crate::pool::{CpuPool, IoPool};

pub use report::{PhaseReport, Phased, PhasesReport};

/// Functions in order, each with a name and a pool, that the items of a batch go through. Cheap to clone.
///
/// Each phase makes a new item of one; the old one is kept until the phase has ended, for another attempt. Items do not
/// wait for each other: one may be in the last phase while another one is in the first. Where there are no phases, items
/// stay what they are.
///
/// # Example
///
/// ```
/// use aqueduct_core::{Clock, ShutdownSignal};
/// use aqueduct_processor::{Config, Job, Phases, Pool};
/// # #[derive(Debug)]
/// # struct Never;
/// # impl aqueduct_core::Classified for Never {
/// #     fn class(&self) -> aqueduct_core::ErrorClass { aqueduct_core::ErrorClass::Permanent }
/// # }
/// # async fn story() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = Clock::system();
/// let (io, cpu) = (Pool::io(Config::default(), clock.clone())?, Pool::cpu(Config::default(), clock.clone())?);
/// let phases = Phases::new(clock)
///     .io("fetch", &io, Job::default(), |page: std::sync::Arc<u64>, _| async move { Ok::<_, Never>(*page * 10) })?
///     .cpu("count", &cpu, Job::default(), |text, _| Ok(text + 1))?;
/// let done = phases.run_all(vec![1, 2, 3], ShutdownSignal::never()).await;
/// let counts: Result<Vec<u64>, _> = done.results.into_iter().collect();
/// assert_eq!(counts.ok(), Some(vec![11, 21, 31]));
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(story()).unwrap();
/// ```
pub struct Phases<T, E> {
    phases: Vec<Phase<T, E>>,
    in_flight_max: usize,
    clock: Clock,
}

/// One function, and where it runs.
struct Phase<T, E> {
    name: Arc<str>,
    job: Job,
    hands: Hands<T, E>,
}

type CpuFunction<T, E> = dyn Fn(&T, &Context) -> Result<T, E> + Send + Sync;
type IoFunction<T, E> = dyn Fn(Arc<T>, Context) -> BoxFuture<'static, Result<T, E>> + Send + Sync;

/// A pool and the function that runs in it.
enum Hands<T, E> {
    Cpu(CpuPool, Arc<CpuFunction<T, E>>),
    Io(IoPool, Arc<IoFunction<T, E>>),
}

/// How many items are between the first phase and the last: enough to keep pools of some hundred workers busy.
const IN_FLIGHT_MAX: usize = 1024;

impl<T, E> Phases<T, E>
where
    T: Send + Sync + 'static,
    E: Classified + Send + 'static,
{
    /// No phases yet. The clock must be that of the pools.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { phases: Vec::new(), in_flight_max: IN_FLIGHT_MAX, clock }
    }

    /// Adds a phase that computes, behind those that there are. Its pool says when a job that failed is tried again;
    /// `job` says what is to be said of the job of each item, such as its deadline.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is a phase of this name, the name is not from 1 to 64 bytes, or a job needs more memory
    /// than the pool has.
    pub fn cpu<F>(self, name: &str, pool: &CpuPool, job: Job, function: F) -> Result<Self, ConfigError>
    where
        F: Fn(&T, &Context) -> Result<T, E> + Send + Sync + 'static,
    {
        let bytes_max = pool.bytes_max();
        self.with(name, job, bytes_max, Hands::Cpu(pool.clone(), Arc::new(function)))
    }

    /// Adds a phase that waits, behind those that there are. See [`cpu`](Self::cpu).
    ///
    /// # Errors
    ///
    /// See [`cpu`](Self::cpu).
    pub fn io<F, R>(self, name: &str, pool: &IoPool, job: Job, function: F) -> Result<Self, ConfigError>
    where
        F: Fn(Arc<T>, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
    {
        let function = move |item, context| function(item, context).boxed();
        let bytes_max = pool.bytes_max();
        self.with(name, job, bytes_max, Hands::Io(pool.clone(), Arc::new(function)))
    }

    fn with(mut self, name: &str, job: Job, bytes_max: u64, hands: Hands<T, E>) -> Result<Self, ConfigError> {
        ConfigError::check("bytes of the name of a phase", name.len(), 1, 64)?;
        if self.phases.iter().any(|phase| &*phase.name == name) {
            return Err(ConfigError::new(
                "name of a phase",
                format_args!("{name:?}"),
                "one that no other has",
            ));
        }
        ConfigError::check("bytes of the job of a phase", job.bytes, 0, bytes_max)?;
        self.phases.push(Phase { name: name.into(), job, hands });
        Ok(self)
    }

    /// Sets how many items there may be between the start of the first phase and the end of the last. From 1 to 1,000,000.
    /// Default 1,024. Fewer than the workers of all pools leave some without work.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] beyond the range.
    pub fn with_in_flight_max(mut self, in_flight_max: usize) -> Result<Self, ConfigError> {
        ConfigError::check("in_flight_max", in_flight_max, 1, 1_000_000)?;
        self.in_flight_max = in_flight_max;
        Ok(self)
    }

    /// The names of the phases, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.phases.iter().map(|phase| &*phase.name)
    }
}

impl<T, E> Clone for Phases<T, E> {
    fn clone(&self) -> Self {
        Self { phases: self.phases.clone(), in_flight_max: self.in_flight_max, clock: self.clock.clone() }
    }
}

impl<T, E> fmt::Debug for Phases<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.phases.iter().map(|phase| &phase.name)).finish()
    }
}

impl<T, E> Clone for Phase<T, E> {
    fn clone(&self) -> Self {
        let hands = match &self.hands {
            Hands::Cpu(pool, function) => Hands::Cpu(pool.clone(), Arc::clone(function)),
            Hands::Io(pool, function) => Hands::Io(pool.clone(), Arc::clone(function)),
        };
        Self { name: Arc::clone(&self.name), job: self.job.clone(), hands }
    }
}
