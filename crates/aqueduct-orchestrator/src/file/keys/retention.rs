//! The keys of `[retention]`.

use aqueduct_store::Retention;

use super::{Absent, Key, Kind, Section, key};

/// The longest time in seconds: some thirty thousand years.
const SECONDS_MAX: u64 = 1 << 40;

pub(in crate::file) const CHECKPOINTS: Key = key(
    "checkpoints",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(Retention::CHECKPOINTS as u64),
    "how many named checkpoints are kept; the newest always is",
);
pub(in crate::file) const CHECKPOINT_AGE_SECONDS: Key = key(
    "checkpoint_age_seconds",
    Kind::Integer(1, SECONDS_MAX),
    Absent::Words("any age"),
    "how old a checkpoint may become; the newest may become older",
);
pub(in crate::file) const DEAD_LETTERS: Key = key(
    "dead_letters",
    Kind::Integer(1, 1 << 40),
    Absent::Words("all"),
    "how many dead letters are kept; the oldest go, and with them what could be replayed",
);
pub(in crate::file) const DEAD_LETTER_BYTES: Key = key(
    "dead_letter_bytes",
    Kind::Integer(1, 1 << 50),
    Absent::Words("all"),
    "how many bytes of dead letters are kept, in payloads, originals and reasons; the newest letter always is",
);
pub(in crate::file) const DEAD_LETTER_AGE_SECONDS: Key = key(
    "dead_letter_age_seconds",
    Kind::Integer(1, SECONDS_MAX),
    Absent::Words("any age"),
    "how long ago a kept dead letter may have failed last",
);

pub(in crate::file) const RETENTION_SECTION: Section = Section {
    heading: "[retention]",
    of_type: None,
    keys: &[CHECKPOINTS, CHECKPOINT_AGE_SECONDS, DEAD_LETTERS, DEAD_LETTER_BYTES, DEAD_LETTER_AGE_SECONDS],
};
