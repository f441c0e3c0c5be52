use aqueduct_orchestrator::{PipelineSpec, RunRequest, assemble};
use serde::Serialize;

use super::run;
use super::stand_in::StandIn;
use crate::exit::Exit;
use crate::output;

/// One thing that a run will need.
#[derive(Serialize)]
pub(super) struct Connected {
    part: String,
    what: String,
    ok: bool,
    /// Why not, with the causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What would mend it, where the error does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'static str>,
}

/// Tries what a run will need. Gives the exit code that the run would have.
pub(super) async fn connect(spec: &PipelineSpec) -> Result<(Vec<Connected>, Exit), Exit> {
    let stand_in = StandIn::start(spec).await?;
    let request = RunRequest {
        search_path: std::env::var_os("PATH"),
        stand_in: stand_in.urls(),
        ..RunRequest::default()
    };
    let found = assemble(spec, request).connect().await.map_err(|error| {
        output::error(&error);
        Exit::Config
    })?;
    // A run meets them in this order and ends with the first.
    let exit = found.iter().find_map(|one| one.error.as_ref()).map_or(Exit::Done, Exit::of_run);
    let connected = found
        .into_iter()
        .map(|one| Connected {
            ok: one.error.is_none(),
            mend: one.mend(),
            error: one.error.as_ref().map(|error| {
                let text = run::with_causes(error);
                // Some errors name the part themselves.
                text.strip_prefix(&format!("{}: ", one.part)).map(str::to_owned).unwrap_or(text)
            }),
            part: one.part,
            what: one.what,
        })
        .collect();
    Ok((connected, exit))
}

/// One line for each, and one more for what would mend it.
pub(super) fn print(connected: &[Connected]) {
    for one in connected {
        match &one.error {
            None => output::data_line(&format!("  ok      {}: {}", one.part, one.what)),
            Some(error) => output::data_line(&format!("  failed  {}: {error}", one.part)),
        }
        if let Some(mend) = one.mend {
            output::data_line(&format!("          {mend}"));
        }
    }
}
