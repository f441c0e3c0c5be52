use aqueduct_core::Position;
use aqueduct_orchestrator::Inspection;
use aqueduct_store::{Ledger, Removed, RunOutcome};
use serde::Serialize;

use super::load;
use crate::exit::Exit;
use crate::flags::{Format, Look};
use crate::output;

#[derive(Serialize)]
struct Status {
    pipeline: String,
    ledger: String,
    run: &'static str,
    started: String,
    last_seen: String,
    epoch: u64,
    generation: u64,
    read: u64,
    spawned: u64,
    delivered: u64,
    dead_lettered: u64,
    skipped: u64,
    dead_letters_kept: u64,
    dead_letters_removed: u64,
    checkpoints_kept: u64,
    checkpoints_removed: u64,
    positions: Vec<PartitionStatus>,
}

#[derive(Serialize)]
struct PartitionStatus {
    partition: String,
    position: Option<serde_json::Value>,
}

/// Tells how far a pipeline is.
pub(super) async fn status(look: &Look) -> Exit {
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let read = async {
        let Some(mut inspection) = Inspection::open(&spec).await? else { return Ok(None) };
        let Some(ledger) = inspection.ledger().await? else { return Ok(None) };
        let kept = Kept {
            dead_letters: inspection.dead_letter_count().await?,
            checkpoints: inspection.checkpoints().await?.len() as u64,
            removed: inspection.removed().await?,
        };
        Ok::<_, aqueduct_orchestrator::InspectError>(Some((
            inspection.path().display().to_string(),
            ledger,
            kept,
        )))
    };
    let (path, ledger, kept) = match read.await {
        Ok(Some(found)) => found,
        Ok(None) => {
            output::message(&format!("pipeline {} has not run here yet", spec.name));
            return Exit::Nothing;
        }
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    let status = describe(path, ledger, kept);
    if look.output.output == Format::Text {
        print(&status);
    } else {
        output::data_line(&output::json(look.output.output, &status));
    }
    Exit::Done
}

/// What is kept for people, and what retention has removed.
struct Kept {
    dead_letters: u64,
    checkpoints: u64,
    removed: Removed,
}

fn describe(path: String, ledger: Ledger, kept: Kept) -> Status {
    Status {
        pipeline: ledger.pipeline,
        ledger: path,
        run: match ledger.run.outcome {
            None => "running, or killed",
            Some(RunOutcome::Done) => "done",
            Some(RunOutcome::Stopped) => "stopped early",
            Some(RunOutcome::Failed) => "failed",
        },
        started: ledger.run.started.to_string(),
        last_seen: ledger.run.last_seen.to_string(),
        epoch: ledger.epoch,
        generation: ledger.generation,
        read: ledger.counts.read,
        spawned: ledger.counts.spawned,
        delivered: ledger.counts.delivered,
        dead_lettered: ledger.counts.dead_lettered,
        skipped: ledger.counts.skipped,
        dead_letters_kept: kept.dead_letters,
        dead_letters_removed: kept.removed.dead_letters,
        checkpoints_kept: kept.checkpoints,
        checkpoints_removed: kept.removed.checkpoints,
        positions: ledger
            .partitions
            .into_iter()
            .map(|part| PartitionStatus {
                partition: part.name,
                position: part.position.as_ref().map(position),
            })
            .collect(),
    }
}

fn print(status: &Status) {
    let count = output::count;
    output::data_line(&format!("pipeline {}: last run {}", status.pipeline, status.run));
    output::data_line(&format!("  started {}, last commit or end {}", status.started, status.last_seen));
    output::data_line(&format!("  ledger {}, commit {}", status.ledger, count(status.epoch)));
    output::data_line(&format!(
        "  in all: read {}, spawned {}, delivered {}, skipped {}, dead-lettered {}",
        count(status.read),
        count(status.spawned),
        count(status.delivered),
        count(status.skipped),
        count(status.dead_lettered)
    ));
    let removed = |number: u64| match number {
        0 => String::new(),
        number => format!(", {} removed by [retention]", count(number)),
    };
    output::data_line(&format!(
        "  dead letters kept: {}{}",
        count(status.dead_letters_kept),
        removed(status.dead_letters_removed)
    ));
    output::data_line(&format!(
        "  checkpoints kept: {}{}",
        count(status.checkpoints_kept),
        removed(status.checkpoints_removed)
    ));
    for part in &status.positions {
        let place = place(part.position.as_ref());
        output::data_line(&format!("  {}: {place}", part.partition));
    }
}

/// A position as JSON. Sources write JSON; should one write something else, it is shown as a text.
pub(super) fn position(position: &Position) -> serde_json::Value {
    serde_json::from_str(position.as_str()).unwrap_or_else(|_| position.as_str().into())
}

/// A position in words.
pub(super) fn place(position: Option<&serde_json::Value>) -> String {
    match position {
        None => "nothing committed yet".to_owned(),
        // A queue knows what is next; the ledger only knows what is done.
        Some(position) if position.get("consumed").is_some() => {
            "see what is left with: aqueduct queue ls".to_owned()
        }
        Some(position) if position["offset"].is_null() => format!("item {} comes next", position["next"]),
        Some(position) => format!("byte {}, line {} comes next", position["offset"], position["line"]),
    }
}
