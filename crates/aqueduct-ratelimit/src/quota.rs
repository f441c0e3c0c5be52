use std::time::Duration;

use crate::error::ConfigError;

/// How much may be used in how much time, and how much of it at once.
///
/// The default is 100 in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    tokens: u64,
    per: Duration,
    burst: u64,
    /// Nanoseconds in which one token comes back, rounded up, so that there are never more than the quota says.
    token: u64,
    /// Nanoseconds in which an empty bucket fills.
    full: u64,
}

/// The longest time of a quota.
const PER_MAX: Duration = Duration::from_hours(366 * 24);

/// Half of what a word holds in nanoseconds, 146 years: the other half is for the time itself.
const FULL_MAX: u64 = 1 << 62;

impl Quota {
    /// So many tokens in so much time; all of them may be used at once.
    ///
    /// A token comes back in a whole number of nanoseconds, rounded up: a quota that does not divide its time is kept a
    /// little below, by at most one part in the nanoseconds of a token.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is no token, more than one a nanosecond, or the time is not from one microsecond to 366
    /// days.
    pub fn new(tokens: u64, per: Duration) -> Result<Self, ConfigError> {
        if per < Duration::from_micros(1) || per > PER_MAX {
            return Err(ConfigError::new("per", format!("{per:?}"), "1µs to 366 days"));
        }
        let nanos = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        if tokens == 0 || tokens > nanos {
            return Err(ConfigError::new("tokens", tokens, format!("1 to {nanos}, one a nanosecond")));
        }
        let token = nanos.div_ceil(tokens);
        Self { tokens, per, burst: tokens, token, full: 0 }.with_burst(tokens)
    }

    /// So many a second.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn per_second(tokens: u64) -> Result<Self, ConfigError> {
        Self::new(tokens, Duration::from_secs(1))
    }

    /// So many a minute.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn per_minute(tokens: u64) -> Result<Self, ConfigError> {
        Self::new(tokens, Duration::from_mins(1))
    }

    /// So many an hour.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn per_hour(tokens: u64) -> Result<Self, ConfigError> {
        Self::new(tokens, Duration::from_hours(1))
    }

    /// Sets how many tokens may be used at once after a pause. With 1 they are used evenly. A window has no burst of its
    /// own and ignores it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is none, or so many that they would take more than 146 years to come back.
    pub fn with_burst(self, burst: u64) -> Result<Self, ConfigError> {
        match burst.checked_mul(self.token).filter(|full| burst > 0 && *full <= FULL_MAX) {
            Some(full) => Ok(Self { burst, full, ..self }),
            None => Err(ConfigError::new(
                "burst",
                burst,
                format!("1 to {}, as many as come back in 146 years", FULL_MAX / self.token),
            )),
        }
    }

    /// How many tokens there are in [`per`](Self::per).
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The time of the quota.
    #[must_use]
    pub fn per(&self) -> Duration {
        self.per
    }

    /// How many may be used at once.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    pub(crate) fn token_nanos(&self) -> u64 {
        self.token
    }

    pub(crate) fn full_nanos(&self) -> u64 {
        self.full
    }

    pub(crate) fn per_nanos(&self) -> u64 {
        u64::try_from(self.per.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Default for Quota {
    fn default() -> Self {
        const TOKEN: u64 = 600_000_000;
        Self { tokens: 100, per: Duration::from_mins(1), burst: 100, token: TOKEN, full: 100 * TOKEN }
    }
}
