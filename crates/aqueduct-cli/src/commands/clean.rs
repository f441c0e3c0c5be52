use aqueduct_core::Clock;
use aqueduct_orchestrator::{CleanError, CleanPlan, CleanScope, UpkeepError, hold, vacuum};
use serde::Serialize;

use super::load;
use crate::exit::Exit;
use crate::flags::{Clean, Format};
use crate::{ask, output};

#[derive(Serialize)]
struct Cleaned {
    /// False for a dry run.
    removed: bool,
    dead_letters: u64,
    checkpoints: u64,
    files: Vec<String>,
    ledgers: Vec<String>,
    output_files: Vec<String>,
    output_tables: Vec<CleanedTable>,
    shared_tables: Vec<String>,
}

#[derive(Serialize)]
struct CleanedTable {
    database: String,
    table: String,
}

/// Removes what a pipeline does not need any more.
pub(super) async fn clean(flags: Clean) -> Exit {
    let spec = match load(&flags.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let scope = match (flags.all, flags.outputs) {
        (false, _) => CleanScope::Surplus,
        (true, false) => CleanScope::Ledger,
        (true, true) => CleanScope::Outputs,
    };
    let at = Clock::system().wall();
    // A first look, so that a pipeline that never ran gets no data folder from being cleaned.
    let plan = match CleanPlan::find(&spec, scope, at).await {
        Ok(plan) => plan,
        Err(error) => return failed(&error),
    };
    if plan.is_empty() && !flags.vacuum {
        output::message(&format!("pipeline {}: nothing to clean", spec.name));
        return Exit::Nothing;
    }
    if flags.dry_run {
        show(&flags, &plan, false);
        return Exit::Done;
    }
    let _lock = match hold(&spec) {
        Ok(lock) => lock,
        Err(error) => return failed(&CleanError::from(error)),
    };
    // A run may have ended between the first look and the lock.
    let plan = match CleanPlan::find(&spec, scope, at).await {
        Ok(plan) => plan,
        Err(error) => return failed(&error),
    };
    if !plan.is_empty() {
        if !flags.yes {
            words(&plan).iter().for_each(|line| output::message(line));
        }
        if let Err(exit) = ask::confirm(&format!("remove this from pipeline {}?", spec.name), flags.yes) {
            return exit;
        }
        if let Err(error) = plan.carry_out(&spec, at).await {
            return failed(&error);
        }
        show(&flags, &plan, true);
    }
    if flags.vacuum
        && let Err(error) = vacuum(&spec).await
    {
        return failed::<UpkeepError>(&error);
    }
    if scope == CleanScope::Ledger {
        output::message(
            "its outputs stay; the next run starts over and refuses them until they are moved away, or removed with \
             --outputs",
        );
    }
    Exit::Done
}

fn failed<E: std::error::Error>(error: &E) -> Exit {
    output::error(error);
    Exit::Failed
}

fn show(flags: &Clean, plan: &CleanPlan, removed: bool) {
    if flags.output.output == Format::Text {
        let verb = if removed { "removed" } else { "would remove" };
        words(plan).iter().for_each(|line| output::data_line(&format!("{verb} {line}")));
        return;
    }
    let paths = |paths: &[std::path::PathBuf]| paths.iter().map(|path| path.display().to_string()).collect();
    let cleaned = Cleaned {
        removed,
        dead_letters: plan.surplus.dead_letters,
        checkpoints: plan.surplus.checkpoints,
        files: paths(&plan.files),
        ledgers: paths(&plan.ledgers),
        output_files: paths(&plan.output_files),
        output_tables: plan
            .output_tables
            .iter()
            .map(|(database, table)| CleanedTable {
                database: database.display().to_string(),
                table: table.clone(),
            })
            .collect(),
        shared_tables: plan.shared_tables.iter().map(|(table, _)| table.clone()).collect(),
    };
    output::data_line(&output::json(flags.output.output, &cleaned));
}

/// What goes, a line each.
fn words(plan: &CleanPlan) -> Vec<String> {
    let mut lines = Vec::new();
    if plan.surplus.dead_letters > 0 {
        let letters = output::plural(plan.surplus.dead_letters, "dead letter");
        lines.push(format!("{letters} beyond [retention]; they cannot be replayed afterwards"));
    }
    if plan.surplus.checkpoints > 0 {
        lines.push(format!("{} beyond [retention]", output::plural(plan.surplus.checkpoints, "checkpoint")));
    }
    lines.extend(plan.output_files.iter().map(|path| format!("output file {}", path.display())));
    let table = |(database, table): &(std::path::PathBuf, String)| {
        format!("table {table} of {} with all its rows", database.display())
    };
    lines.extend(plan.output_tables.iter().map(table));
    let ledger = |path: &std::path::PathBuf| {
        format!("positions, counts, dead letters, checkpoints and state in {}", path.display())
    };
    lines.extend(plan.ledgers.iter().map(ledger));
    lines.extend(plan.files.iter().map(|path| format!("file {}", path.display())));
    for (table, others) in &plan.shared_tables {
        lines.push(format!("nothing of table {table}: {} writes it, too", others.join(", ")));
    }
    lines
}
