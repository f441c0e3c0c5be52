use aqueduct_orchestrator::{
    BackendSpec, Otherwise, PipelineSpec, Scope, SharedCacheSpec, StageKind, Target, cache_namespaces,
    ledger_path,
};
use aqueduct_stream::Horizon;
use serde::Serialize;

use super::{load_with_guarantees, weakest};
use crate::exit::Exit;
use crate::flags::{Format, Look};
use crate::output;

#[derive(Serialize)]
struct Explained {
    pipeline: String,
    guarantee: &'static str,
    ledger: String,
    source: String,
    /// Where results are kept, where any are.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
    stages: Vec<ExplainedStage>,
    sinks: Vec<ExplainedSink>,
}

#[derive(Serialize)]
struct ExplainedStage {
    name: String,
    does: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    on_error: &'static str,
}

#[derive(Serialize)]
struct ExplainedSink {
    name: String,
    what: String,
    takes: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    on_error: &'static str,
    guarantee: &'static str,
    reason: String,
}

/// Tells what a pipeline does and what it guarantees.
pub(super) fn explain(look: &Look) -> Exit {
    let (spec, guarantees) = match load_with_guarantees(&look.file) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let explained = Explained {
        pipeline: spec.name.clone(),
        guarantee: weakest(&guarantees),
        ledger: ledger_path(&spec).display().to_string(),
        source: spec.source.kind.to_string(),
        cache: cache(&spec),
        stages: spec
            .stages
            .iter()
            .map(|stage| ExplainedStage {
                name: stage.name.clone(),
                does: does(&spec, &stage.kind),
                branch: stage.branch.clone(),
                on_error: on_error(stage.on_error),
            })
            .collect(),
        sinks: guarantees
            .into_iter()
            .zip(&spec.sinks)
            .map(|(given, sink)| ExplainedSink {
                name: given.sink,
                what: given.what,
                takes: match sink.feed {
                    aqueduct_orchestrator::Feed::Items => "items",
                    aqueduct_orchestrator::Feed::Alerts => "alerts",
                    aqueduct_orchestrator::Feed::Routed => "routed items",
                },
                branch: sink.branch.clone(),
                on_error: on_error(sink.on_error),
                guarantee: given.guarantee.as_str(),
                reason: given.reason,
            })
            .collect(),
    };
    if look.output.output != Format::Text {
        output::data_line(&output::json(look.output.output, &explained));
        return Exit::Done;
    }
    print(&explained, on_error(spec.source.on_error));
    if look.output.verbose {
        for line in spec.settings.lines() {
            output::data_line(&format!("  {} = {} ({})", line.name, line.value, line.origin));
        }
    }
    Exit::Done
}

fn print(explained: &Explained, source_rule: &str) {
    output::data_line(&format!("pipeline {}: {}", explained.pipeline, explained.guarantee));
    output::data_line(&format!("ledger   {}", explained.ledger));
    output::data_line(&format!("source   {} (input that is not an item: {source_rule})", explained.source));
    if let Some(cache) = &explained.cache {
        output::data_line(&format!("cache    {cache}"));
    }
    for stage in &explained.stages {
        let branch = stage.branch.as_ref().map_or(String::new(), |branch| format!(" on branch {branch}"));
        output::data_line(&format!(
            "stage    {}{branch}: {} (on error: {})",
            stage.name, stage.does, stage.on_error
        ));
    }
    for sink in &explained.sinks {
        let branch = sink.branch.as_ref().map_or(String::new(), |branch| format!(" of branch {branch}"));
        output::data_line(&format!(
            "sink     {}: {}, takes {}{branch} (on error: {})",
            sink.name, sink.what, sink.takes, sink.on_error
        ));
        output::data_line(&format!("         {}, because {}", sink.guarantee, sink.reason));
    }
}

/// The levels of the cache, and who has named the one that is shared.
fn cache(spec: &PipelineSpec) -> Option<String> {
    if cache_namespaces(spec).is_empty() {
        return None;
    }
    let mut levels = vec!["memory".to_owned()];
    if spec.cache.disk {
        levels.push(format!("disk of at most {} bytes", output::count(spec.cache.disk_bytes_max)));
    }
    let shared = &spec.cache.shared;
    if shared.value != SharedCacheSpec::None {
        levels.push(format!("{} ({})", shared.value, shared.origin));
    }
    Some(levels.join(", "))
}

fn on_error(rule: aqueduct_orchestrator::OnError) -> &'static str {
    match rule {
        aqueduct_orchestrator::OnError::Stop => "stop",
        aqueduct_orchestrator::OnError::Skip => "skip",
        aqueduct_orchestrator::OnError::Retry => "retry, then stop",
        aqueduct_orchestrator::OnError::DeadLetter => "dead-letter",
    }
}

fn does(spec: &PipelineSpec, kind: &StageKind) -> String {
    match kind {
        StageKind::Map { keep, set } => {
            let kept = keep
                .as_ref()
                .map_or("keeps all fields".to_owned(), |keep| format!("keeps {}", keep.join(", ")));
            let names: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
            if names.is_empty() { kept } else { format!("{kept}; sets {}", names.join(", ")) }
        }
        StageKind::Filter { when } => format!("lets pass where {}", when.source()),
        StageKind::Alert { when, to, .. } => {
            format!("writes a record to {} where {}", spec.sinks[*to].name, when.source())
        }
        StageKind::Route { routes, all, otherwise } => {
            let each: Vec<String> =
                routes.iter().map(|(name, when)| format!("to {name} where {}", when.source())).collect();
            let how = if *all { "copies items" } else { "sends items" };
            let rest = match otherwise {
                Otherwise::To(name) => format!("the others to {name}"),
                Otherwise::Skip => "skips the others".to_owned(),
                Otherwise::Pass => "lets the others pass".to_owned(),
                Otherwise::Fail => "fails on the others".to_owned(),
            };
            format!("{how} {}; {rest}", each.join(", "))
        }
        StageKind::Dedupe { key, horizon } => {
            let horizon = match horizon {
                Horizon::Items(items) => output::plural(*items, "item"),
                Horizon::Time(time) => output::plural(time.as_secs(), "second"),
            };
            format!("lets the first item of each {} pass, looking back {horizon}", key.source())
        }
        StageKind::Split { field, .. } => format!("makes an item of each element of {field}"),
        StageKind::Sample { ratio, key: None, .. } => format!("lets a share of {ratio} pass"),
        StageKind::Sample { ratio, key: Some(key), .. } => {
            format!("lets a share of {ratio} pass, together where {} is the same", key.source())
        }
        StageKind::Exec(exec) => {
            let program = exec.command.first().map_or("", |program| program.written());
            format!("gives items to {program}, {} at once", exec.processes * exec.in_flight)
        }
        StageKind::Http(http) => {
            let target = match &http.target {
                Target::Url(url) => url.to_string(),
                Target::Item(from) => format!("the URL in {}", from.source()),
            };
            let backend = &spec.backends[http.backend];
            format!("calls {} {target}, {}", http.method.as_str(), rules(backend))
        }
        StageKind::Model(model) => {
            format!("asks the model {}, {}", model.model, rules(&spec.backends[model.backend]))
        }
        StageKind::Budget { draw, cost } => {
            let allowance = &spec.budget[*draw];
            let cost = cost.as_ref().map_or("1", |cost| cost.source());
            format!("draws {cost} of {} {} for each item", output::count(allowance.limit), allowance.name)
        }
        StageKind::Cached(cached) => format!(
            "once for each {} in {} s: {}",
            cached.key.source(),
            cached.kept.ttl.as_secs_f64(),
            does(spec, &cached.of.kind())
        ),
        StageKind::Assert { when, .. } => format!("fails unless {}", when.source()),
    }
}

/// The rules of a backend in a few words.
fn rules(backend: &BackendSpec) -> String {
    let mut rules = match backend.requests_per_minute.value {
        0 => vec!["as often as it can".to_owned()],
        calls => vec![format!("at most {} a minute", output::count(calls))],
    };
    if backend.scope == Scope::Host {
        rules[0].push_str(" to each host");
    }
    rules.push(match backend.retries.value {
        0 => "no retries".to_owned(),
        retries => output::plural(retries.into(), "retry").replace("retrys", "retries"),
    });
    if backend.breaker_failures.value > 0 {
        rules.push(format!(
            "{} in a row open the circuit for {} s",
            output::plural(backend.breaker_failures.value.into(), "failure"),
            backend.breaker_open.value.as_secs()
        ));
    }
    rules.join(", ")
}
