use aqueduct_core::{Clock, Shutdown};
use aqueduct_orchestrator::{InspectError, Inspection, PipelineSpec, RunRequest, assemble};

use crate::commands::{load, run};
use crate::exit::Exit;
use crate::flags::Replay;
use crate::{ask, output, progress, signals};

/// Puts dead letters back on their way.
pub(super) async fn replay(flags: Replay) -> Exit {
    let spec = match load(&flags.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let (letters, checkpoints) = match look(&spec, &flags).await {
        Ok(found) => found,
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    if letters == 0 {
        output::message("no dead letters to replay");
        return Exit::Nothing;
    }
    let mut question = format!("replay {}?", output::plural(letters, "dead letter"));
    if checkpoints > 0 {
        let dropped = output::plural(checkpoints, "checkpoint");
        question.push_str(&format!(" {dropped} from before it can then not be gone back to."));
    }
    if let Err(exit) = ask::confirm(&question, flags.yes) {
        return exit;
    }
    let (shutdown, signal) = Shutdown::new();
    let request = RunRequest {
        limit: flags.letters.limit,
        accept_change: flags.accept_change,
        clock: Clock::system(),
        shutdown: signal,
        search_path: std::env::var_os("PATH"),
        ..RunRequest::default()
    };
    let live = request.progress.clone();
    let pipeline = assemble(&spec, request);
    let watching = signals::watch(shutdown);
    let (bar, drawing) = progress::show(spec.name.clone(), live);
    let replay = aqueduct_stream::Replay { filter: flags.letters.filter(), rate: flags.rate };
    let result = pipeline.replay(replay).await;
    drawing.abort();
    watching.abort();
    bar.finish_and_clear();
    run::close(&spec, &flags.file, flags.output, result)
}

/// How many letters the filters admit, and how many checkpoints there are.
async fn look(spec: &PipelineSpec, flags: &Replay) -> Result<(u64, u64), InspectError> {
    let Some(mut ledger) = Inspection::open(spec).await? else { return Ok((0, 0)) };
    let total = ledger.dead_letter_total(flags.letters.filter()).await?;
    let letters = total.letters.min(flags.letters.limit.unwrap_or(u64::MAX));
    Ok((letters, ledger.checkpoints().await?.len() as u64))
}
