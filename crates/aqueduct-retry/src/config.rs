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

/// What a [`Retry`](crate::Retry) does, beside when: how long a call and each of its attempts may take.
///
/// The default has no time limit of its own. [`Schedule::elapsed_max`] is none: it says when the last attempt
/// may begin, not when it must have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Config {
    /// When to call again.
    pub schedule: Schedule,
    /// The time for a call with all its attempts and waits, from one nanosecond to 30 days. Default: none. What
    /// is under way when it is over is dropped.
    pub time_max: Option<Duration>,
    /// The time for one attempt, from one nanosecond to 30 days. Default: none. One that takes longer is
    /// dropped, and has failed in passing.
    pub attempt_time_max: Option<Duration>,
}

/// What a [`Budget`](crate::Budget) allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetConfig {
    /// The share of the calls in the window that there may be retries, from 0, where only the reserve is left,
    /// to 1. Default 0.2. Kept exactly to nine digits.
    pub ratio: f64,
    /// Retries a second that are allowed where the share is less, so that a program that calls seldom can repeat a
    /// call at all. From 0 to 1,000,000, fractions are fine. Default 10. All that a window allows may come at
    /// once.
    pub per_second: f64,
    /// How long a call counts, from one second to one hour. Default 10 s. It is forgotten in tenths.
    pub window: Duration,
}

/// When a [`Hedge`](crate::Hedge) begins a further attempt, and how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgeConfig {
    /// When. Default: after the 95th percentile of the last minute.
    pub after: After,
    /// How many attempts there may be beside the first, each after one more such time. From 1 to 8; default 1: the
    /// second attempt brings nearly all that there is to win.
    pub extra_max: u32,
}

/// How long the first attempt must have taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    /// So long, from one nanosecond to 24 hours. For what has a known usual time.
    Fixed(Duration),
    /// Longer than this share of the calls that succeeded recently.
    Percentile {
        /// The share, from 0.5, where half of all calls are hedged, to 0.999.
        percentile: f64,
        /// How many latencies must be known before anything is hedged; from 1 to 1,000,000.
        samples_min: u32,
        /// How far back a latency is recent, from one second to one hour. It is forgotten in halves.
        window: Duration,
    },
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
    pub(crate) retry_after_max: Duration,
}

/// With it the waits of the default schedule are 2, 4 and 8 s, long enough for a service to restart.
const DEFAULT_GROWTH: Growth = Growth::Exponential { first: Duration::from_secs(2), factor: 2.0 };

/// What a call does not give in four attempts it seldom gives in the fifth.
const DEFAULT_RETRIES_MAX: u32 = 3;

/// The next power of two would be 16 s, more than half of the time that there is.
const DEFAULT_DELAY_MAX: Duration = Duration::from_secs(10);

/// The engine's window stands still behind a retrying item; half a minute of input fits into it.
const DEFAULT_ELAPSED_MAX: Duration = Duration::from_secs(30);

/// The longest that AWS, gRPC and linkerd's proxy take seriously. Who asks for more wants to be left alone.
const DEFAULT_RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// Whoever wants to wait longer than a day wants a queue.
const DELAY_LIMIT: Duration = Duration::from_hours(24);

/// What has failed for a month needs a person.
const ELAPSED_LIMIT: Duration = Duration::from_hours(30 * 24);

const FACTOR_LIMIT: f64 = 100.0;

/// The shortest time that there is; zero would be none.
pub(crate) const INSTANT: Duration = Duration::from_nanos(1);

/// Linkerd, Finagle and Envoy agree on a fifth: load grows by so much when everything fails, and not by a
/// multiple.
const DEFAULT_BUDGET_RATIO: f64 = 0.2;

/// That of Finagle and linkerd: not to be noticed by a server, and enough for somebody who tries things out.
const DEFAULT_BUDGET_PER_SECOND: f64 = 10.0;

/// That of Finagle, linkerd and Gateway API GEP-3388: long enough to even out, short enough to forget.
const DEFAULT_BUDGET_WINDOW: Duration = Duration::from_secs(10);

/// More retries a second than that need no budget.
const PER_SECOND_LIMIT: f64 = 1e6;

/// Dean and Barroso, "The Tail at Scale", Communications of the ACM, 2013: to hedge after the 95th percentile
/// costs 5 % more calls and cuts the tail.
const DEFAULT_PERCENTILE: f64 = 0.95;

/// Five of a hundred are behind the 95th percentile: enough not to be one outlier.
const DEFAULT_SAMPLES_MIN: u32 = 100;

/// Long enough for the samples of a call a second or two.
const DEFAULT_HEDGE_WINDOW: Duration = Duration::from_mins(1);

const EXTRA_LIMIT: u32 = 8;

// ---- Config, BudgetConfig, HedgeConfig ----

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let check = |field, time: Option<Duration>| match time {
            Some(time) => ConfigError::check(field, time, INSTANT, ELAPSED_LIMIT),
            None => Ok(()),
        };
        check("time_max", self.time_max)?;
        check("attempt_time_max", self.attempt_time_max)
    }
}

impl BudgetConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::check("ratio", self.ratio, 0.0, 1.0)?;
        ConfigError::check("per_second", self.per_second, 0.0, PER_SECOND_LIMIT)?;
        ConfigError::check("window", self.window, Duration::from_secs(1), Duration::from_hours(1))
    }
}

impl HedgeConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::check("extra_max", self.extra_max, 1, EXTRA_LIMIT)?;
        match self.after {
            After::Fixed(delay) => ConfigError::check("after", delay, INSTANT, DELAY_LIMIT),
            After::Percentile { percentile, samples_min, window } => {
                ConfigError::check("percentile", percentile, 0.5, 0.999)?;
                ConfigError::check("samples_min", samples_min, 1, 1_000_000)?;
                ConfigError::check("window", window, Duration::from_secs(1), Duration::from_hours(1))
            }
        }
    }

    /// How far back latencies are of interest.
    pub(crate) fn window(&self) -> Duration {
        match self.after {
            After::Fixed(_) => DEFAULT_HEDGE_WINDOW,
            After::Percentile { window, .. } => window,
        }
    }
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self { after: After::default(), extra_max: 1 }
    }
}

impl Default for After {
    fn default() -> Self {
        Self::Percentile {
            percentile: DEFAULT_PERCENTILE,
            samples_min: DEFAULT_SAMPLES_MIN,
            window: DEFAULT_HEDGE_WINDOW,
        }
    }
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            ratio: DEFAULT_BUDGET_RATIO,
            per_second: DEFAULT_BUDGET_PER_SECOND,
            window: DEFAULT_BUDGET_WINDOW,
        }
    }
}

// ---- Builder ----

impl Builder {
    pub(crate) fn new(growth: Growth) -> Self {
        Self {
            growth,
            jitter: Jitter::None,
            retries_max: DEFAULT_RETRIES_MAX,
            delay_max: DEFAULT_DELAY_MAX,
            elapsed_max: DEFAULT_ELAPSED_MAX,
            retry_after_max: DEFAULT_RETRY_AFTER_MAX,
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

    /// Sets the longest wait that the other side may ask for. Default 5 minutes; from zero to 24 hours.
    ///
    /// A longer one ends the retries: to come back earlier than asked would be rude, and to believe any figure
    /// would let a broken server stop the caller for a year.
    pub fn retry_after_max(self, retry_after_max: Duration) -> Self {
        Self { retry_after_max, ..self }
    }

    /// Checks what was written and gives the schedule.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<Schedule, ConfigError> {
        ConfigError::check("delay_max", self.delay_max, INSTANT, DELAY_LIMIT)?;
        ConfigError::check("elapsed_max", self.elapsed_max, INSTANT, ELAPSED_LIMIT)?;
        ConfigError::check("retry_after_max", self.retry_after_max, Duration::ZERO, DELAY_LIMIT)?;
        match self.growth {
            Growth::Constant { delay } => ConfigError::check("delay", delay, Duration::ZERO, self.delay_max)?,
            Growth::Linear { first } | Growth::Exponential { first, .. } | Growth::Decorrelated { first } => {
                ConfigError::check("first", first, INSTANT, self.delay_max)?;
            }
        }
        if let Growth::Exponential { factor, .. } = self.growth
            && !(1.0..=FACTOR_LIMIT).contains(&factor)
        {
            return Err(ConfigError::new("factor", factor, format!("1 to {FACTOR_LIMIT}")));
        }
        if matches!(self.growth, Growth::Decorrelated { .. }) && self.jitter != Jitter::None {
            return Err(ConfigError::new(
                "jitter",
                format!("{:?}", self.jitter),
                "None, since decorrelated delays are random already",
            ));
        }
        Ok(Schedule::checked(self))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new(DEFAULT_GROWTH)
    }
}
