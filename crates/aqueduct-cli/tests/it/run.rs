use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Call, Folder, TO_FILE, TO_TABLE, numbers};

const SCORED: &str = r#"
name = "scores"
[source]
type = "jsonl"
path = "in.jsonl"
[[stage]]
name = "score"
type = "map"
keep = ["id"]
set = { score = "100.0 * double(item.passed) / double(item.passed + item.failed)" }
on_error = "dead-letter"
[[stage]]
name = "alert"
type = "alert"
when = "item.score < 50.0"
to = "alerts"
[[sink]]
name = "results"
type = "sqlite"
path = "results.db"
table = "scores"
[[sink]]
name = "alerts"
type = "jsonl"
path = "alerts"
"#;

#[test]
fn a_pipeline_scores_alerts_stores_and_then_has_nothing_to_do() {
    let input = "{\"id\":\"a\",\"passed\":3,\"failed\":1}\n{\"id\":\"b\",\"passed\":1,\"failed\":3}\n";
    let folder = Folder::new(SCORED, input);
    let first = folder.run(&["-o", "json"]);
    assert_eq!(first.code, 0, "{first:?}");
    let closing = first.json();
    for (field, value) in [
        ("pipeline", serde_json::json!("scores")),
        ("ended", "done".into()),
        ("error", serde_json::Value::Null),
        ("exit_code", 0.into()),
        ("read", 2.into()),
        ("spawned", 1.into()),
        ("delivered", 3.into()),
        ("dead_lettered", 0.into()),
        ("skipped", 0.into()),
        ("absorbed", 0.into()),
        ("dropped", 0.into()),
        ("abandoned", 0.into()),
        ("in_flight", 0.into()),
        ("retries", 0.into()),
        ("guarantee", "exactly-once".into()),
    ] {
        assert_eq!(closing[field], value, "{field}");
    }
    assert!(closing["elapsed_seconds"].as_f64().is_some() && closing["items_per_second"].as_f64().is_some());
    let stages: Vec<&str> =
        closing["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(stages, ["source", "score", "alert"]);
    for field in ["in", "out", "failed", "busy_share", "p50_ms", "p95_ms", "p99_ms"] {
        assert!(closing["stages"][1][field].is_number(), "{field}");
    }
    assert_eq!(
        folder.sql("results.db", "select id || '=' || score from scores order by item_id"),
        "a=75.0,b=25.0"
    );
    let alert: serde_json::Value = serde_json::from_str(&folder.read("alerts/part-00000.jsonl")).unwrap();
    assert_eq!(
        (&alert["id"], &alert["score"], &alert["threshold"]),
        (&"b".into(), &25.0.into(), &50.0.into())
    );
    assert!(alert["time"].as_str().unwrap().ends_with('Z'));

    let before =
        (std::fs::read(folder.at("results.db")).unwrap().len(), folder.read("alerts/part-00000.jsonl"));
    let second = folder.run(&[]);
    second.fails(4, &["nothing to do: everything that is there was done before"]);
    assert_eq!(folder.sql("results.db", "select count(*) || '' from scores"), "2");
    assert_eq!(
        before,
        (std::fs::read(folder.at("results.db")).unwrap().len(), folder.read("alerts/part-00000.jsonl"))
    );
}

#[test]
fn dead_letters_make_the_exit_code_three_unless_they_are_allowed() {
    let folder = Folder::new(TO_FILE, numbers(9) + "broken\n");
    folder.run(&[]).fails(3, &["1 item set aside; see them with: aqueduct dlq ls pipeline.toml"]);
    assert_eq!(folder.read("out.jsonl"), numbers(9));
    let folder = Folder::new(TO_FILE, numbers(9) + "broken\n");
    assert_eq!(folder.run(&["--set", "run.allowed_dead_letter_ratio=0.1"]).code, 0);
    let folder = Folder::new(TO_FILE, numbers(9) + "broken\n");
    assert_eq!(folder.run(&["--set", "run.allowed_dead_letter_ratio=0.09"]).code, 3);
}

#[test]
fn a_limit_ends_with_75_and_the_next_run_continues() {
    let folder = Folder::new(TO_FILE, numbers(10));
    folder
        .run(&["--limit", "4"])
        .fails(75, &["limit reached, everything committed; run it again to continue"]);
    assert_eq!(folder.read("out.jsonl"), numbers(4));
    assert_eq!(folder.run(&["--limit", "6"]).code, 0);
    assert_eq!(folder.read("out.jsonl"), numbers(10));
}

#[test]
fn stdout_gets_items_alone_and_the_closing_json_goes_to_stderr() {
    let pipeline = TO_FILE.replace("type = \"jsonl\"\npath = \"out.jsonl\"", "type = \"stdout\"");
    let folder = Folder::new(&pipeline, numbers(3));
    let call = folder.run(&["-o", "jsonl"]);
    assert_eq!((call.code, call.out.as_str()), (0, numbers(3).as_str()), "{call:?}");
    let closing: serde_json::Value = serde_json::from_str(call.err.trim()).unwrap();
    assert_eq!(closing["guarantee"], "at-least-once");
}

#[test]
fn asking_for_exactly_once_on_stdout_is_refused_with_78() {
    let pipeline = TO_FILE
        .replace("name = \"t\"", "name = \"t\"\nguarantee = \"exactly-once\"")
        .replace("type = \"jsonl\"\npath = \"out.jsonl\"", "type = \"stdout\"");
    let folder = Folder::new(&pipeline, numbers(3));
    let expected = "exactly-once is asked for, but the route gives at-least-once: sink results: what went to standard output cannot";
    for verb in ["explain", "check", "run"] {
        folder.call(&[verb, "pipeline.toml"]).fails(78, &[expected]);
    }
}

#[test]
fn a_table_and_a_file_share_one_commit() {
    let pipeline = TO_TABLE.replace(
        "[sink]",
        "[[sink]]\nname = \"file\"\ntype = \"jsonl\"\npath = \"out.jsonl\"\n[[sink]]\nname = \"table\"",
    );
    let folder = Folder::new(&pipeline, numbers(1000));
    let call = folder.run(&["-o", "json"]);
    assert_eq!((call.code, call.json()["delivered"].as_u64()), (0, Some(2000)), "{call:?}");
    assert_eq!(folder.read("out.jsonl"), numbers(1000));
    assert_eq!(folder.sql("out.db", "select count(*) || ' ' || sum(n) from items"), "1000 499500");
}

/// Sends a signal through the ordinary tool, so that the test needs no unsafe code.
pub(crate) fn signal(process: u32, name: &str) {
    assert!(
        std::process::Command::new("kill").args([name, &process.to_string()]).status().unwrap().success()
    );
}

/// Items of a stuck pipeline.
const ITEMS: u64 = 1000;

/// A pipeline that writes to a pipe nobody reads. One batch is 2 MB and a pipe holds 64 KiB, so once its first
/// line is there, the run stands still in the middle of its first batch.
fn stuck() -> (Folder, std::process::Child) {
    let pipeline = TO_FILE.replace("type = \"jsonl\"\npath = \"out.jsonl\"", "type = \"stdout\"");
    let pad = "x".repeat(20_000);
    let input: String = (0..ITEMS).map(|n| format!("{{\"n\":{n},\"pad\":\"{pad}\"}}\n")).collect();
    let folder = Folder::new(&pipeline, input);
    let arguments = ["run", "--set", "run.window_items=200"];
    let mut child = folder.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    (folder, child)
}

#[test]
fn the_first_interrupt_drains_and_commits_and_the_next_run_continues() {
    for name in ["-INT", "-TERM"] {
        let (folder, child) = stuck();
        signal(child.id(), name);
        let call = Call::of(child.wait_with_output().unwrap());
        call.fails(
            75,
            &["stopping: what is in flight is finished and committed", "everything committed; run it again"],
        );
        let status = folder.call(&["status", "-o", "json"]).json();
        let read = status["read"].as_u64().unwrap();
        assert!((1..ITEMS).contains(&read), "{status}");
        assert_eq!((&status["delivered"], &status["run"]), (&status["read"], &"stopped early".into()));
        let rest = folder.run(&[]);
        assert_eq!(rest.code, 0, "{}", rest.err);
        assert_eq!(rest.out.lines().count() as u64, ITEMS - read);
    }
}

#[test]
fn the_second_interrupt_stops_at_once_and_loses_nothing() {
    let (folder, mut child) = stuck();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    signal(child.id(), "-INT");
    err.read_line(&mut line).unwrap();
    assert!(line.starts_with("stopping: "), "{line}");
    line.clear();
    signal(child.id(), "-INT");
    err.read_line(&mut line).unwrap();
    assert!(line.starts_with("stopping at once: "), "{line}");
    // The run still stands at the full pipe; a third signal does not wait for it.
    signal(child.id(), "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let committed = folder.call(&["status", "-o", "json"]);
    let read = if committed.code == 4 { 0 } else { committed.json()["read"].as_u64().unwrap() };
    let rest = folder.run(&[]);
    assert_eq!((rest.code, rest.out.lines().count() as u64), (0, ITEMS - read), "{}", rest.err);
}

#[test]
fn a_reader_that_goes_away_stops_the_run_with_a_reason() {
    let (_folder, mut child) = stuck();
    drop(child.stdout.take());
    Call::of(child.wait_with_output().unwrap())
        .fails(1, &["standard output cannot be written", "Broken pipe"]);
}
