//! The file as a whole: its sections, and what holds between them.

use super::batch::Batch;
use super::diagnostics::Diagnostics;
use super::reader::{Reader, Table};
use super::references::Resolver;
use super::sections::section;
use super::tree::{At, Member, Raw};
use super::{Inputs, backends, batch, cache, keys, retention, sinks, sources, stages, stand_in, ways};
use aqueduct_store::Retention;
use aqueduct_stream::Overflow;

use crate::error::ConfigError;
use crate::redacted::Redacted;
use crate::settings::{self, Origin, Settings, Variables, Written, WrittenSettings};
use crate::spec::{BatchSpec, Guarantee, PipelineSpec, SourceSpec, StageKind};

/// Reads the whole tree. None when something is missing that an error was noted for.
pub(super) fn read(
    root: &[Member],
    inputs: &Inputs<'_>,
    resolver: &Resolver<'_>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<PipelineSpec> {
    let top = Table { members: root, at: None, called: "the file" };
    let mut reader = Reader { diagnostics, resolver };
    reader.check_keys(top, &[keys::TOP], &[]);
    let name = reader.name(top, &keys::NAME);
    let guarantee = top.entry(&keys::GUARANTEE).and_then(|_| reader.choice(top, &keys::GUARANTEE));
    let variables = variables(&mut reader, inputs);
    let mut backends = backends::read(&mut reader, top, inputs, &variables);
    let source = section(&mut reader, top, &keys::SOURCE, "[source]")
        .and_then(|table| sources::read(&mut reader, table, &mut backends));
    let sinks = sinks::read(&mut reader, top, &mut backends);
    let stages = stages::read(&mut reader, top, &sinks, &mut backends);
    let is_cached = |stage: &crate::spec::StageSpec| matches!(stage.kind, StageKind::Cached(_));
    let caches = stages.iter().flatten().any(is_cached)
        || backends.specs.iter().flatten().any(|backend| backend.cache.is_some());
    let cache = cache::read(&mut reader, top, inputs, &variables, caches);
    let batch = batch::read(&mut reader, top, inputs);
    let mut retention = retention::read(&mut reader, top);
    if let Some(batch) = &batch {
        retention.checkpoints = kept_checkpoints(&mut reader, top, inputs, batch, &retention);
    }
    let name_so_far = name.as_deref().unwrap_or_default();
    let (settings, batch) = settings(&mut reader, top, name_so_far, inputs, &variables, batch);
    let overflow = overflow(&mut reader, top);
    let stand_in = stand_in::read(&mut reader, top, inputs);
    let sinks = sinks.specs;
    // All of one step, so that the errors of one part never hide those of another.
    let (name, source, stages) = (name?, source?, stages?);
    let mut sinks = sinks.into_iter().collect::<Option<Vec<_>>>()?;
    ways::check(&mut reader, top, &stages, &mut sinks)?;
    let overflow = overflow?;
    let stand_in = stand_in?;
    let budget = backends.budget;
    let backends = backends.specs.into_iter().collect::<Option<Vec<_>>>()?;
    check_windows(&mut reader, top, &source, &settings);
    Some(PipelineSpec {
        name,
        folder: resolver.folder.to_owned(),
        guarantee: guarantee.map(|word| match word {
            "exactly-once" => Guarantee::ExactlyOnce,
            "at-most-once" => Guarantee::AtMostOnce,
            _ => Guarantee::AtLeastOnce,
        }),
        source,
        backends,
        budget,
        cache,
        stages,
        sinks,
        settings,
        overflow,
        batch,
        retention,
        stand_in,
    })
}

/// Reads `[run]` and joins it with `[batch]`, flags and environment.
fn settings(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    pipeline: &str,
    inputs: &Inputs<'_>,
    variables: &Variables,
    batch: Option<Batch<'_>>,
) -> (Settings, Option<BatchSpec>) {
    let run = section(reader, top, &keys::RUN, "[run]").unwrap_or(Table {
        members: &[],
        at: None,
        called: "[run]",
    });
    reader.check_keys(run, &[keys::RUN_SECTION], &[]);
    let mut integer = |key| reader.written_integer(run, key).map(|value| written(inputs, run, key, value));
    let mut settings = WrittenSettings {
        workers: integer(&keys::WORKERS),
        batch_size: integer(&keys::BATCH_SIZE),
        checkpoint_interval: integer(&keys::CHECKPOINT_INTERVAL),
        epoch_batches: integer(&keys::EPOCH_BATCHES),
        window_bytes: integer(&keys::WINDOW_BYTES),
        window_items: integer(&keys::WINDOW_ITEMS),
        ..WrittenSettings::default()
    };
    let mut number = |key| reader.written_number(run, key).map(|value| written(inputs, run, key, value));
    settings.max_elapsed_seconds = number(&keys::MAX_ELAPSED_SECONDS);
    settings.allowed_dead_letter_ratio = number(&keys::ALLOWED_DEAD_LETTER_RATIO);
    settings.data_dir = data_dir(reader, top, inputs);
    let Some(mut batch) = batch else {
        return (settings::resolve(settings, pipeline, inputs.cores, variables), None);
    };
    settings.is_batch = true;
    let size = (&keys::SIZE, batch.size.take());
    settings.batch_size = batch.join(reader, size, ("batch_size of [run]", settings.batch_size));
    let dir = (&keys::CHECKPOINT_DIR, batch.dir.take());
    settings.data_dir = batch.join(reader, dir, ("data_dir", settings.data_dir));
    let every = batch.every.take();
    if every.is_some()
        && let Some(entry) = run.entry(&keys::CHECKPOINT_INTERVAL)
    {
        let message = "[run] and [batch] both say how far checkpoints lie apart".to_owned();
        reader.diagnostics.error(&entry.at, message, Some("write one of them".to_owned()));
    }
    let interval = (&keys::EVERY_BATCHES, batch.interval.take());
    settings.checkpoint_interval =
        batch.join(reader, interval, ("checkpoint_interval of [run]", settings.checkpoint_interval));
    let settings = settings::resolve(settings, pipeline, inputs.cores, variables);
    // The variable counts batches, and covers the file.
    let covered = matches!(settings.checkpoint_interval.origin, Origin::Variable(_));
    let every = every.filter(|every| every.flag.is_some() || !covered).map(|every| every.value);
    let spec = BatchSpec { every, skip_limit: batch.skip_limit };
    (settings, Some(spec))
}

/// How many checkpoints are kept, as `[batch]` or `[retention]` says.
fn kept_checkpoints(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    inputs: &Inputs<'_>,
    batch: &Batch<'_>,
    retention: &Retention,
) -> usize {
    let table = match top.entry(&keys::RETENTION).map(|entry| (&entry.value, &entry.at)) {
        Some((Raw::Table(members), at)) => Table { members, at: Some(at), called: "[retention]" },
        _ => Table { members: &[], at: None, called: "[retention]" },
    };
    let elsewhere = table
        .entry(&keys::CHECKPOINTS)
        .map(|_| written(inputs, table, &keys::CHECKPOINTS, retention.checkpoints as u64));
    let own = batch.keep.as_ref().map(|keep| Written { value: keep.value, flag: keep.flag.clone() });
    let kept = batch.join(reader, (&keys::KEPT_CHECKPOINTS, own), ("checkpoints of [retention]", elsewhere));
    kept.map_or(retention.checkpoints, |kept| usize::try_from(kept.value).unwrap_or(usize::MAX))
}

/// Reads the environment.
fn variables(reader: &mut Reader<'_, '_>, inputs: &Inputs<'_>) -> Variables {
    let mut errors: Vec<ConfigError> = Vec::new();
    let variables = Variables::read(inputs.environment, &mut errors);
    errors.into_iter().for_each(|error| reader.diagnostics.placed(error));
    variables
}

/// Reads what happens when there is no room. None when an error was noted.
fn overflow(reader: &mut Reader<'_, '_>, top: Table<'_>) -> Option<Overflow> {
    let empty = Table { members: &[], at: None, called: "[run]" };
    let run = match top.entry(&keys::RUN).map(|entry| (&entry.value, &entry.at)) {
        Some((Raw::Table(members), at)) => Table { members, at: Some(at), called: "[run]" },
        _ => empty,
    };
    Some(match reader.choice(run, &keys::OVERFLOW)? {
        "drop-newest" => Overflow::DropNewest,
        "drop-oldest" => Overflow::DropOldest,
        _ => Overflow::Wait,
    })
}

fn data_dir(reader: &mut Reader<'_, '_>, top: Table<'_>, inputs: &Inputs<'_>) -> Option<Written<Redacted>> {
    top.entry(&keys::DATA_DIR)?;
    let value = reader.text(top, &keys::DATA_DIR)?;
    Some(written(inputs, top, &keys::DATA_DIR, value))
}

/// A value with the flag it stands in, if it does.
pub(super) fn written<T>(inputs: &Inputs<'_>, table: Table<'_>, key: &keys::Key, value: T) -> Written<T> {
    let flag = match table.entry(key).map(|entry| &entry.at) {
        Some(At::Flag(flag)) => inputs.overrides.get(*flag).map(|change| change.flag.clone()),
        _ => None,
    };
    Written { value, flag }
}

/// A line and a batch must fit the window, or the source would wait for room that never comes.
fn check_windows(reader: &mut Reader<'_, '_>, top: Table<'_>, source: &SourceSpec, settings: &Settings) {
    let inside = |section: &keys::Key, key: &keys::Key| {
        top.entry(section).and_then(|entry| match &entry.value {
            Raw::Table(members) => {
                members.iter().find(|member| member.key == key.name).map(|member| &member.entry.at)
            }
            _ => None,
        })
    };
    let window_bytes = settings.window_bytes.value;
    if let Some(line_bytes_max) = source.kind.line_bytes_max()
        && line_bytes_max > window_bytes
    {
        let message = format!(
            "line_bytes_max is {line_bytes_max} and window_bytes is {window_bytes}; a line must fit the window"
        );
        let at =
            inside(&keys::RUN, &keys::WINDOW_BYTES).or_else(|| inside(&keys::SOURCE, &keys::LINE_BYTES_MAX));
        report(reader, at, message, "raise run.window_bytes");
    }
    let (batch, window_items) = (settings.batch_size.value, settings.window_items.value);
    if batch > window_items {
        let message = format!(
            "batch_size is {batch} ({}) and window_items is {window_items}; a batch must fit the window",
            settings.batch_size.origin
        );
        let at = inside(&keys::RUN, &keys::WINDOW_ITEMS).or_else(|| inside(&keys::RUN, &keys::BATCH_SIZE));
        report(reader, at, message, "raise run.window_items");
    }
}

fn report(reader: &mut Reader<'_, '_>, at: Option<&At>, message: String, hint: &str) {
    match at {
        Some(at) => reader.diagnostics.error(at, message, Some(hint.to_owned())),
        None => reader.diagnostics.file_error(message, Some(hint.to_owned())),
    }
}
