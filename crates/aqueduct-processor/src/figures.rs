//! What a pool tells of itself.

use std::time::Duration;

/// What a pool has done and has. Figures of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// How many jobs may run at once.
    pub size: usize,
    /// The workers that there are: threads of a pool for computing; of a pool for waiting always its size.
    pub present: usize,
    /// The most that there ever were.
    pub present_high: usize,
    /// Jobs that wait for their turn.
    pub waiting: usize,
    /// Jobs that wait for their next attempt.
    pub delayed: usize,
    /// Jobs that run.
    pub running: usize,
    /// Work that goes on although its place was given to somebody else.
    pub abandoned: usize,
    /// Jobs that ended with a result.
    pub done: u64,
    /// Jobs that ended because their work failed.
    pub failed: u64,
    /// Jobs that ended because their work panicked.
    pub panicked: u64,
    /// Jobs that ended because their time was over.
    pub late: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Times that work did not return and its place was given up.
    pub given_up: u64,
    /// Threads and tasks that died under a job and were replaced.
    pub replaced: u64,
    /// The memory that jobs have stated that run.
    pub bytes: u64,
    /// The most that it ever was.
    pub bytes_high: u64,
    /// The time that jobs have run, all together, without those that run now.
    pub busy: Duration,
    /// The time that there was, all workers together: [`present`](Self::present) x wall, added up as that changed.
    pub capacity: Duration,
}

impl Figures {
    /// The share of the workers' time in which jobs ran: busy / (workers x wall).
    #[must_use]
    pub fn efficiency(&self) -> f64 {
        if self.capacity.is_zero() { 0.0 } else { self.busy.as_secs_f64() / self.capacity.as_secs_f64() }
    }

    /// Jobs that have ended, in whatever way.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.done + self.failed + self.panicked + self.late + self.cancelled
    }
}

/// Whether a pool gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it does: it has workers, and has taken a job within [`Config::stall_max`](crate::Config::stall_max)
    /// if there is one that waits.
    pub live: bool,
    /// How long jobs have waited without one of them being taken; zero when none waits.
    pub stalled: Duration,
    /// How many jobs can run at once: less than the size where work that does not return holds more places than are
    /// made up for, or the system gives no thread.
    pub workers: usize,
    /// The workers that there are: fewer than `workers` where more are begun when there is work for them.
    pub present: usize,
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Jobs that ended by themselves meanwhile.
    pub finished: u64,
    /// Jobs that were cancelled at the end of the grace.
    pub cancelled: u64,
    /// Work that goes on all the same: it did not return when it was cancelled.
    pub abandoned: usize,
}
