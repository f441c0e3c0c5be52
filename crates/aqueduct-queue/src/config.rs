//! How a queue behaves, checked once.

use std::time::Duration;

use aqueduct_core::ConfigError;

use crate::message::Message;
use crate::topic::Pattern;

/// Whether tenants share the workers' time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fairness {
    /// Each tenant gets the same share of the time that workers spend, however much it has waiting. Priorities order
    /// what one tenant has, and let nobody past another.
    #[default]
    ByTenant,
    /// Tenants do not matter: priorities hold over all messages of a group.
    Off,
}

/// What happens to dead letters that there is no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLettersFull {
    /// The message that should become a dead letter stays in the queue and comes up again after
    /// [`Config::HELD_FOR`], until somebody makes room. Nothing is lost, and the depth tells of it.
    #[default]
    Hold,
    /// The oldest dead letter goes for good, and is counted.
    DropOldest,
}

/// How a queue behaves. Made by [`Config::builder`], so it is always one that works.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) items_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) message_bytes_max: usize,
    pub(crate) lease: Duration,
    pub(crate) attempts_max: u32,
    pub(crate) ageing: Option<Duration>,
    pub(crate) fairness: Fairness,
    pub(crate) weights: Vec<(Box<str>, u32)>,
    pub(crate) dedup_window: Duration,
    pub(crate) dedup_items_max: usize,
    pub(crate) dead_items_max: u64,
    pub(crate) dead_bytes_max: u64,
    pub(crate) dead_full: DeadLettersFull,
    pub(crate) groups: Vec<(Box<str>, Pattern)>,
}

/// What was written about a queue. [`build`](Self::build) checks it.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder(Config);

impl Config {
    /// The group of a queue that names none.
    pub const DEFAULT_GROUP: &str = "default";
    /// How long a message is held back that should become a dead letter and cannot.
    pub const HELD_FOR: Duration = Duration::from_secs(60);
    /// The longest time that dedup ids are remembered.
    pub const DEDUP_WINDOW_MAX: Duration = Duration::from_secs(30 * 86_400);
    /// The longest name of a queue or a group, in bytes.
    pub const NAME_BYTES_MAX: usize = 128;

    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Builder(Self::default())
    }

    /// How long a lease lasts where the worker does not say otherwise.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The largest message in bytes.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    /// The most messages that wait or are worked on, in each group.
    #[must_use]
    pub fn items_max(&self) -> u64 {
        self.items_max
    }

    /// How often a message is tried.
    #[must_use]
    pub fn attempts_max(&self) -> u32 {
        self.attempts_max
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // The default of requirement C3.
            items_max: 10_000,
            bytes_max: 256 * 1024 * 1024,
            message_bytes_max: 1024 * 1024,
            // Long enough for a slow call, short enough that a killed worker's message is not forgotten.
            lease: Duration::from_secs(30),
            // A message that kills its process takes five of them with it, and no more.
            attempts_max: 5,
            ageing: Some(Duration::from_secs(60)),
            fairness: Fairness::ByTenant,
            weights: Vec::new(),
            // Longer than any sane retry of a publisher, the restart of a machine included.
            dedup_window: Duration::from_secs(3600),
            // Some 100 bytes each.
            dedup_items_max: 1_000_000,
            dead_items_max: 100_000,
            dead_bytes_max: 1024 * 1024 * 1024,
            dead_full: DeadLettersFull::Hold,
            groups: Vec::new(),
        }
    }
}

impl Builder {
    /// The most messages that wait or are worked on, in each group. From 1 to 1,000,000,000. Default 10,000.
    pub fn items_max(mut self, items: u64) -> Self {
        self.0.items_max = items;
        self
    }

    /// The most bytes of them, in each group. From 1 to 2^50. Default 256 MiB.
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.0.bytes_max = bytes;
        self
    }

    /// The largest message in bytes, all that belongs to it included. From 1 to 1 GiB. Default 1 MiB.
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.0.message_bytes_max = bytes;
        self
    }

    /// How long a worker has before its message goes to another one, where it does not say otherwise. From 1 ms to a
    /// week. Default 30 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.0.lease = lease;
        self
    }

    /// How often a message is tried before it becomes a dead letter. From 1 to 65,535. Default 5. Leases that ran out
    /// and processes that died count; released messages do not.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.0.attempts_max = attempts;
        self
    }

    /// How much longer a message must have waited to go before one of the next higher priority. From 1 ms to a
    /// week; `None` never lets it. Default 60 s: nothing published more than three minutes after a message is handed
    /// out before it.
    pub fn ageing(mut self, ageing: Option<Duration>) -> Self {
        self.0.ageing = ageing;
        self
    }

    /// Whether tenants share the workers' time. Default: they do.
    pub fn fairness(mut self, fairness: Fairness) -> Self {
        self.0.fairness = fairness;
        self
    }

    /// Gives one tenant so many shares of the workers' time where others have one. From 1 to 1,000. Default 1.
    pub fn weight(mut self, tenant: impl Into<Box<str>>, shares: u32) -> Self {
        self.0.weights.push((tenant.into(), shares));
        self
    }

    /// How long the queue remembers dedup ids, from 1 s to 30 days, and how many at most, from 1 to 100,000,000; beyond
    /// that the oldest is forgotten early. Default an hour and 1,000,000.
    pub fn dedup(mut self, window: Duration, items_max: usize) -> Self {
        (self.0.dedup_window, self.0.dedup_items_max) = (window, items_max);
        self
    }

    /// The most dead letters, in items and in bytes, and what happens beyond. From 1. Default 100,000 and 1 GiB, and
    /// [`DeadLettersFull::Hold`].
    pub fn dead_letters(mut self, items_max: u64, bytes_max: u64, full: DeadLettersFull) -> Self {
        (self.0.dead_items_max, self.0.dead_bytes_max, self.0.dead_full) = (items_max, bytes_max, full);
        self
    }

    /// Adds a group of consumers: each group gets its own copy of every message whose topic fits its pattern, from
    /// now on. Without any, the queue has the groups that it has, and `default`, which takes everything, if it is
    /// new. Up to 64.
    pub fn group(mut self, name: impl Into<Box<str>>, pattern: Pattern) -> Self {
        self.0.groups.push((name.into(), pattern));
        self
    }

    /// Checks all of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that names the first field that cannot be.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.0;
        let week = Duration::from_secs(7 * 86_400);
        ConfigError::check("items_max", config.items_max, 1, 1_000_000_000)?;
        ConfigError::check("bytes_max", config.bytes_max, 1, 1 << 50)?;
        ConfigError::check("message_bytes_max", config.message_bytes_max, 1, 1 << 30)?;
        ConfigError::check("lease", config.lease, Duration::from_millis(1), week)?;
        ConfigError::check("attempts_max", config.attempts_max, 1, 65_535)?;
        if let Some(ageing) = config.ageing {
            ConfigError::check("ageing", ageing, Duration::from_millis(1), week)?;
        }
        ConfigError::check(
            "dedup.window",
            config.dedup_window,
            Duration::from_secs(1),
            Config::DEDUP_WINDOW_MAX,
        )?;
        ConfigError::check("dedup.items_max", config.dedup_items_max, 1, 100_000_000)?;
        ConfigError::check("dead_letters.items_max", config.dead_items_max, 1, 1_000_000_000)?;
        ConfigError::check("dead_letters.bytes_max", config.dead_bytes_max, 1, 1 << 50)?;
        for (tenant, shares) in &config.weights {
            ConfigError::check("weight", *shares, 1, 1000)?;
            ConfigError::check("bytes of a tenant", tenant.len(), 0, Message::TEXT_BYTES_MAX)?;
        }
        ConfigError::check("groups", config.groups.len(), 0, 64)?;
        for (index, (name, _)) in config.groups.iter().enumerate() {
            check_name("group", name)?;
            if config.groups[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(ConfigError::new("group", format_args!("{name} twice"), "each name once"));
            }
        }
        Ok(config)
    }
}

/// Names go into files, metrics and command lines.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), ConfigError> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.:".contains(character);
    if name.is_empty() || name.len() > Config::NAME_BYTES_MAX || !name.chars().all(plain) {
        let allowed = "1 to 128 letters, digits and - _ . :";
        return Err(ConfigError::new(field, format_args!("{name:?}"), allowed));
    }
    Ok(())
}
