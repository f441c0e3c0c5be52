use std::collections::VecDeque;
use std::time::Duration;

use super::{Allowed, Promised};
use crate::error::{Denied, Reason};
use crate::quota::Quota;

/// Every use of the last so much time, the oldest first; reserved ones are in the future.
#[derive(Clone, Debug)]
pub(crate) struct SlidingLog {
    uses: VecDeque<Use>,
    /// The sum of their tokens.
    tokens: u64,
    /// Before then nothing is given.
    drained_until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    at: u64,
    tokens: u64,
}

impl SlidingLog {
    pub(super) fn new(quota: &Quota) -> Self {
        let mut log = Self { uses: VecDeque::new(), tokens: 0, drained_until: 0 };
        log.make_room(quota);
        log
    }

    /// There is at most one use a token, so nothing is allocated later.
    pub(super) fn make_room(&mut self, quota: &Quota) {
        let most = usize::try_from(quota.tokens()).unwrap_or(usize::MAX);
        self.uses.reserve_exact(most.saturating_sub(self.uses.len()));
    }

    pub(super) fn take(&mut self, quota: &Quota, now: u64, tokens: u64) -> Result<Allowed, Denied> {
        let allowed = self.peek(quota, now, tokens)?;
        self.push(now, tokens);
        Ok(allowed)
    }

    pub(super) fn peek(&mut self, quota: &Quota, now: u64, tokens: u64) -> Result<Allowed, Denied> {
        self.forget(quota, now);
        let at = self.fits_at(quota, now, tokens)?;
        if at > now {
            return Err(Denied::after_nanos(at - now));
        }
        let last = if tokens == 0 {
            self.uses.back().map_or(now, |last| last.at + quota.per_nanos())
        } else {
            now + quota.per_nanos()
        };
        Ok(Allowed::of_parts(quota.tokens() - self.tokens - tokens, 1, last - now))
    }

    pub(super) fn reserve(
        &mut self,
        quota: &Quota,
        now: u64,
        tokens: u64,
        wait_max: u64,
    ) -> Result<Promised, Denied> {
        self.forget(quota, now);
        let at = self.fits_at(quota, now, tokens)?;
        let wait = Duration::from_nanos(at - now);
        if at - now > wait_max {
            return Err(Denied { retry_after: Some(wait), reason: Reason::Wait });
        }
        self.push(at, tokens);
        Ok(Promised { wait })
    }

    /// Takes the newest uses back.
    pub(super) fn refund(&mut self, mut tokens: u64) {
        while let Some(last) = self.uses.back_mut().filter(|_| tokens > 0) {
            let back = last.tokens.min(tokens);
            last.tokens -= back;
            tokens -= back;
            self.tokens -= back;
            if last.tokens == 0 {
                self.uses.pop_back();
            }
        }
    }

    pub(super) fn drain(&mut self, until: u64) {
        self.drained_until = self.drained_until.max(until);
    }

    pub(super) fn is_settled(&self, quota: &Quota, now: u64) -> bool {
        let over = |last: &Use| last.at.saturating_add(quota.per_nanos()) <= now;
        self.drained_until <= now && self.uses.back().is_none_or(over)
    }

    /// The first moment, not before the last use, at which so many more fit.
    fn fits_at(&self, quota: &Quota, now: u64, tokens: u64) -> Result<u64, Denied> {
        if tokens > quota.tokens() {
            return Err(Denied::TOO_LARGE);
        }
        // What was reserved is used in the order in which it was asked for.
        let earliest = self.uses.back().map_or(now, |last| last.at.max(now)).max(self.drained_until);
        let mut left = self.tokens;
        let mut at = earliest;
        for used in &self.uses {
            let over = used.at.saturating_add(quota.per_nanos());
            if left.saturating_add(tokens) <= quota.tokens() && over > earliest {
                break;
            }
            left -= used.tokens;
            at = at.max(over);
        }
        Ok(at)
    }

    fn push(&mut self, at: u64, tokens: u64) {
        if tokens > 0 {
            self.uses.push_back(Use { at, tokens });
            self.tokens += tokens;
        }
    }

    fn forget(&mut self, quota: &Quota, now: u64) {
        while let Some(oldest) =
            self.uses.front().filter(|oldest| oldest.at.saturating_add(quota.per_nanos()) <= now)
        {
            self.tokens -= oldest.tokens;
            self.uses.pop_front();
        }
    }
}
