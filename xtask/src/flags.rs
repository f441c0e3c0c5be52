use std::fmt::Write as _;

use crate::ci::STEPS;
use crate::docs::Check;
use crate::process::UsageError;

/// One command as it was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Alone,
    Bench { name: Option<String> },
    Ci { step: Option<String> },
    Crash { args: Vec<String> },
    Docs { check: Check },
    Examples,
    Floors,
    Help,
    Quickstart,
    Setup,
    Test { args: Vec<String> },
    Tidy,
}

const COMMANDS: &[(&str, &str)] = &[
    ("ci [STEP]", "every check in order, or one of them"),
    ("setup", "installs what the tests need and looks for the other tools"),
    ("test [ARGS]", "the tests without the doc tests; ARGS go to `cargo test`"),
    ("tidy", "reads every tracked file: stories, names, links, manifests"),
    ("floors", "fails on a dependency that goes sideways or up"),
    ("alone", "builds each part with no feature, each and all, and looks at what would be packed"),
    ("examples", "runs the examples of the parts"),
    ("docs [--check]", "writes the generated references, or tells whether they are current"),
    (
        "crash [--points N] [--kind KIND|all] [--short]",
        "kills a run at every point and checks the resumed one",
    ),
    ("bench [NAME]", "runs the benches and prints few numbers"),
    ("quickstart", "does what the README says, on a fresh clone"),
];

pub(crate) fn help() -> String {
    let mut text = "Usage: cargo xtask COMMAND\n\n".to_owned();
    for (usage, does) in COMMANDS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {usage}\n      {does}");
    }
    text.push_str("\nSteps of ci:\n");
    for step in STEPS {
        let _ = writeln!(text, "  {:<11} {}", step.name, step.does);
    }
    text
}

pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command, UsageError> {
    let mut args = args.peekable();
    let Some(name) = args.next() else { return Ok(Command::Help) };
    let command = match name.as_str() {
        "help" | "--help" | "-h" => Command::Help,
        "alone" => Command::Alone,
        "bench" => Command::Bench { name: args.next() },
        "ci" => Command::Ci { step: args.next() },
        "crash" => Command::Crash { args: args.by_ref().collect() },
        "docs" => Command::Docs {
            check: if args.next_if_eq("--check").is_some() { Check::Only } else { Check::AndWrite },
        },
        "examples" => Command::Examples,
        "floors" => Command::Floors,
        "quickstart" => Command::Quickstart,
        "setup" => Command::Setup,
        "test" => Command::Test { args: args.by_ref().collect() },
        "tidy" => Command::Tidy,
        _ => return Err(UsageError(format!("no command {name:?}; `cargo xtask help` lists them"))),
    };
    match args.next() {
        Some(extra) => Err(UsageError(format!("`cargo xtask {name}` does not take {extra:?}"))),
        None => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_takes_its_own_arguments() {
        assert_eq!(parsed("ci clippy"), Ok(Command::Ci { step: Some("clippy".to_owned()) }));
        assert_eq!(parsed("docs --check"), Ok(Command::Docs { check: Check::Only }));
        assert_eq!(parsed("docs"), Ok(Command::Docs { check: Check::AndWrite }));
        assert_eq!(
            parsed("crash --points 25 --kind both"),
            Ok(Command::Crash { args: ["--points", "25", "--kind", "both"].map(str::to_owned).to_vec() })
        );
    }

    #[test]
    fn a_word_too_many_is_refused_by_name() {
        assert_eq!(parsed("tidy now"), Err("`cargo xtask tidy` does not take \"now\"".to_owned()));
        assert!(parsed("tydi").is_err_and(|message| message.contains("no command \"tydi\"")));
    }
}
