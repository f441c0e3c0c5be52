//! What sections have in common: where they stand, their branch, their rule.

use super::keys;
use super::reader::{Reader, Table};
use super::tree::{Entry, Raw};
use crate::spec::OnError;

/// The first table of a list, or the entry itself.
pub(super) fn first(entry: &Entry) -> &Entry {
    match &entry.value {
        Raw::List(list) => list.first().unwrap_or(entry),
        _ => entry,
    }
}

/// A section that stands once at most. A missing one is noted if it is required.
pub(super) fn section<'t>(
    reader: &mut Reader<'_, '_>,
    top: Table<'t>,
    key: &keys::Key,
    called: &'t str,
) -> Option<Table<'t>> {
    let Some(entry) = top.entry(key) else {
        if matches!(key.absent, keys::Absent::Required) {
            let hint = format!("{called}: {}", key.meaning);
            reader.diagnostics.file_error(format!("there is no {called}"), Some(hint));
        }
        return None;
    };
    match &entry.value {
        Raw::Table(members) => Some(Table { members, at: Some(&entry.at), called }),
        Raw::List(_) => {
            let message = format!("{} stands once, found a list", key.name);
            reader.diagnostics.error(&first(entry).at, message, Some(format!("it is written {called}")));
            None
        }
        other => {
            let message = format!("{} is a section, found {}", key.name, other.described());
            reader.diagnostics.error(&entry.at, message, Some(format!("it is written {called}")));
            None
        }
    }
}

/// Reads the branch of a stage or sink. The outer None stands for an error that was noted.
#[expect(clippy::option_option, reason = "an error that was noted, no branch, and a branch are three things")]
pub(super) fn branch(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<Option<String>> {
    match table.entry(&keys::BRANCH) {
        None => Some(None),
        Some(_) => reader.name(table, &keys::BRANCH).map(Some),
    }
}

/// The rule of a word that was checked.
pub(super) fn on_error(word: &str) -> OnError {
    match word {
        "skip" => OnError::Skip,
        "retry" => OnError::Retry,
        "dead-letter" => OnError::DeadLetter,
        _ => OnError::Stop,
    }
}
