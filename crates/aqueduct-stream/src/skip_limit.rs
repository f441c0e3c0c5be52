//! When too many items have failed for the failures to be the items' own.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_core::{Classified, ErrorClass};

use crate::error::{ConfigError, StageError};

/// How many items of one run may fail and be left behind, as skipped or as dead letters. The item that is one too many
/// stops the run; what is before it is committed, and it is read again by the next run.
///
/// Items that a stage leaves out on purpose do not count. Items are worked on side by side, so the one that is one too
/// many need not be the last in the order of the input; never are more left behind than this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkipLimit {
    items: Option<u64>,
    share: Option<f64>,
}

impl SkipLimit {
    /// A share is taken of at least so many items: three failures among the first ten say little.
    pub const SHARE_ITEMS_MIN: u64 = 1000;

    /// At most so many items; with 0 the first one stops the run.
    #[must_use]
    pub fn items(count: u64) -> Self {
        Self { items: Some(count), share: None }
    }

    /// At most this share of the items that the run has read so far, from 0 to 1, counted as at least
    /// [`SkipLimit::SHARE_ITEMS_MIN`] items.
    #[must_use]
    pub fn share(share: f64) -> Self {
        Self { items: None, share: Some(share) }
    }

    /// This share as well: whichever is reached first stops the run.
    #[must_use]
    pub fn and_share(self, share: f64) -> Self {
        Self { share: Some(share), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self.share {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(ConfigError::Value {
                field: "skip_limit".to_owned(),
                value: share.to_string(),
                expected: "a share from 0 to 1".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// How many may fail once so many are read.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count; beyond 2^53 items the last digit does not matter"
    )]
    fn allowed(&self, read: u64) -> u64 {
        let share = self.share.map(|share| (share * read.max(Self::SHARE_ITEMS_MIN) as f64) as u64);
        self.items.unwrap_or(u64::MAX).min(share.unwrap_or(u64::MAX))
    }
}

impl fmt::Display for SkipLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.items, self.share) {
            (Some(items), Some(share)) => write!(f, "{items} items and a share of {share}"),
            (Some(items), None) => write!(f, "{items} items"),
            (None, Some(share)) => write!(f, "a share of {share}"),
            (None, None) => f.write_str("none"),
        }
    }
}

/// One item too many has failed.
#[derive(Debug, thiserror::Error)]
#[error("one item more has failed than the skip limit of {limit} allows ({failed} of {read} read)")]
pub struct SkipLimitReached {
    /// The limit.
    pub limit: SkipLimit,
    /// The items that were left behind before.
    pub failed: u64,
    /// The items that were read by then, some of them not worked on yet.
    pub read: u64,
    /// What this one failed with.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Classified for SkipLimitReached {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

impl From<SkipLimitReached> for StageError {
    fn from(reached: SkipLimitReached) -> Self {
        Self::stop(reached.to_string()).with_source(reached)
    }
}

/// The items that have failed in a run, against its limit.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    limit: Option<SkipLimit>,
    /// Relaxed: nothing else is read by it. Each failure takes one of what is allowed, so no more are taken.
    count: AtomicU64,
}

impl Failed {
    pub(crate) fn new(limit: Option<SkipLimit>) -> Self {
        Self { limit, count: AtomicU64::new(0) }
    }

    /// Takes one of what is allowed, or tells that nothing is left and why.
    pub(crate) fn admit<E>(&self, read: u64, error: E) -> Result<E, SkipLimitReached>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let allowed = self.limit.map_or(u64::MAX, |limit| limit.allowed(read));
        let take = |failed: u64| (failed < allowed).then(|| failed + 1);
        match (self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take), self.limit) {
            (Err(failed), Some(limit)) => Err(SkipLimitReached { limit, failed, read, source: error.into() }),
            _ => Ok(error),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
