use aqueduct_core::{Clock, Shutdown};
use aqueduct_orchestrator::{InspectError, Inspection, PipelineSpec, RunRequest, assemble};
use aqueduct_store::RunOutcome;

use crate::commands::stand_in::StandIn;
use crate::commands::{load, run};
use crate::exit::Exit;
use crate::flags::Replay;
use crate::{ask, log, output, progress, signals};

/// Puts dead letters back on their way.
pub(super) async fn replay(flags: Replay) -> Exit {
    let spec = match load(&flags.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let Found { letters, checkpoints, unfinished } = match look(&spec, &flags).await {
        Ok(found) => found,
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    if letters == 0 && !unfinished {
        output::message("no dead letters to replay");
        return Exit::Nothing;
    }
    let mut question = format!("replay {}?", output::plural(letters, "dead letter"));
    if checkpoints > 0 {
        let dropped = output::plural(checkpoints, "checkpoint");
        question.push_str(&format!(" {dropped} from before it can then not be gone back to."));
    }
    // Without letters nothing is asked: what a killed replay had still to do after its last commit is done.
    if letters > 0
        && let Err(exit) = ask::confirm(&question, flags.yes)
    {
        return exit;
    }
    log::show(flags.output.verbose);
    let stand_in = match StandIn::start(&spec).await {
        Ok(stand_in) => stand_in,
        Err(exit) => return exit,
    };
    let (shutdown, signal) = Shutdown::new();
    let request = RunRequest {
        limit: flags.letters.limit,
        accept_change: flags.accept_change,
        clock: Clock::system(),
        shutdown: signal,
        search_path: std::env::var_os("PATH"),
        stand_in: stand_in.urls(),
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
    let exit = run::close(&spec, &flags.file, flags.output, result);
    run::tell(stand_in, flags.output).await;
    exit
}

/// What there is to replay.
struct Found {
    /// How many letters the filters admit.
    letters: u64,
    checkpoints: u64,
    /// Whether the last run or replay did not come to its end, so that manifests may be behind the ledger.
    unfinished: bool,
}

async fn look(spec: &PipelineSpec, flags: &Replay) -> Result<Found, InspectError> {
    let Some(mut ledger) = Inspection::open(spec).await? else {
        return Ok(Found { letters: 0, checkpoints: 0, unfinished: false });
    };
    let total = ledger.dead_letter_total(flags.letters.filter()).await?;
    let outcome = ledger.ledger().await?.map(|ledger| ledger.run.outcome);
    Ok(Found {
        letters: total.letters.min(flags.letters.limit.unwrap_or(u64::MAX)),
        checkpoints: ledger.checkpoints().await?.len() as u64,
        unfinished: matches!(outcome, Some(None | Some(RunOutcome::Failed))),
    })
}
