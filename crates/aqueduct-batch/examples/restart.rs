//! A batch that somebody stops in the middle, that goes on, and that is taken back to a checkpoint.
//!
//! `cargo run -p aqueduct-batch --example restart`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use aqueduct_batch::{Batch, OnError, Report, Resume};
use aqueduct_stream::{JsonlSink, Options, RunFailure, StageError};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Organisation {
    id: u32,
}

#[derive(Serialize)]
struct Enriched {
    id: u32,
    staff: u32,
}

/// Stands in for a service that takes 50 organisations a call, and none at all when it does not like one of them.
async fn enrich(some: Vec<Organisation>) -> Result<Vec<Enriched>, StageError> {
    if let Some(bad) = some.iter().find(|one| one.id % 1000 == 777) {
        return Err(StageError::permanent(format!("organisation {} has no name", bad.id)));
    }
    Ok(some.iter().map(|one| Enriched { id: one.id, staff: one.id % 90 }).collect())
}

fn batch(folder: &std::path::Path) -> Batch {
    Batch::named("enrich")
        .items(|| (0..5_000).map(|id| Organisation { id }))
        .chunk("enrich", enrich)
        .on_error(OnError::DeadLetter)
        .sink("enriched", JsonlSink::new(folder.join("enriched.jsonl")))
        .dir(folder.join("checkpoints"))
}

fn tell(what: &str, report: &Report) {
    println!(
        "{what}: {} done, {} set aside, {} calls, {} of them halved, {} checkpoints",
        report.run.counts.delivered,
        report.run.counts.dead_lettered,
        report.chunk_calls,
        report.bisected,
        report.run.checkpoints
    );
}

#[tokio::main]
async fn main() -> Result<(), RunFailure> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let place = folder.path();

    let stopped = batch(place).options(Options { limit: Some(2_000), ..Options::default() }).run().await?;
    tell("stopped after 2,000", &stopped);
    tell("run again", &batch(place).run().await?);

    let checkpoints = batch(place).checkpoints().await?;
    let third = &checkpoints[2];
    let resume = Resume { checkpoint: third.name.clone(), rollback: true };
    tell(&format!("back to item {}", third.counts.read), &batch(place).resume(resume).run().await?);

    let lines = std::fs::read_to_string(place.join("enriched.jsonl")).unwrap_or_default().lines().count();
    println!("{lines} results, each once");
    Ok(())
}
