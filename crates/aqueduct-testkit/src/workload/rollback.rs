//! A finished pipeline with memory is mended, taken back to a checkpoint, and run from there: what came before has
//! the old values, what comes behind has the new ones, and each is there once.

use super::dedupe::{generate, pipeline, workload_of};
use super::{BATCH, FILE, Kind, Workload};

/// How many batches are in front of the checkpoint that [`COMMAND`] names. The first epoch only makes the files
/// known, and each later one has a batch.
const BATCHES: usize = 40;

const COMMAND: &[&str] = &["run", FILE, "--resume", "epoch-41", "--rollback"];

const OLD: i64 = 2;
const NEW: i64 = 3;

pub(super) fn workload(seed: u64, items: usize) -> Workload {
    let lines = generate(seed, items);
    let factor = |number| if number < BATCHES * BATCH { OLD } else { NEW };
    Workload {
        before: Some(pipeline(OLD)),
        pipeline: pipeline(NEW),
        command: COMMAND,
        ..workload_of(Kind::Rollback, &lines, factor)
    }
}
