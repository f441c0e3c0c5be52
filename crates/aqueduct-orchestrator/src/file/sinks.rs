//! The sinks of the file.

use aqueduct_stream::CsvSink;

use super::backends::Backends;
use super::calls;
use super::keys::{self, Section};
use super::queues;
use super::reader::{Reader, Table, shortened};
use super::sources;
use super::tree::{Entry, Raw};
use super::{SINK_NAME_DEFAULT, sections};
use crate::redacted::Redacted;
use crate::spec::{Feed, SinkKind, SinkSpec};

/// The sinks as far as they could be read: a wrong one keeps its place and its name, so that a stage that names
/// it is not wrong as well.
#[derive(Default)]
pub(super) struct Sinks {
    pub(super) names: Vec<Option<String>>,
    pub(super) specs: Vec<Option<SinkSpec>>,
}

/// Reads every `[[sink]]`, or the one `[sink]`.
pub(super) fn read(reader: &mut Reader<'_, '_>, top: Table<'_>, backends: &mut Backends<'_, '_>) -> Sinks {
    let mut sinks = Sinks::default();
    let Some(entry) = top.entry(&keys::SINK) else {
        let hint = "[sink]: where items go, such as type = \"stdout\"".to_owned();
        reader.diagnostics.file_error("there is no [sink]", Some(hint));
        return sinks;
    };
    match &entry.value {
        Raw::Table(_) => sink(reader, entry, true, &mut sinks, backends),
        Raw::List(entries) if !entries.is_empty() => {
            for entry in entries {
                sink(reader, entry, entries.len() == 1, &mut sinks, backends);
            }
        }
        other => {
            let message = format!("sinks are tables, found {}", other.described());
            reader.diagnostics.error(&entry.at, message, Some("each is written [[sink]]".to_owned()));
        }
    }
    sinks
}

fn sink(
    reader: &mut Reader<'_, '_>,
    entry: &Entry,
    single: bool,
    sinks: &mut Sinks,
    backends: &mut Backends<'_, '_>,
) {
    let Raw::Table(members) = &entry.value else {
        let message = format!("a sink is a table, found {}", entry.value.described());
        reader.diagnostics.error(&entry.at, message, Some("it is written [[sink]]".to_owned()));
        return;
    };
    let unnamed = Table { members, at: Some(&entry.at), called: "the sink" };
    let name = match unnamed.entry(&keys::SINK_NAME) {
        Some(_) => reader.name(unnamed, &keys::SINK_NAME),
        None if single => Some(SINK_NAME_DEFAULT.to_owned()),
        None => {
            reader.missing(unnamed, &keys::SINK_NAME);
            None
        }
    };
    let called = name.as_ref().map_or("the sink".to_owned(), |name| format!("sink {name:?}"));
    let table = Table { called: &called, ..unnamed };
    if name.is_some() && sinks.names.contains(&name) {
        let at = table.entry(&keys::SINK_NAME).map_or(&entry.at, |entry| &entry.at);
        reader.diagnostics.error(
            at,
            format!("there are two sinks {:?}", name.as_deref().unwrap_or_default()),
            Some("names are unique".to_owned()),
        );
    }
    let kind = reader.choice(table, &keys::SINK_TYPE).and_then(|kind| {
        check_keys(reader, table, kind);
        match kind {
            "http" => calls::sink(reader, table, name.as_deref(), backends),
            "queue" => queues::sink(reader, table),
            _ => self::kind(reader, table, kind),
        }
    });
    let branch = sections::branch(reader, table);
    let on_error = reader.choice(table, &keys::SINK_ON_ERROR).map(sections::on_error);
    let spec = match (name.clone(), kind, branch, on_error) {
        (Some(name), Some(kind), Some(branch), Some(on_error)) => {
            Some(SinkSpec { name, kind, branch, on_error, feed: Feed::Items })
        }
        _ => None,
    };
    sinks.names.push(name);
    sinks.specs.push(spec);
}

fn check_keys(reader: &mut Reader<'_, '_>, table: Table<'_>, kind: &str) {
    let (own, others): (Vec<Section>, Vec<Section>) =
        keys::SINKS.into_iter().partition(|section| section.of_type == Some(kind));
    let mut admitted = vec![keys::SINK_COMMON];
    admitted.extend(own);
    reader.check_keys(table, &admitted, &others);
}

fn kind(reader: &mut Reader<'_, '_>, table: Table<'_>, kind: &str) -> Option<SinkKind> {
    match kind {
        "sqlite" => sqlite(reader, table),
        "jsonl" => Some(SinkKind::Jsonl { path: reader.text(table, &keys::JSONL_PATH)? }),
        "csv" => csv(reader, table),
        _ => Some(SinkKind::Stdout),
    }
}

fn sqlite(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<SinkKind> {
    let path = reader.text(table, &keys::SQLITE_PATH);
    let name = reader.text(table, &keys::TABLE);
    let name = name.filter(|name| table_name_is_free(reader, table, name));
    let wants_key = table.entry(&keys::SINK_KEY).is_some();
    let key = if wants_key { reader.text(table, &keys::SINK_KEY) } else { None };
    let wants_columns = table.entry(&keys::COLUMNS).is_some();
    let columns = if wants_columns { reader.list(table, &keys::COLUMNS) } else { None };
    if let (Some(key), Some(columns)) = (&key, &columns)
        && !columns.iter().any(|column| column.expose() == key.expose())
        && let Some(entry) = table.entry(&keys::SINK_KEY)
    {
        let hint =
            format!("there are {}", columns.iter().map(Redacted::written).collect::<Vec<_>>().join(", "));
        reader.diagnostics.error(
            &entry.at,
            format!("key {:?} is not among the columns", key.written()),
            Some(hint),
        );
    }
    if (wants_key && key.is_none()) || (wants_columns && columns.is_none()) {
        return None;
    }
    Some(SinkKind::Sqlite { path: path?, table: name?, key, columns })
}

fn csv(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<SinkKind> {
    let path = reader.text(table, &keys::CSV_PATH);
    let wants_columns = table.entry(&keys::CSV_COLUMNS).is_some();
    let columns = if wants_columns { reader.list(table, &keys::CSV_COLUMNS) } else { None };
    let delimiter = reader.character(table, &keys::DELIMITER);
    if wants_columns && columns.is_none() {
        return None;
    }
    // Errors show what was written, and never what a reference stands for.
    let mut sink = CsvSink::new("").with_delimiter(delimiter?);
    if let Some(columns) = &columns {
        sink = sink.with_columns(columns.iter().map(Redacted::written));
    }
    if let Err(error) = sink.check() {
        sources::misplaced(reader, table, &error);
        return None;
    }
    Some(SinkKind::Csv { path: path?, delimiter: delimiter?, columns })
}

/// SQLite keeps `sqlite_` for itself, and the ledger, which lives in the same database, keeps `aqueduct_`.
fn table_name_is_free(reader: &mut Reader<'_, '_>, table: Table<'_>, name: &Redacted) -> bool {
    let lower = name.expose().to_ascii_lowercase();
    let taken = ["sqlite_", "aqueduct_"].into_iter().find(|prefix| lower.starts_with(prefix));
    if let Some(prefix) = taken
        && let Some(entry) = table.entry(&keys::TABLE)
    {
        let owner = if prefix == "sqlite_" { "SQLite" } else { "the ledger" };
        let message = format!("table {:?} cannot be used", shortened(name.written()));
        reader.diagnostics.error(
            &entry.at,
            message,
            Some(format!("names that start with {prefix} belong to {owner}")),
        );
    }
    taken.is_none()
}
