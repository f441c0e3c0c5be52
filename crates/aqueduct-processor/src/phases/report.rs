//! What came of the items of a batch, and where the time of each phase went.

use std::sync::Arc;
use std::time::Duration;

use crate::account::Sums;
use crate::error::PhaseError;

/// What came of a batch.
#[derive(Debug)]
pub struct Phased<T, E> {
    /// What became of each item, or in which phase it failed and how, in the order of the items.
    pub results: Vec<Result<T, PhaseError<E>>>,
    /// Where the time went.
    pub report: PhasesReport,
}

/// Where the time of a batch went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhasesReport {
    /// The time from start to end.
    pub total: Duration,
    /// The time that the whole process has computed meanwhile.
    pub cpu: Duration,
    /// The most memory that the process ever had, in bytes, where the system tells.
    pub memory_high: Option<u64>,
    /// Each phase that was run, in order.
    pub phases: Vec<PhaseReport>,
}

/// What a phase did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseReport {
    /// Its name.
    pub name: Arc<str>,
    /// How many items had an attempt.
    pub items: usize,
    /// How many attempts failed, panicked, were late or were cancelled.
    pub errors: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// The time in which its function ran, in all attempts of all items together.
    pub busy: Duration,
    /// How long items waited for their first attempt, from when they came to the phase: the median.
    pub queue_wait_p50: Duration,
    /// The wait that one in a hundred exceeds.
    pub queue_wait_p99: Duration,
}

impl PhaseReport {
    pub(super) fn new(name: &Arc<str>, sums: &Sums) -> Self {
        Self {
            name: Arc::clone(name),
            items: sums.begun(),
            errors: sums.errors.iter().map(|errors| u64::from(*errors)).sum(),
            retries: sums.retries,
            busy: sums.busy,
            queue_wait_p50: sums.wait(50),
            queue_wait_p99: sums.wait(99),
        }
    }
}
