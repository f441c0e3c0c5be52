//! How far a batch is, how fast it goes, and what it could go back to.

use std::path::Path;
use std::time::Duration;

use aqueduct_batch::Pace;
use aqueduct_core::{Position, Timestamp};
use aqueduct_store::{Checkpoint, Ledger, PartitionState, RunOutcome};
use serde::Deserialize;

use crate::inspect::{InspectError, Inspection};
use crate::spec::{PipelineSpec, SourceKind};

/// What a ledger says of a batch.
#[derive(Clone, Debug)]
pub struct BatchAccount {
    /// The ledger as it stands.
    pub ledger: Ledger,
    /// The kept checkpoints, the oldest first.
    pub checkpoints: Vec<Checkpoint>,
    /// The pace of the last run, and how long the rest takes at it.
    pub pace: Pace,
}

impl BatchAccount {
    /// Reads it, while a run is under way or after; `None` when it has never run here.
    ///
    /// The pace is that since the oldest checkpoint of the last run, or since its beginning where it was the first one:
    /// where neither is there, nothing is known of it. How much there is to do is known of plain files and of a generator
    /// that ends.
    ///
    /// # Errors
    ///
    /// [`InspectError`].
    pub async fn read(spec: &PipelineSpec) -> Result<Option<Self>, InspectError> {
        let Some(mut inspection) = Inspection::open(spec).await? else { return Ok(None) };
        let Some(ledger) = inspection.ledger().await? else { return Ok(None) };
        let checkpoints = inspection.checkpoints().await?;
        let pace = pace(spec, &ledger, &checkpoints);
        Ok(Some(Self { ledger, checkpoints, pace }))
    }
}

fn pace(spec: &PipelineSpec, ledger: &Ledger, checkpoints: &[Checkpoint]) -> Pace {
    let since = checkpoints
        .iter()
        .filter(|kept| kept.damage.is_none() && kept.at >= ledger.run.started)
        .map(|kept| (kept.at, kept.counts.read, done_at(spec, kept)))
        .next();
    // A fence counts the claims, so with 1 this is the first run and everything was read by it.
    let first = (ledger.fence.0 == 1).then_some((ledger.run.started, 0, Some(0)));
    let progress = extent(spec, &ledger.partitions);
    let (from, read, done) = first.or(since).unwrap_or((ledger.run.last_seen, ledger.counts.read, None));
    let elapsed = between(from, ledger.run.last_seen);
    let mut pace = Pace::new(ledger.counts.read.saturating_sub(read), elapsed, 0, None);
    let Some((now, total)) = progress else { return pace };
    if let Some(then) = done {
        let whole = Pace::new(0, elapsed, now.saturating_sub(then), Some(total.saturating_sub(then)));
        pace.left = whole.left;
    }
    pace.done_share = Pace::new(0, Duration::ZERO, now, Some(total)).done_share;
    if ledger.run.outcome == Some(RunOutcome::Done) || now >= total {
        pace.left = Some(Duration::ZERO);
    }
    pace
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}

/// How much of the input is done and how much there is, in bytes or in items.
fn extent(spec: &PipelineSpec, partitions: &[PartitionState]) -> Option<(u64, u64)> {
    let mut all = (0, 0);
    for part in partitions {
        let done = part.position.as_ref().map_or(Some(0), done)?;
        let total = match &spec.source.kind {
            SourceKind::Jsonl { .. } | SourceKind::Csv { .. } | SourceKind::Lines { .. } => {
                plain_length(&spec.folder.join(&part.name))?
            }
            SourceKind::Generator { count, .. } => (*count)?,
            SourceKind::Stdin { .. } | SourceKind::Http(_) | SourceKind::Queue(_) => return None,
        };
        all = (all.0 + done, all.1 + total);
    }
    Some(all)
}

/// How much was done at a checkpoint.
fn done_at(spec: &PipelineSpec, checkpoint: &Checkpoint) -> Option<u64> {
    let files =
        !matches!(spec.source.kind, SourceKind::Stdin { .. } | SourceKind::Http(_) | SourceKind::Queue(_));
    files.then(|| checkpoint.positions.iter().map(|then| done(&then.position)).sum()).flatten()
}

/// What a position says of how far it is.
fn done(position: &Position) -> Option<u64> {
    #[derive(Deserialize)]
    struct Place {
        offset: Option<u64>,
        next: Option<u64>,
    }
    let place: Place = serde_json::from_str(position.as_str()).ok()?;
    place.offset.or(place.next)
}

/// The length of a file whose positions count its own bytes. Those of a compressed one count what comes out.
fn plain_length(path: &Path) -> Option<u64> {
    let packed = path.extension().is_some_and(|ending| ending == "gz" || ending == "zst" || ending == "zstd");
    if packed {
        return None;
    }
    std::fs::metadata(path).ok().map(|found| found.len())
}
