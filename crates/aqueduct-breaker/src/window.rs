//! Counts of the calls that matter now, in fixed memory and constant time.

mod calls;
mod time;

use aqueduct_core::Instant;

use self::calls::Calls;
use self::time::Buckets;
use crate::config::Window;

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that ended, ignored ones aside.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were slow.
    pub slow: u32,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }

    fn take(&mut self, other: Tally) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failed = self.failed.saturating_sub(other.failed);
        self.slow = self.slow.saturating_sub(other.slow);
    }

    fn one(failed: bool, slow: bool) -> Self {
        Self { calls: 1, failed: u32::from(failed), slow: u32::from(slow) }
    }
}

#[derive(Debug)]
pub(crate) enum Counted {
    Calls(Calls),
    Time(Buckets),
}

impl Counted {
    pub(crate) fn new(window: Window) -> Self {
        match window {
            Window::Calls(calls) => Self::Calls(Calls::new(calls)),
            Window::Time { buckets, each } => Self::Time(Buckets::new(buckets, each)),
        }
    }

    /// Adds a call that ended now, and gives what the window then holds. O(1); for a window of time, amortised over
    /// its buckets. Only a window of time asks for the time.
    pub(crate) fn push(&mut self, now: impl FnOnce() -> Instant, failed: bool, slow: bool) -> Tally {
        match self {
            Self::Calls(calls) => calls.push(failed, slow),
            Self::Time(buckets) => buckets.push(now(), failed, slow),
        }
    }

    /// Adds calls that went well to a window of calls. O(1) a call, and never more than the window is large.
    pub(crate) fn succeed(&mut self, calls: u32) {
        match self {
            Self::Calls(window) => window.succeed(calls),
            Self::Time(_) => {}
        }
    }

    pub(crate) fn tally(&mut self, now: Instant) -> Tally {
        match self {
            Self::Calls(calls) => calls.tally(),
            Self::Time(buckets) => buckets.tally(now),
        }
    }

    /// What it held when it was touched last; of a window of time some may have run out since.
    pub(crate) fn latest(&self) -> Tally {
        match self {
            Self::Calls(calls) => calls.tally(),
            Self::Time(buckets) => buckets.latest(),
        }
    }

    /// Whether one more success, and not a slow one, would leave it as it is.
    pub(crate) fn is_steady(&self) -> bool {
        match self {
            Self::Calls(calls) => calls.is_steady(),
            Self::Time(_) => false,
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Calls(calls) => calls.clear(),
            Self::Time(buckets) => buckets.clear(),
        }
    }
}
