use std::time::Duration;

use crate::config::SlowStart;

impl SlowStart {
    /// The share of its weight that an endpoint of this age has: 1 when the window is over.
    #[must_use]
    pub fn share(&self, age: Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let age = age.max(Duration::from_secs(1)).as_secs_f64() / self.window.as_secs_f64();
        age.powf(1.0 / self.aggression).max(self.share_min).min(1.0)
    }

    /// How long a share may stand until it is worked out again: two hundredths of the window.
    pub(crate) fn step(&self) -> Duration {
        (self.window / 50).max(Duration::from_millis(100))
    }
}
