mod namespace;

use std::time::Duration;

pub use self::namespace::{NamespaceBuilder, NamespaceConfig};
use crate::error::ConfigError;

/// What a cache keeps, and for how long. See [`Builder`] for each field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    pub(crate) capacity: u64,
    pub(crate) eviction: Eviction,
    pub(crate) ttl: Option<Duration>,
    pub(crate) ttl_jitter: f64,
    pub(crate) shards: Option<usize>,
}

/// Who leaves when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// Finds out by itself: keeps what is asked for often or what was asked for lately, whichever serves better. For
    /// everything of which nothing else is known.
    #[default]
    Adaptive,
    /// Who was asked for longest ago.
    Lru,
    /// Who was asked for least often since it came; of several, who was asked for longest ago. For what is popular once and
    /// for all. O(log n).
    Lfu,
    /// Who came first. For what is asked for once in a while by each of many.
    Fifo,
    /// Who expires next; who does not expire, last. O(log n).
    Ttl,
    /// Who came lately and was not asked for twice since.
    S3Fifo,
    /// Who was not asked for since the last look. For what the popular make most of; loses with scans and loops.
    Sieve,
}

impl Eviction {
    /// Whether a hit is only noted on its entry, so that many can be at once; else it changes the order.
    pub(crate) fn is_noted(self) -> bool {
        !matches!(self, Self::Lru | Self::Lfu)
    }
}

/// What was written of a [`Config`]. [`build`](Self::build) checks it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder(Config);

/// The limit that a cache has by default: enough to be of use, and no surprise in memory.
const CAPACITY: u64 = 1_000;

impl Config {
    /// Starts with the defaults: 1,000 entries, adaptive, none expires.
    pub fn builder() -> Builder {
        let eviction = Eviction::default();
        Builder(Self { capacity: CAPACITY, eviction, ttl: None, ttl_jitter: 0.0, shards: None })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::builder().0
    }
}

impl Builder {
    /// Sets the weight of all entries together; an entry weighs 1 unless something else is said where it is inserted. Default
    /// 1,000; from 1 to 2^48.
    pub fn capacity(mut self, capacity: u64) -> Self {
        self.0.capacity = capacity;
        self
    }

    /// Sets who leaves when there is no room. Default [`Eviction::Adaptive`].
    pub fn eviction(mut self, eviction: Eviction) -> Self {
        self.0.eviction = eviction;
        self
    }

    /// Sets how long an entry is good for of which nothing else is said. Default: for ever. Nought is for no time: it is not
    /// kept at all.
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.0.ttl = ttl.into();
        self
    }

    /// Sets the share of its time that chance may take off an entry's, so that what came together does not expire
    /// together. Default 0; up to 1.
    pub fn ttl_jitter(mut self, share: f64) -> Self {
        self.0.ttl_jitter = share;
        self
    }

    /// Sets how many shards the cache has, each with its own lock and its own share of the capacity. Default: one for each
    /// 4,096 of the capacity, up to 4 for each processor, and up to 32 with LRU and LFU. From 1 to 1,024, to the next power of two. An entry that is
    /// heavier than a shard's share is not kept: a cache of few heavy entries wants one shard.
    pub fn shards(mut self, shards: usize) -> Self {
        self.0.shards = Some(shards);
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.0;
        ConfigError::check("capacity", config.capacity, 1, CAPACITY_MAX)?;
        ConfigError::check("ttl_jitter", config.ttl_jitter, 0.0, 1.0)?;
        if let Some(shards) = config.shards {
            ConfigError::check("shards", shards, 1, SHARDS_MAX)?;
        }
        Ok(config)
    }
}

/// A quarter of a petabyte, so that weights add up without care.
pub(crate) const CAPACITY_MAX: u64 = 1 << 48;

const SHARDS_MAX: usize = 1_024;

/// So much of the capacity is worth a shard of its own. Small ones have uneven shares of the popular keys.
const SHARD: u64 = 4_096;

/// Shards for each processor, where only changes wait for each other. More are more to keep in the processor's caches: a look at one
/// of 100,000 took 0.84 of quick_cache's time with 4, and 1.05 with 16.
const SHARDS_PER_PROCESSOR: usize = 4;

/// The same where looks do, too: with 4, a look of one of two threads took 170 ns, with 32 it took 100.
const SHARDS_PER_PROCESSOR_EXCLUSIVE: usize = 32;

impl Config {
    /// How many shards there are: a power of two.
    pub(crate) fn shards(&self) -> usize {
        let shards = self.shards.unwrap_or_else(|| {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let worth = usize::try_from(self.capacity / SHARD).unwrap_or(usize::MAX).max(1);
            let each =
                if self.eviction.is_noted() { SHARDS_PER_PROCESSOR } else { SHARDS_PER_PROCESSOR_EXCLUSIVE };
            // The power of two below: a shard is never smaller than it is worth.
            (1 << worth.ilog2()).min((processors * each).next_power_of_two())
        });
        let fit = usize::try_from(self.capacity).unwrap_or(usize::MAX);
        shards.next_power_of_two().min(1 << fit.ilog2()).min(SHARDS_MAX)
    }
}
