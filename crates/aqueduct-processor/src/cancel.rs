//! How the work of a job learns that it is to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Says whether a job is to end: its time is over, or nobody wants it any more. Cheap to clone.
///
/// An async job is dropped at its next await and need not look. One on a thread must: if it does not return within
/// [`Config::cancel_grace`](crate::Config::cancel_grace), its thread is abandoned.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// [`NO`] until it is set once. Nothing else is published by it, so every access is relaxed; who waits is woken
    /// through `notify`, which orders by itself.
    why: AtomicU8,
    notify: Notify,
}

const NO: u8 = 0;
const LATE: u8 = 1;
const UNWANTED: u8 = 2;

/// Why a job is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its deadline is over.
    Late,
    /// Somebody cancelled it, or the pool stops.
    Unwanted,
}

impl Cancel {
    /// Tells whether the job is to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.why.load(Ordering::Relaxed) != NO
    }

    /// Waits until the job is to end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn cancelled(&self) {
        loop {
            let notified = self.0.notify.notified();
            // A notification between here and the await is not lost: the future was made before.
            if self.is_cancelled() {
                return;
            }
            notified.await;
        }
    }

    /// Ends the job. The first reason counts.
    pub(crate) fn set(&self, why: Why) {
        let why = match why {
            Why::Late => LATE,
            Why::Unwanted => UNWANTED,
        };
        if self.0.why.compare_exchange(NO, why, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.0.notify.notify_waiters();
        }
    }

    pub(crate) fn why(&self) -> Option<Why> {
        match self.0.why.load(Ordering::Relaxed) {
            LATE => Some(Why::Late),
            UNWANTED => Some(Why::Unwanted),
            _ => None,
        }
    }
}
