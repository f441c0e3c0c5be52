use super::{Finding, Tree};

const WHEN: &str = "# When to use it";
const SOURCES: &str = "# Sources";

/// Every crate root tells its story; a binary says in a sentence what it is.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in tree.crates() {
        let (library, binary) = (format!("crates/{name}/src/lib.rs"), format!("crates/{name}/src/main.rs"));
        if !tree.has_file(&library) && !tree.has_file(&binary) {
            findings.push(Finding::file(&format!("crates/{name}"), "has neither src/lib.rs nor src/main.rs"));
        }
    }
    for (path, text) in tree.texts(is_crate_root) {
        let story = story(text);
        if !starts_with_sentence(&story) {
            findings.push(Finding::line(path, 1, "starts with no `//!` sentence that says what it is"));
        } else if path.ends_with("/lib.rs") {
            findings.extend(missing(&story).into_iter().map(|message| Finding::line(path, 1, message)));
        }
    }
    findings
}

fn is_crate_root(path: &str) -> bool {
    let mut parts = path.split('/');
    let in_source = match parts.next() {
        Some("crates") => parts.next().is_some() && parts.next() == Some("src"),
        Some("xtask") => parts.next() == Some("src"),
        _ => false,
    };
    let rest: Vec<_> = parts.collect();
    in_source && matches!(rest[..], ["lib.rs" | "main.rs"] | ["bin", _])
}

/// The lines of the crate's own documentation, without their mark.
fn story(text: &str) -> Vec<&str> {
    let lines = text.lines().skip_while(|line| line.is_empty());
    lines.map_while(|line| line.strip_prefix("//!")).map(str::trim).collect()
}

fn starts_with_sentence(story: &[&str]) -> bool {
    let first: Vec<_> = story.iter().take_while(|line| !line.is_empty()).collect();
    first.first().is_some_and(|line| line.starts_with(char::is_alphabetic))
        && first.last().is_some_and(|line| line.ends_with('.'))
}

/// What the story of a library lacks, in the order in which it is told.
fn missing(story: &[&str]) -> Vec<String> {
    let when = story.iter().position(|line| *line == WHEN);
    let example = story.iter().position(|line| is_example(line));
    let sources = story.iter().position(|line| *line == SOURCES);
    let mut messages = Vec::new();
    for (part, at) in [(WHEN, when), ("an example in a Rust code block", example), (SOURCES, sources)] {
        if at.is_none() {
            messages.push(format!("the story lacks {part}"));
        }
    }
    if messages.is_empty() && !(when < example && example < sources) {
        messages.push(format!("the story is told out of order: {WHEN}, the example, {SOURCES}"));
    }
    messages
}

/// A block that rustdoc compiles.
fn is_example(line: &str) -> bool {
    matches!(line.strip_prefix("```"), Some("" | "rust" | "no_run" | "rust,no_run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "//! Does one thing\n//! in a sentence.\n//!\n//! # When to use it\n//!\n//! Now.\n//!\n\
                         //! ```\n//! let a = 1;\n//! ```\n//!\n//! # Sources\n//!\n//! None.\n\nmod a;\n";

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.message).collect()
    }

    fn library(text: &str) -> Vec<String> {
        messages("crates/aqueduct-a/src/lib.rs", text)
    }

    #[test]
    fn a_whole_story_is_right() {
        assert_eq!(library(RIGHT), [""; 0]);
    }

    #[test]
    fn each_missing_part_is_named() {
        assert_eq!(library("mod a;\n"), ["starts with no `//!` sentence that says what it is"]);
        assert_eq!(
            library(&RIGHT.replace("# When to use it", "# When")),
            ["the story lacks # When to use it"]
        );
        assert_eq!(library(&RIGHT.replace("```", "")), ["the story lacks an example in a Rust code block"]);
        assert_eq!(library(&RIGHT.replace("# Sources", "")), ["the story lacks # Sources"]);
        assert_eq!(
            library(&RIGHT.replace("sentence.", "sentence")),
            ["starts with no `//!` sentence that says what it is"]
        );
    }

    #[test]
    fn an_example_that_is_not_compiled_is_none() {
        assert_eq!(
            library(&RIGHT.replacen("```", "```text", 1).replace("//! ```\n//!\n", "//!\n")),
            ["the story lacks an example in a Rust code block"]
        );
    }

    #[test]
    fn the_order_is_part_of_the_story() {
        let swapped = RIGHT.replace("# When to use it", "# X").replace("# Sources", "# When to use it");
        let swapped = swapped.replace("# X", "# Sources");
        assert_eq!(
            library(&swapped),
            ["the story is told out of order: # When to use it, the example, # Sources"]
        );
    }

    #[test]
    fn a_binary_needs_only_its_sentence() {
        assert_eq!(messages("crates/aqueduct-cli/src/main.rs", "//! The command.\nfn main() {}\n"), [""; 0]);
        assert_eq!(messages("crates/aqueduct-cli/src/main.rs", "fn main() {}\n").len(), 1);
        assert_eq!(messages("xtask/src/main.rs", "fn main() {}\n").len(), 1);
    }

    #[test]
    fn a_crate_without_a_root_is_named() {
        assert_eq!(messages("crates/aqueduct-a/Cargo.toml", ""), ["has neither src/lib.rs nor src/main.rs"]);
    }
}
