//! The stages `split`, `sample` and `assert`.

use std::sync::Arc;

use crate::file::keys;
use crate::file::reader::{Reader, Table};
use crate::spec::StageKind;

pub(super) fn split(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<StageKind> {
    let field = match table.entry(&keys::SPLIT_FIELD) {
        Some(_) => reader.field(table, &keys::SPLIT_FIELD),
        None => {
            reader.missing(table, &keys::SPLIT_FIELD);
            None
        }
    };
    let wants_name = table.entry(&keys::SPLIT_AS).is_some();
    let name = if wants_name { reader.field(table, &keys::SPLIT_AS) } else { None };
    let wants_keep = table.entry(&keys::SPLIT_KEEP).is_some();
    let keep = if wants_keep { reader.list(table, &keys::SPLIT_KEEP) } else { None };
    let items_max = reader.integer(table, &keys::ITEMS_MAX);
    if (wants_name && name.is_none()) || (wants_keep && keep.is_none()) {
        return None;
    }
    let keep = keep.unwrap_or_default().into_iter().map(|field| field.expose().to_owned()).collect();
    Some(StageKind::Split { field: field?, name, keep, items_max: usize::try_from(items_max?).ok()? })
}

pub(super) fn sample(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<StageKind> {
    let ratio = match table.entry(&keys::SAMPLE_RATIO) {
        Some(_) => reader.written_number(table, &keys::SAMPLE_RATIO),
        None => {
            reader.missing(table, &keys::SAMPLE_RATIO);
            None
        }
    };
    let seed = reader.integer(table, &keys::SAMPLE_SEED);
    let wants_key = table.entry(&keys::SAMPLE_KEY).is_some();
    let key = if wants_key { reader.expression(table, &keys::SAMPLE_KEY) } else { None };
    if wants_key && key.is_none() {
        return None;
    }
    Some(StageKind::Sample { ratio: ratio?, seed: seed?, key: key.map(Arc::new) })
}

pub(super) fn assert(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<StageKind> {
    let when = reader.condition(table, &keys::ASSERT_WHEN);
    let wants_message = table.entry(&keys::ASSERT_MESSAGE).is_some();
    let message = if wants_message { reader.text(table, &keys::ASSERT_MESSAGE) } else { None };
    if wants_message && message.is_none() {
        return None;
    }
    // As written: a message may travel into dead letters, and a secret must not.
    let message = message.map(|message| message.written().to_owned());
    Some(StageKind::Assert { when: Arc::new(when?), message })
}
