//! The guides show what the binary does: every command in them is run.
//!
//! A fence ```` ```console ```` is a transcript; all of a page run in one folder, from the first to the last. A fence
//! ```` ```toml pipeline.toml ```` is the file of that name, put there before the next command, and with `>> ` in front
//! of the name it is what comes to the end of it. In ```` ```console varies ```` every number may be another one.

#![cfg(unix)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::Folder;
use crate::transcript::{masked, performed};

fn guide(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides").join(name)
}

/// A page with what its commands really print; what agrees but for times stays as it is.
fn followed(folder: &Folder, page: &str) -> String {
    let mut fresh = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let _ = writeln!(fresh, "{line}");
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: String =
            lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        let body = match info.split_once(' ') {
            None if info == "console" => agreed(&body, performed(folder, &body), masked),
            Some(("console", "varies")) => agreed(&body, performed(folder, &body), without_numbers),
            Some((_, name)) => {
                match name.strip_prefix(">> ") {
                    Some(name) => folder.write(name, folder.read(name) + &body),
                    None => folder.write(name, &body),
                }
                body
            }
            None => body,
        };
        let _ = writeln!(fresh, "{body}```");
    }
    fresh
}

fn agreed(shown: &str, came: String, compared: fn(&str) -> String) -> String {
    // Some systems indent what `wc` counts.
    let same = |text: &str| compared(text).lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    if same(shown) == same(&came) { shown.to_owned() } else { came }
}

fn without_numbers(text: &str) -> String {
    let mut bare = String::new();
    for letter in masked(text).chars() {
        match letter {
            '0'..='9' if bare.ends_with('0') => {}
            '0'..='9' => bare.push('0'),
            ',' | '.' if bare.ends_with('0') => {}
            other => bare.push(other),
        }
    }
    bare
}

/// Follows a guide from its first command to its last.
#[track_caller]
fn follow(folder: &Folder, name: &str) {
    let path = guide(name);
    let page = std::fs::read_to_string(&path).unwrap();
    let fresh = followed(folder, &page);
    if fresh == page {
        return;
    }
    if std::env::var_os("AQUEDUCT_BLESS").is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    let differs = page.lines().zip(fresh.lines()).enumerate().find(|(_, (shown, came))| shown != came);
    panic!(
        "docs/guides/{name} is stale at line {:?}; AQUEDUCT_BLESS=1 cargo test -p aqueduct-cli guides writes what came out",
        differs.map(|(at, lines)| (at + 1, lines))
    );
}

#[test]
fn a_pipeline_survives_what_the_tutorial_does_to_it() {
    follow(&Folder::bare(), "survive-anything.md");
}

#[test]
fn the_first_pipeline_does_what_its_page_says() {
    follow(&Folder::bare(), "first-pipeline.md");
}

#[test]
fn the_programs_of_their_page_do_what_it_says() {
    follow(&Folder::bare(), "exec.md");
}

#[test]
fn a_flaky_service_is_called_as_its_page_says() {
    follow(&Folder::bare(), "flaky-api.md");
}

#[test]
fn a_lookup_is_cached_as_its_page_says() {
    follow(&Folder::bare(), "cache-a-lookup.md");
}

#[test]
fn a_batch_goes_on_as_its_page_says() {
    follow(&Folder::bare(), "restart-a-batch.md");
}

#[test]
fn a_queue_between_pipelines_does_what_its_page_says() {
    follow(&Folder::bare(), "queue-between-pipelines.md");
}

#[test]
fn the_example_of_the_page_about_cases_passes() {
    let folder = Folder::bare();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").canonicalize().unwrap();
    // The command only reads: a case runs in a folder of its own.
    std::os::unix::fs::symlink(examples, folder.at("examples")).unwrap();
    follow(&folder, "test-a-pipeline.md");
}

/// Each piece of a pipeline file on the page, with what it lacks.
#[test]
fn every_piece_of_the_page_about_files_is_right() {
    let page = std::fs::read_to_string(guide("sources-and-files.md")).unwrap();
    let pieces: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(pieces.len() > 5, "{page}");
    for piece in pieces {
        let mut pipeline = format!("name = \"t\"\n{piece}");
        for (section, rest) in [("[source]", "type = \"stdin\""), ("[sink]", "type = \"stdout\"")] {
            if !piece.contains(section) {
                pipeline.push_str(&format!("{section}\n{rest}\n"));
            }
        }
        let call = Folder::new(&pipeline, "").call(&["check"]);
        assert_eq!(call.code, 0, "{piece}\n{call:?}");
    }
}

#[test]
fn a_page_is_followed_and_keeps_what_agrees() {
    let page = "# A\n\n```text a.txt\none\n```\n\n```console\n$ cat a.txt\ntwo\n$ cat <<'END'\nx\nEND\nx\n$ false\n```\n\n\
                ```console varies\n$ echo 12,345 and 0.5\n7 and 8\n```\n\n```console\n>> echo 2 > a.txt\n$ cat a.txt\n```\n";
    let expected = page
        .replace("two\n", "one\n")
        .replace("$ false\n", "$ false\n[exit 1]\n")
        .replace("$ cat a.txt\n```", "$ cat a.txt\n2\n```");
    assert_eq!(followed(&Folder::bare(), page), expected);
}
