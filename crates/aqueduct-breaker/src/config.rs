use std::time::Duration;

use crate::error::ConfigError;

/// Which calls count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last so many calls. From 1 to 4,096.
    Calls(u32),
    /// The calls of the last `buckets` times `each`, forgotten bucket by bucket. From 1 to 128 buckets of one
    /// millisecond to one hour each.
    Time {
        /// How many buckets.
        buckets: u32,
        /// How long each is.
        each: Duration,
    },
}

/// How a breaker behaves. Made by [`Config::builder`], so it is always one that works.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) window: Window,
    pub(crate) minimum_calls: u32,
    pub(crate) failure_rate: Option<f64>,
    pub(crate) slow: Option<Slow>,
    pub(crate) consecutive_failures: Option<u32>,
    pub(crate) shedding: Option<Shedding>,
    pub(crate) open_first: Duration,
    pub(crate) open_factor: f64,
    pub(crate) open_max: Duration,
    pub(crate) open_jitter: f64,
    pub(crate) retry_after_max: Duration,
    pub(crate) half_open_calls: u32,
    pub(crate) half_open_max: Duration,
}

/// What counts as slow, and how much of it is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slow {
    pub(crate) after: Duration,
    pub(crate) rate: f64,
}

/// How a closed circuit turns away a share of its calls that grows with the share that fails, instead of all of them at
/// once.
///
/// With `n` calls in the window of which `ok` succeeded, a call is refused with the probability
/// `((n - ok / success_rate) / (n + 1)) ^ (1 / aggression)`, at most `share_max`, and never below the minimum of calls.
/// A share of the calls always passes, and what comes of them brings the others back. Calls that were refused are not
/// in the window, as in Envoy; the book counts them, which sheds more the more is asked.
///
/// Source: Beyer et al., "Site Reliability Engineering", 2016, chapter 21, "Client-side throttling"; the exponent and
/// the cap are those of Envoy's admission control filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shedding {
    /// The share of successes down to which nothing is refused. Above 0 and up to 1; at 1 the first failure counts.
    pub success_rate: f64,
    /// 1 refuses in proportion; more refuses more and earlier. From 1 to 100.
    pub aggression: f64,
    /// The largest share that is refused. Above 0 and below 1: at 1 nobody would find out that all is well again.
    pub share_max: f64,
}

impl Default for Shedding {
    /// Envoy's: from 95 % successes on, in proportion, at most 80 %.
    fn default() -> Self {
        Self { success_rate: 0.95, aggression: 1.0, share_max: 0.8 }
    }
}

/// What was written about a breaker. [`build`](Self::build) checks it.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder(Config);

/// The largest window in calls: two bits a call are then one KiB.
const CALLS_MAX: u32 = 4096;
const BUCKETS_MAX: u32 = 128;
/// Nobody waits longer than a day for a circuit to be tried again.
const TIME_MAX: Duration = Duration::from_hours(24);
const MILLISECOND: Duration = Duration::from_millis(1);

impl Config {
    /// Starts with the defaults: half of the last 100 calls, but at least 20, have failed; open for 5 s, twice as
    /// long each time up to a minute, a tenth of it left to chance; 3 probes; half-open for a minute at most.
    pub fn builder() -> Builder {
        Builder(Self {
            window: Window::Calls(100),
            minimum_calls: 20,
            failure_rate: Some(0.5),
            slow: None,
            consecutive_failures: None,
            shedding: None,
            open_first: Duration::from_secs(5),
            open_factor: 2.0,
            open_max: Duration::from_mins(1),
            open_jitter: 0.1,
            retry_after_max: Duration::from_mins(5),
            half_open_calls: 3,
            half_open_max: Duration::from_mins(1),
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::builder().0
    }
}

impl Builder {
    /// Sets which calls count. Default: the last 100.
    pub fn window(mut self, window: Window) -> Self {
        self.0.window = window;
        self
    }

    /// Sets how many calls must have been counted before a rate means anything. Default 20; from 1 to the size of a
    /// window of calls.
    pub fn minimum_calls(mut self, calls: u32) -> Self {
        self.0.minimum_calls = calls;
        self
    }

    /// Opens when this share of the calls has failed. Default 0.5; above 0 and up to 1. `None` looks at no rate.
    pub fn failure_rate(mut self, rate: impl Into<Option<f64>>) -> Self {
        self.0.failure_rate = rate.into();
        self
    }

    /// Opens when this share of the calls took longer than `after`, whatever came of them. Default: never. The rate
    /// is above 0 and up to 1, the time from one millisecond to 24 hours.
    pub fn slow_calls(mut self, after: Duration, rate: f64) -> Self {
        self.0.slow = Some(Slow { after, rate });
        self
    }

    /// Opens after so many failures with no success between, whatever the window holds. Default: never; at least 1.
    pub fn consecutive_failures(mut self, failures: impl Into<Option<u32>>) -> Self {
        self.0.consecutive_failures = failures.into();
        self
    }

    /// Refuses a share of the calls while it is closed. Default: none. Together with rates it sheds first and opens
    /// later; without them it never opens.
    pub fn shedding(mut self, shedding: impl Into<Option<Shedding>>) -> Self {
        self.0.shedding = shedding.into();
        self
    }

    /// Sets how long it stays open the first time, by what that grows each time it opens again before it has closed,
    /// and the longest. Default 5 s, 2.0, 60 s; from one millisecond to 24 hours, the factor from 1 to 100.
    pub fn open_for(mut self, first: Duration, factor: f64, max: Duration) -> Self {
        (self.0.open_first, self.0.open_factor, self.0.open_max) = (first, factor, max);
        self
    }

    /// Sets the share of that time that chance may take off, so that callers of one service do not try it again at
    /// once. Default 0.1; from 0 to 1.
    pub fn open_jitter(mut self, share: f64) -> Self {
        self.0.open_jitter = share;
        self
    }

    /// Sets the longest wait that the other side may ask for. Default 5 minutes; up to 24 hours.
    pub fn retry_after_max(mut self, max: Duration) -> Self {
        self.0.retry_after_max = max;
        self
    }

    /// Sets how many probes decide whether it closes, and how long they may take in all. Default 3 and one minute;
    /// from 1 to 1,000 probes, one millisecond to 24 hours.
    pub fn half_open(mut self, calls: u32, max: Duration) -> Self {
        (self.0.half_open_calls, self.0.half_open_max) = (calls, max);
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.0;
        match config.window {
            Window::Calls(calls) => {
                ConfigError::check("window", calls, 1, CALLS_MAX)?;
                ConfigError::check("minimum_calls", config.minimum_calls, 1, calls)?;
            }
            Window::Time { buckets, each } => {
                ConfigError::check("window", buckets, 1, BUCKETS_MAX)?;
                ConfigError::check("window", each, MILLISECOND, Duration::from_hours(1))?;
                ConfigError::check("minimum_calls", config.minimum_calls, 1, u32::MAX)?;
            }
        }
        if let Some(rate) = config.failure_rate {
            share("failure_rate", rate)?;
        }
        if let Some(slow) = config.slow {
            ConfigError::check("slow_calls", slow.after, MILLISECOND, TIME_MAX)?;
            share("slow_calls", slow.rate)?;
        }
        if let Some(failures) = config.consecutive_failures {
            ConfigError::check("consecutive_failures", failures, 1, u32::MAX)?;
        }
        if let Some(Shedding { success_rate, aggression, share_max }) = config.shedding {
            share("shedding.success_rate", success_rate)?;
            if !(1.0..=100.0).contains(&aggression) {
                return Err(ConfigError::new("shedding.aggression", aggression, "1 to 100"));
            }
            if !(share_max > 0.0 && share_max < 1.0) {
                return Err(ConfigError::new("shedding.share_max", share_max, "above 0 and below 1"));
            }
        }
        let opens =
            config.failure_rate.is_some() || config.slow.is_some() || config.consecutive_failures.is_some();
        if !opens && config.shedding.is_none() {
            return Err(ConfigError::new(
                "failure_rate",
                "none",
                "none only with slow_calls, consecutive_failures or shedding, or it would never refuse a call",
            ));
        }
        ConfigError::check("open_for", config.open_max, MILLISECOND, TIME_MAX)?;
        ConfigError::check("open_for", config.open_first, MILLISECOND, config.open_max)?;
        if !(1.0..=100.0).contains(&config.open_factor) {
            return Err(ConfigError::new("open_for", config.open_factor, "1 to 100"));
        }
        if !(0.0..=1.0).contains(&config.open_jitter) {
            return Err(ConfigError::new("open_jitter", config.open_jitter, "0 to 1"));
        }
        ConfigError::check("retry_after_max", config.retry_after_max, Duration::ZERO, TIME_MAX)?;
        ConfigError::check("half_open", config.half_open_calls, 1, 1_000)?;
        ConfigError::check("half_open", config.half_open_max, MILLISECOND, TIME_MAX)?;
        Ok(config)
    }
}

fn share(field: &'static str, rate: f64) -> Result<(), ConfigError> {
    if rate > 0.0 && rate <= 1.0 { Ok(()) } else { Err(ConfigError::new(field, rate, "above 0 and up to 1")) }
}
