use std::time::Duration;

use super::{Config, Eviction};
use crate::error::ConfigError;

/// What a namespace keeps, and for how long. See [`NamespaceBuilder`] for each field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamespaceConfig {
    pub(crate) memory: Config,
    pub(crate) ttl: Option<Duration>,
    pub(crate) ttl_jitter: f64,
    pub(crate) stale: Duration,
    pub(crate) absent_ttl: Duration,
    pub(crate) refresh_ahead: f64,
    pub(crate) value_bytes_max: usize,
}

/// What was written of a [`NamespaceConfig`]. [`build`](Self::build) checks it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a builder does nothing until it is built"]
pub struct NamespaceBuilder {
    memory: super::Builder,
    rest: NamespaceConfig,
}

/// Below memory a larger value is more likely a mistake than wanted, and holds up those behind it on a connection.
const VALUE_BYTES_MAX: usize = 1 << 20;

impl NamespaceConfig {
    /// Starts with the defaults: 1,000 entries in memory, adaptive, none expires, none is served stale, absence is not
    /// remembered.
    pub fn builder() -> NamespaceBuilder {
        NamespaceBuilder { memory: Config::builder(), rest: Self::default() }
    }
}

impl Default for NamespaceConfig {
    fn default() -> Self {
        Self {
            memory: Config::default(),
            ttl: None,
            ttl_jitter: 0.0,
            stale: Duration::ZERO,
            absent_ttl: Duration::ZERO,
            refresh_ahead: 0.0,
            value_bytes_max: VALUE_BYTES_MAX,
        }
    }
}

impl NamespaceBuilder {
    /// Sets the weight of all entries in memory together, as [`Builder::capacity`](super::Builder::capacity) does.
    pub fn capacity(mut self, capacity: u64) -> Self {
        self.memory = self.memory.capacity(capacity);
        self
    }

    /// Sets who leaves memory when there is no room. Default [`Eviction::Adaptive`].
    pub fn eviction(mut self, eviction: Eviction) -> Self {
        self.memory = self.memory.eviction(eviction);
        self
    }

    /// Sets how many shards memory has, as [`Builder::shards`](super::Builder::shards) does.
    pub fn shards(mut self, shards: usize) -> Self {
        self.memory = self.memory.shards(shards);
        self
    }

    /// Sets how long a value is good for, on every level. Default: for ever. Nought is for no time: nothing is kept.
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.rest.ttl = ttl.into();
        self
    }

    /// Sets the share of its time that chance may take off a value's, so that what came together does not expire together.
    /// Default 0; up to 1.
    pub fn ttl_jitter(mut self, share: f64) -> Self {
        self.rest.ttl_jitter = share;
        self
    }

    /// Sets for how long after its time a value is still given to one whose load fails. Default 0: then the load's error is
    /// the answer.
    pub fn stale(mut self, stale: Duration) -> Self {
        self.rest.stale = stale;
        self
    }

    /// Sets how long it is remembered that there is no value, where a load found none. Default 0: it is asked for again.
    pub fn absent_ttl(mut self, ttl: Duration) -> Self {
        self.rest.absent_ttl = ttl;
        self
    }

    /// Sets the share of its time before the end of it in which a value that is asked for is loaded again in the background, so that
    /// nobody waits for one that is in use. For [`Loading`](crate::Loading) only. Default 0: it is not; up to 1.
    pub fn refresh_ahead(mut self, share: f64) -> Self {
        self.rest.refresh_ahead = share;
        self
    }

    /// Sets how large a value may be that is kept below memory, in bytes. Default 1 MiB. A larger one is kept in memory only.
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.rest.value_bytes_max = bytes;
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<NamespaceConfig, ConfigError> {
        ConfigError::check("ttl_jitter", self.rest.ttl_jitter, 0.0, 1.0)?;
        ConfigError::check("refresh_ahead", self.rest.refresh_ahead, 0.0, 1.0)?;
        Ok(NamespaceConfig { memory: self.memory.build()?, ..self.rest })
    }
}
