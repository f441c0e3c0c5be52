use aqueduct_orchestrator::{Inspection, PipelineSpec, Upkeep, UpkeepError};
use aqueduct_store::DeadLetterTotal;
use serde::Serialize;

use super::read::Pages;
use crate::commands::load;
use crate::exit::Exit;
use crate::flags::{Format, Purge};
use crate::{ask, output};

#[derive(Serialize)]
struct Purged {
    purged: u64,
}

/// Removes dead letters for good.
pub(super) async fn purge(flags: Purge) -> Exit {
    let spec = match load(&flags.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let total = async {
        match Inspection::open(&spec).await? {
            Some(mut ledger) => ledger.dead_letter_total(flags.letters.filter()).await,
            None => Ok(DeadLetterTotal::default()),
        }
    };
    let total = match total.await {
        Ok(total) => total,
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    let letters = total.letters.min(flags.letters.limit.unwrap_or(u64::MAX));
    if letters == 0 {
        output::message("no dead letters to purge");
        return Exit::Nothing;
    }
    let size = if letters == total.letters {
        format!(" of {}", output::plural(total.bytes, "byte"))
    } else {
        String::new()
    };
    let question = format!(
        "purge {}{size}? They cannot be replayed afterwards.",
        output::plural(letters, "dead letter")
    );
    if let Err(exit) = ask::confirm(&question, flags.yes) {
        return exit;
    }
    match remove(&spec, &flags).await {
        Ok(purged) if flags.output.output == Format::Text => {
            let kept = "the counts of the ledger keep them as history";
            output::message(&format!("{} purged; {kept}", output::plural(purged, "dead letter")));
            Exit::Done
        }
        Ok(purged) => {
            output::data_line(&output::json(flags.output.output, &Purged { purged }));
            Exit::Done
        }
        Err(error) => {
            output::error(&error);
            Exit::Failed
        }
    }
}

/// Page by page, so that a run beside it never waits long for the ledger.
async fn remove(spec: &PipelineSpec, flags: &Purge) -> Result<u64, UpkeepError> {
    let Some(mut upkeep) = Upkeep::open(spec).await? else { return Ok(0) };
    let mut pages = Pages::new(flags.letters.filter(), flags.letters.limit);
    let mut purged = 0;
    while let Some(page) = pages.filter() {
        let step = upkeep.purge(page).await?;
        purged += step.letters;
        pages.took(step.letters, step.last);
    }
    upkeep.close().await?;
    Ok(purged)
}
