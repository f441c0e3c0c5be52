//! A pipeline whose input ends and is worked on in chunks: `[batch]`.
//!
//! Four of its keys are other names for keys elsewhere, so that what a batch is stands in one section. Written in both
//! places they are an error, unless one is a flag: that covers the file, as it always does.

use std::time::Duration;

use aqueduct_stream::{Every, SkipLimit};

use super::Inputs;
use super::keys;
use super::pipeline::written;
use super::reader::{Reader, Table};
use super::sections::section;
use crate::redacted::Redacted;
use crate::settings::Written;

/// What `[batch]` says.
pub(super) struct Batch<'t> {
    table: Table<'t>,
    pub(super) size: Option<Written<u64>>,
    pub(super) interval: Option<Written<u64>>,
    /// By another measure than batches.
    pub(super) every: Option<Written<Every>>,
    pub(super) dir: Option<Written<Redacted>>,
    pub(super) keep: Option<Written<u64>>,
    pub(super) skip_limit: Option<SkipLimit>,
}

/// Reads `[batch]`; `None` when the file has none.
pub(super) fn read<'t>(
    reader: &mut Reader<'_, '_>,
    top: Table<'t>,
    inputs: &Inputs<'_>,
) -> Option<Batch<'t>> {
    let table = section(reader, top, &keys::BATCH, "[batch]")?;
    reader.check_keys(table, &[keys::BATCH_SECTION], &[]);
    let mut integer =
        |key| reader.written_integer(table, key).map(|value| written(inputs, table, key, value));
    let (size, interval, keep) =
        (integer(&keys::SIZE), integer(&keys::EVERY_BATCHES), integer(&keys::KEPT_CHECKPOINTS));
    let items = integer(&keys::EVERY_ITEMS).map(|found| map(found, Every::Items));
    let bytes = integer(&keys::EVERY_BYTES).map(|found| map(found, Every::Bytes));
    let seconds = reader
        .written_number(table, &keys::EVERY_SECONDS)
        .map(|value| written(inputs, table, &keys::EVERY_SECONDS, value))
        .map(|found| map(found, |seconds| Every::Time(Duration::from_secs_f64(seconds))));
    let measures = [&keys::EVERY_BATCHES, &keys::EVERY_ITEMS, &keys::EVERY_BYTES, &keys::EVERY_SECONDS];
    let mut there = measures.into_iter().filter_map(|key| table.entry(key).map(|entry| (key, entry)));
    if let (Some((first, _)), Some((second, entry))) = (there.next(), there.next()) {
        let message = format!("{} and {} both say how far checkpoints lie apart", first.name, second.name);
        reader.diagnostics.error(&entry.at, message, Some("write one of them".to_owned()));
    }
    let dir = table.entry(&keys::CHECKPOINT_DIR).and_then(|_| {
        let value = reader.text(table, &keys::CHECKPOINT_DIR)?;
        Some(written(inputs, table, &keys::CHECKPOINT_DIR, value))
    });
    let count = reader.written_integer(table, &keys::SKIP_LIMIT).map(SkipLimit::items);
    let share = reader.written_number(table, &keys::SKIP_SHARE);
    let skip_limit = match (count, share) {
        (Some(count), Some(share)) => Some(count.and_share(share)),
        (count, share) => count.or(share.map(SkipLimit::share)),
    };
    Some(Batch { table, size, interval, every: items.or(bytes).or(seconds), dir, keep, skip_limit })
}

impl Batch<'_> {
    /// Joins one of its keys with the key elsewhere that says the same.
    pub(super) fn join<T>(
        &self,
        reader: &mut Reader<'_, '_>,
        own: (&keys::Key, Option<Written<T>>),
        elsewhere: (&str, Option<Written<T>>),
    ) -> Option<Written<T>> {
        let ((key, own), (name, other)) = (own, elsewhere);
        match (own, other) {
            (Some(own), Some(other)) => {
                if own.flag.is_none() == other.flag.is_none()
                    && let Some(entry) = self.table.entry(key)
                {
                    let message = format!("{} of [batch] and {name} are one thing, written twice", key.name);
                    reader.diagnostics.error(&entry.at, message, Some("write one of them".to_owned()));
                }
                Some(if other.flag.is_some() { other } else { own })
            }
            (own, other) => own.or(other),
        }
    }
}

fn map<T, U>(found: Written<T>, change: impl FnOnce(T) -> U) -> Written<U> {
    Written { value: change(found.value), flag: found.flag }
}
