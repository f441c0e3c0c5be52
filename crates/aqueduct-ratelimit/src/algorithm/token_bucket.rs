use std::time::Duration;

use super::{Allowed, Promised};
use crate::error::{Denied, Reason};
use crate::quota::Quota;

/// The arithmetic of a token bucket. Its state is one word: the theoretical arrival time (TAT) of ITU-T I.371, the moment at
/// which the bucket is full again. A new one has 0.
///
/// Everything is in nanoseconds. A TAT is at most a full bucket and a drain ahead of the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// In which a token comes back.
    token: u64,
    /// In which an empty bucket fills.
    full: u64,
}

impl Bucket {
    pub(crate) fn of(quota: &Quota) -> Self {
        Self { token: quota.token_nanos(), full: quota.full_nanos() }
    }

    #[inline]
    pub(crate) fn from_nanos(token: u64, full: u64) -> Self {
        Self { token, full }
    }

    /// The TAT after so many tokens, whether they are there or not. A cost is never more than a full bucket, and the sum
    /// is over only for a clock that has run for 584 years.
    #[inline]
    fn after(self, tat: u64, now: u64, tokens: u64) -> Result<u64, Denied> {
        let cost = tokens.checked_mul(self.token).filter(|cost| *cost <= self.full);
        cost.and_then(|cost| tat.max(now).checked_add(cost)).ok_or(Denied::TOO_LARGE)
    }

    /// The TAT after a use, or how long to wait for it. A time that went back finds the TAT further ahead, and so less.
    #[inline]
    pub(crate) fn take(self, tat: u64, now: u64, tokens: u64) -> Result<(u64, Allowed), Denied> {
        let next = self.after(tat, now, tokens)?;
        let used = next - now;
        if used > self.full {
            return Err(Denied::after_nanos(used - self.full));
        }
        let allowed = Allowed::of_parts(self.full - used, self.token, used);
        Ok((next, allowed))
    }

    pub(crate) fn reserve(
        self,
        tat: u64,
        now: u64,
        tokens: u64,
        wait_max: u64,
    ) -> Result<(u64, Promised), Denied> {
        let next = self.after(tat, now, tokens)?;
        let wait = (next - now).saturating_sub(self.full);
        if wait > wait_max {
            return Err(Denied { retry_after: Some(Duration::from_nanos(wait)), reason: Reason::Wait });
        }
        Ok((next, Promised { wait: Duration::from_nanos(wait) }))
    }

    pub(crate) fn refund(self, tat: u64, tokens: u64) -> u64 {
        tat.saturating_sub(tokens.saturating_mul(self.token))
    }

    /// The TAT with which one token comes at the end of the wait.
    pub(crate) fn drain(self, tat: u64, now: u64, wait: u64) -> u64 {
        tat.max(now.saturating_add(wait).saturating_add(self.full - self.token))
    }

    /// The TAT of another bucket that misses as many tokens, in parts of them too.
    pub(crate) fn rescaled(self, tat: u64, now: u64, other: &Self) -> u64 {
        let missing = u128::from(tat.saturating_sub(now)) * u128::from(other.token) / u128::from(self.token);
        now.saturating_add(u64::try_from(missing).unwrap_or(u64::MAX))
    }
}
