use crate::support::{Folder, TO_FILE, TO_TABLE, numbers};

#[test]
fn explain_prints_the_guarantee_of_each_sink_and_why() {
    let pipeline = TO_TABLE.replace(
        "[sink]",
        "[[sink]]\nname = \"screen\"\ntype = \"stdout\"\n[[sink]]\nname = \"second\"\ntype = \"sqlite\"\npath = \"b.db\"\ntable = \"t\"\n[[sink]]\nname = \"file\"\ntype = \"jsonl\"\npath = \"f\"\n[[sink]]\nname = \"table\"",
    );
    let folder = Folder::new(&pipeline, "");
    let call = folder.call(&["explain"]);
    for line in [
        "pipeline t: at-least-once",
        "at-least-once, because what went to standard output cannot be taken back",
        "exactly-once, because its rows and the position are one transaction",
        "effectively-once, because it is a second database, so its commit is a second commit; a repeated epoch replaces \
         its own rows by the item id",
        "exactly-once, because the ledger commits the length of each file together with the position",
    ] {
        assert!(call.out.contains(line), "{line:?} is not in\n{}", call.out);
    }
    let json = folder.call(&["explain", "-o", "json"]).json();
    let given: Vec<_> =
        json["sinks"].as_array().unwrap().iter().map(|sink| sink["guarantee"].as_str().unwrap()).collect();
    assert_eq!(given, ["at-least-once", "exactly-once", "exactly-once", "effectively-once"]);
}

#[test]
fn check_reports_every_error_with_its_place_and_a_guess() {
    let pipeline = "name = \"t\"\n[sorce]\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\nlimit = 3\n[[stage]]\nname = \"s\"\ntype = \"filter\"\nwhen = \"item.n > \"\n[sink]\ntype = \"stdot\"\n";
    let folder = Folder::new(pipeline, "");
    folder.call(&["check"]).fails(
        78,
        &[
            "pipeline.toml:2:2",
            "did you mean \"source\"?",
            "pipeline.toml:6:1",
            "pipeline.toml:10:",
            "pipeline.toml:12:8",
            "did you mean \"stdout\"?",
        ],
    );
}

#[test]
fn check_touches_nothing_and_says_what_runs_on_the_interpreter() {
    let pipeline = TO_FILE.replace(
        "[sink]",
        "[[stage]]\nname = \"slow\"\ntype = \"filter\"\nwhen = \"item.l.exists(x, x > 1)\"\n[sink]",
    );
    let folder = Folder::new(&pipeline, numbers(1));
    let call = folder.call(&["check"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert!(call.out.contains("stage slow: runs on the interpreter"), "{}", call.out);
    assert!(!folder.at(".aqueduct").exists());
}

#[test]
fn status_follows_the_ledger_and_knows_a_pipeline_that_never_ran() {
    let folder = Folder::new(TO_FILE, numbers(7) + "x\n");
    folder.call(&["status"]).fails(4, &["pipeline t has not run here yet"]);
    folder.run(&[]);
    let call = folder.call(&["status"]);
    for piece in [
        "last run done",
        "read 8",
        "delivered 7",
        "dead letters kept: 1",
        "in.jsonl: byte 58, line 9 comes next",
    ] {
        assert!(call.out.contains(piece), "{piece:?} is not in\n{}", call.out);
    }
}

#[test]
fn dead_letters_are_listed_and_shown_whole() {
    let folder = Folder::new(TO_FILE, b"{\"n\":1}\nbad \xff\x1b[2J\n".as_slice());
    folder.call(&["dlq", "ls"]).fails(4, &["no dead letters"]);
    folder.run(&[]);
    let listed = folder.call(&["dlq", "ls"]);
    assert_eq!(listed.out, "a0a0a8  source  line 2: not valid UTF-8 at byte 5\n", "{listed:?}");
    let shown = folder.call(&["dlq", "show", "a0a0a8"]);
    assert!(shown.out.contains("bad \\xff\\x1b[2J"), "{}", shown.out);
    assert!(!shown.out.contains('\u{1b}'), "item data must not reach the terminal's controls");
    let json = folder.call(&["dlq", "show", "a0a0a8", "-o", "json"]).json();
    assert_eq!((&json["stage"], &json["attempts"]), (&"source".into(), &1.into()));
    assert_eq!(folder.call(&["dlq", "ls", "--stage", "other"]).code, 4);
    folder.call(&["dlq", "show", "a0a0a9"]).fails(1, &["no dead letter of item a0a0a9"]);
}

#[test]
fn wrong_usage_is_two_and_help_teaches() {
    let folder = Folder::new(TO_FILE, "");
    folder.call(&["run", "--limt", "3"]).fails(2, &["--limit"]);
    folder.call(&["run", "--limit", "0"]).fails(2, &["0 is not in 1.."]);
    let help = folder.call(&["run", "--help"]);
    assert!(help.code == 0 && help.out.contains("Examples:"), "{help:?}");
}
