//! What a run tells when it ends.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use aqueduct_core::Clock;

use crate::figures::Figures;
use crate::limits::Limit;

/// Which worker it is: another name at each start, so that nobody takes a new one for one that has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(u64);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker-{:016x}", self.0)
    }
}

impl Identity {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self(RandomState::new().hash_one(clock.wall()))
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It has not.
    Running,
    /// It was asked to drain, or to stop.
    Asked,
    /// It has reached a limit.
    Limit(Limit),
    /// The store of the queue was closed.
    Closed,
}

/// What a run has done. Every message that it took is in exactly one of `acked` to `unsettled`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// Which worker it was.
    pub worker: Identity,
    /// Why it ended.
    pub ended: RunEnd,
    /// Messages that it took.
    pub taken: u64,
    /// Messages that are done.
    pub acked: u64,
    /// Messages that failed and come again, or were set aside by the queue because that was the last attempt.
    pub nacked: u64,
    /// Messages that it set aside, because another attempt would not help.
    pub dead_lettered: u64,
    /// Messages that it gave back without an attempt, perhaps to take them again.
    pub released: u64,
    /// Messages that were somebody else's, or gone, before they were settled.
    pub stale: u64,
    /// Messages of which it does not know whether they are settled. Those that are not come again when their leases run
    /// out.
    pub unsettled: u64,
    /// Handlers that it ran on an attempt after the first.
    pub retries: u64,
    /// How often it asked the queue to settle: the messages divided by this are the size of a group.
    pub settle_calls: u64,
    /// The time from start to end.
    pub total: Duration,
    /// The time that the whole process has computed meanwhile.
    pub cpu: Duration,
    /// The most memory that the process ever had, in bytes, where the system tells.
    pub memory_high: Option<u64>,
    /// The pool.
    pub pool: Figures,
}

impl RunReport {
    pub(crate) fn new(worker: Identity) -> Self {
        Self {
            worker,
            ended: RunEnd::Running,
            taken: 0,
            acked: 0,
            nacked: 0,
            dead_lettered: 0,
            released: 0,
            stale: 0,
            unsettled: 0,
            retries: 0,
            settle_calls: 0,
            total: Duration::ZERO,
            cpu: Duration::ZERO,
            memory_high: None,
            pool: Figures::default(),
        }
    }

    /// The share of attempts that failed, among those that succeeded or failed.
    #[must_use]
    pub fn error_ratio(&self) -> f64 {
        let failed = self.nacked + self.dead_lettered;
        let all = failed + self.acked;
        if all == 0 { 0.0 } else { failed as f64 / all as f64 }
    }
}
