//! How much is kept of what a run leaves for people.

use std::time::Duration;

use aqueduct_store::Retention;

use super::keys;
use super::reader::{Reader, Table};
use super::sections::section;

/// Reads `[retention]`. Wrong values are noted and stand at their defaults.
pub(super) fn read(reader: &mut Reader<'_, '_>, top: Table<'_>) -> Retention {
    let none = Table { members: &[], at: None, called: "[retention]" };
    let table = section(reader, top, &keys::RETENTION, "[retention]").unwrap_or(none);
    reader.check_keys(table, &[keys::RETENTION_SECTION], &[]);
    let mut integer = |key| reader.written_integer(table, key);
    Retention {
        checkpoints: integer(&keys::CHECKPOINTS)
            .map_or(Retention::CHECKPOINTS, |count| usize::try_from(count).unwrap_or(usize::MAX)),
        checkpoint_age_max: integer(&keys::CHECKPOINT_AGE_SECONDS).map(Duration::from_secs),
        dead_letters: integer(&keys::DEAD_LETTERS),
        dead_letter_bytes: integer(&keys::DEAD_LETTER_BYTES),
        dead_letter_age_max: integer(&keys::DEAD_LETTER_AGE_SECONDS).map(Duration::from_secs),
    }
}
