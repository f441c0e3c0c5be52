//! Going back to a kept checkpoint before a run.

use aqueduct_core::{Fence, Timestamp};
use aqueduct_store::{Checkpoint, Conflict, Ledger, Rewind, Store};

use super::state;
use crate::config::Resume;
use crate::error::RunError;

/// Takes the ledger back.
pub(super) async fn rewind(
    store: &mut dyn Store,
    ledger: &Ledger,
    fence: Fence,
    resume: &Resume,
    at: Timestamp,
) -> Result<(), RunError> {
    let mut checkpoints = store.checkpoints(&ledger.pipeline).await?;
    let Some(found) = checkpoints.iter().position(|kept| kept.name == resume.checkpoint) else {
        return Err(RunError::NoCheckpoint {
            name: resume.checkpoint.clone(),
            known: checkpoints.into_iter().map(|kept| kept.name).collect::<Vec<_>>().join(", "),
        });
    };
    let checkpoint = checkpoints.swap_remove(found);
    if !resume.rollback {
        refuse_doubles(ledger, &checkpoint)?;
    }
    let appended = ledger.tables.iter().filter(|table| !matches!(table.conflict, Conflict::ReplaceBy(_)));
    let rewind = Rewind {
        tables: appended.map(|table| table.name.clone()).collect(),
        state_after: state::key(checkpoint.epoch),
        checkpoint,
        at,
    };
    Ok(store.rewind(&ledger.pipeline, fence, rewind).await?)
}

/// Without a rollback, what was written behind the checkpoint must overwrite itself.
fn refuse_doubles(ledger: &Ledger, checkpoint: &Checkpoint) -> Result<(), RunError> {
    let tables = ledger.tables.iter().filter(|table| matches!(table.conflict, Conflict::Refuse));
    let mut outputs: Vec<String> = tables.map(|table| format!("table {}", table.name)).collect();
    for mark in &ledger.files {
        let name = format!("files of sink {}", mark.sink);
        if !checkpoint.files.contains(mark) && !outputs.contains(&name) {
            outputs.push(name);
        }
    }
    if outputs.is_empty() {
        return Ok(());
    }
    Err(RunError::RollbackNeeded { checkpoint: checkpoint.name.clone(), outputs: outputs.join(", ") })
}
