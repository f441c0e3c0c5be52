use std::time::Duration;

use crate::error::ConfigError;
use crate::guard::GuardConfig;

/// How the nodes of a level are treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodesConfig {
    pub(crate) guard: GuardConfig,
    pub(crate) hot_share: f64,
}

/// A look may be at a copy, then at the home, and write a copy then: within the time of one call of the level above.
const TIME_LIMIT: Duration = Duration::from_millis(30);

/// One of twenty requests: with three nodes it makes one of them 15 % busier than the others.
const HOT_SHARE: f64 = 0.05;

impl Default for NodesConfig {
    /// Each node behind a guard with a time limit of 30 ms; keys with a twentieth of the requests are hot.
    fn default() -> Self {
        let guard = GuardConfig { time_limit: TIME_LIMIT, ..GuardConfig::default() };
        Self { guard, hot_share: HOT_SHARE }
    }
}

impl NodesConfig {
    /// Sets when a node is left alone, and what is kept for it. A third of the time that the cache gives the level is a
    /// good time limit.
    #[must_use]
    pub fn with_guard(self, guard: GuardConfig) -> Self {
        Self { guard, ..self }
    }

    /// Sets the share of the requests from which a key is hot, from 0.02 to 1. Default 0.05. Its value is then at three nodes, and
    /// reads are spread over them.
    #[must_use]
    pub fn with_hot_share(self, share: f64) -> Self {
        Self { hot_share: share, ..self }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        // 64 counters find what has more than a 64th.
        ConfigError::check("hot_share", self.hot_share, 0.02, 1.0)
    }
}
