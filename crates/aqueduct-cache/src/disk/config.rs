use aqueduct_core::ConfigError;

/// How much a [`Disk`](crate::Disk) may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    pub(super) bytes_max: u64,
    pub(super) entries_max: usize,
}

/// Enough to be of use, and no surprise on a disk of today.
const BYTES_MAX: u64 = 1 << 30;

/// Below it a segment would hold a few entries.
const BYTES_MAX_LEAST: u64 = 1 << 20;

/// Above it a place in a segment would not fit into 32 bits.
const BYTES_MAX_MOST: u64 = 1 << 36;

/// An index of about 80 MB.
const ENTRIES_MAX: usize = 2_000_000;

const ENTRIES_MAX_MOST: usize = 1 << 30;

/// A segment leaves as a whole, so this is how finely the oldest leave. Each is an open file.
const SEGMENTS: u64 = 64;

/// The largest record is so much of the whole, so that one value does not push out most others.
const RECORDS: u64 = 16;

impl DiskConfig {
    /// Sets how many bytes the records may take, in bytes. Default 1 GiB; from 1 MiB to 64 GiB. What is known of
    /// invalidations comes on top. A value that takes more than a sixteenth of it is refused.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn with_bytes_max(self, bytes_max: u64) -> Result<Self, ConfigError> {
        ConfigError::check("bytes_max", bytes_max, BYTES_MAX_LEAST, BYTES_MAX_MOST)?;
        Ok(Self { bytes_max, ..self })
    }

    /// Sets how many entries there may be. Default 2,000,000; from 1 to 2^30. Each takes 20 to 50 bytes of memory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn with_entries_max(self, entries_max: usize) -> Result<Self, ConfigError> {
        ConfigError::check("entries_max", entries_max, 1, ENTRIES_MAX_MOST)?;
        Ok(Self { entries_max, ..self })
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        (self.bytes_max / SEGMENTS).max(1 << 16)
    }

    pub(super) fn record_bytes_max(&self) -> u64 {
        self.bytes_max / RECORDS
    }
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { bytes_max: BYTES_MAX, entries_max: ENTRIES_MAX }
    }
}
