//! How pools behave, checked once when a pool is made.

use std::num::NonZeroUsize;
use std::time::Duration;

use aqueduct_core::ConfigError;
use aqueduct_retry::Schedule;

use crate::metrics::Metrics;

/// How a pool behaves. Checked when the pool is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// What its threads are called, from 1 to 64 bytes. Default `pool`.
    pub name: Box<str>,
    /// How many jobs run at once: threads of a pool for computing, futures of a pool for waiting. From 1 to 65,536 and
    /// to `jobs_max`. Default twice the cores, as requirement B1 has it; for pure computing the cores are enough.
    ///
    /// Of a pool for computing it is the most threads; see [`size_min`](Self::size_min).
    pub size: usize,
    /// The fewest threads that a pool for computing keeps. From 0 to `size`. Default `None`: as many as `size`, so that the
    /// number is fixed. With fewer, a thread is begun when a job waits and none is free, up to `size`, and ends when it
    /// was not needed for [`idle_max`](Self::idle_max). A pool for waiting begins a task for each job and keeps none.
    pub size_min: Option<usize>,
    /// How long a thread beyond `size_min` may find nothing to do. From 1 ms to a week. Default 10 s: a thread costs some
    /// 100 us to begin and a stack to keep.
    pub idle_max: Duration,
    /// The most jobs that the pool has at once, whether they wait for their turn, run, or wait for their next attempt.
    /// From 1 to 10,000,000. Default 10,000, some 5 MB of them.
    pub jobs_max: usize,
    /// How many jobs of one key run at once. From 1. Default 1: one after the other.
    pub per_key_max: usize,
    /// The most memory of jobs that run, as they state it. From 1. Default no limit. The first job in line that does
    /// not fit holds up those behind it, so that a large one gets its turn.
    pub bytes_max: u64,
    /// How much longer a job must have waited to go before one of the next higher priority. From 1 ms to a week; `None`
    /// never lets it. Default 60 s, as in a queue.
    pub ageing: Option<Duration>,
    /// When a job that failed in passing is tried again. A job between two attempts takes no worker. Default three
    /// retries after 2, 4 and 8 s.
    pub retry: Schedule,
    /// How long work on a thread, and a future that does not await, may go on after it was cancelled, before its place
    /// is given to somebody else. From zero to an hour. Default 5 s.
    pub cancel_grace: Duration,
    /// How many places may be made up for that are lost to work that does not return. From 0 to 1,024. Default 16. Each
    /// one beyond makes the pool smaller by one until it comes back: a thread cannot be ended from outside.
    pub abandoned_max: usize,
    /// How long jobs may wait without one of them being taken before [`Health`](crate::Health) is bad. From 1 ms to a
    /// week. Default 60 s; more than the longest job takes.
    pub stall_max: Duration,
    /// Where it counts. Default nowhere; its [`Figures`](crate::Figures) are always there.
    pub metrics: Option<Metrics>,
}

/// The longest that anything here is told to last.
const WEEK: Duration = Duration::from_hours(7 * 24);

const SIZE_LIMIT: usize = 65_536;

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            name: "pool".into(),
            size: cores * 2,
            size_min: None,
            idle_max: Duration::from_secs(10),
            jobs_max: 10_000,
            per_key_max: 1,
            bytes_max: u64::MAX,
            ageing: Some(Duration::from_secs(60)),
            retry: Schedule::default(),
            cancel_grace: Duration::from_secs(5),
            abandoned_max: 16,
            stall_max: Duration::from_secs(60),
            metrics: None,
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::check("bytes of the name", self.name.len(), 1, 64)?;
        if self.name.contains('\0') {
            return Err(ConfigError::new(
                "name",
                format_args!("{:?}", self.name),
                "a text without a zero byte",
            ));
        }
        ConfigError::check("jobs_max", self.jobs_max, 1, 10_000_000)?;
        self.check_size(self.size)?;
        if let Some(size_min) = self.size_min {
            ConfigError::check("size_min", size_min, 0, self.size)?;
        }
        ConfigError::check("idle_max", self.idle_max, Duration::from_millis(1), WEEK)?;
        ConfigError::check("per_key_max", self.per_key_max, 1, usize::MAX)?;
        ConfigError::check("bytes_max", self.bytes_max, 1, u64::MAX)?;
        if let Some(ageing) = self.ageing {
            ConfigError::check("ageing", ageing, Duration::from_millis(1), WEEK)?;
        }
        ConfigError::check("cancel_grace", self.cancel_grace, Duration::ZERO, Duration::from_hours(1))?;
        ConfigError::check("abandoned_max", self.abandoned_max, 0, 1024)?;
        ConfigError::check("stall_max", self.stall_max, Duration::from_millis(1), WEEK)
    }

    /// A pool that is larger than the number of its jobs would never be full.
    pub(crate) fn check_size(&self, size: usize) -> Result<(), ConfigError> {
        ConfigError::check("size", size, 1, SIZE_LIMIT.min(self.jobs_max))
    }
}
