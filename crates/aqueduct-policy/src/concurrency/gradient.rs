use aqueduct_core::ConfigError;

use super::Sample;

/// How [`Gradient`] moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientConfig {
    /// The limit at the start. Default 20 (Netflix).
    pub initial: u32,
    /// The least limit, from 1. Default 1; Netflix has 20, which is no limit for a backend that takes four.
    pub min: u32,
    /// The largest limit, up to 1,000,000. Default 200 (Netflix).
    pub max: u32,
    /// How much of a new estimate counts, above 0 and up to 1. Default 0.2 (Netflix).
    pub smoothing: f64,
    /// By how many calls the limit may grow at a time while answers do not get slower, from 0 to 1,000. Default 4 (Netflix).
    pub queue: u32,
    /// How many attempts the long average looks back on, from 10 to 1,000,000. Default 600 (Netflix).
    pub window: u32,
}

/// A limit that shrinks while attempts take longer than they do on average in the long run, and grows by a small queue
/// while they do not.
///
/// Source: Netflix concurrency-limits, `Gradient2Limit` (Apache-2.0), whose figures are the defaults. Ours takes an attempt
/// that failed or was dropped as one whose time doubled, since it has no time of its own.
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    config: GradientConfig,
    estimate: f64,
    long: Average,
}

/// An average that is plain for the first samples and exponential after them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Average {
    value: f64,
    sum: f64,
    count: u32,
    warm_up: u32,
    factor: f64,
}

/// Netflix: so many samples make the first average.
const WARM_UP: u32 = 10;

/// The least slope (Netflix): one slow answer halves the estimate at most.
const GRADIENT_MIN: f64 = 0.5;

/// From so many times the present on, the long average is that of a bad time that is over (Netflix)...
const DRIFT: f64 = 2.0;
/// ...and is brought down by so much with each sample.
const DRIFT_DECAY: f64 = 0.9;

impl Default for GradientConfig {
    fn default() -> Self {
        Self { initial: 20, min: 1, max: 200, smoothing: 0.2, queue: 4, window: 600 }
    }
}

impl GradientConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        super::check_limits(self.initial, self.min, self.max)?;
        if !(self.smoothing > 0.0 && self.smoothing <= 1.0) {
            return Err(ConfigError::new("concurrency.smoothing", self.smoothing, "above 0 and up to 1"));
        }
        ConfigError::check("concurrency.queue", self.queue, 0, 1_000)?;
        ConfigError::check("concurrency.window", self.window, WARM_UP, 1_000_000)
    }
}

impl Gradient {
    /// Starts at the initial limit.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn new(config: GradientConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self::checked(config))
    }

    pub(crate) fn checked(config: GradientConfig) -> Self {
        let long = Average::new(config.window, WARM_UP);
        Self { config, estimate: f64::from(config.initial), long }
    }

    /// The limit now.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to 1,000,000")]
    pub fn limit(&self) -> u32 {
        self.estimate as u32
    }

    /// Takes what is known of an attempt that has ended, and gives the next limit. O(1).
    pub fn update(&mut self, sample: Sample) -> u32 {
        let gradient = if sample.dropped {
            GRADIENT_MIN
        } else {
            let short = sample.took.as_secs_f64().max(f64::MIN_POSITIVE);
            let long = self.long.add(short);
            if long / short > DRIFT {
                self.long.scale(DRIFT_DECAY);
            }
            // What is not used says nothing about what could be.
            if f64::from(sample.in_flight) < self.estimate / 2.0 {
                return self.limit();
            }
            (long / short).clamp(GRADIENT_MIN, 1.0)
        };
        // A failure gives no room for a queue: it must shrink even a small limit.
        let queue = if sample.dropped { 0.0 } else { f64::from(self.config.queue) };
        let next = self.estimate * gradient + queue;
        let smoothed = self.estimate * (1.0 - self.config.smoothing) + next * self.config.smoothing;
        self.estimate = smoothed.clamp(f64::from(self.config.min), f64::from(self.config.max));
        self.limit()
    }
}

impl Average {
    pub(crate) fn new(window: u32, warm_up: u32) -> Self {
        let factor = 2.0 / (f64::from(window) + 1.0);
        Self { value: 0.0, sum: 0.0, count: 0, warm_up, factor }
    }

    pub(crate) fn add(&mut self, sample: f64) -> f64 {
        if self.count < self.warm_up {
            self.count += 1;
            self.sum += sample;
            self.value = self.sum / f64::from(self.count);
        } else {
            self.value = self.value * (1.0 - self.factor) + sample * self.factor;
        }
        self.value
    }

    fn scale(&mut self, by: f64) {
        self.value *= by;
    }
}

#[cfg(test)]
mod tests {
    use super::Average;

    /// Figures of Netflix concurrency-limits, `ExpAvgMeasurementTest` (Apache-2.0).
    #[test]
    fn the_long_average_is_plain_at_first_and_exponential_then() {
        let mut average = Average::new(100, 10);
        for (sample, expected) in
            [10.0, 10.5, 11.0, 11.5, 12.0, 12.5, 13.0, 13.5, 14.0, 14.5].iter().enumerate()
        {
            let value = average.add(f64::from(u32::try_from(sample + 10).expect("it is small")));
            assert!((value - expected).abs() < 0.01, "{value} is not {expected}");
        }
        let value = average.add(100.0);
        assert!((value - 16.2).abs() < 0.1, "{value}");
    }
}
