//! How a worker behaves.

use std::time::Duration;

use aqueduct_core::ConfigError;
use aqueduct_retry::{Growth, Jitter, Schedule};

use crate::config::Config;
use crate::limits::Limits;

/// How a worker behaves. Checked when the worker is made.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Its pool. The size is how many messages it has at once; it reserves no more. Of the retry schedule nothing is
    /// used: a message between two attempts is back in the queue.
    pub pool: Config,
    /// How long a message waits for its next attempt. How many attempts there are is the queue's to say; where this has
    /// fewer, the message becomes a dead letter earlier. Default 1 s, twice as long each time, up to 5 min, half of it by
    /// chance.
    pub retry: Schedule,
    /// The most messages that a handler over bundles gets at once. From 1 to 1,000. Default 100. Each slot of the pool is
    /// then one bundle. Not used by a handler over single messages.
    pub bundle_max: usize,
    /// The time that a handler has for one message, or one bundle. From 1 ms to a week; default none. A lease is not kept
    /// for longer.
    pub message_time_max: Option<Duration>,
    /// How long handlers may go on in a drain. From zero to an hour. Default 25 s: supervisors of processes kill after
    /// 30 s.
    pub grace: Duration,
    /// What is done about messages that may have killed their process. Default [`Suspects::Alone`].
    pub suspects: Suspects,
    /// What the run may use.
    pub limits: Limits,
}

/// What is done about a message whose last attempt ended with its process, as the queue says
/// ([`Delivered::after_crash`](aqueduct_queue::Delivered::after_crash)). It may have killed it; and what ran beside it has
/// lost an attempt with it, or has succeeded without anybody knowing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suspects {
    /// It begins when no other handler runs and everything is settled or given back, and nothing begins beside it. So a
    /// message that kills its process costs the others one attempt, and not all of theirs. One that hangs holds the others
    /// up, for as long as [`WorkerConfig::message_time_max`] lets it; health says so.
    #[default]
    Alone,
    /// It is treated like any other. For messages of which none can kill a process, where one that hangs must not hold
    /// others up.
    Together,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let growth = Growth::Exponential { first: Duration::from_secs(1), factor: 2.0 };
        let retry = Schedule::builder(growth)
            .jitter(Jitter::Equal)
            .retries_max(u32::MAX)
            .delay_max(Duration::from_mins(5))
            .elapsed_max(Duration::from_hours(24))
            .build();
        Self {
            pool: Config { name: "worker".into(), ..Config::default() },
            // It is within its ranges.
            retry: retry.unwrap_or_default(),
            bundle_max: 100,
            message_time_max: None,
            grace: Duration::from_secs(25),
            suspects: Suspects::default(),
            limits: Limits::default(),
        }
    }
}

impl WorkerConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(time) = self.message_time_max {
            let week = Duration::from_hours(7 * 24);
            ConfigError::check("message_time_max", time, Duration::from_millis(1), week)?;
        }
        ConfigError::check("bundle_max", self.bundle_max, 1, 1000)?;
        ConfigError::check("grace", self.grace, Duration::ZERO, Duration::from_hours(1))?;
        self.limits.check()
    }

    /// The queue is what tries again.
    pub(crate) fn pool_config(&self) -> Config {
        let once = Schedule::builder(Growth::Constant { delay: Duration::ZERO }).retries_max(0).build();
        Config { retry: once.unwrap_or_default(), ..self.pool.clone() }
    }
}
