use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::units::Units;
use crate::error::{ConfigError, Denied};
use crate::quota::Quota;

/// What is answered when Redis is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Everything is given. For a limit that protects nothing that breaks.
    Open,
    /// Nothing is given. For a quota that costs money or breaks something.
    #[default]
    Closed,
    /// Each process keeps to its share of the quota by itself, so that all of them together keep to all of it.
    Local {
        /// How many processes share the quota.
        processes: NonZeroU32,
    },
}

/// Whether what is denied is really denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// It is.
    #[default]
    Enforced,
    /// Everything is given, and what would have been denied is told and counted: for a limit that is tried out.
    Shadow,
}

/// How a shared limiter behaves. Made by [`RedisConfig::builder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    pub(crate) quota: Quota,
    pub(super) units: Units,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    pub(super) retry_every: Duration,
    pub(super) on_failure: OnFailure,
    pub(super) enforcement: Enforcement,
    pub(super) keys_max: NonZeroUsize,
}

/// What was written about a shared limiter. [`build`](Self::build) checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisBuilder {
    quota: Quota,
    prefix: String,
    timeout: Duration,
    retry_every: Duration,
    on_failure: OnFailure,
    enforcement: Enforcement,
    keys_max: NonZeroUsize,
}

/// A Redis in the same data centre answers in a millisecond; one that takes fifty times as long is not well.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Often enough to notice that it is back, seldom enough to cost nothing.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Some megabytes at the most.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

const MILLISECOND: Duration = Duration::from_millis(1);

impl RedisConfig {
    /// Starts with the defaults: asked within 50 ms, denied when Redis does not answer, asked again every second.
    pub fn builder(quota: Quota) -> RedisBuilder {
        RedisBuilder {
            quota,
            prefix: "ratelimit:".to_owned(),
            timeout: TIMEOUT,
            retry_every: RETRY_EVERY,
            on_failure: OnFailure::default(),
            enforcement: Enforcement::default(),
            keys_max: KEYS_MAX,
        }
    }

    pub(super) fn fits(&self, tokens: u64) -> Result<(), Denied> {
        if tokens > self.quota.burst() { Err(Denied::TOO_LARGE) } else { Ok(()) }
    }

    /// The share of one process, where it keeps one.
    pub(super) fn local_quota(&self) -> Result<Option<Quota>, ConfigError> {
        let OnFailure::Local { processes } = self.on_failure else { return Ok(None) };
        let share = Quota::new(self.quota.tokens(), self.quota.per().saturating_mul(processes.get()))?;
        // At least one, or nobody could use what comes back.
        share.with_burst((self.quota.burst() / u64::from(processes.get())).max(1)).map(Some)
    }
}

impl RedisBuilder {
    /// Sets what stands before each key. Default: `ratelimit:`. Limits with different quotas want different ones.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets how long Redis may take to answer. Default 50 ms; from one millisecond to one minute.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how often Redis is asked again while it does not answer. Default 1 s; from one millisecond to one hour.
    pub fn retry_every(self, retry_every: Duration) -> Self {
        Self { retry_every, ..self }
    }

    /// Sets what is answered when Redis is not. Default: [`OnFailure::Closed`].
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// Sets whether what is denied is really denied. Default: [`Enforcement::Enforced`].
    pub fn enforcement(self, enforcement: Enforcement) -> Self {
        Self { enforcement, ..self }
    }

    /// Sets how many keys this process remembers by itself: those that were denied, and with [`OnFailure::Local`] those
    /// it counts. Default 10,000.
    pub fn keys_max(self, keys_max: NonZeroUsize) -> Self {
        Self { keys_max, ..self }
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<RedisConfig, ConfigError> {
        let within = |field, value: Duration, max: Duration| {
            if value >= MILLISECOND && value <= max {
                return Ok(());
            }
            Err(ConfigError::new(field, format!("{value:?}"), format!("1ms to {max:?}")))
        };
        within("timeout", self.timeout, Duration::from_mins(1))?;
        within("retry_every", self.retry_every, Duration::from_hours(1))?;
        let Some(units) = Units::of(&self.quota) else {
            let quota =
                format!("{} in {:?}, {} at once", self.quota.tokens(), self.quota.per(), self.quota.burst());
            let allowed = "a burst that fills within 2^53 units, a token being as many as the microseconds of the quota \
                           divided by what they share with its tokens; a smaller burst, or a rounder quota";
            return Err(ConfigError::new("quota", quota, allowed));
        };
        let config = RedisConfig {
            quota: self.quota,
            units,
            prefix: self.prefix,
            timeout: self.timeout,
            retry_every: self.retry_every,
            on_failure: self.on_failure,
            enforcement: self.enforcement,
            keys_max: self.keys_max,
        };
        config.local_quota()?;
        Ok(config)
    }
}
