use serde::Serialize;

use super::connect::{self, Connected};
use super::{load_with_guarantees, weakest};
use crate::exit::Exit;
use crate::flags::{Check, Format};
use crate::output;

#[derive(Serialize)]
struct Checked {
    pipeline: String,
    ok: bool,
    stages: usize,
    sinks: usize,
    guarantee: &'static str,
    expressions: Vec<CheckedExpression>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<CheckedSetting>,
    /// With `--connect` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Vec<Connected>>,
}

#[derive(Serialize)]
struct CheckedExpression {
    stage: String,
    expression: String,
    engine: &'static str,
}

#[derive(Serialize)]
struct CheckedSetting {
    name: &'static str,
    value: String,
    origin: String,
    used: bool,
}

/// Checks a file without touching anything; with `--connect`, what a run will need as well.
pub(super) async fn check(check: &Check) -> Exit {
    let look = &check.look;
    let (spec, guarantees) = match load_with_guarantees(&look.file) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let (connections, exit) = match check.connect {
        false => (None, Exit::Done),
        true => match connect::connect(&spec).await {
            Ok((connections, exit)) => (Some(connections), exit),
            Err(exit) => return exit,
        },
    };
    let checked = Checked {
        pipeline: spec.name.clone(),
        ok: exit == Exit::Done,
        stages: spec.stages.len(),
        sinks: spec.sinks.len(),
        guarantee: weakest(&guarantees),
        expressions: expressions(&spec),
        settings: if look.output.verbose { settings(&spec) } else { Vec::new() },
        connections,
    };
    if look.output.output != Format::Text {
        output::data_line(&output::json(look.output.output, &checked));
        return exit;
    }
    output::data_line(&format!(
        "{}: {} ({}, {}, {})",
        look.file.file.display(),
        if checked.ok { "ok" } else { "right as a file, but a run would fail" },
        output::plural(checked.stages as u64, "stage"),
        output::plural(checked.sinks as u64, "sink"),
        checked.guarantee
    ));
    let slow = checked.expressions.iter().filter(|expression| expression.engine == "interpreter");
    for CheckedExpression { stage, expression, .. } in slow {
        output::data_line(&format!(
            "  stage {stage}: runs on the interpreter, which is slower: {expression}"
        ));
    }
    for setting in &checked.settings {
        let unused = if setting.used { "" } else { ", not used by any part yet" };
        output::data_line(&format!("  {} = {} ({}{unused})", setting.name, setting.value, setting.origin));
    }
    connect::print(checked.connections.as_deref().unwrap_or_default());
    exit
}

fn expressions(spec: &aqueduct_orchestrator::PipelineSpec) -> Vec<CheckedExpression> {
    let mut found = Vec::new();
    for stage in &spec.stages {
        let of_stage = stage.kind.expressions();
        found.extend(of_stage.into_iter().map(|expression| CheckedExpression {
            stage: stage.name.clone(),
            expression: expression.source().to_owned(),
            engine: match expression.engine() {
                aqueduct_orchestrator::Engine::Native => "native",
                aqueduct_orchestrator::Engine::Interpreter => "interpreter",
            },
        }));
    }
    found
}

fn settings(spec: &aqueduct_orchestrator::PipelineSpec) -> Vec<CheckedSetting> {
    let lines = spec.settings.lines().into_iter();
    lines
        .map(|line| CheckedSetting {
            name: line.name,
            value: line.value,
            origin: line.origin.to_string(),
            used: line.used,
        })
        .collect()
}
