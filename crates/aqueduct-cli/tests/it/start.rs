//! The commands that help to begin: init, schema, completions, man, check --connect.

use crate::support::{Call, Folder, TO_FILE, TO_TABLE, numbers};

/// A folder with nothing in it.
fn empty() -> Folder {
    let folder = Folder::new("", "");
    std::fs::remove_file(folder.at("pipeline.toml")).unwrap();
    std::fs::remove_file(folder.at("in.jsonl")).unwrap();
    folder
}

#[test]
fn what_init_writes_passes_check_runs_and_fills_a_table() {
    let folder = empty();
    let call = folder.call(&["init"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert!(
        call.err.contains("wrote pipeline.toml\nwrote orders.jsonl\nnext: aqueduct run\n"),
        "{}",
        call.err
    );
    let text = folder.read("pipeline.toml");
    assert!(text.starts_with("#:schema ./.aqueduct/pipeline.schema.json\n"));
    assert_eq!(folder.read(".aqueduct/pipeline.schema.json"), folder.call(&["schema"]).out);
    assert_eq!(folder.call(&["check", "--connect"]).code, 0);
    let call = folder.call(&["run"]);
    assert!(call.code == 0 && call.err.contains("read 5, delivered 3, skipped 2"), "{call:?}");
    assert_eq!(
        folder.sql("orders.db", "select id || ' ' || total from orders order by id"),
        "o-1 10.0,o-2 19.9,o-4 240"
    );
}

#[test]
fn init_makes_folders_and_calls_everything_after_the_file() {
    let folder = empty();
    let call = folder.call(&["init", "a/b/my tests.toml"]);
    assert!(call.err.contains("next: aqueduct run a/b/my tests.toml"), "{call:?}");
    assert!(folder.read("a/b/my tests.toml").contains("name = \"my-tests\""));
    assert_eq!(folder.call(&["run", "a/b/my tests.toml"]).code, 0);
    assert!(folder.at("a/b/my-tests.db").exists());
    for odd in ["...toml", "ü.toml", "noend"] {
        assert_eq!(folder.call(&["init", odd]).code, 0, "{odd}");
        assert_eq!(folder.call(&["check", odd]).code, 0, "{odd}");
    }
}

#[test]
fn init_overwrites_nothing() {
    let folder = empty();
    folder.write("pipeline.toml", "mine");
    folder.call(&["init"]).fails(2, &["pipeline.toml is there already", "aqueduct init orders.toml"]);
    folder.write("x.jsonl", "mine");
    folder.call(&["init", "x.toml"]).fails(2, &["x.jsonl is there already", "--no-data"]);
    assert!(!folder.at("x.toml").exists() && !folder.at("orders.jsonl").exists(), "all or nothing");
    assert_eq!(folder.call(&["init", "x.toml", "--no-data"]).code, 0);
    assert_eq!(
        (folder.read("pipeline.toml"), folder.read("x.jsonl")),
        ("mine".to_owned(), "mine".to_owned())
    );
    folder.write("file", "");
    folder.call(&["init", "file/pipeline.toml"]).fails(1, &["cannot be written"]);
}

#[test]
fn the_schema_is_json_and_knows_the_types() {
    let schema = empty().call(&["schema"]).json();
    assert_eq!(schema["properties"]["stage"]["items"]["oneOf"][0]["title"], "map");
}

#[test]
fn every_shell_gets_completions_and_every_command_a_page() {
    let folder = empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let call = folder.call(&["completions", shell]);
        assert!(call.code == 0 && call.out.contains("aqueduct") && call.out.contains("init"), "{shell}");
    }
    folder.call(&["completions", "csh"]).fails(2, &["possible values", "fish"]);
    assert_eq!(folder.call(&["man", "share/man1"]).code, 0);
    for page in ["aqueduct", "aqueduct-run", "aqueduct-dlq-show", "aqueduct-init", "aqueduct-man"] {
        let page = folder.read(&format!("share/man1/{page}.1"));
        assert!(page.contains(".TH") && page.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(!folder.at("share/man1/aqueduct-reference.1").exists(), "hidden commands have no page");
    assert!(folder.call(&["man"]).out.contains(".SH NAME\naqueduct"));
    folder.write("file", "");
    folder.call(&["man", "file"]).fails(1, &["cannot be written to file"]);
}

/// The lines of `check --connect`, after the first.
fn connections(call: &Call) -> Vec<&str> {
    call.out.lines().skip(1).map(str::trim).collect()
}

#[test]
fn connect_tries_what_a_run_needs_and_changes_nothing() {
    let folder = Folder::new(TO_TABLE, numbers(3));
    let listing = || {
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = listing();
    let call = folder.call(&["check", "--connect"]);
    assert_eq!(call.code, 0, "{call:?}");
    let expected = [
        "ok      source: jsonl in.jsonl",
        "ok      ledger: out.db",
        "ok      sink results: sqlite out.db, table items",
        "ok      data folder: .aqueduct/t",
    ];
    assert_eq!(connections(&call), expected);
    assert_eq!(listing(), before);
    folder.run(&[]);
    assert_eq!(folder.call(&["check", "--connect"]).code, 0, "its own table is no stranger");
}

#[test]
fn connect_names_what_is_missing_and_what_would_mend_it() {
    let folder = Folder::new(TO_TABLE, "");
    std::fs::remove_file(folder.at("in.jsonl")).unwrap();
    folder.sql("out.db", "create table items (a)");
    let call = folder.call(&["check", "--connect"]);
    assert_eq!(call.code, 78, "{call:?}");
    let lines = connections(&call);
    assert_eq!(
        lines[..3],
        [
            "failed  source: the input in.jsonl does not exist",
            "put it there, or correct the path",
            "ok      ledger: out.db"
        ]
    );
    assert!(lines[3].starts_with("failed  sink results: table items is there already"), "{lines:?}");
    let json = folder.call(&["check", "--connect", "-o", "json"]).json();
    assert_eq!((&json["ok"], &json["connections"][0]["ok"]), (&false.into(), &false.into()));
    assert_eq!(json["connections"][0]["mend"], "put it there, or correct the path");
    assert_eq!(json["connections"][3]["ok"], true);
    // Without the flag nothing outside of the file is looked at.
    let plain = folder.call(&["check", "-o", "json"]);
    assert!(plain.code == 0 && plain.json().get("connections").is_none());

    folder.write("in.jsonl", "");
    assert_eq!(folder.call(&["check", "--connect"]).code, 1, "a run would end with 1 as well");
    folder.write("out.db", "not a database, but long enough to be taken for one".repeat(20));
    let call = folder.call(&["check", "--connect"]);
    assert!(call.code == 1 && connections(&call)[2].starts_with("failed  sink results"), "{call:?}");
}

#[test]
fn connect_looks_for_programs() {
    let stage = |program: &str| {
        let stage = format!("[[stage]]\nname = \"p\"\ntype = \"exec\"\ncommand = [{program:?}]\n[sink]");
        TO_FILE.replace("[sink]", &stage)
    };
    let folder = Folder::new(&stage("sh"), "");
    let call = folder.call(&["check", "--connect"]);
    assert!(call.code == 0 && connections(&call)[1] == "ok      stage p: program sh", "{call:?}");
    folder.write("pipeline.toml", stage("no-such-program"));
    let call = folder.call(&["check", "--connect"]);
    assert_eq!(call.code, 78);
    assert!(
        connections(&call)[1].contains("no-such-program cannot be run: no folder of PATH has it"),
        "{call:?}"
    );
}

#[test]
fn connect_sees_an_output_that_is_not_the_pipelines_own_and_a_broken_ledger() {
    let folder = Folder::new(TO_FILE, numbers(3));
    folder.run(&[]);
    assert_eq!(folder.call(&["check", "--connect"]).code, 0, "its own file is no stranger");
    std::fs::remove_dir_all(folder.at(".aqueduct")).unwrap();
    let call = folder.call(&["check", "--connect"]);
    assert_eq!(call.code, 1, "{call:?}");
    let sink = "failed  sink results: out.jsonl is there already and this pipeline did not write it";
    assert!(connections(&call)[2].starts_with(sink), "{call:?}");
    std::fs::remove_file(folder.at("out.jsonl")).unwrap();
    std::fs::create_dir_all(folder.at(".aqueduct/t")).unwrap();
    folder.write(".aqueduct/t/ledger.db", "not a database, but long enough to be taken for one".repeat(20));
    let call = folder.call(&["check", "--connect"]);
    assert!(call.code == 1 && connections(&call)[1].starts_with("failed  ledger: "), "{call:?}");
}

/// Root may write anywhere; what needs another user is tried by the tests of faults.
#[cfg(unix)]
#[test]
fn connect_sees_a_folder_that_is_a_file() {
    let folder = Folder::new(&TO_FILE.replace("out.jsonl", "in.jsonl/out"), "");
    let call = folder.call(&["check", "--connect", "--data-dir", "in.jsonl/data"]);
    assert_eq!(call.code, 1, "{call:?}");
    let lines = connections(&call);
    assert!(
        lines[2].contains("in.jsonl/out cannot be written") && lines[2].contains("is not a folder"),
        "{lines:?}"
    );
    assert_eq!(lines[3], "let this user write there, or choose another path");
    assert!(lines[4].starts_with("failed  data folder"), "{lines:?}");
}
