//! The tasks of this repository, each run as `cargo xtask NAME`.
//!
//! What must stay true is checked here and not asked for in prose. [`flags`] declares what can be typed, and
//! each command has a file of its own name. Nothing here sees an Aqueduct crate, so that the checks run while
//! the crates do not compile.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person who started it")]

mod alone;
mod bench;
mod ci;
mod crash;
mod docs;
mod examples;
mod flags;
mod floors;
mod needs;
mod process;
mod quickstart;
mod setup;
mod test;
mod tidy;

use std::process::ExitCode;

use flags::Command;
use process::{Root, UsageError};

/// What a task gives: nothing, or an error that is already a whole sentence for a person.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

fn dispatch() -> Result {
    let command = flags::parse(std::env::args().skip(1))?;
    let root = Root::find()?;
    match command {
        Command::Help => print!("{}", flags::help()),
        Command::Alone => alone::run(&root)?,
        Command::Bench { name } => bench::run(&root, name.as_deref())?,
        Command::Ci { step } => ci::run(&root, step.as_deref())?,
        Command::Crash { args } => crash::run(&root, &args)?,
        Command::Docs { check } => docs::run(&root, check)?,
        Command::Examples => examples::run(&root)?,
        Command::Floors => floors::run(&root)?,
        Command::Quickstart => quickstart::run(&root)?,
        Command::Setup => setup::run(&root)?,
        Command::Test { args } => test::run(&root, &args)?,
        Command::Tidy => tidy::run(&root)?,
    }
    Ok(())
}
