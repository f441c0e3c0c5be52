//! The reference shows what the binary does: every example of it is run.

#![cfg(unix)]

use std::path::{Path, PathBuf};

use crate::support::Folder;
use crate::transcript::{masked, performed};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reference/examples");
    let mut examples: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    examples.sort();
    examples
}

#[test]
fn every_example_shows_what_the_command_prints() {
    let bless = std::env::var_os("AQUEDUCT_BLESS").is_some();
    for example in examples() {
        let transcript = std::fs::read_to_string(&example).unwrap();
        let performed = performed(&Folder::bare(), &transcript);
        if masked(&transcript) == masked(&performed) {
            continue;
        }
        if bless {
            std::fs::write(&example, performed).unwrap();
        } else {
            let name = example.file_name().unwrap().display();
            panic!(
                "{name} is stale; AQUEDUCT_BLESS=1 cargo test -p aqueduct-cli reference writes this, then run cargo xtask \
                 docs:\n{performed}"
            );
        }
    }
}

#[test]
fn every_command_has_an_example_and_every_example_a_command() {
    let page = Folder::new("", "").call(&["reference", "cli"]).out;
    let sections: Vec<&str> = page.split("\n## aqueduct ").skip(1).collect();
    assert!(sections.len() > 8, "{page}");
    for section in &sections {
        let (command, text) = section.split_once('\n').unwrap();
        // A command with commands of its own prints nothing itself.
        assert!(
            text.contains("\nCommands:\n") || text.contains("```console\n$ "),
            "aqueduct {command} has no example: write src/reference/examples/{}.txt with the lines to type, each behind \
             `$ `, add it to src/reference/examples.rs, and let AQUEDUCT_BLESS=1 cargo test -p aqueduct-cli reference fill \
             it in",
            command.replace(' ', "-")
        );
    }
    let shown = page.matches("```console\n").count();
    assert_eq!(shown, examples().len(), "an example that is not in src/reference/examples.rs is not shown");
}
