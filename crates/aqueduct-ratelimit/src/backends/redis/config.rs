use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::scale::Scale;
use crate::error::ConfigError;
use crate::quota::Quota;

/// What a limit does while its store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It gives whatever is asked for. The default: a limiter that is down should not take down what it protects.
    #[default]
    Open,
    /// It gives nothing, with [`Reason::Unavailable`](crate::Reason::Unavailable).
    Closed,
    /// Each process keeps to its part of the quota by itself, in a [`KeyedRateLimiter`](crate::KeyedRateLimiter).
    Local {
        /// How many processes share the quota. With more processes than this, they use more than the quota in all; with
        /// more than the burst, at most one at once each.
        processes: NonZeroU32,
        /// How many keys each process may know.
        keys: NonZeroUsize,
    },
}

/// Whether a denial counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// What is denied is refused. The default.
    #[default]
    Refuse,
    /// What is denied is told to the observer and counted, and allowed with nothing remaining: to see what a limit would
    /// do before it does it.
    Shadow,
}

/// How a limit in Redis behaves. Made by [`RedisConfig::builder`], so it is always one that works.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub(super) quota: Quota,
    pub(super) scale: Scale,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    pub(super) pause: Duration,
    pub(super) denials: usize,
    pub(super) on_failure: OnFailure,
    pub(super) enforcement: Enforcement,
    pub(super) local_quota: Option<Quota>,
}

/// What was written about a limit in Redis. [`build`](Self::build) checks it.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisBuilder {
    quota: Quota,
    prefix: String,
    timeout: Duration,
    pause: Duration,
    denials: usize,
    on_failure: OnFailure,
    enforcement: Enforcement,
}

const TIME_MIN: Duration = Duration::from_millis(1);
const TIME_MAX: Duration = Duration::from_mins(1);
/// 24 MiB.
const DENIALS_MAX: usize = 1 << 20;
/// A prefix is sent with every call.
const PREFIX_BYTES_MAX: usize = 256;

impl RedisConfig {
    /// Starts with the defaults: keys begin with `ratelimit:`, a call takes 50 ms at most, a server that did not answer is
    /// left alone for 500 ms, 1,024 denials are remembered, a failure gives everything, and denials count.
    pub fn builder(quota: Quota) -> RedisBuilder {
        RedisBuilder {
            quota,
            prefix: "ratelimit:".to_owned(),
            timeout: Duration::from_millis(50),
            pause: Duration::from_millis(500),
            denials: 1_024,
            on_failure: OnFailure::default(),
            enforcement: Enforcement::default(),
        }
    }
}

impl RedisBuilder {
    /// Sets what stands before each key in Redis. Limits that share a prefix share their keys. Default `ratelimit:`; up to
    /// 256 bytes.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long a call may take, connecting included. Default 50 ms; from one millisecond to one minute.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a server that did not answer, or may not write, is left alone. Meanwhile every use is a failure
    /// that costs no time. Default 500 ms; from one millisecond to one minute.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Sets how many denials are remembered, so that the server is not asked again before it would give; 24 bytes each.
    /// A refund or a reset by another process is not seen meanwhile. Default 1,024; 0 remembers none, at most 1,048,576.
    pub fn denials(mut self, denials: usize) -> Self {
        self.denials = denials;
        self
    }

    /// Sets what to do while the server does not answer. Default: [`OnFailure::Open`].
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Sets whether a denial counts. Default: [`Enforcement::Refuse`].
    pub fn enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    /// Checks it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field that is out of its range.
    pub fn build(self) -> Result<RedisConfig, ConfigError> {
        for (field, value) in [("timeout", self.timeout), ("pause", self.pause)] {
            if !(TIME_MIN..=TIME_MAX).contains(&value) {
                return Err(ConfigError::new(field, format!("{value:?}"), "1 ms to 1 minute"));
            }
        }
        if self.denials > DENIALS_MAX {
            return Err(ConfigError::new("denials", self.denials, format!("0 to {DENIALS_MAX}")));
        }
        if self.prefix.len() > PREFIX_BYTES_MAX {
            let bytes = format!("{} bytes", self.prefix.len());
            return Err(ConfigError::new("prefix", bytes, format!("up to {PREFIX_BYTES_MAX} bytes")));
        }
        Ok(RedisConfig {
            quota: self.quota,
            scale: Scale::of(&self.quota)?,
            prefix: self.prefix,
            timeout: self.timeout,
            pause: self.pause,
            denials: self.denials,
            on_failure: self.on_failure,
            enforcement: self.enforcement,
            local_quota: local_quota(&self.quota, self.on_failure)?,
        })
    }
}

/// The part of a quota that is one process's: as many tokens in a time longer by the number of processes.
pub(super) fn local_quota(quota: &Quota, on_failure: OnFailure) -> Result<Option<Quota>, ConfigError> {
    let OnFailure::Local { processes, .. } = on_failure else { return Ok(None) };
    let burst = (quota.burst() / u64::from(processes.get())).max(1);
    let per = quota.per().saturating_mul(processes.get());
    let local = Quota::new(quota.tokens(), per).and_then(|local| local.with_burst(burst));
    local.map(Some).map_err(|_| {
        let allowed = format!("so many that {:?} times as many are at most 366 days", quota.per());
        ConfigError::new("processes", processes, allowed)
    })
}
