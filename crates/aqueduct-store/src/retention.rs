use std::time::Duration;

use aqueduct_core::Timestamp;

/// How much of what is kept for people stays: checkpoints and dead letters.
///
/// It is enforced by every commit that records a checkpoint, and by [`Store::retain`](crate::Store::retain). The
/// oldest go first; the newest checkpoint always stays. The counts of the ledger are history and never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many checkpoints stay; 0 counts as 1. Default [`Self::CHECKPOINTS`].
    pub checkpoints: usize,
    /// How old a checkpoint may become. Default: any age.
    pub checkpoint_age_max: Option<Duration>,
    /// How many dead letters stay; 0 counts as 1. Default: all, since to lose letters is the user's decision.
    pub dead_letters: Option<u64>,
    /// How many bytes of dead letters stay, those of payloads, originals and reasons; the newest letter stays even
    /// when it alone is larger. Default: all.
    pub dead_letter_bytes: Option<u64>,
    /// How long ago a dead letter may have failed last. Default: any time.
    pub dead_letter_age_max: Option<Duration>,
}

impl Retention {
    /// How many checkpoints are kept unless the caller says otherwise: enough to go back over a bad hour,
    /// and a bounded ledger.
    pub const CHECKPOINTS: usize = 16;

    /// How many letters one enforcement removes at most: more than come in between two checkpoints at the default
    /// sizes of batches and epochs, and a few milliseconds of work. What is left over goes the next time.
    pub const LETTERS_REMOVED_MAX: u64 = 10_000;

    /// Tells whether it limits dead letters at all.
    #[must_use]
    pub fn limits_dead_letters(&self) -> bool {
        self.dead_letters.is_some() || self.dead_letter_bytes.is_some() || self.dead_letter_age_max.is_some()
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            checkpoints: Self::CHECKPOINTS,
            checkpoint_age_max: None,
            dead_letters: None,
            dead_letter_bytes: None,
            dead_letter_age_max: None,
        }
    }
}

/// What retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Checkpoints.
    pub checkpoints: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.checkpoints += other.checkpoints;
        self.dead_letters += other.dead_letters;
    }
}

/// The time before which something is too old.
pub(crate) fn cutoff(at: Timestamp, age_max: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub(i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX)))
}

/// What is known of the letters while the oldest are removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surplus<'a> {
    pub(crate) retention: &'a Retention,
    pub(crate) at: Timestamp,
    pub(crate) letters: u64,
    pub(crate) bytes: u64,
}

impl Surplus<'_> {
    /// Tells whether the oldest letter that is left has to go, and if so takes it off.
    pub(crate) fn takes(&mut self, last: Timestamp, bytes: u64) -> bool {
        let Retention { dead_letters, dead_letter_bytes, dead_letter_age_max, .. } = self.retention;
        let old = dead_letter_age_max.is_some_and(|age| last < cutoff(self.at, age));
        let many = dead_letters.is_some_and(|most| self.letters > most.max(1));
        let large = dead_letter_bytes.is_some_and(|most| self.bytes > most && self.letters > 1);
        if old || many || large {
            self.letters = self.letters.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes);
            return true;
        }
        false
    }
}
