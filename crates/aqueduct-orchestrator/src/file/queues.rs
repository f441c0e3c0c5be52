//! The source and the sink `queue`.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::ConfigError;
use aqueduct_queue::{Pattern, Priority, Topic};

use super::keys::{self, Key};
use super::reader::{Reader, Table};
use crate::expression::Expression;
use crate::spec::{QueueSinkSpec, QueueSourceSpec, SinkKind, SourceKind};

/// The source `queue`.
pub(super) fn source(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<SourceKind> {
    let path = reader.text(table, &keys::QUEUE_PATH);
    let queue = reader.name(table, &keys::QUEUE_NAME);
    let group = match table.entry(&keys::GROUP) {
        Some(_) => reader.name(table, &keys::GROUP),
        None => Some("default".to_owned()),
    };
    let topics = parsed(reader, table, &keys::TOPICS, |text| Pattern::new(text));
    let lease = reader.number(table, &keys::LEASE_SECONDS);
    let attempts_max = reader.integer(table, &keys::ATTEMPTS_MAX);
    let until = reader.choice(table, &keys::UNTIL);
    Some(SourceKind::Queue(Box::new(QueueSourceSpec {
        path: path?,
        queue: queue?,
        group: group?,
        topics: topics?.unwrap_or_else(Pattern::all),
        lease: Duration::from_secs_f64(lease?),
        // The range of the key ends below.
        attempts_max: u32::try_from(attempts_max?).unwrap_or(u32::MAX),
        until_empty: until? == "empty",
    })))
}

/// The sink `queue`.
pub(super) fn sink(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<SinkKind> {
    let path = reader.text(table, &keys::QUEUE_PATH);
    let queue = reader.name(table, &keys::QUEUE_NAME);
    let topic = parsed(reader, table, &keys::TOPIC, |text| Topic::new(text));
    let priority = reader.choice(table, &keys::PRIORITY);
    let key = optional(reader, table, &keys::MESSAGE_KEY);
    let tenant = optional(reader, table, &keys::MESSAGE_TENANT);
    let items_max = reader.integer(table, &keys::QUEUE_ITEMS_MAX);
    let bytes_max = reader.integer(table, &keys::QUEUE_BYTES_MAX);
    let priority = priority?;
    Some(SinkKind::Queue(Box::new(QueueSinkSpec {
        path: path?,
        queue: queue?,
        topic: topic?,
        priority: Priority::ALL.into_iter().find(|known| known.as_str() == priority).unwrap_or_default(),
        key: key?,
        tenant: tenant?,
        items_max: items_max?,
        bytes_max: bytes_max?,
    })))
}

/// A text of a form of its own, where it is written; what it should be is told at its place.
fn parsed<T>(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    key: &Key,
    parse: impl Fn(&str) -> Result<T, ConfigError>,
) -> Option<Option<T>> {
    let Some(entry) = table.entry(key) else { return Some(None) };
    let text = reader.text(table, key)?;
    match parse(text.expose()) {
        Ok(parsed) => Some(Some(parsed)),
        Err(error) => {
            let message = format!("{} is {:?}, allowed is {}", key.name, text.written(), error.allowed);
            reader.diagnostics.error(&entry.at, message, None);
            None
        }
    }
}

fn optional(reader: &mut Reader<'_, '_>, table: Table<'_>, key: &Key) -> Option<Option<Arc<Expression>>> {
    match table.entry(key) {
        Some(_) => reader.expression(table, key).map(|expression| Some(Arc::new(expression))),
        None => Some(None),
    }
}
