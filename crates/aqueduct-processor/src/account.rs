//! What the attempts of a run write down: who waited how long, ran how long, and failed how often.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, Instant};

/// The account of a run over parts that have numbers.
#[derive(Debug)]
pub(crate) struct Account {
    /// The lock is taken twice an attempt.
    parts: Mutex<Vec<Part>>,
    retries: AtomicU64,
    /// Whether a retry was refused; read by the run once a job has ended, which orders it.
    retries_over: AtomicBool,
    bytes: AtomicU64,
    bytes_high: AtomicU64,
}

/// What is known of one part.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Until its first attempt; `None` when there was none.
    wait: Option<Duration>,
    ran: Duration,
    errors: u32,
}

/// The account at the end.
#[derive(Debug)]
pub(crate) struct Sums {
    /// The time in which attempts ran, all together.
    pub(crate) busy: Duration,
    /// The time that the part ran which ran longest.
    pub(crate) longest: Duration,
    /// How many attempts of each part failed.
    pub(crate) errors: Vec<u32>,
    /// Attempts after the first.
    pub(crate) retries: u64,
    pub(crate) bytes_high: u64,
    /// Of those that had an attempt, the shortest first.
    waits: Vec<Duration>,
}

impl Account {
    pub(crate) fn new(parts: usize) -> Self {
        Self {
            parts: Mutex::new(vec![Part::default(); parts]),
            retries: AtomicU64::new(0),
            retries_over: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            bytes_high: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the retries that there may be.
    pub(crate) fn retry(&self, retries_max: Option<u64>) -> bool {
        let most = retries_max.unwrap_or(u64::MAX);
        let taken = self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |retries| {
            (retries < most).then_some(retries + 1)
        });
        if taken.is_err() {
            self.retries_over.store(true, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Whether there was no retry for somebody.
    pub(crate) fn retries_are_over(&self) -> bool {
        self.retries_over.load(Ordering::Relaxed)
    }

    pub(crate) fn sums(&self) -> Sums {
        let parts = self.lock();
        let mut waits: Vec<Duration> = parts.iter().filter_map(|part| part.wait).collect();
        waits.sort_unstable();
        Sums {
            busy: parts.iter().map(|part| part.ran).sum(),
            longest: parts.iter().map(|part| part.ran).max().unwrap_or_default(),
            errors: parts.iter().map(|part| part.errors).collect(),
            retries: self.retries.load(Ordering::Relaxed),
            bytes_high: self.bytes_high.load(Ordering::Relaxed),
            waits,
        }
    }
}

impl Sums {
    /// How many parts had an attempt.
    pub(crate) fn begun(&self) -> usize {
        self.waits.len()
    }

    /// The smallest wait that so many of a hundred do not exceed; zero when none waited.
    pub(crate) fn wait(&self, of_hundred: usize) -> Duration {
        let rank = (self.waits.len() * of_hundred).div_ceil(100).saturating_sub(1);
        self.waits.get(rank).copied().unwrap_or_default()
    }
}

/// One attempt under way; it is accounted for however it ends.
#[derive(Debug)]
pub(crate) struct Attempt {
    account: Arc<Account>,
    clock: Clock,
    index: usize,
    bytes: u64,
    began: Instant,
    /// A panic is a failure, too, and so is a future that was dropped.
    failed: bool,
}

impl Attempt {
    /// Begins an attempt of a part that waits since `came`, on data of so many bytes.
    pub(crate) fn begin(
        account: &Arc<Account>,
        clock: &Clock,
        index: usize,
        bytes: usize,
        came: Instant,
    ) -> Self {
        let now = clock.now();
        let bytes = bytes as u64;
        let all = account.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        account.bytes_high.fetch_max(all, Ordering::Relaxed);
        if let Some(part) = account.lock().get_mut(index) {
            part.wait.get_or_insert(now.since(came));
        }
        Self { account: Arc::clone(account), clock: clock.clone(), index, bytes, began: now, failed: true }
    }

    pub(crate) fn end<T, E>(mut self, result: Result<T, E>) -> Result<T, E> {
        self.failed = result.is_err();
        result
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        let ran = self.clock.now().since(self.began);
        if let Some(part) = self.account.lock().get_mut(self.index) {
            part.ran += ran;
            part.errors += u32::from(self.failed);
        }
    }
}
