//! Where the time of a workload went.

use std::time::Duration;

use crate::limits::Limit;

/// Where the time of a workload went.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadReport {
    /// The time from start to end.
    pub total: Duration,
    /// The time in which the function ran, in all attempts of all partitions together.
    pub busy: Duration,
    /// The workers' time: how many there were, each moment, times how long. A worker that was added counts from then on.
    pub capacity: Duration,
    /// The most workers that there were at once.
    pub workers_high: usize,
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

/// A share, and 0 of nothing.
pub(super) fn ratio(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}
