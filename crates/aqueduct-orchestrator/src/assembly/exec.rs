use std::ffi::OsString;

use aqueduct_core::Clock;
use aqueduct_stream::{ConfigError, ExecStage};

use crate::spec::{ExecSpec, PipelineSpec};

/// The stage that a spec describes. It runs in the folder of the pipeline file, so that a script beside the file
/// is found from wherever the run is started.
///
/// # Errors
///
/// The file's ranges lie within those of the stage, so a spec from a file has none.
pub(crate) fn stage(
    spec: &PipelineSpec,
    exec: &ExecSpec,
    clock: &Clock,
    search_path: Option<OsString>,
) -> Result<ExecStage, ConfigError> {
    let (program, arguments) = match exec.command.split_first() {
        Some((program, arguments)) => (program.expose(), arguments),
        None => ("", [].as_slice()),
    };
    let mut stage = ExecStage::builder(program)
        .arguments(arguments.iter().map(|argument| argument.expose()))
        .folder(&spec.folder)
        .search_path(search_path)
        .processes(exec.processes)
        .in_flight(exec.in_flight)
        .timeout(exec.timeout)
        .answer_bytes_max(exec.answer_bytes_max)
        .restarts(exec.restarts_max, exec.restart_window)
        .grace(exec.grace)
        .clock(clock.clone());
    for (name, value) in &exec.environment {
        stage = stage.variable(name, value.expose());
    }
    stage.build()
}
