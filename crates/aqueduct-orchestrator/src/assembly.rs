//! From a checked file to a pipeline that runs.

mod alert;
mod assert;
mod budget;
mod cached;
mod dedupe;
mod exec;
mod filter;
mod map;
mod route;
mod sample;
mod source;
mod split;
mod waiting;

use std::sync::Arc;

use aqueduct_retry::{Growth, Jitter, Schedule};
use aqueduct_stream::{
    CsvSink, Guarantee as RouteGuarantee, JsonlSink, OnError as Rule, Options, Pipeline, SqliteSink,
    StdoutSink,
};

use self::waiting::Waiting;
use crate::allowance::Allowance;
use crate::caches::Caches;
use crate::connectors::backend::Backend;
use crate::connectors::http::sink::HttpSink;
use crate::connectors::queue::Stores;
use crate::connectors::queue::sink::QueueSink;
use crate::request::RunRequest;
use crate::spec::{
    Guarantee, HttpSinkSpec, InnerSpec, OnError, PipelineSpec, QueueSinkSpec, RetrySpec, SinkKind, StageKind,
    StageSpec,
};

/// Builds the pipeline that a file describes. Nothing is opened or read yet.
#[must_use = "a pipeline does nothing until it runs"]
pub fn assemble(spec: &PipelineSpec, request: RunRequest) -> Pipeline {
    let clock = request.clock.clone();
    let programs = exec::Surroundings {
        clock: clock.clone(),
        search_path: request.search_path.clone(),
        stderr_lines: request.stderr_lines.clone(),
    };
    let faults = request.faults.clone();
    let (progress, shutdown) = (Arc::clone(&request.progress), request.shutdown.clone());
    let caches = Caches::new(spec, &request);
    let waiting = Waiting {
        spec,
        clock: clock.clone(),
        programs,
        progress,
        backends: spec
            .backends
            .iter()
            .map(|backend| Backend::new(backend, spec, &request, &caches))
            .collect(),
        allowances: spec.budget.iter().map(Allowance::new).collect(),
        caches,
        is_played: !request.stand_in.is_empty(),
    };
    let backends = &waiting.backends;
    let stores = Stores::new(clock.clone(), request.metrics.clone());
    let mut pipeline = Pipeline::named(&spec.name).options(options(spec, request));
    pipeline = source::add(pipeline, spec, backends, &stores);
    pipeline = pipeline.on_error(rule(spec.source.on_error));
    for stage in &spec.stages {
        pipeline = match &stage.kind {
            StageKind::Map { keep, set } => pipeline.stage(&stage.name, map::Map::new(keep.as_deref(), set)),
            StageKind::Filter { when } => pipeline.stage(&stage.name, filter::Filter::new(when)),
            StageKind::Alert { when, to, id_field, score_field, threshold } => {
                let alert = alert::Alert {
                    when: Arc::clone(when),
                    sink: spec.sinks[*to].name.as_str().into(),
                    id_field: id_field.clone(),
                    score_field: score_field.clone(),
                    threshold: *threshold,
                    clock: clock.clone(),
                };
                pipeline.stage(&stage.name, alert)
            }
            StageKind::Route { routes, all, otherwise } => {
                pipeline.stage(&stage.name, route::Route::new(routes, *all, otherwise))
            }
            StageKind::Dedupe { key, horizon } => {
                pipeline.ordered_stage(&stage.name, dedupe::dedupe(key, *horizon))
            }
            StageKind::Split { field, name, keep, items_max } => {
                let split = split::Split {
                    field: field.clone(),
                    name: name.clone(),
                    keep: keep.clone(),
                    items_max: *items_max,
                };
                pipeline.stage(&stage.name, split)
            }
            StageKind::Sample { ratio, seed, key } => {
                pipeline.stage(&stage.name, sample::Sample::new(*ratio, *seed, key.as_ref()))
            }
            StageKind::Assert { when, message } => {
                pipeline.stage(&stage.name, assert::Assert::new(when, message.as_deref()))
            }
            StageKind::Budget { draw, cost } => {
                let budget =
                    budget::Budget { allowance: Arc::clone(&waiting.allowances[*draw]), cost: cost.clone() };
                pipeline.ordered_stage(&stage.name, budget)
            }
            StageKind::Http(http) => {
                let journal = http.journal;
                let pipeline = pipeline.async_stage(&stage.name, waiting.http(&stage.name, http));
                if journal { pipeline.journalled() } else { pipeline }
            }
            StageKind::Model(model) => {
                let journal = model.journal;
                let pipeline = pipeline.async_stage(&stage.name, waiting.model(&stage.name, model));
                if journal { pipeline.journalled() } else { pipeline }
            }
            StageKind::Exec(exec) => pipeline.async_stage(&stage.name, waiting.exec(&stage.name, exec)),
            StageKind::Cached(spec) => pipeline.async_stage(&stage.name, waiting.cached(&stage.name, spec)),
        };
        pipeline = pipeline.rule(stage_rule(spec, stage));
        for (_, fault) in faults.iter().filter(|(name, _)| *name == stage.name) {
            pipeline = pipeline.faulted(fault.clone());
        }
        if let Some(branch) = &stage.branch {
            pipeline = pipeline.on_branch(branch);
        }
    }
    for sink in &spec.sinks {
        pipeline = match &sink.kind {
            SinkKind::Sqlite { path, table, key, columns } => {
                let mut table = SqliteSink::new(spec.path(path), table.expose());
                if let Some(key) = key {
                    table = table.with_key(key.expose());
                }
                if let Some(columns) = columns {
                    table = table.with_columns(columns.iter().map(|column| column.expose()));
                }
                pipeline.sink(&sink.name, table)
            }
            SinkKind::Jsonl { path } => pipeline.sink(&sink.name, JsonlSink::new(spec.path(path))),
            SinkKind::Csv { path, delimiter, columns } => {
                let mut csv = CsvSink::new(spec.path(path)).with_delimiter(*delimiter);
                if let Some(columns) = columns {
                    csv = csv.with_columns(columns.iter().map(|column| column.expose()));
                }
                pipeline.sink(&sink.name, csv)
            }
            SinkKind::Http(http) => {
                let size = http.batch_items.unwrap_or(spec.settings.write_size.value);
                let scope = format!("{}/{}/", spec.name, sink.name);
                let backend = Arc::clone(&backends[http.backend]);
                let http = HttpSink::new(HttpSinkSpec::clone(http), size, backend, scope, shutdown.clone());
                pipeline.sink(&sink.name, http)
            }
            SinkKind::Queue(queue) => {
                let (path, stores) = (spec.path(&queue.path), Arc::clone(&stores));
                let scope = format!("{}/{}/", spec.name, sink.name);
                let queue =
                    QueueSink::new(QueueSinkSpec::clone(queue), path, stores, scope, shutdown.clone());
                pipeline.sink(&sink.name, queue)
            }
            SinkKind::Stdout => pipeline.sink(&sink.name, StdoutSink::new()),
        };
        pipeline = pipeline.on_error(rule(sink.on_error));
        if let Some(branch) = &sink.branch {
            pipeline = pipeline.on_branch(branch);
        }
    }
    pipeline
}

fn options(spec: &PipelineSpec, request: RunRequest) -> Options {
    let settings = &spec.settings;
    let options = Options {
        workers: settings.workers.value,
        batch_items: settings.batch_size.value,
        epoch_batches: settings.epoch_batches.value,
        window_bytes: settings.window_bytes.value,
        window_items: settings.window_items.value,
        checkpoint_interval: spec.checkpoint_interval(),
        skip_limit: spec.batch.and_then(|batch| batch.skip_limit),
        retention: spec.retention.clone(),
        limit: request.limit,
        overflow: spec.overflow,
        resume: request.resume,
        accept_change: request.accept_change,
        guarantee: spec.guarantee.map(|guarantee| match guarantee {
            Guarantee::ExactlyOnce => RouteGuarantee::ExactlyOnce,
            Guarantee::AtLeastOnce => RouteGuarantee::AtLeastOnce,
            Guarantee::AtMostOnce => RouteGuarantee::AtMostOnce,
        }),
        data_dir: Some(spec.path(&settings.data_dir.value)),
        configuration: configuration(spec),
        clock: request.clock,
        shutdown: request.shutdown,
        progress: request.progress,
        metrics: request.metrics,
        ..Options::default()
    };
    if spec.batch.is_some() { aqueduct_batch::within_interval(options) } else { options }
}

/// What the pipeline is made of, in words: a change of it is a new generation in the ledger. Settings of the
/// run are not part of it, and neither are resolved secrets.
fn configuration(spec: &PipelineSpec) -> String {
    format!("{:?} {:?} {:?}", spec.source, spec.stages, spec.sinks)
}

fn rule(on_error: OnError) -> Rule {
    match on_error {
        OnError::Stop => Rule::Stop,
        OnError::Skip => Rule::Skip,
        OnError::Retry => Rule::Retry,
        OnError::DeadLetter => Rule::DeadLetter,
    }
}

fn stage_rule(spec: &PipelineSpec, stage: &StageSpec) -> aqueduct_stream::Rule {
    let mut rule = aqueduct_stream::Rule::new(rule(stage.on_error));
    // What calls a backend keeps to its rules, and three retries around three retries would be fifteen.
    let calls = match &stage.kind {
        StageKind::Http(_) | StageKind::Model(_) => true,
        StageKind::Cached(cached) => !matches!(cached.of, InnerSpec::Exec(_)),
        _ => false,
    };
    let retry = stage.retry.unwrap_or(RetrySpec {
        attempts: if calls { 1 } else { rule.schedule.retries_max() + 1 },
        delay: aqueduct_stream::Rule::FIRST_DELAY,
        elapsed_max: None,
    });
    let elapsed_max = retry.elapsed_max.unwrap_or(spec.settings.max_elapsed.value);
    let schedule = Schedule::builder(Growth::Exponential { first: retry.delay, factor: 2.0 })
        .jitter(Jitter::Full)
        .retries_max(retry.attempts.saturating_sub(1))
        .delay_max(aqueduct_stream::Rule::DELAY_MAX.max(retry.delay))
        .elapsed_max(elapsed_max)
        .build();
    // The file's ranges lie within the schedule's; its own default is right for everything else.
    if let Ok(schedule) = schedule {
        rule.schedule = schedule;
    }
    rule
}
