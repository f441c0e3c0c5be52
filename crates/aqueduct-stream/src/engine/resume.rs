//! Going back to a kept checkpoint before a run.

use aqueduct_core::{Fence, Timestamp};
use aqueduct_store::{Checkpoint, Conflict, Ledger, PartitionState, Rewind, Store};

use super::state;
use crate::config::Resume;
use crate::error::RunError;
use crate::source::Source;

/// Finds the checkpoint, and refuses to go back to it where results would be there twice.
pub(super) async fn find(
    store: &mut dyn Store,
    ledger: &Ledger,
    resume: &Resume,
) -> Result<Checkpoint, RunError> {
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
    Ok(checkpoint)
}

/// Makes sure that the input in front of the checkpoint is what was read, before anything is taken back.
pub(super) fn verify(
    source: &mut dyn Source,
    checkpoint: &Checkpoint,
    partitions: &[PartitionState],
) -> Result<(), RunError> {
    for (index, partition) in partitions.iter().enumerate() {
        if let Some(then) = checkpoint.positions.iter().find(|then| then.partition == partition.id.0) {
            source.open(index, partition.id, Some(&then.position))?;
        }
    }
    Ok(())
}

/// Takes the ledger back.
pub(super) async fn rewind(
    store: &mut dyn Store,
    ledger: &Ledger,
    fence: Fence,
    checkpoint: Checkpoint,
    at: Timestamp,
) -> Result<(), RunError> {
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
