use std::time::Duration;

use crate::error::ConfigError;
use crate::quota::Quota;

/// A quota in whole numbers that the doubles of Lua hold exactly.
///
/// A token is `token` parts, and `rate` parts come back in a tick. A tick is a microsecond; where a bucket would be too
/// large in parts, it is a millisecond or a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) rate: u64,
    pub(super) token: u64,
    pub(super) full: u64,
    pub(super) tick_micros: u64,
}

/// A bucket and the longest drain fit below this, and what is put together from two of them below 2^53.
const PARTS_MAX: u64 = 1 << 52;

/// A time of fewer ticks than this is not counted in longer ones.
const TICKS_MIN: u64 = 1_000;

/// The longest time for which a limit may be drained.
pub(super) const DRAIN_MAX: Duration = Duration::from_hours(24);

impl Scale {
    pub(super) fn of(quota: &Quota) -> Result<Self, ConfigError> {
        // A time of parts of a microsecond is made longer, never shorter.
        let per_micros = quota.per_nanos().div_ceil(1_000);
        for tick_micros in [1, 1_000, 1_000_000] {
            // So many ticks make the steps in which tokens come back small, and rounding the time up to whole ones too.
            if tick_micros > 1 && per_micros / tick_micros < TICKS_MIN {
                break;
            }
            let per_ticks = per_micros.div_ceil(tick_micros);
            let common = common_divisor(quota.tokens(), per_ticks);
            let (rate, token) = (quota.tokens() / common, per_ticks / common);
            let drain = drain_ticks(DRAIN_MAX, tick_micros).checked_mul(rate);
            let full = quota.burst().checked_mul(token);
            if let (Some(drain), Some(full)) = (drain, full)
                && drain.checked_add(full).is_some_and(|parts| parts <= PARTS_MAX)
            {
                return Ok(Self { rate, token, full, tick_micros });
            }
        }
        let given = format!("{} in {:?}, {} at once", quota.tokens(), quota.per(), quota.burst());
        Err(ConfigError::new("quota", given, "what a script can count exactly, below 2^52 parts of a token"))
    }

    /// So many tokens in parts; `None` for more than a full bucket.
    pub(super) fn parts(&self, tokens: u64) -> Option<u64> {
        tokens.checked_mul(self.token).filter(|parts| *parts <= self.full)
    }

    /// The level with which one token comes at the end of the wait.
    pub(super) fn drained(&self, wait: Duration) -> u64 {
        self.full - self.token + drain_ticks(wait.min(DRAIN_MAX), self.tick_micros) * self.rate
    }
}

fn drain_ticks(wait: Duration, tick_micros: u64) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX).div_ceil(tick_micros)
}

/// Euclid's algorithm.
fn common_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
