//! The stages of the file.

mod cached;
mod exec;
mod flow;
mod shape;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::backends::Backends;
use super::calls;
use super::keys::{self, Section};
use super::reader::{Reader, Table};
use super::sections::{branch, on_error};
use super::sinks::Sinks;
use super::tree::{Entry, Raw};
use crate::spec::{RetrySpec, StageKind, StageSpec};
use crate::suggest;

/// Reads every `[[stage]]`. None when an error was noted for one.
pub(super) fn read(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    sinks: &Sinks,
    backends: &mut Backends<'_, '_>,
) -> Option<Vec<StageSpec>> {
    let Some(entry) = top.entry(&keys::STAGE) else { return Some(Vec::new()) };
    let Raw::List(entries) = &entry.value else {
        let message = format!("stages are a list, found {}", entry.value.described());
        reader.diagnostics.error(&entry.at, message, Some("each is written [[stage]]".to_owned()));
        return None;
    };
    let mut names = BTreeSet::new();
    let stages: Vec<Option<StageSpec>> =
        entries.iter().map(|entry| stage(reader, entry, &mut names, sinks, backends)).collect();
    check_namespaces(reader, entries, &stages);
    stages.into_iter().collect()
}

/// Two stages that keep results under one name would count as one, and one of them could not be invalidated alone.
fn check_namespaces(reader: &mut Reader<'_, '_>, entries: &[Entry], stages: &[Option<StageSpec>]) {
    let mut known: Vec<(&str, &str)> = Vec::new();
    for (entry, stage) in entries.iter().zip(stages) {
        let Some(StageSpec { name, kind: StageKind::Cached(cached), .. }) = stage else { continue };
        let namespace = cached.namespace.as_str();
        if let Some((_, other)) = known.iter().find(|(known, _)| *known == namespace) {
            let at = match &entry.value {
                Raw::Table(members) => members.iter().find(|member| member.key == keys::CACHE_NAMESPACE.name),
                _ => None,
            };
            let at = at.map_or(&entry.at, |member| &member.entry.at);
            let message = format!("stage {name:?} has the namespace {namespace:?} of stage {other:?}");
            let hint = "give each a namespace of its own".to_owned();
            reader.diagnostics.error(at, message, Some(hint));
        }
        known.push((namespace, name));
    }
}

fn stage(
    reader: &mut Reader<'_, '_>,
    entry: &Entry,
    names: &mut BTreeSet<String>,
    sinks: &Sinks,
    backends: &mut Backends<'_, '_>,
) -> Option<StageSpec> {
    let Raw::Table(members) = &entry.value else {
        let message = format!("a stage is a table, found {}", entry.value.described());
        reader.diagnostics.error(&entry.at, message, Some("it is written [[stage]]".to_owned()));
        return None;
    };
    let unnamed = Table { members, at: Some(&entry.at), called: "the stage" };
    let name = reader.name(unnamed, &keys::STAGE_NAME);
    let called = name.as_ref().map_or("the stage".to_owned(), |name| format!("stage {name:?}"));
    let table = Table { called: &called, ..unnamed };
    if let Some(name) = &name
        && !names.insert(name.clone())
    {
        let at = table.entry(&keys::STAGE_NAME).map_or(&entry.at, |entry| &entry.at);
        reader.diagnostics.error(
            at,
            format!("there are two stages {name:?}"),
            Some("names are unique".to_owned()),
        );
    }
    let kind = reader.choice(table, &keys::STAGE_TYPE);
    let branch = branch(reader, table);
    let rule = reader.choice(table, &keys::STAGE_ON_ERROR);
    let retry = retry(reader, table, rule);
    let kind = match kind {
        Some(kind) => {
            check_keys(reader, table, kind);
            match kind {
                "http" => calls::http(reader, table, name.as_deref(), backends),
                "model" => calls::model(reader, table, name.as_deref(), backends),
                "budget" => calls::budget(reader, table, backends),
                "cached" => cached::cached(reader, table, name.as_deref(), backends),
                _ => self::kind(reader, table, kind, sinks),
            }
        }
        // Without a type every key of any type may be right.
        None => None,
    };
    Some(StageSpec { name: name?, kind: kind?, branch: branch?, on_error: on_error(rule?), retry: retry? })
}

fn check_keys(reader: &mut Reader<'_, '_>, table: Table<'_>, kind: &str) {
    let (own, others): (Vec<Section>, Vec<Section>) =
        keys::STAGES.iter().partition(|section| section.of_type == Some(kind));
    let mut admitted = vec![keys::STAGE_COMMON];
    admitted.extend(own);
    reader.check_keys(table, &admitted, &others);
}

fn kind(reader: &mut Reader<'_, '_>, table: Table<'_>, kind: &str, sinks: &Sinks) -> Option<StageKind> {
    match kind {
        "map" => {
            let wants_keep = table.entry(&keys::KEEP).is_some();
            let keep = if wants_keep { reader.list(table, &keys::KEEP) } else { None };
            if !wants_keep
                && table.entry(&keys::SET).is_none()
                && let Some(at) = table.at
            {
                let message = format!("{} changes nothing", table.called);
                reader.diagnostics.error(at, message, Some("give it keep or set".to_owned()));
            }
            let set = reader.expressions(table, &keys::SET)?;
            if wants_keep && keep.is_none() {
                return None;
            }
            let keep = keep.map(|list| list.into_iter().map(|field| field.expose().to_owned()).collect());
            let set = set.into_iter().map(|(field, expression)| (field, Arc::new(expression))).collect();
            Some(StageKind::Map { keep, set })
        }
        "filter" => Some(StageKind::Filter { when: Arc::new(reader.condition(table, &keys::WHEN)?) }),
        "route" => flow::route(reader, table),
        "dedupe" => flow::dedupe(reader, table),
        "split" => shape::split(reader, table),
        "sample" => shape::sample(reader, table),
        "assert" => shape::assert(reader, table),
        "exec" => exec::exec(reader, table),
        _ => alert(reader, table, sinks),
    }
}

fn alert(reader: &mut Reader<'_, '_>, table: Table<'_>, sinks: &Sinks) -> Option<StageKind> {
    let when = reader.condition(table, &keys::WHEN);
    let to = reader.name(table, &keys::TO).and_then(|name| destination(reader, table, &name, sinks));
    let id_field = reader.field(table, &keys::ALERT_ID);
    let compared =
        when.as_ref().and_then(|when| when.threshold()).map(|(field, number)| (field.to_owned(), number));
    let score_field = match (table.entry(&keys::ALERT_SCORE), &compared) {
        (Some(_), _) => reader.field(table, &keys::ALERT_SCORE),
        (None, Some((field, _))) => Some(field.clone()),
        (None, None) => Some("score".to_owned()),
    };
    let threshold = match (table.entry(&keys::ALERT_THRESHOLD), &compared) {
        (Some(_), _) => reader.written_number(table, &keys::ALERT_THRESHOLD),
        (None, Some((_, number))) => Some(*number),
        (None, None) => {
            // A condition that does not compile has its own error; do not ask for more on its account.
            if when.is_some() {
                reader.missing(table, &keys::ALERT_THRESHOLD);
            }
            None
        }
    };
    Some(StageKind::Alert {
        when: Arc::new(when?),
        to: to?,
        id_field: id_field?,
        score_field: score_field?,
        threshold: threshold?,
    })
}

fn destination(reader: &mut Reader<'_, '_>, table: Table<'_>, name: &str, sinks: &Sinks) -> Option<usize> {
    if let Some(index) = sinks.names.iter().position(|known| known.as_deref() == Some(name)) {
        return Some(index);
    }
    let known = || sinks.names.iter().flatten().map(String::as_str);
    let hint = match suggest::nearest(name, known()) {
        Some(near) => Some(format!("did you mean {near:?}?")),
        None if known().next().is_none() => None,
        None => Some(format!(
            "there {} {}",
            if known().count() == 1 { "is" } else { "are" },
            known().collect::<Vec<_>>().join(", ")
        )),
    };
    if let Some(entry) = table.entry(&keys::TO) {
        reader.diagnostics.error(&entry.at, format!("there is no sink {name:?}"), hint);
    }
    None
}

/// Reads `[stage.retry]`. The outer None stands for an error that was noted.
#[expect(clippy::option_option, reason = "an error that was noted, no retry, and a retry are three things")]
fn retry(reader: &mut Reader<'_, '_>, table: Table<'_>, rule: Option<&str>) -> Option<Option<RetrySpec>> {
    let empty = Table { members: &[], at: table.at, called: "[stage.retry]" };
    let retry = match table.entry(&keys::STAGE_RETRY) {
        None => empty,
        Some(entry) => {
            let Raw::Table(members) = &entry.value else {
                let message = format!("retry is a section, found {}", entry.value.described());
                let hint = "it is written [stage.retry] with attempts and delay_ms".to_owned();
                reader.diagnostics.error(&entry.at, message, Some(hint));
                return None;
            };
            Table { members, at: Some(&entry.at), called: "[stage.retry]" }
        }
    };
    reader.check_keys(retry, &[keys::RETRY], &[]);
    let attempts = reader.integer(retry, &keys::ATTEMPTS);
    let delay_ms = reader.integer(retry, &keys::DELAY_MS);
    let elapsed_max = match retry.entry(&keys::RETRY_ELAPSED) {
        Some(_) => Some(Duration::from_secs_f64(reader.written_number(retry, &keys::RETRY_ELAPSED)?)),
        None => None,
    };
    let spec = RetrySpec {
        attempts: u32::try_from(attempts?).ok()?,
        delay: Duration::from_millis(delay_ms?),
        elapsed_max,
    };
    let written = table.entry(&keys::STAGE_RETRY).is_some();
    Some((written || rule == Some("retry")).then_some(spec))
}
