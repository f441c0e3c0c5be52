use aqueduct_orchestrator::{BatchAccount, PipelineSpec};
use aqueduct_store::{Checkpoint, RunOutcome};
use serde::Serialize;

use super::load;
use crate::exit::Exit;
use crate::flags::{Batch as Flags, Format, Look};
use crate::output;

/// What `batch status -o json` prints.
#[derive(Serialize)]
struct Shown {
    pipeline: String,
    /// How batches are set, whether one has run or not.
    batch_processing: Settings,
    run: &'static str,
    started: String,
    last_seen: String,
    read: u64,
    delivered: u64,
    skipped: u64,
    dead_lettered: u64,
    /// Null where nobody knows how much there is.
    done_share: Option<f64>,
    items_per_second: f64,
    left_seconds: Option<f64>,
    checkpoints: Vec<Kept>,
}

#[derive(Serialize)]
struct Settings {
    /// Whether the file has `[batch]`.
    enabled: bool,
    checkpoint_dir: String,
    default_batch_size: usize,
    checkpoint_every: String,
    keep: usize,
    skip_limit: Option<String>,
}

#[derive(Serialize)]
struct Kept {
    name: String,
    at: String,
    read: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

/// Looks at a batch.
pub(super) async fn batch(flags: Flags) -> Exit {
    let Flags::Status(look) = flags;
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    match BatchAccount::read(&spec).await {
        Ok(Some(account)) => {
            show(&look, &shown(&spec, account));
            Exit::Done
        }
        Ok(None) => {
            output::message(&format!("pipeline {} has not run here yet", spec.name));
            Exit::Nothing
        }
        Err(error) => {
            output::error(&error);
            Exit::Failed
        }
    }
}

fn shown(spec: &PipelineSpec, account: BatchAccount) -> Shown {
    let BatchAccount { ledger, checkpoints, pace } = account;
    let kept = |kept: Checkpoint| Kept {
        name: kept.name,
        at: kept.at.to_string(),
        read: kept.counts.read,
        damage: kept.damage,
    };
    Shown {
        pipeline: ledger.pipeline,
        batch_processing: Settings {
            enabled: spec.batch.is_some(),
            checkpoint_dir: spec.path(&spec.settings.data_dir.value).display().to_string(),
            default_batch_size: spec.settings.batch_size.value,
            checkpoint_every: spec.checkpoint_interval().to_string(),
            keep: spec.retention.checkpoints,
            skip_limit: spec.batch.and_then(|batch| batch.skip_limit).map(|limit| limit.to_string()),
        },
        run: match ledger.run.outcome {
            None => "running, or killed",
            Some(RunOutcome::Done) => "done",
            Some(RunOutcome::Stopped) => "stopped early",
            Some(RunOutcome::Failed) => "failed",
        },
        started: ledger.run.started.to_string(),
        last_seen: ledger.run.last_seen.to_string(),
        read: ledger.counts.read,
        delivered: ledger.counts.delivered,
        skipped: ledger.counts.skipped,
        dead_lettered: ledger.counts.dead_lettered,
        done_share: pace.done_share,
        items_per_second: pace.items_per_second,
        left_seconds: pace.left.map(|left| left.as_secs_f64()),
        checkpoints: checkpoints.into_iter().map(kept).collect(),
    }
}

fn show(look: &Look, shown: &Shown) {
    if look.output.output != Format::Text {
        output::data_line(&output::json(look.output.output, shown));
        return;
    }
    let count = output::count;
    output::data_line(&format!("batch {}: last run {}", shown.pipeline, shown.run));
    let done = shown.done_share.map_or_else(
        || "how much there is, is not known".to_owned(),
        |share| format!("{:.1} % of the input", 100.0 * share),
    );
    let pace = match (shown.items_per_second, shown.left_seconds) {
        (rate, Some(left)) if rate > 0.0 => format!("{rate:.0} items/s, {left:.0} s left"),
        (rate, None) if rate > 0.0 => format!("{rate:.0} items/s"),
        _ => "pace not known".to_owned(),
    };
    output::data_line(&format!("  done: {done}; {pace}"));
    output::data_line(&format!(
        "  in all: read {}, delivered {}, skipped {}, dead-lettered {}",
        count(shown.read),
        count(shown.delivered),
        count(shown.skipped),
        count(shown.dead_lettered)
    ));
    let Settings { enabled, checkpoint_dir, default_batch_size, checkpoint_every, keep, skip_limit } =
        &shown.batch_processing;
    let limit = skip_limit.as_ref().map_or_else(String::new, |limit| format!(", skip limit {limit}"));
    let no = if *enabled { "" } else { " (no [batch] in the file)" };
    output::data_line(&format!(
        "  batches of {}, a checkpoint every {checkpoint_every}, {keep} kept{limit}{no}",
        count(*default_batch_size as u64)
    ));
    output::data_line(&format!("  checkpoints in {checkpoint_dir}, the newest last:"));
    for Kept { name, at, read, damage } in &shown.checkpoints {
        output::data_line(&match damage {
            None => format!("    {name}  {at}  read {}", count(*read)),
            Some(damage) => format!("    {name}  damaged: {damage}"),
        });
    }
    if shown.checkpoints.is_empty() {
        output::data_line("    none yet");
    }
}
