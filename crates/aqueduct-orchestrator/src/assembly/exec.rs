use std::ffi::OsString;

use aqueduct_core::Clock;
use aqueduct_stream::{ConfigError, ExecStage, StderrLines};

use crate::spec::{ExecSpec, PipelineSpec};

/// What programs get from the run and not from the file.
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) search_path: Option<OsString>,
    pub(super) stderr_lines: Option<StderrLines>,
}

/// The stage that a spec describes. It runs in the folder of the pipeline file, so that a script beside the file
/// is found from wherever the run is started.
///
/// # Errors
///
/// The file's ranges lie within those of the stage, so a spec from a file has none.
pub(super) fn stage(
    spec: &PipelineSpec,
    name: &str,
    exec: &ExecSpec,
    surroundings: &Surroundings,
) -> Result<ExecStage, ConfigError> {
    let (program, arguments) = match exec.command.split_first() {
        Some((program, arguments)) => (program.expose(), arguments),
        None => ("", [].as_slice()),
    };
    let lines = surroundings.stderr_lines.clone().map(|lines| {
        let name = name.to_owned();
        StderrLines::new(move |line| lines.take(&format!("{name}: {line}")))
    });
    let mut stage = ExecStage::builder(program)
        .arguments(arguments.iter().map(|argument| argument.expose()))
        .folder(&spec.folder)
        .search_path(surroundings.search_path.clone())
        .processes(exec.processes)
        .in_flight(exec.in_flight)
        .timeout(exec.timeout)
        .answer_bytes_max(exec.answer_bytes_max)
        .restarts(exec.restarts_max, exec.restart_window)
        .grace(exec.grace)
        .stderr_lines(lines)
        .clock(surroundings.clock.clone());
    for (name, value) in &exec.environment {
        stage = stage.variable(name, value.expose());
    }
    stage.build()
}
