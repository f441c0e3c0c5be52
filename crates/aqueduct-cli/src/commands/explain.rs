use aqueduct_orchestrator::{StageKind, ledger_path};
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
    stages: Vec<ExplainedStage>,
    sinks: Vec<ExplainedSink>,
}

#[derive(Serialize)]
struct ExplainedStage {
    name: String,
    does: String,
    on_error: &'static str,
}

#[derive(Serialize)]
struct ExplainedSink {
    name: String,
    what: String,
    takes: &'static str,
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
        stages: spec
            .stages
            .iter()
            .map(|stage| ExplainedStage {
                name: stage.name.clone(),
                does: does(&spec, &stage.kind),
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
                },
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
    for stage in &explained.stages {
        output::data_line(&format!("stage    {}: {} (on error: {})", stage.name, stage.does, stage.on_error));
    }
    for sink in &explained.sinks {
        output::data_line(&format!("sink     {}: {}, takes {}", sink.name, sink.what, sink.takes));
        output::data_line(&format!("         {}, because {}", sink.guarantee, sink.reason));
    }
}

fn on_error(rule: aqueduct_orchestrator::OnError) -> &'static str {
    match rule {
        aqueduct_orchestrator::OnError::Stop => "stop",
        aqueduct_orchestrator::OnError::Skip => "skip",
        aqueduct_orchestrator::OnError::Retry => "retry, then stop",
        aqueduct_orchestrator::OnError::DeadLetter => "dead-letter",
    }
}

fn does(spec: &aqueduct_orchestrator::PipelineSpec, kind: &StageKind) -> String {
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
    }
}
