//! How often something is due: after so much work, or so much time.

use std::fmt;
use std::time::Duration;

use aqueduct_core::Instant;

use crate::error::ConfigError;

/// How much lies between two checkpoints. A batch is never divided, so a checkpoint comes behind the batch that reaches
/// the measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// So many batches, 1 to 2^40; as many as there are partitions, if those are more.
    Batches(u64),
    /// So many items of the input, 1 to 2^50, and as many batches as there are partitions.
    Items(u64),
    /// So many bytes of the input, 1 to 2^50, and as many batches as there are partitions.
    Bytes(u64),
    /// So much time on the run's clock, 1 ms to 30 days, and at least one batch.
    Time(Duration),
}

/// The shortest time: shorter than a commit takes it would mean every commit.
const TIME_MIN: Duration = Duration::from_millis(1);

/// The longest time. A run that takes longer between two checkpoints means none, and should say so in other words.
const TIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

impl Every {
    pub(crate) fn check(self, field: &str) -> Result<(), ConfigError> {
        let most = if matches!(self, Self::Batches(_)) { 1 << 40 } else { 1_u64 << 50 };
        let (right, expected) = match self {
            Self::Batches(count) | Self::Items(count) | Self::Bytes(count) => {
                ((1..=most).contains(&count), format!("from 1 to {most}"))
            }
            Self::Time(time) => ((TIME_MIN..=TIME_MAX).contains(&time), "from 1 ms to 30 days".to_owned()),
        };
        if right {
            return Ok(());
        }
        Err(ConfigError::Value { field: field.to_owned(), value: self.to_string(), expected })
    }

    /// Whether this much work is enough.
    ///
    /// A checkpoint holds the position of every partition. Thousands of small files are as many batches, and to write all
    /// their positions every ten of them would cost the square of their number; time alone bounds that by itself.
    pub(crate) fn is_over(self, since: &Since, now: Instant, partitions: u64) -> bool {
        let enough = since.batches >= partitions;
        match self {
            Self::Batches(count) => since.batches >= count && enough,
            Self::Items(count) => since.items >= count && enough,
            Self::Bytes(count) => since.bytes >= count && enough,
            Self::Time(time) => since.batches > 0 && now.since(since.begun) >= time,
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batches(count) => write!(f, "{count} batches"),
            Self::Items(count) => write!(f, "{count} items"),
            Self::Bytes(count) => write!(f, "{count} bytes"),
            Self::Time(time) => write!(f, "{} s", time.as_secs_f64()),
        }
    }
}

/// The work since the last checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    batches: u64,
    items: u64,
    bytes: u64,
    begun: Instant,
}

impl Since {
    pub(crate) fn new(begun: Instant) -> Self {
        Self { batches: 0, items: 0, bytes: 0, begun }
    }

    /// Adds one batch.
    pub(crate) fn add(&mut self, items: usize, bytes: usize) {
        self.batches += 1;
        self.items += items as u64;
        self.bytes += bytes as u64;
    }
}
