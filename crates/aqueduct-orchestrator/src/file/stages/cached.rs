//! The stage `cached`.

use std::sync::Arc;

use super::exec;
use crate::expression::Type;
use crate::file::backends::{Backends, optional};
use crate::file::keys::{self, Section};
use crate::file::reader::{Reader, Table};
use crate::file::tree::Raw;
use crate::file::{cache, calls};
use crate::spec::{CachedSpec, InnerSpec, StageKind};

pub(super) fn cached(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    name: Option<&str>,
    backends: &mut Backends<'_, '_>,
) -> Option<StageKind> {
    let key = reader.expression(table, &keys::CACHE_KEY);
    let namespace = match table.entry(&keys::CACHE_NAMESPACE) {
        Some(_) => reader.name(table, &keys::CACHE_NAMESPACE),
        None => name.map(str::to_owned),
    };
    let kept = cache::kept(reader, table, backends.variables());
    let tags = optional(reader, table, &keys::CACHE_TAGS, |reader, key| {
        let tags = reader.expression(table, key)?;
        match tags.result_type() {
            None | Some(Type::List) => Some(Arc::new(tags)),
            Some(other) => {
                if let Some(entry) = table.entry(key) {
                    let message =
                        format!("tags must give a list of texts, and this gives {}", other.described());
                    reader.diagnostics.error(&entry.at, message, None);
                }
                None
            }
        }
    });
    let of = of(reader, table, name, backends);
    Some(StageKind::Cached(Box::new(CachedSpec {
        key: Arc::new(key?),
        namespace: namespace?,
        kept: kept?,
        tags: tags?,
        of: of?,
    })))
}

/// The stage within.
fn of(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    name: Option<&str>,
    backends: &mut Backends<'_, '_>,
) -> Option<InnerSpec> {
    let Some(entry) = table.entry(&keys::CACHE_OF) else {
        reader.missing(table, &keys::CACHE_OF);
        return None;
    };
    let Raw::Table(members) = &entry.value else {
        let message = format!("of is a section, found {}", entry.value.described());
        reader.diagnostics.error(&entry.at, message, Some("it is written [stage.of]".to_owned()));
        return None;
    };
    let called = name.map_or("[stage.of]".to_owned(), |name| format!("[stage.of] of stage {name:?}"));
    let table = Table { members, at: Some(&entry.at), called: &called };
    let kind = reader.choice(table, &keys::OF_TYPE)?;
    let refused = [
        (
            &keys::KEEP,
            "leave it out: a hit adds the kept fields to an item of its own; choose fields in a `map` behind it",
        ),
        (&keys::JOURNAL, "leave it out: with `disk = true` in [cache] the next run has the results"),
    ];
    let mut is_refused = false;
    for member in members {
        if let Some((key, hint)) = refused.iter().find(|(key, _)| key.name == member.key) {
            let message = format!("{called} takes no {}", key.name);
            reader.diagnostics.error(&member.key_at, message, Some((*hint).to_owned()));
            is_refused = true;
        }
    }
    let rest: Vec<_> = members
        .iter()
        .filter(|member| !refused.iter().any(|(key, _)| key.name == member.key))
        .cloned()
        .collect();
    let (own, others): (Vec<Section>, Vec<Section>) =
        keys::OF.iter().partition(|section| section.of_type == Some(kind));
    let admitted: Vec<Section> = [keys::OF_COMMON].into_iter().chain(own).collect();
    let table = Table { members: &rest, ..table };
    reader.check_keys(table, &admitted, &others);
    let of = match kind {
        "http" => calls::http(reader, table, name, backends),
        "model" => calls::model(reader, table, name, backends),
        _ => exec::exec(reader, table),
    };
    match of? {
        _ if is_refused => None,
        StageKind::Http(http) => Some(InnerSpec::Http(http)),
        StageKind::Model(model) => Some(InnerSpec::Model(model)),
        StageKind::Exec(exec) => Some(InnerSpec::Exec(exec)),
        _ => None,
    }
}
