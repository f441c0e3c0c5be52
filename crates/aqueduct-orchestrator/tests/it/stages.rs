//! The keys of single stages: what they mean and which are wrong.

use std::path::Path;
use std::time::Duration;

use aqueduct_orchestrator::{Inputs, OnError, PipelineSpec, StageKind};

/// The stages of a file with these `[[stage]]` lines, or its errors.
pub(crate) fn stages(lines: &str) -> Result<Vec<aqueduct_orchestrator::StageSpec>, String> {
    let text = format!(
        "name = \"p\"\nsource = {{ type = \"jsonl\", path = \"a\" }}\nsink = {{ type = \"stdout\" }}\n{lines}"
    );
    let environment = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let inputs = Inputs::new(&environment);
    match PipelineSpec::parse("p.toml", Path::new("/data"), text.as_bytes(), &inputs) {
        Ok(spec) => Ok(spec.stages),
        Err(errors) => Err(errors.iter().map(|error| format!("{}\n", error.message())).collect()),
    }
}

fn stage(kind: &str, lines: &str) -> Result<aqueduct_orchestrator::StageSpec, String> {
    stages(&format!("[[stage]]\nname = \"s\"\ntype = \"{kind}\"\n{lines}")).map(|mut stages| stages.remove(0))
}

#[test]
fn split_sample_and_assert_have_their_defaults() {
    match stage("split", "field = \"items\"").unwrap().kind {
        StageKind::Split { field, name, keep, items_max } => {
            assert_eq!((field.as_str(), name, keep.len(), items_max), ("items", None, 0, 10_000));
        }
        other => panic!("{other:?}"),
    }
    match stage("sample", "ratio = 0.25").unwrap().kind {
        StageKind::Sample { ratio, seed, key: None } => assert_eq!((ratio, seed), (0.25, 0)),
        other => panic!("{other:?}"),
    }
    let stage = stage("assert", "when = \"item.n > 0\"").unwrap();
    assert!(matches!(stage.kind, StageKind::Assert { message: None, .. }));
    assert_eq!((stage.on_error, stage.retry), (OnError::Stop, None));
}

#[test]
fn what_they_lack_or_have_too_much_is_named() {
    for (kind, lines, expected) in [
        ("split", "", "lacks the key \"field\""),
        ("split", "field = \"\"", "field is empty"),
        ("split", "field = \"a\"\nitems_max = 0", "items_max is 0, and must be from 1 to 1000000"),
        ("split", "field = \"a\"\nkeep = []", "keep is an empty list"),
        ("sample", "", "lacks the key \"ratio\""),
        ("sample", "ratio = 1.5", "ratio is 1.5, and must be from 0 to 1"),
        ("sample", "ratio = 1\nseed = -1", "seed is -1, and must be from 0"),
        ("sample", "ratio = 1\nevery = 10", "stage \"s\" has no key \"every\""),
        ("sample", "ratio = 1\nkey = \"item.\"", "the expression ends too early"),
        ("exec", "", "lacks the key \"command\""),
        ("exec", "command = \"a b\"", "command takes a list of texts, found a text"),
        ("exec", "command = []", "command is an empty list"),
        ("exec", "command = [\"\", \"x\"]", "command is empty"),
        ("exec", "command = [\"a\", 1]", "command takes a list of texts, found an integer"),
        ("exec", "command = [\"a\"]\nenv = { \"A=B\" = \"x\" }", "\"A=B\" is not a name"),
        (
            "exec",
            "command = [\"a\"]\nenv = { A = 1 }",
            "env takes a table of names and texts, found an integer",
        ),
        ("exec", "command = [\"a\"]\nprocesses = 257", "processes is 257, and must be from 1 to 256"),
        ("exec", "command = [\"a\"]\nin_flight = 0", "in_flight is 0, and must be from 1 to 1024"),
        (
            "exec",
            "command = [\"a\"]\ntimeout_seconds = 0",
            "timeout_seconds is 0, and must be from 0.001 to 86400",
        ),
        ("assert", "", "lacks the key \"when\""),
        ("assert", "when = \"1\"", "when must give true or false, and this gives an integer"),
    ] {
        let errors = stage(kind, lines).expect_err(lines);
        assert!(errors.contains(expected), "{expected:?} is not in {errors:?}");
    }
}

#[test]
fn a_message_is_shown_as_it_is_written() {
    let stage = stage("assert", "when = \"item.a\"\nmessage = \"not ${env:SECRET}\"").unwrap();
    assert!(!format!("{stage:?}").contains("hunter2"), "{stage:?}");
}

#[test]
fn retries_may_be_set_with_every_rule() {
    let retry = "[stage.retry]\nattempts = 1\nmax_elapsed_seconds = 2.5";
    for rule in ["stop", "skip", "retry", "dead-letter"] {
        let stage = stage("filter", &format!("when = \"item.a\"\non_error = \"{rule}\"\n{retry}")).unwrap();
        let given = stage.retry.unwrap();
        assert_eq!((given.attempts, given.delay), (1, Duration::from_millis(100)), "{rule}");
        assert_eq!(given.elapsed_max, Some(Duration::from_millis(2500)));
    }
    // As before there was such a section: with retry its defaults hold, else those of the engine.
    let of =
        |rule: &str| stage("filter", &format!("when = \"item.a\"\non_error = \"{rule}\"")).unwrap().retry;
    assert_eq!(of("retry").map(|retry| (retry.attempts, retry.elapsed_max)), Some((3, None)));
    assert_eq!(of("dead-letter"), None);
}

#[test]
fn a_program_and_its_arguments_are_taken_as_they_are() {
    let lines =
        "command = [\"./a b\", \"-x\", \"-x\", \"\", \"${env:SECRET}\"]\nenv = { A = \"\" }\nprocesses = 2";
    let stage = stage("exec", lines).unwrap();
    assert!(!format!("{stage:?}").contains("hunter2"), "{stage:?}");
    let StageKind::Exec(exec) = stage.kind else { panic!("{stage:?}") };
    let command: Vec<&str> = exec.command.iter().map(|word| word.expose()).collect();
    assert_eq!(command, ["./a b", "-x", "-x", "", "hunter2"]);
    assert_eq!((exec.processes, exec.in_flight, exec.restarts_max), (2, 16, 10));
    assert_eq!((exec.timeout, exec.grace), (Duration::from_secs(30), Duration::from_secs(5)));
}
