use std::collections::BTreeMap;

use aqueduct_core::{Clock, Counts, Shutdown};
use aqueduct_orchestrator::{PipelineSpec, RunRequest, SinkKind, assemble};
use aqueduct_stream::{Ended, Report, Resume, RunError, RunFailure, StderrLines};
use serde::Serialize;
use serde_json::{Map, Value};

use super::load;
use super::stand_in::{self, StandIn};
use crate::exit::Exit;
use crate::flags::{Format, Output, PipelineFile, Run};
use crate::{log, output, progress, signals};

/// What `run -o json` prints at the end, as the reference describes it. [`Closing`] is the shape.
pub(crate) const CLOSING_REFERENCE: &str = "\
| field | meaning |
|---|---|
| `pipeline` | its name |
| `ended` | `done`, `nothing-to-do`, `drained`, `stopped`, `limited`, `exhausted` or `failed` |
| `exhausted` | what is used up, where that ended it |
| `error` | why it failed, with the causes; null otherwise |
| `exit_code` | the exit code of this call |
| `read`, `spawned` | items that came in: from the source, and made by stages and by several sinks |
| `delivered`, `dead_lettered`, `skipped`, `absorbed`, `dropped`, `abandoned`, `in_flight` | where they went; \
the sum is `read` + `spawned` |
| `resumed` | with `--resume` only: the checkpoint that it went back to |
| `retries` | attempts beyond the first |
| `epochs` | commits |
| `elapsed_seconds`, `items_per_second` | of this run |
| `guarantee` | what the route as a whole gave: `exactly-once`, `effectively-once`, `at-least-once` or \
`at-most-once` |
| `stages[]` | `name` (`source` is the decoding), `in`, `out`, `failed` attempts, `busy_share` of all workers' time, \
`p50_ms`, `p95_ms`, `p99_ms` of one item; `figures`, what a stage says of itself, where it does |
| `left` | of a replay only: by stage, how many letters were left alone because their stage is gone |

All counts are of this run; `status` has those of the pipeline's whole life. With a `stdout` sink the closing JSON \
goes to standard error, since standard output belongs to the items.
";

#[derive(Serialize)]
struct Closing {
    pipeline: String,
    ended: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<String>,
    error: Option<String>,
    exit_code: u8,
    read: u64,
    spawned: u64,
    delivered: u64,
    dead_lettered: u64,
    skipped: u64,
    absorbed: u64,
    dropped: u64,
    abandoned: u64,
    in_flight: u64,
    retries: u64,
    epochs: u64,
    elapsed_seconds: f64,
    items_per_second: f64,
    guarantee: Option<&'static str>,
    stages: Vec<ClosingStage>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    left: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct ClosingStage {
    name: String,
    #[serde(rename = "in")]
    taken: u64,
    #[serde(rename = "out")]
    given: u64,
    failed: u64,
    busy_share: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    #[serde(skip_serializing_if = "Map::is_empty")]
    figures: Map<String, Value>,
}

/// Runs a pipeline.
pub(super) async fn run(flags: Run) -> Exit {
    let spec = match load(&flags.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    log::show(flags.output.verbose);
    let stand_in = match StandIn::start(&spec).await {
        Ok(stand_in) => stand_in,
        Err(exit) => return exit,
    };
    let (shutdown, signal) = Shutdown::new();
    let request = RunRequest {
        limit: flags.limit,
        resume: flags.resume.clone().map(|checkpoint| Resume { checkpoint, rollback: flags.rollback }),
        accept_change: flags.accept_change,
        clock: Clock::system(),
        shutdown: signal,
        search_path: std::env::var_os("PATH"),
        stderr_lines: flags.output.verbose.then(|| StderrLines::new(output::message)),
        stand_in: stand_in.urls(),
        ..RunRequest::default()
    };
    if flags.dry_run {
        let watching = signals::watch(shutdown);
        let exit = super::preview::preview(&spec, &flags, request).await;
        watching.abort();
        return exit;
    }
    let live = request.progress.clone();
    let pipeline = assemble(&spec, request);
    if flags.output.verbose {
        for line in spec.settings.lines() {
            output::message(&format!("{} = {} ({})", line.name, line.value, line.origin));
        }
    }
    let watching = signals::watch(shutdown);
    let (bar, drawing) = progress::show(spec.name.clone(), live);
    let result = pipeline.run().await;
    drawing.abort();
    watching.abort();
    bar.finish_and_clear();
    let exit = close(&spec, &flags.file, flags.output, result);
    tell(stand_in, flags.output).await;
    exit
}

/// Says what the stand-in saw, if there was one.
pub(super) async fn tell(stand_in: StandIn, shape: Output) {
    if let Some(account) = stand_in.stop().await
        && shape.output == Format::Text
    {
        output::message(&format!("  {}", stand_in::told(&account)));
    }
}

/// Says how a run or a replay ended.
pub(super) fn close(
    spec: &PipelineSpec,
    file: &PipelineFile,
    shape: Output,
    result: Result<Report, RunFailure>,
) -> Exit {
    let (report, failure) = match result {
        Ok(report) => (Some(report), None),
        Err(failure) => (failure.report.map(|report| *report), Some(failure.error)),
    };
    let exit = exit_code(spec, report.as_ref(), failure.as_ref());
    if let Some(error) = &failure {
        output::error(error);
    }
    for (name, damage) in report.iter().flat_map(|report| &report.resumed).flat_map(|back| &back.damaged) {
        output::message(&format!("warning: checkpoint {name} is damaged and was passed over: {damage}"));
    }
    if shape.output == Format::Text {
        if let Some(report) = &report {
            print(spec, file, shape, report, failure.is_some());
        }
    } else {
        let closing = closing(spec, report, failure.as_ref(), exit);
        let text = output::json(shape.output, &closing);
        if spec.sinks.iter().any(|sink| matches!(sink.kind, SinkKind::Stdout)) {
            output::message(&text);
        } else {
            output::data_line(&text);
        }
    }
    exit
}

fn exit_code(spec: &PipelineSpec, report: Option<&Report>, failure: Option<&RunError>) -> Exit {
    if let Some(error) = failure {
        return Exit::of_run(error);
    }
    let Some(report) = report else { return Exit::Failed };
    if !report.left.is_empty() && matches!(report.ended, Ended::Done | Ended::NothingToDo) {
        return Exit::DeadLetters;
    }
    match report.ended {
        Ended::Drained | Ended::Stopped | Ended::Limited | Ended::Exhausted => Exit::Early,
        Ended::NothingToDo => Exit::Nothing,
        Ended::Done if too_many_dead(spec, &report.counts) => Exit::DeadLetters,
        Ended::Done => Exit::Done,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of counts; beyond 2^53 items the last digit does not matter"
)]
fn too_many_dead(spec: &PipelineSpec, counts: &Counts) -> bool {
    let allowed = spec.settings.allowed_dead_letter_ratio.value.get();
    counts.dead_lettered as f64 > allowed * counts.read as f64
}

fn ended(report: Option<&Report>, failed: bool) -> &'static str {
    match report.map(|report| report.ended) {
        _ if failed => "failed",
        Some(Ended::Done) => "done",
        Some(Ended::NothingToDo) => "nothing-to-do",
        Some(Ended::Drained) => "drained",
        Some(Ended::Stopped) => "stopped",
        Some(Ended::Limited) => "limited",
        Some(Ended::Exhausted) => "exhausted",
        None => "failed",
    }
}

fn closing(spec: &PipelineSpec, report: Option<Report>, failure: Option<&RunError>, exit: Exit) -> Closing {
    let counts = report.as_ref().map(|report| report.counts).unwrap_or_default();
    Closing {
        pipeline: spec.name.clone(),
        ended: ended(report.as_ref(), failure.is_some()),
        exhausted: report.as_ref().and_then(|report| report.exhausted.clone()),
        resumed: report.as_ref().and_then(|report| Some(report.resumed.as_ref()?.checkpoint.clone())),
        error: failure.map(with_causes),
        exit_code: exit.code(),
        read: counts.read,
        spawned: counts.spawned,
        delivered: counts.delivered,
        dead_lettered: counts.dead_lettered,
        skipped: counts.skipped,
        absorbed: counts.absorbed,
        dropped: counts.dropped,
        abandoned: counts.abandoned,
        in_flight: counts.in_flight,
        retries: report.as_ref().map_or(0, |report| report.retries),
        epochs: report.as_ref().map_or(0, |report| report.epochs),
        elapsed_seconds: report.as_ref().map_or(0.0, |report| report.elapsed.as_secs_f64()),
        items_per_second: report.as_ref().map_or(0.0, Report::items_per_second),
        guarantee: report.as_ref().map(|report| report.guarantee.as_str()),
        left: report.as_ref().map(|report| report.left.clone()).unwrap_or_default(),
        stages: report
            .map(|report| report.stages)
            .unwrap_or_default()
            .into_iter()
            .map(closing_stage)
            .collect(),
    }
}

fn closing_stage(stage: aqueduct_stream::StageReport) -> ClosingStage {
    ClosingStage {
        name: stage.name,
        taken: stage.taken,
        given: stage.given,
        failed: stage.failed,
        busy_share: stage.busy_share,
        p50_ms: stage.p50_ms,
        p95_ms: stage.p95_ms,
        p99_ms: stage.p99_ms,
        figures: stage.figures,
    }
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &RunError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// The closing words for people.
fn print(spec: &PipelineSpec, file: &PipelineFile, shape: Output, report: &Report, failed: bool) {
    let counts = &report.counts;
    let count = output::count;
    let file = file.file.display();
    let how = match report.ended {
        _ if failed => "failed",
        Ended::Done => "done",
        Ended::NothingToDo => "nothing to do: everything that is there was done before",
        Ended::Drained => "stopped early, everything committed; run it again to continue",
        Ended::Stopped => "stopped at once; run it again to continue",
        Ended::Limited => "limit reached, everything committed; run it again to continue",
        Ended::Exhausted => "ended early, everything before that committed; run it again to continue",
    };
    output::message(&format!("{}: {how}", spec.name));
    if let Some(back) = &report.resumed {
        output::message(&format!("  went back to checkpoint {} first", back.checkpoint));
    }
    if let Some(exhausted) = &report.exhausted {
        output::message(&format!("  {exhausted}"));
    }
    if report.ended != Ended::NothingToDo || failed {
        let mut parts = vec![format!("read {}", count(counts.read))];
        let named = [
            ("spawned", counts.spawned),
            ("delivered", counts.delivered),
            ("skipped", counts.skipped),
            ("dead-lettered", counts.dead_lettered),
            ("dropped", counts.dropped),
            ("abandoned", counts.abandoned),
            ("in flight", counts.in_flight),
        ];
        parts.extend(named.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {}", count(*n))));
        output::message(&format!(
            "  {} in {:.2} s ({:.0} items/s, {})",
            parts.join(", "),
            report.elapsed.as_secs_f64(),
            report.items_per_second(),
            report.guarantee
        ));
    }
    for (stage, letters) in &report.left {
        output::message(&format!(
            "  {} left alone: there is no stage or sink {stage} any more; put it back, or take them out with: aqueduct \
             dlq export {file} --stage {stage}",
            output::plural(*letters, "dead letter")
        ));
    }
    if counts.dead_lettered > 0 {
        output::message(&format!(
            "  {} set aside; see them with: aqueduct dlq ls {file}",
            output::plural(counts.dead_lettered, "item")
        ));
    }
    if report.ended != Ended::NothingToDo {
        for stage in &report.stages {
            let figures = figures(&stage.figures);
            if !figures.is_empty() {
                output::message(&format!("  {}: {figures}", stage.name));
            }
        }
    }
    if shape.verbose {
        for stage in &report.stages {
            output::message(&format!(
                "  {:<16} in {}, out {}, failed {}, busy {:.0} %, p50 {:.4} ms, p95 {:.4} ms, p99 {:.4} ms",
                stage.name,
                count(stage.taken),
                count(stage.given),
                count(stage.failed),
                stage.busy_share * 100.0,
                stage.p50_ms,
                stage.p95_ms,
                stage.p99_ms
            ));
        }
        for sink in &report.sinks {
            output::message(&format!("  sink {}: {}, because {}", sink.sink, sink.guarantee, sink.reason));
        }
    }
}

/// What a stage says of itself, in one line; what did not happen is left out.
fn figures(figures: &Map<String, Value>) -> String {
    let figure = |(name, value): (&String, &Value)| {
        let name = name.replace('_', " ");
        Some(match value {
            Value::Number(number) if number.as_f64() == Some(0.0) => return None,
            Value::Number(number) => match number.as_u64() {
                Some(whole) => format!("{name} {}", output::count(whole)),
                None => format!("{name} {number}"),
            },
            Value::Object(inner) => {
                let of = inner.get("name").and_then(Value::as_str).unwrap_or_default();
                let inner: Map<String, Value> = inner
                    .iter()
                    .filter(|(key, _)| *key != "name")
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                let inner = self::figures(&inner);
                if inner.is_empty() {
                    return None;
                }
                format!("{name} {of} ({inner})")
            }
            other => format!("{name} {other}"),
        })
    };
    figures.iter().filter_map(figure).collect::<Vec<_>>().join(", ")
}
