use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::algorithm::token_bucket::Bucket;
use crate::algorithm::{Allowed, Promised};
use crate::error::Denied;
use crate::quota::Quota;

/// A token bucket that threads share without a lock. Its words lie in one line of the cache, which nothing else shares.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct SharedBucket {
    /// The TAT. Whoever moves it read the quota at an even version before; a change of the quota moves it too, so one that
    /// was computed with the old quota does not replace it.
    tat: AtomicU64,
    /// Odd while the quota changes.
    version: AtomicU64,
    token: AtomicU64,
    full: AtomicU64,
    /// The quota as it was given; held while it changes.
    quota: Mutex<Quota>,
}

impl SharedBucket {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            tat: AtomicU64::new(0),
            version: AtomicU64::new(0),
            token: AtomicU64::new(quota.token_nanos()),
            full: AtomicU64::new(quota.full_nanos()),
            quota: Mutex::new(quota),
        }
    }

    #[inline]
    pub(crate) fn take(&self, now: u64, tokens: u64) -> Result<Allowed, Denied> {
        self.change(|bucket, tat| bucket.take(tat, now, tokens))
    }

    pub(crate) fn peek(&self, now: u64, tokens: u64) -> Result<Allowed, Denied> {
        let (bucket, tat) = self.read();
        bucket.take(tat, now, tokens).map(|(_, allowed)| allowed)
    }

    pub(crate) fn reserve(&self, now: u64, tokens: u64, wait_max: u64) -> Result<Promised, Denied> {
        self.change(|bucket, tat| bucket.reserve(tat, now, tokens, wait_max))
    }

    pub(crate) fn refund(&self, tokens: u64) {
        let _ = self.change(|bucket, tat| Ok((bucket.refund(tat, tokens), ())));
    }

    pub(crate) fn drain(&self, now: u64, wait: u64) {
        let _ = self.change(|bucket, tat| Ok((bucket.drain(tat, now, wait), ())));
    }

    pub(crate) fn reset(&self) {
        self.tat.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_settled(&self, now: u64) -> bool {
        self.tat.load(Ordering::Relaxed) <= now
    }

    pub(crate) fn quota(&self) -> Quota {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_quota(&self, now: u64, quota: Quota) {
        let mut held = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, new) = (Bucket::of(&held), Bucket::of(&quota));
        self.version.fetch_add(1, Ordering::AcqRel);
        self.token.store(quota.token_nanos(), Ordering::Release);
        self.full.store(quota.full_nanos(), Ordering::Release);
        // Always another word than before, so that no use that was computed with the old quota fits on it.
        let rescale = |tat| {
            let next = old.rescaled(tat, now, &new);
            Some(if next == tat { next + 1 } else { next })
        };
        let _ = self.tat.fetch_update(Ordering::AcqRel, Ordering::Acquire, rescale);
        self.version.fetch_add(1, Ordering::AcqRel);
        *held = quota;
    }

    /// Moves the TAT to what `next` gives, as often as somebody else was faster.
    #[inline]
    fn change<T>(&self, next: impl Fn(Bucket, u64) -> Result<(u64, T), Denied>) -> Result<T, Denied> {
        loop {
            let (bucket, tat) = self.read();
            let (moved, given) = next(bucket, tat)?;
            if self.tat.compare_exchange_weak(tat, moved, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(given);
            }
        }
    }

    /// The state and the quota that it belongs to.
    #[inline]
    fn read(&self) -> (Bucket, u64) {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let tat = self.tat.load(Ordering::Acquire);
            let token = self.token.load(Ordering::Acquire);
            let full = self.full.load(Ordering::Acquire);
            if version & 1 == 0 && self.version.load(Ordering::Acquire) == version {
                return (Bucket::from_nanos(token, full), tat);
            }
            std::hint::spin_loop();
        }
    }
}
