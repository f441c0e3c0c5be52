//! The binary `aqueduct`: runs a pipeline file, and tells what it would do, does and did.
//!
//! Data goes to standard output, messages to standard error. Exit codes are in [`exit`].

mod ask;
mod commands;
mod exit;
mod flags;
mod log;
mod output;
mod progress;
mod reference;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::Exit;
use crate::flags::{Command, Flags};

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    if let Err(error) = arm_fail_points() {
        output::error(&error);
        return Exit::Usage.into();
    }
    // Clap prints its own messages and exits with 2 on wrong usage.
    let flags = Flags::parse();
    if let Command::Reference { what } = &flags.command {
        output::data(&reference::markdown(*what));
        return ended(Exit::Done).into();
    }
    // Two threads carry timers and signals; the work has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => ended(runtime.block_on(commands::run(flags))).into(),
        Err(error) => {
            output::error(&error);
            Exit::Failed.into()
        }
    }
}

/// A command whose data did not arrive has failed, whatever else it did.
fn ended(exit: Exit) -> Exit {
    let Some(error) = output::lost() else { return exit };
    output::message(&format!("error: the standard output cannot be written: {error}"));
    if matches!(exit, Exit::Done | Exit::Nothing) { Exit::Failed } else { exit }
}

/// Reads the plan of the crash checker. Only in builds that are made for it.
#[cfg(feature = "failpoints")]
fn arm_fail_points() -> Result<(), aqueduct_core::failpoint::PlanError> {
    aqueduct_core::failpoint::arm(&std::env::var("AQUEDUCT_FAILPOINTS").unwrap_or_default())?;
    match std::env::var("AQUEDUCT_SABOTAGE") {
        Ok(name) => aqueduct_core::failpoint::sabotage_with(&name),
        Err(_) => Ok(()),
    }
}
