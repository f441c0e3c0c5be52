//! Going back to a kept checkpoint before a run.

use aqueduct_core::{Fence, Timestamp};
use aqueduct_store::{Checkpoint, Conflict, Ledger, PartitionState, Rewind, Store};

use super::state;
use crate::config::Resume;
use crate::error::RunError;
use crate::report::Resumed;
use crate::source::Source;

/// Finds the checkpoint, and refuses to go back to it where it is damaged or results would be there twice.
pub(super) async fn find(
    store: &mut dyn Store,
    ledger: &Ledger,
    resume: &Resume,
) -> Result<(Checkpoint, Resumed), RunError> {
    let mut checkpoints = store.checkpoints(&ledger.pipeline).await?;
    let found = if resume.checkpoint == Resume::NEWEST {
        checkpoints.iter().rposition(|kept| kept.damage.is_none()).or(checkpoints.len().checked_sub(1))
    } else {
        checkpoints.iter().position(|kept| kept.name == resume.checkpoint)
    };
    let Some(found) = found else {
        return Err(RunError::NoCheckpoint {
            name: resume.checkpoint.clone(),
            known: checkpoints.into_iter().map(|kept| kept.name).collect::<Vec<_>>().join(", "),
        });
    };
    let newer = checkpoints.split_off(found + 1);
    let damaged = newer.into_iter().filter_map(|kept| Some((kept.name, kept.damage?)));
    let damaged = if resume.checkpoint == Resume::NEWEST { damaged.collect() } else { Vec::new() };
    let checkpoint = checkpoints.swap_remove(found);
    if let Some(damage) = checkpoint.damage {
        let older = checkpoints.into_iter().rfind(|kept| kept.damage.is_none()).map(|kept| kept.name);
        return Err(RunError::DamagedCheckpoint { name: checkpoint.name, damage, older });
    }
    if !resume.rollback {
        refuse_doubles(ledger, &checkpoint)?;
    }
    let resumed = Resumed { checkpoint: checkpoint.name.clone(), damaged };
    Ok((checkpoint, resumed))
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
