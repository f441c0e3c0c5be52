use std::time::Duration;

use crate::{ConfigError, Schedule};

/// How the delay grows from one retry to the next, before jitter and limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Growth {
    /// Always the same: `delay, delay, delay`.
    ///
    /// For a resource that is free again after a known time. Zero calls again at once.
    Constant {
        /// From zero to `delay_max`.
        delay: Duration,
    },
    /// By the same step each time: `first, 2 first, 3 first`.
    Linear {
        /// From one nanosecond to `delay_max`.
        first: Duration,
    },
    /// By the same factor each time: `first, first factor, first factor²`.
    Exponential {
        /// From one nanosecond to `delay_max`.
        first: Duration,
        /// From 1, where the delay stays the same, to 100, where a nanosecond becomes a second in five retries.
        factor: f64,
    },
    /// By chance, between `first` and three times the delay before.
    ///
    /// It spreads callers as well as full jitter and never comes back at once; it has its own chance and takes
    /// no [`Jitter`].
    Decorrelated {
        /// The shortest delay; from one nanosecond to `delay_max`.
        first: Duration,
    },
}

/// What chance does to a delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Jitter {
    /// Nothing. For one caller, and for a person who wants to see the delays that were written down.
    #[default]
    None,
    /// Anything from zero to the whole delay. For many callers of one service: it gives the least load.
    Full,
    /// Half of the delay is kept, the other half is anything from zero to itself.
    Equal,
}

/// What was written about a schedule. [`build`](Self::build) checks it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    pub(crate) growth: Growth,
    pub(crate) jitter: Jitter,
    pub(crate) retries_max: u32,
    pub(crate) delay_max: Duration,
    pub(crate) elapsed_max: Duration,
}

/// With it the waits of the default schedule are 2, 4 and 8 s, long enough for a service to restart.
const DEFAULT_GROWTH: Growth = Growth::Exponential { first: Duration::from_secs(2), factor: 2.0 };

/// What a call does not give in four attempts it seldom gives in the fifth.
const DEFAULT_RETRIES_MAX: u32 = 3;

/// The next power of two would be 16 s, more than half of the time that there is.
const DEFAULT_DELAY_MAX: Duration = Duration::from_secs(10);

/// The engine's window stands still behind a retrying item; half a minute of input fits into it.
const DEFAULT_ELAPSED_MAX: Duration = Duration::from_secs(30);

/// Whoever wants to wait longer than a day wants a queue.
const DELAY_LIMIT: Duration = Duration::from_hours(24);

/// What has failed for a month needs a person.
const ELAPSED_LIMIT: Duration = Duration::from_hours(30 * 24);

const FACTOR_LIMIT: f64 = 100.0;

// ---- Builder ----

impl Builder {
    pub(crate) fn new(growth: Growth) -> Self {
        Self {
            growth,
            jitter: Jitter::None,
            retries_max: DEFAULT_RETRIES_MAX,
            delay_max: DEFAULT_DELAY_MAX,
            elapsed_max: DEFAULT_ELAPSED_MAX,
        }
    }

    /// Sets what chance does to the delays. Default: none.
    ///
    /// The default schedule promises waits of 2, 4 and 8 s, and a person who reads a log should find them.
    /// Where many callers share one service, take [`Jitter::Full`].
    pub fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// Sets how many retries there may be after the first call. Default 3; any number is allowed, and with 0
    /// the first failure is the last.
    pub fn retries_max(self, retries_max: u32) -> Self {
        Self { retries_max, ..self }
    }

    /// Sets the longest delay. Default 10 s; from one nanosecond to 24 hours.
    ///
    /// Where the other side says how long to wait, that counts even when it is longer.
    pub fn delay_max(self, delay_max: Duration) -> Self {
        Self { delay_max, ..self }
    }

    /// Sets the time from the start of the first call within which a retry may begin. Default 30 s; from one
    /// nanosecond to 30 days.
    pub fn elapsed_max(self, elapsed_max: Duration) -> Self {
        Self { elapsed_max, ..self }
    }

    /// Checks what was written and gives the schedule.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<Schedule, ConfigError> {
        const INSTANT: Duration = Duration::from_nanos(1);
        within("delay_max", self.delay_max, INSTANT, DELAY_LIMIT)?;
        within("elapsed_max", self.elapsed_max, INSTANT, ELAPSED_LIMIT)?;
        match self.growth {
            Growth::Constant { delay } => within("delay", delay, Duration::ZERO, self.delay_max)?,
            Growth::Linear { first } | Growth::Exponential { first, .. } | Growth::Decorrelated { first } => {
                within("first", first, INSTANT, self.delay_max)?;
            }
        }
        if let Growth::Exponential { factor, .. } = self.growth
            && !(1.0..=FACTOR_LIMIT).contains(&factor)
        {
            return Err(ConfigError {
                field: "factor",
                value: factor.to_string(),
                allowed: format!("1 to {FACTOR_LIMIT}"),
            });
        }
        if matches!(self.growth, Growth::Decorrelated { .. }) && self.jitter != Jitter::None {
            return Err(ConfigError {
                field: "jitter",
                value: format!("{:?}", self.jitter),
                allowed: "None, since decorrelated delays are random already".to_owned(),
            });
        }
        Ok(Schedule::checked(self))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new(DEFAULT_GROWTH)
    }
}

fn within(field: &'static str, value: Duration, min: Duration, max: Duration) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError { field, value: format!("{value:?}"), allowed: format!("{min:?} to {max:?}") })
}
