//! The reference shows what the binary does: every example of it is run.

#![cfg(unix)]

use std::path::{Path, PathBuf};

use crate::support::Folder;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reference/examples");
    let mut examples: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    examples.sort();
    examples
}

/// Runs the commands of a transcript in an empty folder, and gives the transcript with what came out.
fn performed(transcript: &str) -> String {
    let folder = Folder::empty();
    let mut text = String::new();
    for line in transcript.lines() {
        let Some(command) = line.strip_prefix("$ ").or(line.strip_prefix(">> ")) else { continue };
        let shown = folder.shell(command);
        text.push_str(line);
        text.push('\n');
        if line.starts_with("$ ") {
            text.push_str(&shown);
        }
    }
    text
}

/// A text without what differs from run to run: dates and what a clock measured.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = String::new();
    for line in text.lines() {
        let measured = ["_seconds\":", "_per_second\":", "_share\":", "_ms\":"];
        let line = match measured.iter().find_map(|key| line.find(key).map(|at| at + key.len())) {
            Some(at) => format!("{} 0{}", &line[..at], if line.ends_with(',') { "," } else { "" }),
            None => match (line.find(" in ").filter(|_| line.contains(" items/s")), line.find(" items/s")) {
                (Some(from), Some(to)) => format!("{} in 0 s (0{}", &line[..from], &line[to..]),
                _ => line.to_owned(),
            },
        };
        let mut rest = line.as_str();
        // A date and time is 24 letters, as in 2026-11-20T23:51:49.000Z.
        while let Some(at) = rest.find("T").filter(|_| !rest.is_empty()) {
            let date = at
                .checked_sub(10)
                .and_then(|from| rest.get(from..at + 14))
                .filter(|date| date.ends_with('Z') && date.bytes().filter(u8::is_ascii_digit).count() == 17);
            match date {
                Some(_) => {
                    masked.push_str(&rest[..at - 10]);
                    masked.push_str("TIME");
                    rest = &rest[at + 14..];
                }
                None => {
                    masked.push_str(&rest[..=at]);
                    rest = &rest[at + 1..];
                }
            }
        }
        masked.push_str(rest);
        masked.push('\n');
    }
    masked
}

#[test]
fn every_example_shows_what_the_command_prints() {
    let bless = std::env::var_os("AQUEDUCT_BLESS").is_some();
    for example in examples() {
        let transcript = std::fs::read_to_string(&example).unwrap();
        let performed = performed(&transcript);
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

#[test]
fn times_are_masked_and_nothing_else() {
    let text = "at 2026-11-20T23:51:49.000Z, T 2026\n  read 5 in 0.01 s (861 items/s, x)\n\"p50_ms\": 0.3,\nin 3 s\n";
    assert_eq!(masked(text), "at TIME, T 2026\n  read 5 in 0 s (0 items/s, x)\n\"p50_ms\": 0,\nin 3 s\n");
}
