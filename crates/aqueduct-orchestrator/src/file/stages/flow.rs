//! The stages `route` and `dedupe`.

use std::sync::Arc;

use aqueduct_stream::Horizon;

use crate::expression::Type;
use crate::file::keys;
use crate::file::reader::{Reader, Table};
use crate::file::tree::Raw;
use crate::spec::{Otherwise, StageKind};

pub(super) fn route(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<StageKind> {
    let routes = routes(reader, table);
    let all = reader.choice(table, &keys::MATCH).map(|word| word == "all");
    let otherwise = match table.entry(&keys::OTHERWISE) {
        None => Some(Otherwise::Fail),
        Some(_) => reader.name(table, &keys::OTHERWISE).map(|name| match name.as_str() {
            "skip" => Otherwise::Skip,
            "pass" => Otherwise::Pass,
            _ => Otherwise::To(name),
        }),
    };
    Some(StageKind::Route { routes: routes?, all: all?, otherwise: otherwise? })
}

fn routes(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<Vec<(String, Arc<crate::Expression>)>> {
    let Some(entry) = table.entry(&keys::ROUTES) else {
        reader.missing(table, &keys::ROUTES);
        return None;
    };
    let routes = reader.expressions(table, &keys::ROUTES)?;
    let Raw::Table(members) = &entry.value else { return None };
    if members.is_empty() {
        let hint = "name a branch and a condition, such as { high = \"item.score > 9.0\" }".to_owned();
        reader.diagnostics.error(&entry.at, format!("{} has no route", table.called), Some(hint));
    }
    let mut checked = Vec::with_capacity(routes.len());
    for (name, expression) in routes {
        let member = members.iter().find(|member| member.key == name)?;
        if matches!(name.as_str(), "skip" | "pass") {
            let hint = "skip and pass are for otherwise; choose another name".to_owned();
            reader.diagnostics.error(&member.key_at, format!("{name:?} is not a branch"), Some(hint));
        }
        match expression.result_type() {
            None | Some(Type::Bool) => checked.push((name, Arc::new(expression))),
            Some(other) => {
                let message = format!("{name} must give true or false, and this gives {}", other.described());
                reader.diagnostics.error(&member.entry.at, message, None);
            }
        }
    }
    (checked.len() == members.len()).then_some(checked)
}

pub(super) fn dedupe(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<StageKind> {
    let key = reader.expression(table, &keys::DEDUPE_KEY);
    let items = table.entry(&keys::HORIZON_ITEMS);
    let seconds = table.entry(&keys::HORIZON_SECONDS);
    let horizon = match (items, seconds) {
        (Some(_), None) => reader.written_integer(table, &keys::HORIZON_ITEMS).map(Horizon::Items),
        (None, Some(_)) => reader
            .written_integer(table, &keys::HORIZON_SECONDS)
            .map(|seconds| Horizon::Time(std::time::Duration::from_secs(seconds))),
        (None, None) => {
            reader.missing(table, &keys::HORIZON_ITEMS);
            None
        }
        (Some(entry), Some(_)) => {
            let message = format!("{} has two horizons", table.called);
            let hint = "keep horizon_items or horizon_seconds".to_owned();
            reader.diagnostics.error(&entry.at, message, Some(hint));
            None
        }
    };
    Some(StageKind::Dedupe { key: Arc::new(key?), horizon: horizon? })
}
