use std::time::Duration;

use aqueduct_core::ConfigError;

use super::Sample;

/// How [`Aimd`] moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AimdConfig {
    /// The limit at the start. Default 10 (Netflix).
    pub initial: u32,
    /// The least limit, from 1. Default 1: a backend that takes one call at a time still gets that one.
    pub min: u32,
    /// The largest limit, up to 1,000,000. Default 200 (Netflix).
    pub max: u32,
    /// What a failed attempt leaves of the limit, from 0.5 to below 1. Default 0.9 (Netflix).
    pub backoff: f64,
    /// An attempt that took longer counts as failed, from one nanosecond to 24 hours. Default 5 s (Netflix).
    pub slow_after: Duration,
}

/// A limit that grows by one with each answer while at least half of it is used, and shrinks by a share with each failure.
///
/// Source: Netflix concurrency-limits, `AIMDLimit` (Apache-2.0), whose figures are the defaults. Ours has a least limit of 1
/// where the later versions of theirs have 20. A backend gives it one sample for each round of calls, as a window of theirs
/// does, so it grows by one in the time of a call and not with each.
#[derive(Clone, Copy, Debug)]
pub struct Aimd {
    config: AimdConfig,
    limit: u32,
}

impl Default for AimdConfig {
    fn default() -> Self {
        Self { initial: 10, min: 1, max: 200, backoff: 0.9, slow_after: Duration::from_secs(5) }
    }
}

impl AimdConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        super::check_limits(self.initial, self.min, self.max)?;
        if !(0.5..1.0).contains(&self.backoff) {
            return Err(ConfigError::new("concurrency.backoff", self.backoff, "0.5 to below 1"));
        }
        let day = Duration::from_hours(24);
        ConfigError::check("concurrency.slow_after", self.slow_after, Duration::from_nanos(1), day)
    }
}

impl Aimd {
    /// Starts at the initial limit.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn new(config: AimdConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self::checked(config))
    }

    pub(crate) fn checked(config: AimdConfig) -> Self {
        Self { config, limit: config.initial }
    }

    /// The limit now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Takes what is known of an attempt that has ended, and gives the next limit. O(1).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a limit is below it"
    )]
    pub fn update(&mut self, sample: Sample) -> u32 {
        let next = if sample.dropped || sample.took > self.config.slow_after {
            let share = (f64::from(self.limit) * self.config.backoff) as u32;
            share.min(self.limit.saturating_sub(1))
        } else if sample.in_flight.saturating_mul(2) >= self.limit {
            self.limit.saturating_add(1)
        } else {
            self.limit
        };
        self.limit = next.clamp(self.config.min, self.config.max);
        self.limit
    }
}
