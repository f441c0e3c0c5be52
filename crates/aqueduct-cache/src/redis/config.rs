use std::time::Duration;

use crate::error::ConfigError;

/// How the level in Redis behaves. Made by [`RedisConfig::builder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    pub(super) prefix: String,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) heartbeat: Duration,
    pub(super) value_bytes_max: usize,
}

/// What was written about the level in Redis. [`build`](Self::build) checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisBuilder(RedisConfig);

/// Three lost packets of a handshake take longer than this, and nobody who asks a cache wants to wait for them.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// A Redis in the same data centre answers in a millisecond; with one that takes a hundred times as long, loading anew is
/// as good.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(100);

/// A connection that has gone without a word is noticed within twice this time. Each beat is one small question.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// All share one connection, so that a large value holds up the small ones behind it.
const VALUE_BYTES_MAX: usize = 16 << 20;

/// Redis itself takes at most 512 MB, and hangs up on whoever sends more.
const VALUE_BYTES_LIMIT: usize = 511 << 20;

const PREFIX_BYTES_MAX: usize = 256;

const MILLISECOND: Duration = Duration::from_millis(1);

impl RedisConfig {
    /// Starts with the defaults: `aqueduct:` before each key, connected within 250 ms, answered within 100 ms, looked after
    /// every second, values of at most 16 MiB.
    pub fn builder() -> RedisBuilder {
        RedisBuilder(Self::default())
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            prefix: "aqueduct:".to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: RESPONSE_TIMEOUT,
            heartbeat: HEARTBEAT,
            value_bytes_max: VALUE_BYTES_MAX,
        }
    }
}

impl RedisBuilder {
    /// Sets what stands before each key. Default `aqueduct:`; from 1 to 256 bytes, without braces. Caches with the same one
    /// share what they hold. Redis tells of every key that begins so, whoever uses it: it should be nobody else's.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.0.prefix = prefix.into();
        self
    }

    /// Sets how long it may take until a connection is ready. Default 250 ms; from one millisecond to one minute.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.0.connect_timeout = timeout;
        self
    }

    /// Sets how long an answer may take. Default 100 ms; from one millisecond to one minute.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.0.response_timeout = timeout;
        self
    }

    /// Sets how often the connection is looked after, and how long it may be silent then before it counts as lost. Default
    /// 1 s; from ten milliseconds to one minute. What others change may go unnoticed for twice this time.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.0.heartbeat = every;
        self
    }

    /// Sets how large a value may be. Default 16 MiB; from 1 KiB to 511 MiB. A larger one is refused, and
    /// what was under its key is removed.
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.0.value_bytes_max = bytes;
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<RedisConfig, ConfigError> {
        let config = self.0;
        // Braces would become the part of the key that decides where a cluster keeps it.
        if config.prefix.is_empty()
            || config.prefix.len() > PREFIX_BYTES_MAX
            || config.prefix.contains(['{', '}'])
        {
            return Err(ConfigError::new("prefix", &config.prefix, "1 to 256 bytes without braces"));
        }
        let minute = Duration::from_mins(1);
        ConfigError::check("connect_timeout", config.connect_timeout, MILLISECOND, minute)?;
        ConfigError::check("response_timeout", config.response_timeout, MILLISECOND, minute)?;
        ConfigError::check("heartbeat", config.heartbeat, 10 * MILLISECOND, minute)?;
        ConfigError::check("value_bytes_max", config.value_bytes_max, 1 << 10, VALUE_BYTES_LIMIT)?;
        Ok(config)
    }
}
