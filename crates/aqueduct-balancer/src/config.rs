use std::time::Duration;

use crate::error::ConfigError;

/// How an endpoint is chosen among those of one priority that are well. `n` is how many there are.
///
/// All but the plain round robin know weights, and all are O(1) a pick, whatever `n` is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    /// One after the other.
    RoundRobin,
    /// Each as often as its weight says, evenly spread: with weights 5, 1, 1 that is a a b a c a a, as in nginx.
    WeightedRoundRobin,
    /// By chance, in proportion to the weights.
    Random,
    /// The one with the fewest calls under way for its weight: of all where there are at most 8, else of `choices` that
    /// are drawn. From 2 to 8 choices.
    LeastConnections {
        /// How many are drawn.
        choices: u32,
    },
    /// The one that should answer soonest: of two that are drawn, or up to four while the best of them is busy, by
    /// their response times, the calls under way, and recent failures. See [`Latency`].
    LeastResponseTime,
    /// The one of two that are drawn with fewer calls under way for its weight.
    PowerOfTwo,
    /// The hot-cold rule of Prequal: of three that are drawn, the fastest of those whose calls under way are within
    /// this quantile of what has been seen, and the least loaded where none is. Above 0 and below 1.
    Adaptive {
        /// The quantile above which an endpoint is hot.
        hot_quantile: f64,
    },
    /// A ring that puts every key where nginx (`hash ... consistent`) puts it.
    Ketama,
    /// A table of Maglev: keys spread more evenly than on a ring, and a few more move when the set changes. The size is
    /// the next prime from 251 to 65,537 and should be about 100 times `n`.
    Maglev {
        /// The least size of the table.
        table: u32,
    },
    /// The ring, but no endpoint takes more than `factor` times its share of the calls under way: a key that is used
    /// too much spills to the next endpoints on the ring. Above 1 and up to 100.
    BoundedLoad {
        /// The largest multiple of the fair share.
        factor: f64,
    },
}

/// What a balancer thinks of the time an endpoint takes, for [`Algorithm::LeastResponseTime`] and
/// [`Algorithm::Adaptive`].
///
/// The estimate is a peak EWMA: a slower answer replaces it at once, faster ones pull it down as time goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// What is assumed while the first calls are under way. Default 30 ms (linkerd's). One that has none is tried.
    pub seed: Duration,
    /// The time in which an estimate loses two thirds of what is above the truth. Default 10 s (Finagle's).
    pub decay: Duration,
    /// What a failure adds to the estimate at first; it fades to nothing over `decay` and ends with the next call that
    /// succeeds. Default 5 s (linkerd's).
    pub failure_penalty: Duration,
}

/// When an endpoint is taken out because of what its calls say.
///
/// Source of the rules and the defaults: Envoy, `outlier_detection.proto`. The largest share is our own: with Envoy's
/// 10 % nothing is ever ejected among few endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outliers {
    /// Ejects after so many failures in a row, at once and among any number of endpoints. Default 5.
    pub consecutive_failures: Option<u32>,
    /// Ejects what succeeds less often than the others. Default as [`SuccessRate::default`].
    pub success_rate: Option<SuccessRate>,
    /// Ejects what fails too often by itself. Default: never, as in Envoy, where it is not enforced.
    pub failure_share: Option<FailureShare>,
    /// How often the two rates are looked at. Default 10 s.
    pub interval: Duration,
    /// How long the first ejection lasts; each further one lasts as much longer. Default 30 s.
    pub base: Duration,
    /// How long an ejection lasts at most. Default 300 s.
    pub max: Duration,
    /// The largest share of the endpoints that is ejected at once. One may be where the share is above 0, and one is
    /// always left. Default 0.5.
    pub share_max: f64,
}

/// Compares the success rates of endpoints in the last interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// With fewer endpoints that had enough calls, a deviation says nothing. Default 5.
    pub endpoints_min: u32,
    /// Calls that an endpoint must have had. Default 100.
    pub calls_min: u32,
    /// So many standard deviations below the mean is too little. Default 1.9.
    pub deviations: f64,
    /// The share of the cases in which this is acted upon. Default 1.
    pub enforced: f64,
}

/// Looks at the share of failures of each endpoint in the last interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailureShare {
    /// From which share on an endpoint goes. Default 0.85.
    pub threshold: f64,
    /// With fewer endpoints that had enough calls, nothing is done. Default 5.
    pub endpoints_min: u32,
    /// Calls that an endpoint must have had. Default 50.
    pub calls_min: u32,
    /// The share of the cases in which this is acted upon. Default 1.
    pub enforced: f64,
}

/// Gives an endpoint that is new, or that passes its active checks again, its calls little by little.
///
/// The weight is multiplied by the larger of `share_min` and `(age / window) ^ (1 / aggression)`, where the age is at
/// least a second. Hash strategies take no notice: their keys would move.
///
/// Source: Envoy, "Slow start mode".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// How long it takes.
    pub window: Duration,
    /// 1 grows evenly; more grows faster at first. Above 0 and up to 100.
    pub aggression: f64,
    /// The least share of its weight. Envoy's default is 0.1.
    pub share_min: f64,
}

/// How a balancer behaves. Made by [`Config::builder`], so it is always one that works.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) algorithm: Algorithm,
    pub(crate) latency: Latency,
    pub(crate) outliers: Option<Outliers>,
    pub(crate) slow_start: Option<SlowStart>,
    pub(crate) panic_below: f64,
    pub(crate) overprovisioning: f64,
    pub(crate) retry_after_max: Duration,
}

/// What was written about a balancer. [`build`](Self::build) checks it.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder(Config);

const MILLISECOND: Duration = Duration::from_millis(1);
/// Nobody waits longer than a day for an endpoint to be tried again.
const TIME_MAX: Duration = Duration::from_hours(24);
/// The largest weight; 100 is usual, and a ring takes 160 points for each unit.
pub(crate) const WEIGHT_MAX: u32 = 10_000;

impl Default for Latency {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { seed: Duration::from_millis(30), decay: second * 10, failure_penalty: second * 5 }
    }
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            consecutive_failures: Some(5),
            success_rate: Some(SuccessRate::default()),
            failure_share: None,
            interval: Duration::from_secs(10),
            base: Duration::from_secs(30),
            max: Duration::from_mins(5),
            share_max: 0.5,
        }
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { endpoints_min: 5, calls_min: 100, deviations: 1.9, enforced: 1.0 }
    }
}

impl Default for FailureShare {
    fn default() -> Self {
        Self { threshold: 0.85, endpoints_min: 5, calls_min: 50, enforced: 1.0 }
    }
}

impl Config {
    /// Starts with the defaults: the sooner answer of two; ejection after Envoy's rules, of half of the endpoints at
    /// most; no slow start; panic below half; 1.4 times overprovisioned; a wait that is asked for counts up to 300 s.
    pub fn builder() -> Builder {
        Builder(Self {
            algorithm: Algorithm::LeastResponseTime,
            latency: Latency::default(),
            outliers: Some(Outliers::default()),
            slow_start: None,
            panic_below: 0.5,
            overprovisioning: 1.4,
            retry_after_max: Duration::from_mins(5),
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::builder().0
    }
}

impl Builder {
    /// Sets how an endpoint is chosen. Default: [`Algorithm::LeastResponseTime`].
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.0.algorithm = algorithm;
        self
    }

    /// Sets what is thought of the time that answers take. The seed and the penalty are from zero to 24 hours, the
    /// decay from one millisecond.
    pub fn latency(mut self, latency: Latency) -> Self {
        self.0.latency = latency;
        self
    }

    /// Sets when calls take an endpoint out. `None` never does.
    pub fn outliers(mut self, outliers: impl Into<Option<Outliers>>) -> Self {
        self.0.outliers = outliers.into();
        self
    }

    /// Lets new endpoints start slowly. Default: they do not.
    pub fn slow_start(mut self, slow_start: impl Into<Option<SlowStart>>) -> Self {
        self.0.slow_start = slow_start.into();
        self
    }

    /// Uses every endpoint of a priority, whatever its health, when a smaller share of them is well and the other
    /// priorities do not make up for it. Default 0.5; from 0, which never panics, to 1.
    pub fn panic_below(mut self, share: f64) -> Self {
        self.0.panic_below = share;
        self
    }

    /// Sets how much more a priority can take than it gets when all of it is well: at 1.4 it keeps all calls until
    /// fewer than 1 of 1.4 (71 %) are. Default 1.4; from 1 to 100.
    pub fn overprovisioning(mut self, factor: f64) -> Self {
        self.0.overprovisioning = factor;
        self
    }

    /// Sets the longest wait that an endpoint may ask for. Default 5 minutes; up to 24 hours.
    pub fn retry_after_max(mut self, max: Duration) -> Self {
        self.0.retry_after_max = max;
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.0;
        match config.algorithm {
            Algorithm::LeastConnections { choices } => {
                ConfigError::check("algorithm.choices", choices, 2, 8)?
            }
            Algorithm::Adaptive { hot_quantile } if !(hot_quantile > 0.0 && hot_quantile < 1.0) => {
                return Err(ConfigError::new("algorithm.hot_quantile", hot_quantile, "above 0 and below 1"));
            }
            Algorithm::Maglev { table } => ConfigError::check("algorithm.table", table, 251, 65_537)?,
            Algorithm::BoundedLoad { factor } if !(factor > 1.0 && factor <= 100.0) => {
                return Err(ConfigError::new("algorithm.factor", factor, "above 1 and up to 100"));
            }
            _ => {}
        }
        ConfigError::check("latency.seed", config.latency.seed, Duration::ZERO, TIME_MAX)?;
        ConfigError::check("latency.decay", config.latency.decay, MILLISECOND, TIME_MAX)?;
        ConfigError::check(
            "latency.failure_penalty",
            config.latency.failure_penalty,
            Duration::ZERO,
            TIME_MAX,
        )?;
        if let Some(outliers) = &config.outliers {
            outliers.check()?;
        }
        if let Some(slow) = config.slow_start {
            ConfigError::check("slow_start.window", slow.window, Duration::from_secs(1), TIME_MAX)?;
            if !(slow.aggression > 0.0 && slow.aggression <= 100.0) {
                return Err(ConfigError::new(
                    "slow_start.aggression",
                    slow.aggression,
                    "above 0 and up to 100",
                ));
            }
            if !(slow.share_min > 0.0 && slow.share_min <= 1.0) {
                return Err(ConfigError::new("slow_start.share_min", slow.share_min, "above 0 and up to 1"));
            }
        }
        share("panic_below", config.panic_below)?;
        if !(1.0..=100.0).contains(&config.overprovisioning) {
            return Err(ConfigError::new("overprovisioning", config.overprovisioning, "1 to 100"));
        }
        ConfigError::check("retry_after_max", config.retry_after_max, Duration::ZERO, TIME_MAX)?;
        Ok(config)
    }
}

impl Outliers {
    /// Checks the values by themselves, as [`Builder::build`] does.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(failures) = self.consecutive_failures {
            ConfigError::check("outliers.consecutive_failures", failures, 1, u32::MAX)?;
        }
        if let Some(rate) = self.success_rate {
            ConfigError::check("outliers.success_rate.endpoints_min", rate.endpoints_min, 2, u32::MAX)?;
            ConfigError::check("outliers.success_rate.calls_min", rate.calls_min, 1, u32::MAX)?;
            if !(0.0..=100.0).contains(&rate.deviations) {
                return Err(ConfigError::new(
                    "outliers.success_rate.deviations",
                    rate.deviations,
                    "0 to 100",
                ));
            }
            share("outliers.success_rate.enforced", rate.enforced)?;
        }
        if let Some(failures) = self.failure_share {
            if !(failures.threshold > 0.0 && failures.threshold <= 1.0) {
                return Err(ConfigError::new(
                    "outliers.failure_share.threshold",
                    failures.threshold,
                    "above 0 and up to 1",
                ));
            }
            ConfigError::check("outliers.failure_share.endpoints_min", failures.endpoints_min, 1, u32::MAX)?;
            ConfigError::check("outliers.failure_share.calls_min", failures.calls_min, 1, u32::MAX)?;
            share("outliers.failure_share.enforced", failures.enforced)?;
        }
        ConfigError::check("outliers.interval", self.interval, MILLISECOND, TIME_MAX)?;
        ConfigError::check("outliers.max", self.max, MILLISECOND, TIME_MAX)?;
        ConfigError::check("outliers.base", self.base, MILLISECOND, self.max)?;
        share("outliers.share_max", self.share_max)
    }
}

fn share(field: &'static str, share: f64) -> Result<(), ConfigError> {
    if (0.0..=1.0).contains(&share) { Ok(()) } else { Err(ConfigError::new(field, share, "0 to 1")) }
}
