//! What a run may use before it ends.

use std::fmt;
use std::time::Duration;

use aqueduct_core::ConfigError;

use crate::usage;

/// What a run may use. It ends at the first limit that it reaches, with everything settled or given back, and says which
/// one it was. The default is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The memory of the process in bytes, as the system tells it (`max_memory_mb`). From 1. It is looked at about once a
    /// second, so a run may be over it for as long, and on Linux only: a hard bound is the system's to hold.
    pub memory_bytes_max: Option<u64>,
    /// The time from the start of the run (`max_processing_time_sec`). From 1 ms.
    pub time_max: Option<Duration>,
    /// How many attempts after a first one the run makes (`max_retries`). From 0, where a failure ends the run as soon as
    /// it comes up again.
    pub retries_max: Option<u64>,
}

/// The limit that a run has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`Limits::memory_bytes_max`].
    Memory {
        /// What the process had.
        bytes: u64,
        /// What it may have.
        bytes_max: u64,
    },
    /// [`Limits::time_max`].
    Time(Duration),
    /// [`Limits::retries_max`].
    Retries(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { bytes, bytes_max } => {
                write!(f, "max_memory_mb: the process has {bytes} of {bytes_max} bytes")
            }
            Self::Time(time) => write!(f, "max_processing_time_sec: the run has taken {time:?}"),
            Self::Retries(retries) => write!(f, "max_retries: {retries} retries are used"),
        }
    }
}

impl Limits {
    /// How often the memory is looked at.
    pub(crate) const MEMORY_EVERY: Duration = Duration::from_secs(1);

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(bytes) = self.memory_bytes_max {
            ConfigError::check("memory_bytes_max", bytes, 1, u64::MAX)?;
        }
        match self.time_max {
            Some(time) => {
                ConfigError::check("time_max", time, Duration::from_millis(1), Duration::from_secs(1 << 32))
            }
            None => Ok(()),
        }
    }

    /// Looks at the memory of the process.
    pub(crate) fn memory(&self) -> Option<Limit> {
        let bytes_max = self.memory_bytes_max?;
        let (bytes, _) = usage::memory()?;
        (bytes > bytes_max).then_some(Limit::Memory { bytes, bytes_max })
    }
}
