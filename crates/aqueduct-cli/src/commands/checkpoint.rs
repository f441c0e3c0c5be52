use aqueduct_core::Counts;
use aqueduct_orchestrator::{InspectError, Inspection, PipelineSpec};
use aqueduct_store::{Checkpoint, Ledger};
use serde::Serialize;

use super::load;
use crate::exit::Exit;
use crate::flags::{Checkpoint as Flags, Format, Look, NEWEST};
use crate::output;

/// One checkpoint, the same shape in `ls` and `show`.
#[derive(Serialize)]
struct Shown {
    name: String,
    epoch: u64,
    at: String,
    positions: Vec<ShownPosition>,
    totals: Totals,
    /// What is wrong with it; the rest says nothing then.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

#[derive(Serialize)]
struct ShownPosition {
    partition: String,
    position: serde_json::Value,
}

#[derive(Serialize)]
struct Totals {
    read: u64,
    spawned: u64,
    delivered: u64,
    dead_lettered: u64,
    skipped: u64,
    absorbed: u64,
    dropped: u64,
    abandoned: u64,
    in_flight: u64,
}

/// Looks at checkpoints.
pub(super) async fn checkpoint(flags: Flags) -> Exit {
    let (look, name, one) = match flags {
        Flags::Ls(look) => (look, None, false),
        Flags::Show { look, name } => (look, Some(name).filter(|name| name != NEWEST), true),
    };
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let mut shown = match read(&spec).await {
        Ok(shown) => shown,
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    if one && let Some(name) = &name {
        let known: Vec<String> = shown.iter().map(|checkpoint| checkpoint.name.clone()).collect();
        shown.retain(|checkpoint| checkpoint.name == *name);
        if shown.is_empty() && !known.is_empty() {
            output::message(&format!("error: there is no checkpoint {name}; there are {}", known.join(", ")));
            return Exit::Failed;
        }
    }
    if shown.is_empty() {
        if !one && look.output.output == Format::Json {
            output::data_line("[]");
        }
        output::message("no checkpoints");
        return Exit::Nothing;
    }
    print(&look, &shown, one);
    Exit::Done
}

async fn read(spec: &PipelineSpec) -> Result<Vec<Shown>, InspectError> {
    let Some(mut inspection) = Inspection::open(spec).await? else { return Ok(Vec::new()) };
    let Some(ledger) = inspection.ledger().await? else { return Ok(Vec::new()) };
    let checkpoints = inspection.checkpoints().await?;
    Ok(checkpoints.into_iter().map(|checkpoint| shown(checkpoint, &ledger)).collect())
}

fn shown(checkpoint: Checkpoint, ledger: &Ledger) -> Shown {
    let position = |then: aqueduct_store::CheckpointPosition| ShownPosition {
        partition: ledger
            .partitions
            .iter()
            .find(|known| known.id.0 == then.partition)
            .map_or_else(|| then.partition.to_string(), |known| known.name.clone()),
        position: super::status::position(&then.position),
    };
    Shown {
        name: checkpoint.name,
        epoch: checkpoint.epoch,
        at: checkpoint.at.to_string(),
        positions: checkpoint.positions.into_iter().map(position).collect(),
        totals: totals(checkpoint.counts),
        damage: checkpoint.damage,
    }
}

fn totals(counts: Counts) -> Totals {
    Totals {
        read: counts.read,
        spawned: counts.spawned,
        delivered: counts.delivered,
        dead_lettered: counts.dead_lettered,
        skipped: counts.skipped,
        absorbed: counts.absorbed,
        dropped: counts.dropped,
        abandoned: counts.abandoned,
        in_flight: counts.in_flight,
    }
}

fn print(look: &Look, shown: &[Shown], one: bool) {
    let count = output::count;
    match look.output.output {
        Format::Json if one => output::data_line(&output::json(Format::Json, &shown.last())),
        Format::Json => output::data_line(&output::json(Format::Json, &shown)),
        Format::Jsonl if one => output::data_line(&output::json(Format::Jsonl, &shown.last())),
        Format::Jsonl => {
            shown.iter().for_each(|checkpoint| output::data_line(&output::json(Format::Jsonl, checkpoint)));
        }
        Format::Text if one => shown.last().into_iter().for_each(print_whole),
        Format::Text => {
            for Shown { name, epoch, at, totals, damage, .. } in shown {
                if let Some(damage) = damage {
                    output::data_line(&format!("{name}  damaged: {damage}"));
                    continue;
                }
                output::data_line(&format!(
                    "{name}  commit {}  {at}  read {}, delivered {}",
                    count(*epoch),
                    count(totals.read),
                    count(totals.delivered)
                ));
            }
        }
    }
}

fn print_whole(checkpoint: &Shown) {
    let count = output::count;
    let Shown { name, epoch, at, positions, totals, damage } = checkpoint;
    if let Some(damage) = damage {
        output::data_line(&format!("checkpoint {name} is damaged: {damage}"));
        return;
    }
    output::data_line(&format!("checkpoint {name}: commit {}, {at}", count(*epoch)));
    let named = [
        ("read", totals.read),
        ("spawned", totals.spawned),
        ("delivered", totals.delivered),
        ("skipped", totals.skipped),
        ("dead-lettered", totals.dead_lettered),
        ("absorbed", totals.absorbed),
        ("dropped", totals.dropped),
        ("abandoned", totals.abandoned),
        ("in flight", totals.in_flight),
    ];
    let named: Vec<String> =
        named.iter().map(|(name, number)| format!("{name} {}", count(*number))).collect();
    output::data_line(&format!("  in all: {}", named.join(", ")));
    for part in positions {
        let place = super::status::place(Some(&part.position));
        output::data_line(&format!("  {}: {place}", part.partition));
    }
}
