use super::Allowed;
use crate::error::Denied;
use crate::quota::Quota;

/// The counts of this window and of the one before. Windows are cut from the start of the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlidingCounter {
    window: u64,
    before: u64,
    current: u64,
    drained_until: u64,
}

impl SlidingCounter {
    pub(super) fn take(&mut self, quota: &Quota, now: u64, tokens: u64) -> Result<Allowed, Denied> {
        let allowed = self.peek(quota, now, tokens)?;
        self.current += tokens;
        Ok(allowed)
    }

    pub(super) fn peek(&mut self, quota: &Quota, now: u64, tokens: u64) -> Result<Allowed, Denied> {
        self.advance(quota, now);
        if tokens > quota.tokens() {
            return Err(Denied::TOO_LARGE);
        }
        let (width, most) = (quota.per_nanos(), quota.tokens());
        let into = now - self.window * width;
        let wait = self.wait(width, most, into, tokens).max(self.drained_until.saturating_sub(now));
        if wait > 0 {
            return Err(Denied::after_nanos(wait));
        }
        let held = weighted(self.before, width - into, width) + u128::from(self.current + tokens);
        let remaining = u128::from(most).saturating_sub(held);
        let used = self.current + tokens > 0;
        let reset_after = width - into + if used { width } else { 0 };
        Ok(Allowed::of_parts(u64::try_from(remaining).unwrap_or(0), 1, reset_after))
    }

    /// Nanoseconds until so many fit, if nobody else uses any. Exact: one before, they do not.
    fn wait(&self, width: u64, most: u64, into: u64, tokens: u64) -> u64 {
        if self.current + tokens <= most {
            // In this window: as much of the one before may count as there is room.
            let at = fits_at(self.before, most - self.current - tokens, width);
            if at <= width {
                return at.saturating_sub(into);
            }
        }
        // In the next one, where this one is the one before.
        width - into + fits_at(self.current, most - tokens, width)
    }

    pub(super) fn refund(&mut self, quota: &Quota, now: u64, tokens: u64) {
        self.advance(quota, now);
        let here = tokens.min(self.current);
        self.current -= here;
        self.before = self.before.saturating_sub(tokens - here);
    }

    pub(super) fn drain(&mut self, until: u64) {
        self.drained_until = self.drained_until.max(until);
    }

    pub(super) fn is_settled(&self, quota: &Quota, now: u64) -> bool {
        let passed = (now / quota.per_nanos()).saturating_sub(self.window);
        let counts = match passed {
            0 => self.before + self.current,
            1 => self.current,
            _ => 0,
        };
        counts == 0 && self.drained_until <= now
    }

    /// Windows of another width begin with what this one holds as the one before, all of it.
    pub(super) fn rescale(&mut self, quota: &Quota, now: u64, other: &Quota) {
        self.advance(quota, now);
        if quota.per_nanos() != other.per_nanos() {
            let into = now - self.window * quota.per_nanos();
            let width = quota.per_nanos();
            let held = weighted(self.before, width - into, width) + u128::from(self.current);
            let held = u64::try_from(held).unwrap_or(u64::MAX);
            let drained_until = self.drained_until;
            *self = Self { window: now / other.per_nanos(), before: 0, current: held, drained_until };
        }
    }

    fn advance(&mut self, quota: &Quota, now: u64) {
        let window = now / quota.per_nanos();
        match window - self.window.min(window) {
            0 => {}
            1 => (self.before, self.current) = (self.current, 0),
            _ => (self.before, self.current) = (0, 0),
        }
        self.window = self.window.max(window);
    }
}

/// How much of a count still counts when so much of its width is covered, rounded up.
fn weighted(count: u64, covered: u64, width: u64) -> u128 {
    (u128::from(count) * u128::from(covered)).div_ceil(u128::from(width))
}

/// How far into a window a count of the one before counts for no more than `room`.
fn fits_at(before: u64, room: u64, width: u64) -> u64 {
    if before <= room {
        return 0;
    }
    // before * (width - at) / width <= room, rounded up on the left.
    let covered = u128::from(room) * u128::from(width) / u128::from(before);
    width - u64::try_from(covered).unwrap_or(width)
}
