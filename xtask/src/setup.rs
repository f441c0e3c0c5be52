use std::process::Command;

use crate::process::{self, Root};
use crate::{Result, needs};

/// A program that is wanted and not needed: its check is left out, and `ci` says so.
const WANTED: &[(&str, &[&str], &str)] = &[
    ("rustfmt", &["fmt", "--version"], "rustup component add rustfmt"),
    ("clippy", &["clippy", "--version"], "rustup component add clippy"),
    ("cargo-deny", &["deny", "--version"], "cargo install --locked cargo-deny"),
];

/// Prepares a fresh machine for work on Aqueduct and says what it found and did.
pub(crate) fn run(root: &Root) -> Result {
    println!("What the tests need:");
    needs::meet_all()?;
    println!("What the other steps use:");
    for (name, probe, install) in WANTED {
        match process::succeeds(&mut root.cargo(probe)) {
            true => println!("    {name} is there"),
            false => println!("    {name} is missing; install it with: {install}"),
        }
    }
    // SQLite is compiled from its source.
    match process::succeeds(Command::new("cc").arg("--version")) {
        true => println!("    a C compiler is there"),
        false => {
            return Err("a C compiler is missing; on Debian install it with: apt-get install -y gcc".into());
        }
    }
    println!("Dependencies:");
    process::run(&mut root.cargo(&["fetch", "--locked"]))?;
    println!("Ready. `cargo xtask ci` runs every check.");
    Ok(())
}
