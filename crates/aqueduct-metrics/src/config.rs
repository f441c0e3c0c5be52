use crate::ConfigError;

/// What can be set on a [`Registry`](crate::Registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most series that one family may have, the overflow series not counted.
    ///
    /// Default 2,000; from 1 to 1,000,000. At 1 every label set but the first goes to the overflow series. A
    /// histogram series takes 30 KiB, so a full family of them takes 60 MB at the default.
    pub series_max: usize,
}

/// The limit that OpenTelemetry's SDKs chose; a page of label sets that a person could still read through.
const SERIES_MAX: usize = 2_000;

/// A scrape of a family this large takes a second; nobody has a closed set of that size.
const SERIES_MAX_LIMIT: usize = 1_000_000;

impl Default for Config {
    fn default() -> Self {
        Self { series_max: SERIES_MAX }
    }
}

impl Config {
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        ConfigError::check("series_max", self.series_max, 1, SERIES_MAX_LIMIT)?;
        Ok(self)
    }
}
