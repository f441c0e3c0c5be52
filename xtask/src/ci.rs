use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::docs::Check;
use crate::process::{self, Root, UsageError};
use crate::{Result, alone, bench, crash, docs, examples, floors, quickstart, test, tidy};

/// One check. It runs alone as `cargo xtask ci NAME`.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) does: &'static str,
    run: fn(&Root) -> Result<Note>,
}

/// What a step did not do and the reader must know, if there is such a thing.
type Note = Option<String>;

/// In the order in which they fail soonest: what takes seconds stands before what compiles.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "format", does: "the source is as rustfmt writes it", run: format },
    Step { name: "tidy", does: "stories, names, links, manifests", run: |root| done(tidy::run(root)) },
    Step { name: "floors", does: "every dependency goes down", run: |root| done(floors::run(root)) },
    Step { name: "clippy", does: "no warning, with and without features", run: clippy },
    Step { name: "test", does: "unit and behaviour tests", run: |root| done(test::run(root, &[])) },
    Step { name: "alone", does: "each part builds and packs by itself", run: |root| done(alone::run(root)) },
    Step { name: "examples", does: "the parts' examples run", run: |root| done(examples::run(root)) },
    Step { name: "doc-tests", does: "the examples in the documentation", run: doc_tests },
    Step { name: "docs", does: "the documentation builds without a warning", run: rustdoc },
    Step {
        name: "references",
        does: "the generated pages are current",
        run: |root| done(docs::run(root, Check::Only)),
    },
    Step { name: "deny", does: "licences, bans, sources, advisories", run: deny },
    Step {
        name: "crash",
        does: "killed runs lose nothing, sabotaged builds are caught",
        run: |root| done(crash::run(root, &["--short".to_owned()])),
    },
    Step { name: "benches", does: "the benches compile", run: benches },
    Step { name: "peers", does: "the comparison with others compiles", run: peers },
    Step {
        name: "quickstart",
        does: "the README's first steps work on a fresh clone",
        run: |root| done(quickstart::run(root)),
    },
];

/// Runs one step, or all of them up to the first that fails.
pub(crate) fn run(root: &Root, name: Option<&str>) -> Result {
    let steps = match name {
        None => STEPS,
        Some(name) => match STEPS.iter().position(|step| step.name == name) {
            Some(at) => &STEPS[at..=at],
            None => {
                let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
                return Err(UsageError(format!("no step {name:?}; there are {}", names.join(", "))).into());
            }
        },
    };
    let mut table = Vec::new();
    let mut failure = None;
    for (number, step) in steps.iter().enumerate() {
        println!("==> {} ({}/{}): {}", step.name, number + 1, steps.len(), step.does);
        let (taken, result) = timed(|| (step.run)(root));
        match result {
            Ok(note) => table.push((step.name, taken, note)),
            Err(error) => {
                table.push((step.name, taken, Some("FAILED".to_owned())));
                failure = Some(format!("{error}\nrun this step alone with: cargo xtask ci {}", step.name));
                break;
            }
        }
        println!("<== {}: {}", step.name, seconds(taken));
    }
    if steps.len() > 1 {
        print!("{}", report(&table));
    }
    match failure {
        None => Ok(()),
        Some(message) => Err(message.into()),
    }
}

fn format(root: &Root) -> Result<Note> {
    done(process::run(&mut root.cargo(&["fmt", "--all", "--check"])))
}

/// Twice: what a feature replaces is compiled in the first build only, what it adds in the second only.
fn clippy(root: &Root) -> Result<Note> {
    const ARGS: &[&str] = &["clippy", "--quiet", "--workspace", "--all-targets"];
    process::run(root.cargo(ARGS).args(["--", "-D", "warnings"]))?;
    done(process::run(root.cargo(ARGS).args(["--all-features", "--", "-D", "warnings"])))
}

fn doc_tests(root: &Root) -> Result<Note> {
    done(process::run(&mut root.cargo(&["test", "--quiet", "--workspace", "--doc"])))
}

fn rustdoc(root: &Root) -> Result<Note> {
    let mut command = root.cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
    done(process::run(command.env("RUSTDOCFLAGS", "-D warnings")))
}

fn deny(root: &Root) -> Result<Note> {
    if !process::succeeds(&mut root.cargo(&["deny", "--version"])) {
        let note = "NOT CHECKED: cargo-deny is absent, so no licence, ban, source or advisory was looked at";
        println!("    {note}");
        return Ok(Some(note.to_owned()));
    }
    // The tree of each dependency buries what was found; `cargo deny check` shows it.
    const ARGS: &[&str] = &["deny", "--offline", "check", "--hide-inclusion-graph"];
    process::run(root.cargo(ARGS).args(["bans", "licenses", "sources"]))?;
    let database = cargo_home().map(|home| home.join("advisory-dbs"));
    if database.is_some_and(|path| path.is_dir()) {
        return done(process::run(root.cargo(ARGS).arg("advisories")));
    }
    let note = "advisories NOT CHECKED: there is no database here; `cargo deny fetch` brings it";
    println!("    {note}");
    Ok(Some(note.to_owned()))
}

/// Without optimisation: that a bench compiles and links does not need minutes of it for each.
fn benches(root: &Root) -> Result<Note> {
    done(process::run(&mut root.cargo(&[
        "build",
        "--quiet",
        "--benches",
        "--manifest-path",
        bench::MANIFEST,
    ])))
}

/// A workspace of its own, which no other step reads.
fn peers(root: &Root) -> Result<Note> {
    process::run(&mut root.cargo(&["fmt", "--check", "--manifest-path", bench::PEERS]))?;
    let mut command = root.cargo(&["clippy", "--quiet", "--all-targets", "--manifest-path", bench::PEERS]);
    command.arg("--target-dir").arg(root.target.join("peers"));
    done(process::run(command.args(["--", "-D", "warnings"])))
}

fn done(result: Result) -> Result<Note> {
    result.map(|()| None)
}

fn cargo_home() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| value != OsStr::new("")).map(PathBuf::from);
    set("CARGO_HOME").or_else(|| set("HOME").map(|home| home.join(".cargo")))
}

#[expect(clippy::disallowed_methods, reason = "a person reads this time, and xtask sees no Aqueduct crate")]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn report(table: &[(&str, Duration, Note)]) -> String {
    let mut text = String::from("\nstep          time\n");
    for (name, taken, note) in table {
        let note = note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<11} {:>8}{note}", seconds(*taken));
    }
    let total = table.iter().map(|(_, taken, _)| *taken).sum();
    let _ = writeln!(text, "{:<11} {:>8}", "all", seconds(total));
    text
}

fn seconds(taken: Duration) -> String {
    format!("{:.1} s", taken.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_gives_each_step_its_time_and_what_was_not_checked() {
        let table = [
            ("format", Duration::from_millis(1_234), None),
            ("deny", Duration::from_millis(10), Some("NOT CHECKED: why".to_owned())),
        ];
        assert_eq!(
            report(&table),
            "\nstep          time\nformat         1.2 s\ndeny           0.0 s  NOT CHECKED: why\nall            1.2 s\n"
        );
    }

    #[test]
    fn every_step_has_a_name_of_its_own() {
        for (number, step) in STEPS.iter().enumerate() {
            assert!(!STEPS[..number].iter().any(|earlier| earlier.name == step.name), "{}", step.name);
        }
    }
}
