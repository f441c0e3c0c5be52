//! What ordered stages remember, on its way into the ledger and back.
//!
//! Each commit keeps the notes of each ordered stage as one entry, whose key is the commit's number: going back
//! to a checkpoint is then the removal of the entries behind it. An entry is forgotten once neither the stage nor
//! a run that goes back to the oldest kept checkpoint needs it.

use std::collections::VecDeque;
use std::sync::Arc;

use aqueduct_store::{StateChange, Store};

use crate::batch::StepLog;
use crate::error::RunError;
use crate::stage::{Step, Work, ordered};

/// How many entries are read at once: each may hold an epoch's worth of notes.
const PAGE: usize = 16;

/// The kept entries of one ordered stage.
#[derive(Debug)]
pub(super) struct Kept {
    step: usize,
    stage: Arc<str>,
    /// The commit that wrote each entry, and how far the stage was behind it; the oldest first.
    entries: VecDeque<(u64, u64)>,
}

/// Gives every ordered stage its notes back.
pub(super) async fn restore(
    steps: &[Step],
    store: &mut dyn Store,
    pipeline: &str,
) -> Result<Vec<Kept>, RunError> {
    let mut all = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let Work::Ordered(stage) = &step.work else { continue };
        let mut entries = VecDeque::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.state(pipeline, &step.name, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, notes) in page {
                let mut stage = ordered(stage);
                let unreadable = |source| RunError::State { stage: step.name.to_string(), source };
                let epoch = <[u8; 8]>::try_from(key.as_slice()).map(u64::from_be_bytes).map_err(|_| {
                    unreadable(crate::StateError::new(
                        "an entry has a key that is not the number of a commit",
                    ))
                })?;
                stage.restore(&notes).map_err(unreadable)?;
                entries.push_back((epoch, stage.reached()));
            }
        }
        all.push(Kept { step: at, stage: Arc::clone(&step.name), entries });
    }
    Ok(all)
}

/// Removes all that the ledger keeps for a stage; gives the changes that do it.
pub(super) async fn forget(
    store: &mut dyn Store,
    pipeline: &str,
    stage: &str,
) -> Result<Vec<StateChange>, RunError> {
    let mut changes = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.state(pipeline, stage, after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(changes) };
        after = Some(last.clone());
        changes.extend(page.into_iter().map(|(key, _)| StateChange {
            stage: stage.to_owned(),
            key,
            value: None,
        }));
    }
}

/// The key of what one commit wrote; keys sort as commits do.
pub(super) fn key(epoch: u64) -> Vec<u8> {
    epoch.to_be_bytes().to_vec()
}

impl Kept {
    /// The changes that commit number `epoch` makes: the notes of its batches, and what is no longer needed now
    /// that `oldest` is the oldest commit with a checkpoint.
    pub(super) fn commit(&mut self, epoch: u64, oldest: u64, logs: &[StepLog]) -> Vec<StateChange> {
        let mine = || logs.iter().filter(|log| log.step == self.step);
        let Some(last) = mine().next_back() else { return Vec::new() };
        let mut changes = Vec::new();
        let notes: Vec<u8> = mine().flat_map(|log| &log.notes).copied().collect();
        if !notes.is_empty() {
            self.entries.push_back((epoch, last.reached));
            changes.push(self.change(epoch, Some(notes)));
        }
        // How far back the stage looks is the same at every commit, so what the oldest checkpoint needs begins
        // that far before where the stage was then.
        let reach = last.reached - last.needed.min(last.reached);
        let then = self.entries.iter().take_while(|(epoch, _)| *epoch <= oldest).last();
        let needed = then.map_or(0, |(_, reached)| reached.saturating_sub(reach)).min(last.needed);
        while let Some((old, _)) = self.entries.pop_front_if(|(_, reached)| *reached <= needed) {
            changes.push(self.change(old, None));
        }
        changes
    }

    fn change(&self, epoch: u64, value: Option<Vec<u8>>) -> StateChange {
        StateChange { stage: self.stage.to_string(), key: key(epoch), value }
    }
}
