use std::io::Write;
use std::process::Stdio;

use crate::support::{Call, Folder, TO_FILE};

/// A stage that fails on items without `n`, and a source that sets aside what is no object.
fn folder() -> Folder {
    let pipeline = TO_FILE.replace(
        "[sink]",
        "[[stage]]\nname = \"double\"\ntype = \"map\"\non_error = \"dead-letter\"\nset = { n = \"item.n * 2\" }\n[sink]",
    );
    let folder = Folder::new(
        &pipeline,
        b"{\"n\":1}\n{\"m\":12345678901234567890.10}\nbad \xff\n{\"id\":\"x\"}\n".as_slice(),
    );
    let call = folder.run(&[]);
    assert_eq!(call.code, 3, "{call:?}");
    folder
}

fn items(call: &Call) -> Vec<&str> {
    call.out.lines().map(|line| line.split("  ").next().unwrap()).collect()
}

#[test]
fn one_set_of_filters_serves_every_verb() {
    let folder = folder();
    let all = folder.call(&["dlq", "ls"]);
    let ids: Vec<String> = items(&all).into_iter().map(str::to_owned).collect();
    assert_eq!(ids.len(), 3, "{all:?}");
    let cases: [(&[&str], &[usize]); 9] = [
        (&["--stage", "source"], &[1]),
        (&["--stage", "double"], &[0, 2]),
        (&["--class", "permanent", "--reason", "UTF-8"], &[1]),
        (&["--class", "transient"], &[]),
        (&["--since", "1h ago"], &[0, 1, 2]),
        (&["--since", "2999-01-01"], &[]),
        (&["--until", "2026-01-01T00:00:00+02:00"], &[]),
        (&["--limit", "2"], &[0, 1]),
        (&["--item", &ids[2], "--item", &ids[0]], &[0, 2]),
    ];
    for (filter, wanted) in cases {
        let call = folder.call(&[&["dlq", "ls"], filter].concat());
        let wanted: Vec<&str> = wanted.iter().map(|at| ids[*at].as_str()).collect();
        assert_eq!(items(&call), wanted, "{filter:?}: {call:?}");
        assert_eq!(call.code, if wanted.is_empty() { 4 } else { 0 }, "{call:?}");
        let exported = folder.call(&[&["dlq", "export"], filter].concat());
        assert_eq!(exported.out.lines().count(), wanted.len(), "{exported:?}");
    }
    let array = folder.call(&["dlq", "ls", "-o", "json"]).json();
    assert_eq!(array.as_array().unwrap().len(), 3);
    assert_eq!(
        folder.call(&["dlq", "ls", "--class", "transient", "-o", "json"]).json(),
        serde_json::json!([])
    );
    folder.call(&["dlq", "ls", "--since", "yesterday"]).fails(2, &["2h, 3d"]);
    folder.call(&["dlq", "ls", "--class", "bad"]).fails(2, &["transient"]);
}

#[test]
fn an_export_is_whole_and_never_overwrites() {
    let folder = folder();
    let call = folder.call(&["dlq", "export", "--to", "letters.jsonl"]);
    assert_eq!((call.code, call.err.as_str()), (0, "3 dead letters written to letters.jsonl\n"), "{call:?}");
    let text = folder.read("letters.jsonl");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Not one digit is lost on the way.
    assert!(text.contains("{\"payload\":{\"m\":12345678901234567890.10},"), "{text}");
    assert_eq!(lines[0]["original"]["text"], "{\"m\":12345678901234567890.10}");
    assert_eq!(lines[0]["stage"], "double");
    assert_eq!(lines[1]["payload"], serde_json::Value::Null);
    assert_eq!(lines[1]["original"], serde_json::json!({"bytes": 5, "cut": false, "base64": "YmFkIP8="}));
    folder.call(&["dlq", "export", "--to", "letters.jsonl"]).fails(1, &["letters.jsonl is there already"]);
    assert_eq!(folder.read("letters.jsonl"), text);
    let nothing = folder.call(&["dlq", "export", "--stage", "none", "--to", "none.jsonl"]);
    assert_eq!(nothing.code, 4);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !folder.at("none.jsonl").exists() && !left.iter().any(|name| name.to_string_lossy().contains(".new")),
        "{left:?}"
    );
}

#[test]
fn an_edit_changes_fields_and_keeps_every_other_digit_and_the_original() {
    let folder = folder();
    let item = items(&folder.call(&["dlq", "ls", "--stage", "double", "--limit", "1"]))[0].to_owned();
    let call = folder.call(&["dlq", "edit", &item, "--set", "n=21", "--set", "name=Ada", "--set", "n=7"]);
    assert_eq!(call.out, "{\"m\":12345678901234567890.10,\"name\":\"Ada\",\"n\":7}\n", "{call:?}");
    let call =
        folder.call(&["dlq", "edit", &item, "--unset", "m", "--set", "name={\"a\":[1]}", "-o", "json"]);
    assert_eq!(call.json()["payload"], serde_json::json!({"name": {"a": [1]}, "n": 7}));
    let shown = folder.call(&["dlq", "show", &item, "-o", "json"]).json();
    assert_eq!(shown["payload"], serde_json::json!({"name": {"a": [1]}, "n": 7}));
    assert_eq!(shown["original"]["text"], "{\"m\":12345678901234567890.10}");
    folder.call(&["dlq", "edit", &item, "--set", "w=12345678901234567890.10", "--unset", "name"]);
    let whole = "{\"n\":7,\"w\":12345678901234567890.10}";
    for arguments in
        [&["dlq", "show", &item][..], &["dlq", "show", &item, "-o", "jsonl"], &["dlq", "ls", "-o", "json"]]
    {
        let call = folder.call(arguments);
        assert!(call.out.contains(whole), "{call:?}");
    }
    folder.call(&["dlq", "edit", &item]).fails(2, &["nothing to change"]);
    folder.call(&["dlq", "edit", &item, "--unset", "m"]).fails(1, &["no such field"]);
    folder.call(&["dlq", "edit", &item, "--set", "n"]).fails(1, &["FIELD=VALUE"]);
    folder.call(&["dlq", "edit", "a0a9", "--set", "n=1"]).fails(1, &["no dead letter of item a0a9"]);
    folder.call(&["dlq", "edit", &item, "--stage", "source", "--set", "n=1"]).fails(1, &["at stage source"]);
}

#[test]
fn a_letter_from_the_source_takes_a_payload_from_a_pipe() {
    let folder = folder();
    let item = items(&folder.call(&["dlq", "ls", "--stage", "source"]))[0].to_owned();
    folder.call(&["dlq", "edit", &item, "--set", "n=1"]).fails(1, &["no payload", "--payload FILE"]);
    let edit = |input: &str| {
        let mut command = folder.command(&["dlq", "edit", &item, "--payload", "-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Call::of(child.wait_with_output().unwrap())
    };
    edit("[1]").fails(1, &["not an object"]);
    assert_eq!(edit("{\n \"n\": 3\n}\n").out, "{  \"n\": 3 }\n");
    let shown = folder.call(&["dlq", "show", &item, "-o", "json"]).json();
    assert_eq!(
        (&shown["payload"], &shown["original"]["escaped"]),
        (&serde_json::json!({"n": 3}), &true.into())
    );
}

#[test]
fn an_edit_waits_for_nobody_and_a_purge_may_run_beside_a_run() {
    let folder = folder();
    let lock = std::fs::File::open(folder.at(".aqueduct/t/lock")).unwrap();
    lock.try_lock().unwrap();
    let item = items(&folder.call(&["dlq", "ls", "--stage", "double"]))[0].to_owned();
    folder.call(&["dlq", "edit", &item, "--set", "n=1"]).fails(1, &["in use"]);
    let call = folder.call(&["dlq", "purge", "--item", &item, "--yes"]);
    assert_eq!(call.code, 0, "{call:?}");
    drop(lock);
    assert_eq!(items(&folder.call(&["dlq", "ls"])).len(), 2);
}

#[test]
fn a_purge_asks_and_leaves_rows_and_history() {
    let folder = folder();
    let asked = folder.call(&["dlq", "purge", "--stage", "double"]);
    asked.fails(2, &["purge 2 dead letters of ", "--yes"]);
    assert_eq!(folder.call(&["dlq", "ls"]).out.lines().count(), 3);
    let call = folder.call(&["dlq", "purge", "--stage", "double", "--limit", "1", "--yes", "-o", "json"]);
    assert_eq!((call.code, call.json()), (0, serde_json::json!({"purged": 1})));
    let call = folder.call(&["dlq", "purge", "--yes"]);
    assert!(call.err.contains("2 dead letters purged"), "{call:?}");
    assert_eq!(folder.call(&["dlq", "purge", "--yes"]).code, 4);
    let status = folder.call(&["status", "-o", "json"]).json();
    assert_eq!((&status["dead_lettered"], &status["dead_letters_kept"]), (&3.into(), &0.into()));
    assert_eq!(folder.read("out.jsonl"), "{\"n\":2}\n");
    assert_eq!(folder.run(&[]).code, 4);
}

#[test]
fn an_edited_letter_replays_with_its_new_payload_and_one_of_the_source_enters_at_the_first_stage() {
    let folder = folder();
    let ids: Vec<String> = items(&folder.call(&["dlq", "ls"])).into_iter().map(str::to_owned).collect();
    folder.write("mended.json", "{\"n\":50}");
    folder.call(&["dlq", "edit", &ids[0], "--set", "n=5", "--unset", "m"]);
    folder.call(&["dlq", "edit", &ids[1], "--payload", "mended.json"]);
    let call = folder.call(&["dlq", "replay", "--yes"]);
    assert_eq!(folder.read("out.jsonl"), "{\"n\":2}\n{\"n\":10}\n{\"n\":100}\n", "{call:?}");
    assert_eq!(items(&folder.call(&["dlq", "ls"])), [&ids[2]], "what nobody mended failed again");
    assert_eq!(folder.call(&["store", "verify"]).code, 0);
}

/// A replay that was killed between its last commit and the manifest left no letter behind, and repeating it said that
/// there was nothing to do, while the manifest stayed behind the ledger until the next run.
#[test]
fn a_replay_that_is_repeated_ends_what_a_killed_one_began() {
    let pipeline = TO_FILE.replace("out.jsonl", "out").replace(
        "[sink]",
        "[[stage]]\nname = \"same\"\ntype = \"map\"\non_error = \"dead-letter\"\nset = { n = \"item.n\" }\n[sink]",
    );
    let folder = Folder::new(&pipeline, b"{\"n\":1}\n{\"m\":2}\n".as_slice());
    assert_eq!(folder.run(&[]).code, 3);
    let before = folder.read("out/manifest.json");
    folder.write("pipeline.toml", pipeline.replace("\"item.n\"", "\"has(item.n) ? item.n : 0\""));
    assert_eq!(folder.call(&["dlq", "replay", "--yes"]).code, 0);
    let after = folder.read("out/manifest.json");
    assert_ne!(before, after);
    folder.write("out/manifest.json", &before);
    folder.sql(".aqueduct/t/ledger.db", "update aqueduct_pipeline set outcome = null");
    let call = folder.call(&["dlq", "replay", "--yes"]);
    assert_eq!(call.code, 4, "{call:?}");
    assert_eq!(folder.read("out/manifest.json"), after);
    assert_eq!(folder.call(&["status", "-o", "json"]).json()["run"], "done");
    folder.call(&["dlq", "replay"]).fails(4, &["no dead letters to replay"]);
}
