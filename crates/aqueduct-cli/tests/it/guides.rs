//! The guide that is followed from its first line to its last: every file is written, every command is run.

#![cfg(unix)]

use std::path::{Path, PathBuf};

use crate::exec::installed;
use crate::reference::masked;
use crate::support::Folder;

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/survive-anything.md")
}

/// The file that a block is: the last of this kind that the text before it names, as in `pipeline.toml`.
fn named<'a>(before: &'a str, ending: &str) -> &'a str {
    let spans = before.split('`').skip(1).step_by(2);
    spans
        .filter(|span| span.ends_with(ending))
        .last()
        .unwrap_or_else(|| panic!("no {ending} is named: {before}"))
}

/// Types the commands of a block, and gives the block with what came out.
fn typed(folder: &Folder, block: &str) -> String {
    let commands = block.lines().filter(|line| line.starts_with("$ "));
    commands.map(|line| format!("{line}\n{}", folder.shell(&line[2..]))).collect()
}

/// The commands and their exit codes, which are all that is the same where a run was killed.
fn codes(block: &str) -> Vec<&str> {
    block.lines().filter(|line| line.starts_with("$ ") || line.starts_with("[exit ")).collect()
}

/// Follows the guide in an empty folder, and gives it with what came out and what is stale in it.
fn followed(guide: &str) -> (String, Vec<String>) {
    let folder = Folder::empty();
    let (mut text, mut stale) = (String::new(), Vec::new());
    let mut rest = guide;
    while let Some((before, fenced)) = rest.split_once("\n```") {
        let (language, block) = fenced.split_once('\n').unwrap();
        let (block, after) = block.split_once("```").unwrap();
        let now = match language {
            "console" | "console varies" => typed(&folder, block),
            "toml" | "python" => {
                folder.write(named(before, if language == "toml" { ".toml" } else { ".py" }), block);
                block.to_owned()
            }
            other => panic!("a block in {other}: this test knows toml, python, console and console varies"),
        };
        let same = match language {
            "console varies" => codes(block) == codes(&now),
            _ => masked(block) == masked(&now),
        };
        if !same {
            stale.push(now.clone());
        }
        text.push_str(&format!("{before}\n```{language}\n{now}```"));
        rest = after;
    }
    text.push_str(rest);
    (text, stale)
}

#[test]
fn the_guide_to_survive_anything_shows_what_happens() {
    installed("python3");
    let (text, stale) = followed(&std::fs::read_to_string(guide()).unwrap());
    if std::env::var_os("AQUEDUCT_BLESS").is_some() {
        std::fs::write(guide(), text).unwrap();
    } else {
        assert!(
            stale.is_empty(),
            "the guide is stale; AQUEDUCT_BLESS=1 cargo test -p aqueduct-cli guides writes this:\n{}",
            stale.join("\n")
        );
    }
}
