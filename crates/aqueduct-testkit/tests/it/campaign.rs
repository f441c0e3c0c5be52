use aqueduct_testkit::{Campaign, CrashError, Kind, Options, Outcome, Report};

/// A program that is on every machine and is no pipeline.
const STRANGER: &str = "/usr/bin/env";

fn options(binary: &str) -> Options {
    Options { binary: binary.into(), seed: 1, kinds: vec![Kind::Jsonl], points_per_kind: 3 }
}

#[test]
fn a_binary_that_does_not_do_the_work_undisturbed_is_refused() {
    let campaign = Campaign::new(options(STRANGER)).expect("the program is there");
    let error = campaign.run(&mut Report::default()).expect_err("it is no pipeline");
    assert!(matches!(error, CrashError::Undisturbed { kind: "jsonl", .. }), "{error:?}");
}

#[test]
fn a_binary_that_is_not_there_is_named() {
    let error = Campaign::new(options("/nowhere/aqueduct")).expect_err("there is none");
    assert_eq!(error.to_string(), "/nowhere/aqueduct cannot be used");
}

#[test]
fn a_run_that_never_comes_to_its_end_is_a_finding() {
    let campaign = Campaign::new(options(STRANGER)).expect("the program is there");
    let point = "jsonl".parse().expect("a point");
    match campaign.play(&point).expect("it can be tried") {
        Outcome::Broken { findings, folder } => {
            assert!(findings[0].to_string().starts_with("wrong in the run: it ended with exit code 127"));
            assert!(folder.join("input.jsonl").exists());
        }
        other => panic!("expected a broken promise, got {other:?}"),
    }
}
