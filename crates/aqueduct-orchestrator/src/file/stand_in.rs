//! What plays the services of a pipeline.

use std::time::Duration;

use super::Inputs;
use super::keys;
use super::reader::{Reader, Table};
use super::sections::section;
use crate::settings::Ratio;
use crate::spec::StandInSpec;

/// Reads `[stand_in]`. The outer None stands for an error that was noted.
#[expect(
    clippy::option_option,
    reason = "an error that was noted, no section, and a section are three things"
)]
pub(super) fn read(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    inputs: &Inputs<'_>,
) -> Option<Option<StandInSpec>> {
    if top.entry(&keys::STAND_IN).is_none() {
        return Some(None);
    }
    let table = section(reader, top, &keys::STAND_IN, "[stand_in]")?;
    reader.check_keys(table, &[keys::STAND_IN_SECTION], &[]);
    let wants = |key| table.entry(key).is_some();
    let unless = if wants(&keys::UNLESS) { Some(reader.name(table, &keys::UNLESS)?) } else { None };
    let pages =
        if wants(&keys::STAND_IN_PAGES) { Some(reader.text(table, &keys::STAND_IN_PAGES)?) } else { None };
    let hosts = reader.integer(table, &keys::STAND_IN_HOSTS);
    let records = reader.integer(table, &keys::STAND_IN_RECORDS);
    let errors = reader.number(table, &keys::ERRORS_RATIO).map(Ratio::checked);
    let latency = reader.integer(table, &keys::LATENCY_MS).map(Duration::from_millis);
    let tail = reader.number(table, &keys::TAIL_RATIO).map(Ratio::checked);
    let tail_latency = reader.integer(table, &keys::TAIL_MS).map(Duration::from_millis);
    let quota = reader.integer(table, &keys::STAND_IN_QUOTA);
    let quota_window = reader.integer(table, &keys::STAND_IN_QUOTA_MS).map(Duration::from_millis);
    let outage_from = reader.written_integer(table, &keys::OUTAGE_FROM);
    let outage_calls = reader.integer(table, &keys::OUTAGE_CALLS);
    let seed = reader.integer(table, &keys::STAND_IN_SEED);
    let spec = StandInSpec {
        unless,
        pages,
        hosts: usize::try_from(hosts?).ok()?,
        records: records?,
        errors: errors?,
        latency: latency?,
        tail: tail?,
        tail_latency: tail_latency?,
        quota: Some(quota?).filter(|quota| *quota > 0),
        quota_window: quota_window?,
        outage: outage_from.zip(outage_calls),
        seed: seed?,
    };
    if wants(&keys::OUTAGE_FROM) && spec.outage.is_none() {
        return None;
    }
    // A variable that is set makes the calls real.
    let real =
        spec.unless.as_deref().and_then(inputs.environment).is_some_and(|value| !value.trim().is_empty());
    Some((!real).then_some(spec))
}
