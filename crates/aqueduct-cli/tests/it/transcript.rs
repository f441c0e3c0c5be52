//! Commands as they are typed, with what they print: the form of the examples in the reference and in the guides.

use std::path::Path;

use crate::support::{Call, Folder};

/// Runs the commands of a transcript one after the other in a folder, and gives the transcript with what came out.
///
/// `$ ` begins a command that is shown, `>> ` one that only prepares the next; everything else is what came out.
/// A command goes on after a `\` at the end of a line, and with `<<'END'` up to the line `END`.
pub(crate) fn performed(folder: &Folder, transcript: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_aqueduct")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(binary.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    let mut text = String::new();
    let mut lines = transcript.lines();
    while let Some(line) = lines.next() {
        if !line.starts_with("$ ") && !line.starts_with(">> ") {
            continue;
        }
        let mut shown = line.to_owned();
        while shown.ends_with('\\') {
            shown.push('\n');
            shown.push_str(lines.next().expect("a command that goes on has a next line"));
        }
        if shown.contains("<<'END'") {
            for line in lines.by_ref() {
                shown.push('\n');
                shown.push_str(line);
                if line == "END" {
                    break;
                }
            }
        }
        let (_, command) = shown.split_once(' ').unwrap();
        let mut shell = folder.program("sh", &["-c", &format!("exec 2>&1; {command}")]);
        let call = Call::of(shell.env("PATH", &path).output().unwrap());
        text.push_str(&shown);
        text.push('\n');
        if line.starts_with("$ ") {
            text.push_str(&call.out);
            if call.code != 0 {
                text.push_str(&format!("[exit {}]\n", call.code));
            }
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
fn times_are_masked_and_nothing_else() {
    let text = "at 2026-11-20T23:51:49.000Z, T 2026\n  read 5 in 0.01 s (861 items/s, x)\n\"p50_ms\": 0.3,\nin 3 s\n";
    assert_eq!(masked(text), "at TIME, T 2026\n  read 5 in 0 s (0 items/s, x)\n\"p50_ms\": 0,\nin 3 s\n");
}
