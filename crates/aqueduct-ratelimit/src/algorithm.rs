//! The algorithms: the time is an argument, and nothing in them waits, locks or allocates.

mod sliding_counter;
mod sliding_log;
pub(crate) mod token_bucket;

use std::time::Duration;

use aqueduct_core::Instant;

use self::sliding_counter::SlidingCounter;
use self::sliding_log::SlidingLog;
use self::token_bucket::Bucket;
use crate::error::{ConfigError, Denied, Reason};
use crate::quota::Quota;

/// How use is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Tokens come back evenly, and as many as the burst lie ready after a pause. One word of memory.
    ///
    /// The generic cell rate algorithm in its virtual scheduling form: ITU-T I.371, annex A.
    #[default]
    TokenBucket,
    /// What is used fills a bucket of the size of the burst that leaks evenly, and what does not fit is refused. As a meter
    /// it admits what a token bucket admits (I.371 shows both forms to be one), and that is how it is computed; as a
    /// shaper, use [`acquire`](crate::RateLimiter::acquire) with a burst of 1, which lets one out at a time.
    LeakyBucket,
    /// Every use is remembered for the time of the quota: never more than the tokens in any such time, wherever it begins.
    /// Eight to sixteen bytes for each token of the quota, at most 1,000,000 tokens.
    SlidingLog,
    /// Two counts, of this time and of the one before, of which as much counts as the sliding time still covers. It takes
    /// the uses of the time before as spread evenly, so it may admit or refuse a few too many. Three words.
    ///
    /// Known from Cloudflare, "How we built rate limiting capable of scaling to millions of domains", 2017.
    SlidingCounter,
}

/// What a limit gave.
///
/// What is left is worked out when somebody asks: most do not, and a division would be a good part of what a check costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    left: u64,
    /// How many of what is left make one token; never 0.
    token: u64,
    reset_nanos: u64,
}

impl Allowed {
    pub(crate) fn of_parts(left: u64, token: u64, reset_nanos: u64) -> Self {
        Self { left, token, reset_nanos }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn new(remaining: u64, reset_after: Duration) -> Self {
        Self { left: remaining, token: 1, reset_nanos: nanos(reset_after) }
    }

    /// How much more it would give at once.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left / self.token
    }

    /// When it would be as if nothing had been used.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        Duration::from_nanos(self.reset_nanos)
    }
}

/// What a limit promised: it may be used when the wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    /// How long to wait. Zero: it may be used now.
    pub wait: Duration,
}

/// One limit without a clock and a lock of its own. [`RateLimiter`](crate::RateLimiter) shares one between threads.
#[derive(Clone, Debug)]
pub struct Limit {
    quota: Quota,
    state: State,
    /// The latest time that was seen. A clock that goes back stands still here.
    now: u64,
}

#[derive(Clone, Debug)]
enum State {
    Bucket(u64),
    Log(SlidingLog),
    Counter(SlidingCounter),
}

/// A log of more would take over 16 MB.
const LOG_TOKENS_MAX: u64 = 1_000_000;

impl Limit {
    /// A limit of which nothing has been used.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the quota has more tokens than a log may remember.
    pub fn new(quota: Quota, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let state = match algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => State::Bucket(0),
            Algorithm::SlidingLog => {
                if quota.tokens() > LOG_TOKENS_MAX {
                    let allowed = format!("1 to {LOG_TOKENS_MAX} where each use is remembered");
                    return Err(ConfigError::new("tokens", quota.tokens(), allowed));
                }
                State::Log(SlidingLog::new(&quota))
            }
            Algorithm::SlidingCounter => State::Counter(SlidingCounter::default()),
        };
        Ok(Self { quota, state, now: 0 })
    }

    /// The quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Uses so many tokens, all or none.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the time after which the same would be given.
    ///
    /// # Complexity
    ///
    /// O(1); a log is O(1) amortised, and on refusal O(uses that must be over first).
    pub fn check(&mut self, now: Instant, tokens: u64) -> Result<Allowed, Denied> {
        let now = self.seen(now);
        match &mut self.state {
            State::Bucket(tat) => {
                let (next, allowed) = Bucket::of(&self.quota).take(*tat, now, tokens)?;
                *tat = next;
                Ok(allowed)
            }
            State::Log(log) => log.take(&self.quota, now, tokens),
            State::Counter(counter) => counter.take(&self.quota, now, tokens),
        }
    }

    /// Says what [`check`](Self::check) would say, and uses nothing.
    ///
    /// # Errors
    ///
    /// As `check`.
    pub fn peek(&mut self, now: Instant, tokens: u64) -> Result<Allowed, Denied> {
        let now = self.seen(now);
        match &mut self.state {
            State::Bucket(tat) => Bucket::of(&self.quota).take(*tat, now, tokens).map(|(_, allowed)| allowed),
            State::Log(log) => log.peek(&self.quota, now, tokens),
            State::Counter(counter) => counter.peek(&self.quota, now, tokens),
        }
    }

    /// Uses tokens that are still to come, if they come within `wait_max`.
    ///
    /// # Errors
    ///
    /// [`Denied`] when they come later, when there are never so many, or when a counter cannot promise.
    pub fn reserve(&mut self, now: Instant, tokens: u64, wait_max: Duration) -> Result<Promised, Denied> {
        let now = self.seen(now);
        match &mut self.state {
            State::Bucket(tat) => {
                let (next, promised) = Bucket::of(&self.quota).reserve(*tat, now, tokens, nanos(wait_max))?;
                *tat = next;
                Ok(promised)
            }
            State::Log(log) => log.reserve(&self.quota, now, tokens, nanos(wait_max)),
            State::Counter(_) => Err(Denied { retry_after: None, reason: Reason::NoReservation }),
        }
    }

    /// Gives tokens back that were not used after all. More than were used make the limit as new.
    pub fn refund(&mut self, now: Instant, tokens: u64) {
        let now = self.seen(now);
        match &mut self.state {
            State::Bucket(tat) => *tat = Bucket::of(&self.quota).refund(*tat, tokens),
            State::Log(log) => log.refund(tokens),
            State::Counter(counter) => counter.refund(&self.quota, now, tokens),
        }
    }

    /// Gives nothing for so long, as after an answer that said "too many requests". A longer wait stays.
    pub fn drain(&mut self, now: Instant, wait: Duration) {
        let now = self.seen(now);
        match &mut self.state {
            State::Bucket(tat) => *tat = Bucket::of(&self.quota).drain(*tat, now, nanos(wait)),
            State::Log(log) => log.drain(now.saturating_add(nanos(wait))),
            State::Counter(counter) => counter.drain(now.saturating_add(nanos(wait))),
        }
    }

    /// Forgets what was used.
    pub fn reset(&mut self) {
        match &mut self.state {
            State::Bucket(tat) => *tat = 0,
            State::Log(log) => *log = SlidingLog::new(&self.quota),
            State::Counter(counter) => *counter = SlidingCounter::default(),
        }
    }

    /// Holds to another quota from now on. What has been used stays used: as many tokens are missing as before.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the old quota stays then.
    pub fn set_quota(&mut self, now: Instant, quota: Quota) -> Result<(), ConfigError> {
        let now = self.seen(now);
        match &mut self.state {
            State::Bucket(tat) => *tat = Bucket::of(&self.quota).rescaled(*tat, now, &Bucket::of(&quota)),
            State::Log(log) => {
                if quota.tokens() > LOG_TOKENS_MAX {
                    let allowed = format!("1 to {LOG_TOKENS_MAX} where each use is remembered");
                    return Err(ConfigError::new("tokens", quota.tokens(), allowed));
                }
                log.make_room(&quota);
            }
            State::Counter(counter) => counter.rescale(&self.quota, now, &quota),
        }
        self.quota = quota;
        Ok(())
    }

    /// Whether it is as if nothing had been used.
    #[must_use]
    pub fn is_settled(&self, now: Instant) -> bool {
        let now = instant_nanos(now).max(self.now);
        match &self.state {
            State::Bucket(tat) => *tat <= now,
            State::Log(log) => log.is_settled(&self.quota, now),
            State::Counter(counter) => counter.is_settled(&self.quota, now),
        }
    }

    fn seen(&mut self, now: Instant) -> u64 {
        self.now = self.now.max(instant_nanos(now));
        self.now
    }
}

/// 584 years fit.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[inline]
pub(crate) fn instant_nanos(instant: Instant) -> u64 {
    nanos(instant.elapsed_since_start())
}
