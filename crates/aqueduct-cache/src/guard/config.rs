use std::time::Duration;

use super::recovery::Limits;
use crate::error::ConfigError;

/// When a level of the cache is left alone, and what is kept for it until it is back. See [`GuardBuilder`] for each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    pub(crate) time_limit: Duration,
    pub(crate) failures: u32,
    pub(crate) cool_down: Duration,
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

/// What was written of a [`GuardConfig`]. [`build`](Self::build) checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct GuardBuilder(GuardConfig);

/// A hundred round trips within a data centre; who waits longer would be served sooner by loading the value again.
const TIME_LIMIT: Duration = Duration::from_millis(100);

/// One failure happens, and three in a row are no chance; more would be as many callers that wait in vain.
const FAILURES: u32 = 3;

/// A restart of a server takes about as long, and two questions a second are no load.
const COOL_DOWN: Duration = Duration::from_millis(500);

/// Ten seconds of a thousand writes.
const ENTRIES: usize = 10_000;

/// The entries above at 6 KiB each.
const BYTES: usize = 64 << 20;

impl GuardConfig {
    /// Starts with the defaults: 100 ms, 3 failures, 500 ms, 10,000 writes, 64 MiB.
    pub fn builder() -> GuardBuilder {
        GuardBuilder(Self {
            time_limit: TIME_LIMIT,
            failures: FAILURES,
            cool_down: COOL_DOWN,
            entries: ENTRIES,
            bytes: BYTES,
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { entries: self.entries, bytes: self.bytes }
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self::builder().0
    }
}

impl GuardBuilder {
    /// Sets how long a call of the level may take, from 1 ms to 1 min. Default 100 ms; a disk wants 1 s. It is the longest
    /// that a caller waits for this level.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.0.time_limit = limit;
        self
    }

    /// Sets how many failures in a row make the level be left alone, from 1 to 1,000. Default 3. A call that takes longer
    /// than it may is a failure; a refusal is none, for then somebody was there to refuse.
    pub fn failures(mut self, failures: u32) -> Self {
        self.0.failures = failures;
        self
    }

    /// Sets how long the level is left alone before somebody asks whether it is there, from 1 ms to 1 h. Default 500 ms.
    /// Nobody waits for it meanwhile.
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.0.cool_down = cool_down;
        self
    }

    /// Sets how many writes are kept for the level, from 1 to 10,000,000. Default 10,000. With more, a namespace is emptied in
    /// this level when it is back.
    pub fn recovery_entries_max(mut self, entries: usize) -> Self {
        self.0.entries = entries;
        self
    }

    /// Sets how many bytes they may have, from 4 KiB to 64 GiB. Default 64 MiB.
    pub fn recovery_bytes_max(mut self, bytes: usize) -> Self {
        self.0.bytes = bytes;
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<GuardConfig, ConfigError> {
        let config = self.0;
        let millisecond = Duration::from_millis(1);
        ConfigError::check("time_limit", config.time_limit, millisecond, Duration::from_secs(60))?;
        ConfigError::check("failures", config.failures, 1, 1_000)?;
        ConfigError::check("cool_down", config.cool_down, millisecond, Duration::from_secs(3_600))?;
        ConfigError::check("recovery_entries_max", config.entries, 1, 10_000_000)?;
        ConfigError::check("recovery_bytes_max", config.bytes, 4 << 10, 64 << 30)?;
        Ok(config)
    }
}
