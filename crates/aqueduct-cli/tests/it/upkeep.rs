use crate::support::{Folder, TO_FILE, TO_TABLE, numbers};

/// One item a batch and a commit, a checkpoint with each.
const FINE: [&str; 6] =
    ["--set", "run.batch_size=1", "--set", "run.epoch_batches=1", "--set", "run.checkpoint_interval=1"];

#[test]
fn checkpoints_are_listed_and_shown() {
    let folder = Folder::new(TO_FILE, numbers(20));
    folder.call(&["checkpoint", "ls"]).fails(4, &["no checkpoints"]);
    folder.run(&FINE);
    let listed = folder.call(&["checkpoint", "ls", "-o", "json"]).json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 16);
    let newest = folder.call(&["checkpoint", "show", "-o", "json"]).json();
    assert_eq!(&newest, listed.last().unwrap());
    assert_eq!(newest["totals"]["read"], 20);
    assert_eq!(newest["positions"][0]["partition"], "in.jsonl");
    assert_eq!(newest["positions"][0]["position"]["offset"], numbers(20).len());
    let name = listed[3]["name"].as_str().unwrap();
    let shown = folder.call(&["checkpoint", "show", name, "pipeline.toml"]);
    for piece in [&format!("checkpoint {name}: commit"), "read 8,", "in.jsonl: byte 64, line 9 comes next"] {
        assert!(shown.out.contains(piece), "{piece:?} is not in\n{}", shown.out);
    }
    assert_eq!(folder.call(&["checkpoint", "ls"]).out.lines().count(), 16);
    assert_eq!(folder.call(&["checkpoint", "ls", "-o", "jsonl"]).out.lines().count(), 16);
    folder.call(&["checkpoint", "show", "none"]).fails(1, &["no checkpoint none; there are", name]);
    let of_file = folder.call(&["checkpoint", "show", "newest", "pipeline.toml", "-o", "json"]);
    assert_eq!(of_file.json(), newest);
}

#[test]
fn retention_keeps_what_the_file_says_and_status_tells_what_it_removed() {
    let pipeline = format!("{TO_FILE}[retention]\ncheckpoints = 3\ndead_letters = 2\n");
    let folder = Folder::new(&pipeline, "a\nb\nc\nd\ne\n");
    assert_eq!(folder.run(&FINE).code, 3);
    let status = folder.call(&["status", "-o", "json"]).json();
    assert_eq!(
        (&status["dead_letters_kept"], &status["dead_letters_removed"]),
        (&2.into(), &3.into()),
        "{status}"
    );
    assert_eq!(
        (&status["checkpoints_kept"], &status["checkpoints_removed"]),
        (&3.into(), &2.into()),
        "{status}"
    );
    assert_eq!(status["dead_lettered"], 5, "the counts are history");
    assert_eq!(folder.reasons().len(), 2);
    let text = folder.call(&["status"]).out;
    assert!(text.contains("dead letters kept: 2, 3 removed by [retention]"), "{text}");
}

#[test]
fn wrong_retention_is_refused_with_its_place() {
    let folder = Folder::new(&format!("{TO_FILE}[retention]\ncheckpoints = 0\ndead_leters = 2\n"), "");
    folder.call(&["check"]).fails(
        78,
        &[
            "checkpoints is 0, and must be from 1",
            "has no key \"dead_leters\"; did you mean \"dead_letters\"?",
        ],
    );
}

#[test]
fn clean_removes_what_retention_does_not_keep_and_leftovers() {
    let pipeline = TO_FILE.replace("out.jsonl", "out");
    let folder = Folder::new(&pipeline, "a\nb\nc\n");
    folder.call(&["clean"]).fails(4, &["nothing to clean"]);
    assert!(!folder.at(".aqueduct").exists());
    folder.run(&FINE);
    folder.call(&["clean"]).fails(4, &["nothing to clean"]);
    folder.write("out/manifest.json.new", "{");
    folder.write("pipeline.toml", format!("{pipeline}[retention]\ndead_letters = 1\ncheckpoints = 1\n"));
    let dry = folder.call(&["clean", "--dry-run"]);
    for piece in ["would remove 2 dead letters", "would remove 2 checkpoints", "manifest.json.new"] {
        assert!(dry.out.contains(piece), "{piece:?} is not in\n{dry:?}");
    }
    folder.call(&["clean"]).fails(2, &["2 dead letters beyond", "--yes"]);
    assert_eq!(folder.reasons().len(), 3);
    let done = folder.call(&["clean", "--yes", "--vacuum", "-o", "json"]);
    assert_eq!((done.code, done.json()["dead_letters"].clone()), (0, 2.into()), "{done:?}");
    assert_eq!(folder.reasons().len(), 1);
    assert!(!folder.at("out/manifest.json.new").exists());
    assert_eq!(folder.run(&[]).code, 4, "the position stays");
}

#[test]
fn clean_refuses_while_a_run_holds_the_pipeline() {
    let folder = Folder::new(TO_FILE, numbers(1));
    folder.run(&[]);
    let lock = std::fs::File::open(folder.at(".aqueduct/t/lock")).unwrap();
    lock.try_lock().unwrap();
    folder.call(&["clean", "--all", "--yes"]).fails(1, &["in use"]);
    assert!(folder.at(".aqueduct/t/ledger.db").exists());
}

#[test]
fn clean_all_starts_over_and_outputs_go_only_when_that_is_said() {
    for (pipeline, output) in [(TO_FILE, "out.jsonl"), (TO_TABLE, "out.db")] {
        let folder = Folder::new(pipeline, numbers(3));
        folder.run(&[]);
        folder.call(&["clean", "--outputs"]).fails(2, &["--all"]);
        let dry = folder.call(&["clean", "--all", "--outputs", "--dry-run"]);
        assert!(dry.out.contains(output), "{dry:?}");
        assert_eq!(folder.run(&[]).code, 4, "a dry run changes nothing");
        let forgot = folder.call(&["clean", "--all", "--yes"]);
        assert!(forgot.err.contains("its outputs stay"), "{forgot:?}");
        assert!(folder.at(output).exists());
        folder.call(&["status"]).fails(4, &["has not run here yet"]);
        assert_eq!(folder.run(&[]).code, 1, "its outputs are nobody's now");
        // What the ledger has forgotten, it cannot remove.
        std::fs::remove_file(folder.at(output)).unwrap();
        folder.run(&[]);
        let gone = folder.call(&["clean", "--all", "--outputs", "--yes"]);
        assert_eq!(gone.code, 0, "{gone:?}");
        let again = folder.run(&[]);
        assert!(again.err.contains("read 3, delivered 3"), "{again:?}");
    }
}

#[test]
fn a_table_that_another_pipeline_writes_stays() {
    let keyed = TO_TABLE.replace("table = \"items\"", "table = \"items\"\nkey = \"n\"");
    let folder = Folder::new(&keyed, numbers(2));
    folder.write("other.toml", keyed.replace("name = \"t\"", "name = \"u\""));
    folder.run(&[]);
    assert_eq!(folder.call(&["run", "other.toml"]).code, 0);
    let call = folder.call(&["clean", "--all", "--outputs", "--yes"]);
    assert!(call.out.contains("nothing of table items: u writes it, too"), "{call:?}");
    assert_eq!(folder.sql("out.db", "select cast(count(*) as text) from items"), "2");
    assert_eq!(folder.call(&["run", "other.toml"]).code, 4, "the other one is where it was");
}

#[test]
fn verify_finds_a_short_file_a_lost_table_and_a_damaged_database() {
    let folder = Folder::new(TO_FILE, numbers(5) + "x\n");
    folder.call(&["store", "verify"]).fails(4, &["has not run here yet"]);
    folder.run(&[]);
    let call = folder.call(&["store", "verify", "-v"]);
    assert_eq!(call.code, 0, "{call:?}");
    for piece in ["looked at every page", "out.jsonl", "1 dead letters", "t: ok"] {
        assert!(call.out.contains(piece), "{piece:?} is not in\n{}", call.out);
    }
    let whole = folder.read("out.jsonl");
    folder.write("out.jsonl", format!("{whole}mine\n"));
    let call = folder.call(&["store", "verify", "-o", "json"]);
    assert_eq!((call.code, &call.json()["findings"][0]["severity"]), (0, &"note".into()), "{call:?}");
    folder.write("out.jsonl", &whole[1..]);
    let call = folder.call(&["store", "verify"]);
    assert_eq!(call.code, 1, "{call:?}");
    for piece in
        ["damage: ", "out.jsonl: it has 39 bytes, and 40 are committed", "restore the file", "1 damaged"]
    {
        assert!(call.out.contains(piece), "{piece:?} is not in\n{}", call.out);
    }

    let folder = Folder::new(TO_TABLE, numbers(5));
    folder.run(&[]);
    assert_eq!(folder.call(&["store", "verify"]).code, 0);
    folder.sql("out.db", "delete from items where n < 2");
    let call = folder.call(&["store", "verify"]);
    assert!(call.code == 0 && call.out.contains("2 rows fewer than were delivered"), "{call:?}");
    folder.sql("out.db", "update aqueduct_pipeline set delivered = 4");
    let call = folder.call(&["store", "verify"]);
    assert!(call.code == 1 && call.out.contains("does not balance"), "{call:?}");
    folder.sql("out.db", "drop table items");
    let call = folder.call(&["store", "verify"]);
    assert!(call.code == 1 && call.out.contains("table items of"), "{call:?}");
    let mut bytes = std::fs::read(folder.at("out.db")).unwrap();
    let page = bytes.len() - 4096;
    bytes[page..].fill(0xff);
    folder.write("out.db", bytes);
    let call = folder.call(&["store", "verify"]);
    assert!(call.code == 1 && call.out.contains("restore the database from a copy"), "{call:?}");
}

#[test]
fn inspect_tells_what_the_databases_hold() {
    let folder = Folder::new(TO_TABLE, numbers(5) + "x\n");
    folder.call(&["store", "inspect"]).fails(4, &["has not run here yet"]);
    folder.run(&[]);
    let store = folder.call(&["store", "inspect", "-o", "json"]).json()[0].clone();
    assert_eq!((&store["format"], &store["application_id"]), (&3.into(), &"Aqdt".into()), "{store}");
    assert_eq!(store["pipelines"][0]["dead_letters"], 1);
    let tables = store["tables"].as_array().unwrap();
    let items = tables.iter().find(|table| table["name"] == "items").unwrap();
    assert_eq!(items["rows"], 5);
    assert!(items["bytes"].as_u64().unwrap() >= 4096, "{store}");
    let text = folder.call(&["store", "inspect"]).out;
    assert!(text.contains("table items: 5 rows,") && text.contains("pipeline t: commit 1"), "{text}");
}
