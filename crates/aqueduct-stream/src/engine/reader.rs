use std::sync::Arc;

use super::gate::{Backlog, Gate};
use super::shared::Shared;
use crate::config::Overflow;
use crate::error::RunError;
use crate::source::{Chunk, Source};
use aqueduct_core::{PartitionId, Phase, Position};

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
    mut gate: Gate,
) -> ReaderEnd {
    let options = &shared.options;
    let end = if options.overflow == Overflow::Wait {
        read_all(source.as_mut(), assignments, shared, &mut |chunk| gate.admit(chunk, 0))
    } else {
        let backlog = Backlog::new(options.overflow, options.window_items, options.window_bytes);
        read_without_waiting(source.as_mut(), assignments, shared, &backlog, gate)
    };
    end.unwrap_or_else(ReaderEnd::Failed)
}

/// Reads as fast as the source gives; a second thread waits for room.
fn read_without_waiting(
    source: &mut dyn Source,
    assignments: &[Assignment],
    shared: &Arc<Shared>,
    backlog: &Backlog,
    mut gate: Gate,
) -> Result<ReaderEnd, RunError> {
    std::thread::scope(|scope| {
        let handing = std::thread::Builder::new()
            .name("aqueduct-gate".to_owned())
            .spawn_scoped(scope, move || backlog.drain(&mut gate))
            .map_err(|_| RunError::Thread { thread: "gate" })?;
        let mut take = |chunk| {
            backlog.push(chunk);
            Ok(())
        };
        let end = read_all(source, assignments, shared, &mut take);
        backlog.close();
        match handing.join() {
            Ok(handed) => handed.and(end),
            Err(_) => Err(RunError::Thread { thread: "gate" }),
        }
    })
}

fn read_all(
    source: &mut dyn Source,
    assignments: &[Assignment],
    shared: &Arc<Shared>,
    take: &mut dyn FnMut(Chunk) -> Result<(), RunError>,
) -> Result<ReaderEnd, RunError> {
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
            take(chunk)?;
        }
    }
    // A source that waits ends its partition when it is asked to.
    Ok(if shared.phase() == Phase::Running { ReaderEnd::Exhausted } else { ReaderEnd::Asked })
}
