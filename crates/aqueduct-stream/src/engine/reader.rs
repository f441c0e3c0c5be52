use std::sync::Arc;

use aqueduct_core::{PartitionId, Phase, Position};
use crossbeam_channel::Sender;

use super::window::Share;
use super::worker::Work;
use super::{Shared, why};
use crate::batch::Batch;
use crate::error::RunError;
use crate::source::Source;

/// One partition to read, in its order.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) id: PartitionId,
    pub(super) position: Option<Position>,
}

/// Why the reader stopped.
#[derive(Debug)]
pub(super) enum ReaderEnd {
    /// There is no more input.
    Exhausted,
    /// The limit of items is reached, and there is more.
    Limited,
    /// Somebody asked the run to drain or stop.
    Asked,
    /// The source failed.
    Failed(RunError),
}

/// Reads chunks and hands them to the workers until there is no more, or nobody wants more.
pub(super) fn read(
    mut source: Box<dyn Source>,
    assignments: &[Assignment],
    shared: &Arc<Shared>,
    work: &Sender<Work>,
) -> ReaderEnd {
    match read_all(source.as_mut(), assignments, shared, work) {
        Ok(end) => end,
        Err(error) => ReaderEnd::Failed(error),
    }
}

fn read_all(
    source: &mut dyn Source,
    assignments: &[Assignment],
    shared: &Arc<Shared>,
    work: &Sender<Work>,
) -> Result<ReaderEnd, RunError> {
    let mut sequence = 0;
    let mut left = shared.options.limit.unwrap_or(u64::MAX);
    for (index, assignment) in assignments.iter().enumerate() {
        source.open(index, assignment.id, assignment.position.as_ref())?;
        // What an earlier run has read of a partition is known once it is open.
        if let Some(size) = source.size_hint() {
            shared.options.progress.total(size);
        }
        loop {
            if shared.phase() != Phase::Running {
                return Ok(ReaderEnd::Asked);
            }
            let most = shared.options.batch_items.min(usize::try_from(left).unwrap_or(usize::MAX));
            // With the limit reached, one more look tells whether that was the end anyway.
            let Some(chunk) = source.next(most.max(1))? else {
                // A source that waits ends its wait when the run drains, and that is no end of its input.
                if shared.phase() != Phase::Running {
                    return Ok(ReaderEnd::Asked);
                }
                break;
            };
            match (left, chunk.items) {
                (0, 0) => continue,
                (0, _) => return Ok(ReaderEnd::Limited),
                _ => {}
            }
            left -= (chunk.items as u64).min(left);
            let share = Share { items: chunk.items, bytes: chunk.weight };
            shared.window.enter(share);
            shared.options.progress.read(chunk.items as u64, chunk.weight as u64);
            let batch = Batch::new(sequence, chunk);
            sequence += 1;
            // Each piece of work carries the way back for work that was put aside, so the channel closes by
            // itself when the reader is done and nothing is under way.
            let piece = Work { batch, fresh: true, back: work.clone() };
            if work.send(piece).is_err() {
                return Err(why("worker"));
            }
        }
    }
    Ok(ReaderEnd::Exhausted)
}
