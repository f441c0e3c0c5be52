//! One quota with those who wait for its tokens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_core::{Clock, Forget, Instant};
use aqueduct_ratelimit::{Denied, Quota, RateLimiter};
use tokio::sync::{Mutex, MutexGuard};

/// A quota whose tokens are given in the order of asking, and that knows how long the line is.
#[derive(Debug)]
pub(crate) struct Line {
    limiter: RateLimiter,
    quota: Quota,
    /// In which a token comes back, rounded up as the quota does.
    token: Duration,
    /// Whoever holds it is first in the line; tokio's mutex hands it on in the order of asking.
    turn: Mutex<()>,
    /// Tokens that those in the line wait for. Relaxed: it is an estimate for newcomers, and tells whether anybody waits.
    wanted: AtomicU64,
}

/// A place in a line. Dropped, the next one moves up.
pub(crate) struct Standing<'a> {
    line: &'a Line,
    tokens: u64,
    turn: Option<MutexGuard<'a, ()>>,
}

impl Line {
    pub(crate) fn new(quota: Quota, clock: Clock) -> Self {
        let token = quota.per().as_nanos().div_ceil(u128::from(quota.tokens()));
        Self {
            limiter: RateLimiter::token_bucket(quota, clock),
            quota,
            token: Duration::from_nanos(u64::try_from(token).unwrap_or(u64::MAX)),
            turn: Mutex::default(),
            wanted: AtomicU64::new(0),
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_free(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn take(&self, at: Instant, tokens: u64) -> Result<(), Denied> {
        self.limiter.check_at(at, tokens).map(drop)
    }

    pub(crate) fn peek(&self, tokens: u64) -> Result<(), Denied> {
        self.limiter.peek(tokens).map(drop)
    }

    pub(crate) fn refund(&self, tokens: u64) {
        self.limiter.refund(tokens);
    }

    pub(crate) fn drain(&self, wait: Duration) {
        self.limiter.drain(wait);
    }

    /// How long somebody would wait who comes now: for what those in the line want, and for the tokens. `None`: forever.
    ///
    /// Asking a bucket for all of it at once gives the exact time, up to its burst; what is more comes at the rate.
    pub(crate) fn wait_for(&self, tokens: u64) -> Option<Duration> {
        let burst = self.quota.burst();
        if tokens > burst {
            return None;
        }
        let all = self.wanted.load(Ordering::Relaxed).saturating_add(tokens);
        let at_once = all.min(burst);
        let wait = self.peek(at_once).err().and_then(|denied| denied.retry_after).unwrap_or_default();
        let rest = (all - at_once).saturating_mul(u64::try_from(self.token.as_nanos()).unwrap_or(u64::MAX));
        Some(wait.saturating_add(Duration::from_nanos(rest)))
    }

    /// Waits until the caller is first.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves the line.
    pub(crate) async fn stand(&self, tokens: u64) -> Standing<'_> {
        self.wanted.fetch_add(tokens, Ordering::Relaxed);
        let mut standing = Standing { line: self, tokens, turn: None };
        standing.turn = Some(self.turn.lock().await);
        standing
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        // Before the turn is handed on, so that the next one does not count somebody who has gone.
        self.line.wanted.fetch_sub(self.tokens, Ordering::Relaxed);
        self.turn = None;
    }
}

impl Forget for Line {
    fn may_forget(&self, now: Instant) -> bool {
        self.is_free() && self.limiter.may_forget(now)
    }
}
