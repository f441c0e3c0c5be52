//! Branches: where routes lead, and what takes their items.

use super::keys;
use super::reader::{Reader, Table};
use super::sections::first;
use super::tree::{At, Raw};
use crate::spec::{Feed, Otherwise, SinkSpec, StageKind, StageSpec};
use crate::suggest;

/// Refuses routes that lead nowhere and parts that nothing leads to, and notes what flows into each sink.
pub(super) fn check(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    stages: &[StageSpec],
    sinks: &mut [SinkSpec],
) -> Option<()> {
    let taken: Vec<&str> = stages
        .iter()
        .filter_map(|stage| stage.branch.as_deref())
        .chain(sinks.iter().filter_map(|sink| sink.branch.as_deref()))
        .collect();
    let mut sent: Vec<&str> = Vec::new();
    let mut straight: Vec<(String, Feed)> = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        if let Some(branch) = &stage.branch
            && !sent.contains(&branch.as_str())
        {
            not_fed(reader, top, &keys::STAGE, at, &format!("stage {:?}", stage.name), branch, &sent);
        }
        match &stage.kind {
            StageKind::Alert { to, .. } => straight.push((sinks[*to].name.clone(), Feed::Alerts)),
            StageKind::Route { routes, otherwise, .. } => {
                let otherwise = match otherwise {
                    Otherwise::To(name) => Some(name.as_str()),
                    Otherwise::Skip | Otherwise::Pass | Otherwise::Fail => None,
                };
                for name in routes.iter().map(|(name, _)| name.as_str()).chain(otherwise) {
                    if taken.contains(&name) {
                        sent.push(name);
                    } else if sinks.iter().any(|sink| sink.name == name) {
                        straight.push((name.to_owned(), Feed::Routed));
                    } else {
                        leads_nowhere(reader, top, at, name, &taken, sinks);
                    }
                }
            }
            _ => {}
        }
    }
    for (at, sink) in sinks.iter_mut().enumerate() {
        match &sink.branch {
            Some(branch) if !sent.contains(&branch.as_str()) => {
                not_fed(reader, top, &keys::SINK, at, &format!("sink {:?}", sink.name), branch, &sent);
            }
            Some(_) => sink.feed = Feed::Routed,
            None => {
                if let Some((_, feed)) = straight.iter().find(|(name, _)| *name == sink.name) {
                    sink.feed = *feed;
                }
            }
        }
    }
    if reader.diagnostics.has_errors() {
        return None;
    }
    check_ends(reader, top, stages, sinks)
}

/// Every way ends in a sink, unless a route sends everything elsewhere.
fn check_ends(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    stages: &[StageSpec],
    sinks: &[SinkSpec],
) -> Option<()> {
    let diverts = |branch: Option<&str>| {
        let sends_all = |stage: &&StageSpec| matches!(&stage.kind, StageKind::Route { otherwise, .. } if *otherwise != Otherwise::Pass);
        stages.iter().position(|stage| stage.branch.as_deref() == branch && sends_all(&stage))
    };
    check_reached(reader, top, stages, sinks, &diverts)?;
    let diverts = |branch: Option<&str>| diverts(branch).is_some();
    let main = sinks.iter().any(|sink| sink.feed == Feed::Items);
    if !sinks.is_empty() && !main && !diverts(None) {
        let routed = sinks.iter().any(|sink| sink.feed == Feed::Routed);
        let message = if routed {
            "every sink takes what stages send it, and none the items that are left"
        } else {
            "every sink takes alerts, and none the items"
        };
        let hint = "add a [[sink]] that no stage names; it takes what leaves the last stage".to_owned();
        match top.entry(&keys::SINK) {
            Some(entry) => reader.diagnostics.error(&first(entry).at, message, Some(hint)),
            None => reader.missing(top, &keys::SINK),
        }
        return None;
    }
    for (at, stage) in stages.iter().enumerate() {
        let Some(branch) = stage.branch.as_deref() else { continue };
        let ends = sinks.iter().any(|sink| sink.branch.as_deref() == Some(branch)) || diverts(Some(branch));
        if !ends {
            let message = format!("no sink takes the items of branch {branch:?}");
            let hint = Some(format!("give a [[sink]] the key branch = {branch:?}"));
            note(reader, member(top, &keys::STAGE, at, &keys::BRANCH), message, hint);
            return None;
        }
    }
    Some(())
}

/// Nothing comes to what stands behind a route that sends all items of its way elsewhere.
fn check_reached(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    stages: &[StageSpec],
    sinks: &[SinkSpec],
    diverts: &dyn Fn(Option<&str>) -> Option<usize>,
) -> Option<()> {
    let mut unreached = |section: &keys::Key, at: usize, part: String, route: &StageSpec| {
        let message = format!(
            "nothing comes to {part}: the route {:?} before it sends all items elsewhere",
            route.name
        );
        let hint = "give that route otherwise = \"pass\", or this part a branch".to_owned();
        note(reader, member(top, section, at, &keys::BRANCH), message, Some(hint));
    };
    for (at, stage) in stages.iter().enumerate() {
        if let Some(route) = diverts(stage.branch.as_deref()).filter(|route| *route < at) {
            unreached(&keys::STAGE, at, format!("stage {:?}", stage.name), &stages[route]);
            return None;
        }
    }
    for (at, sink) in sinks.iter().enumerate() {
        let on_way = sink.branch.is_some() || sink.feed == Feed::Items;
        if let Some(route) = diverts(sink.branch.as_deref()).filter(|_| on_way) {
            unreached(&keys::SINK, at, format!("sink {:?}", sink.name), &stages[route]);
            return None;
        }
    }
    Some(())
}

/// The place of a key in the table number `at` of a list of tables, or of the table itself.
fn member<'t>(top: Table<'t>, section: &keys::Key, at: usize, key: &keys::Key) -> Option<&'t At> {
    let entry = top.entry(section)?;
    let table = match &entry.value {
        Raw::List(list) => list.get(at)?,
        _ => entry,
    };
    match &table.value {
        Raw::Table(members) => {
            let found = members.iter().find(|member| member.key == key.name);
            Some(found.map_or(&table.at, |member| &member.entry.at))
        }
        _ => Some(&table.at),
    }
}

fn note(reader: &mut Reader<'_, '_>, at: Option<&At>, message: String, hint: Option<String>) {
    match at {
        Some(at) => reader.diagnostics.error(at, message, hint),
        None => reader.diagnostics.file_error(message, hint),
    }
}

fn not_fed(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    section: &keys::Key,
    at: usize,
    part: &str,
    branch: &str,
    sent: &[&str],
) {
    let hint = match suggest::nearest(branch, sent.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if sent.is_empty() => "a stage of type \"route\" before it sends items to branches".to_owned(),
        None => format!("routes before it send items to {}", sent.join(", ")),
    };
    let message = format!("{part} takes branch {branch:?}, but no route before it sends items there");
    note(reader, member(top, section, at, &keys::BRANCH), message, Some(hint));
}

fn leads_nowhere(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    at: usize,
    name: &str,
    taken: &[&str],
    sinks: &[SinkSpec],
) {
    let known = || taken.iter().copied().chain(sinks.iter().map(|sink| sink.name.as_str()));
    let hint = match suggest::nearest(name, known()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!(
            "there are {}; or give a stage or sink branch = {name:?}",
            known().collect::<Vec<_>>().join(", ")
        ),
    };
    let message = format!("{name:?} is neither a sink nor a branch that a later stage or sink takes");
    note(reader, member(top, &keys::STAGE, at, &keys::ROUTES), message, Some(hint));
}
