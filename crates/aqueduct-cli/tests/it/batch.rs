//! A pipeline file with `[batch]`: what it sets, what it refuses, how it goes on after a kill, and what its status says.

use crate::support::{Call, Folder, TO_FILE, numbers};

/// A setting as `check -v` shows it.
fn setting(name: &str, file: &str, variables: &[(&str, &str)], flags: &[&str]) -> (String, String) {
    let folder = Folder::new(&format!("{TO_FILE}\n{file}"), "");
    let mut command = folder.command(&[&["check", "-v", "-o", "json"], flags].concat());
    let call = Call::of(command.envs(variables.iter().copied()).output().unwrap());
    assert_eq!(call.code, 0, "{call:?}");
    let json = call.json();
    let found = json["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap();
    (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
}

#[test]
fn a_batch_has_the_sizes_of_its_requirement_and_every_source_of_settings_covers_them() {
    let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    let size = |file, variables: &[_], flags: &[_]| setting("run.batch_size", file, variables, flags);
    let every = |file, variables: &[_]| setting("run.checkpoint_interval", file, variables, &[]);
    assert_eq!(size("", &[], &[]), is("100", "default"));
    assert_eq!(size("[batch]", &[], &[]), is("50", "default"));
    assert_eq!(size("[batch]\nsize = 7", &[], &[]), is("7", "file"));
    assert_eq!(size("[run]\nbatch_size = 7\n[batch]", &[], &[]), is("7", "file"));
    let variable = [("BATCH_SIZE", "8")];
    assert_eq!(size("[batch]\nsize = 7", &variable, &[]), is("8", "environment BATCH_SIZE"));
    let flag = ["--set", "batch.size=9"];
    assert_eq!(size("[batch]\nsize = 7", &variable, &flag), is("9", "--set batch.size=9"));
    let elsewhere = ["--set", "run.batch_size=9"];
    assert_eq!(size("[batch]\nsize = 7", &[], &elsewhere), is("9", "--set run.batch_size=9"));
    assert_eq!(every("[batch]", &[]), is("10", "default"));
    assert_eq!(every("[batch]\ncheckpoint_interval = 4", &[]), is("4", "file"));
    let variable = [("CHECKPOINT_INTERVAL", "5")];
    assert_eq!(
        every("[batch]\ncheckpoint_interval = 4", &variable),
        is("5", "environment CHECKPOINT_INTERVAL")
    );
    assert_eq!(setting("data_dir", "[batch]\ncheckpoint_dir = \"c\"", &[], &[]), is("c", "file"));
}

#[test]
fn one_thing_that_is_written_twice_is_refused() {
    for (file, message) in [
        ("[run]\nbatch_size = 7\n[batch]\nsize = 7", "size of [batch] and batch_size of [run] are one thing"),
        (
            "[run]\ncheckpoint_interval = 7\n[batch]\ncheckpoint_interval = 7",
            "checkpoint_interval of [batch] and",
        ),
        (
            "[run]\ncheckpoint_interval = 7\n[batch]\ncheckpoint_items = 7",
            "[run] and [batch] both say how far",
        ),
        ("[retention]\ncheckpoints = 7\n[batch]\nkeep = 7", "keep of [batch] and checkpoints of [retention]"),
        (
            "[batch]\ncheckpoint_items = 7\ncheckpoint_seconds = 7",
            "checkpoint_items and checkpoint_seconds both",
        ),
        ("[batch]\nskip_share = 1.5", "skip_share"),
        ("[batch]\nbatch_size = 1", "[batch] has no key \"batch_size\""),
    ] {
        let call = Folder::new(&format!("{TO_FILE}\n{file}"), "").call(&["check"]);
        call.fails(78, &[message]);
    }
    let file = format!("data_dir = \"d\"\n{TO_FILE}\n[batch]\ncheckpoint_dir = \"c\"");
    Folder::new(&file, "")
        .call(&["check"])
        .fails(78, &["checkpoint_dir of [batch] and data_dir are one thing"]);
}

#[test]
fn the_measure_of_the_file_decides_where_checkpoints_lie() {
    for (file, variable, expected) in [
        ("checkpoint_interval = 4", None, "[40,80]"),
        ("checkpoint_items = 25", None, "[30,60,90]"),
        ("checkpoint_bytes = 150", None, "[20,40,60,80,100]"),
        // The variable counts batches, and covers the file.
        ("checkpoint_items = 25", Some("5"), "[50,100]"),
        // A thousand days fit nobody's test; the first checkpoint would come with the first batch after them.
        ("checkpoint_seconds = 86400", None, "[]"),
    ] {
        let file = format!("{TO_FILE}\n[batch]\nsize = 10\n{file}");
        let folder = Folder::new(&file, numbers(100));
        let mut command = folder.command(&["run", "pipeline.toml"]);
        command.envs(variable.map(|batches| ("CHECKPOINT_INTERVAL", batches)));
        let call = Call::of(command.output().unwrap());
        assert_eq!(call.code, 0, "{call:?}");
        let status = folder.call(&["batch", "status", "-o", "json"]).json();
        let places: Vec<u64> = status["checkpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kept| kept["read"].as_u64().unwrap())
            .collect();
        assert_eq!(serde_json::to_string(&places).unwrap(), expected, "{file}");
    }
}

#[test]
fn too_many_failures_end_the_run_with_what_is_before_them() {
    let assert =
        "[[stage]]\nname = \"even\"\ntype = \"assert\"\nwhen = \"item.n % 10 != 9\"\non_error = \"skip\"\n";
    let file = TO_FILE.replace("[sink]", &format!("{assert}[sink]"));
    let folder = Folder::new(&format!("{file}\n[batch]\nsize = 5\nskip_limit = 3"), numbers(200));
    folder.run(&[]).fails(1, &["even failed on item", "than the skip limit of 3 items allows (3 of"]);
    let out = folder.read("out.jsonl");
    assert!(!out.is_empty() && out.lines().count() < 45, "{out}");
    // One more may fail, and the run goes on from where it was.
    assert_eq!(folder.run(&["--set", "batch.skip_limit=100"]).code, 0);
    assert_eq!(folder.read("out.jsonl").lines().count(), 180);
}

#[test]
fn status_says_how_far_it_is_what_is_kept_and_what_is_damaged() {
    let file =
        format!("{TO_FILE}\n[batch]\nsize = 10\ncheckpoint_interval = 2\nskip_limit = 5\nskip_share = 0.5");
    let folder = Folder::new(&file, numbers(100));
    folder.call(&["batch", "status"]).fails(4, &["pipeline t has not run here yet"]);
    assert_eq!(folder.run(&["--limit", "50"]).code, 75);
    let status = folder.call(&["batch", "status", "-o", "json"]).json();
    assert_eq!((&status["run"], &status["read"]), (&"stopped early".into(), &50.into()));
    let share = status["done_share"].as_f64().unwrap();
    assert!((0.49..0.51).contains(&share), "{status}");
    assert!(status["left_seconds"].as_f64().is_some_and(|left| left > 0.0), "{status}");
    let settings = &status["batch_processing"];
    assert_eq!((&settings["enabled"], &settings["default_batch_size"]), (&true.into(), &10.into()));
    assert_eq!(settings["checkpoint_every"], "2 batches");
    assert_eq!(settings["skip_limit"], "5 items and a share of 0.5");
    assert!(settings["checkpoint_dir"].as_str().unwrap().ends_with(".aqueduct/t"), "{status}");

    folder.sql(
        ".aqueduct/t/ledger.db",
        "update aqueduct_checkpoint set at = at + 1 where read = 40 returning null",
    );
    let text = folder.call(&["batch", "status"]).out;
    for piece in
        ["  read 20\n", "  damaged: its checksum is ", "done: 49.4 % of the input", "in all: read 50, "]
    {
        assert!(text.contains(piece), "{piece:?} is not in\n{text}");
    }
    assert!(folder.call(&["checkpoint", "ls"]).out.contains("damaged: its checksum is "));
    folder.call(&["store", "verify"]).fails(1, &[]);
    assert!(folder.call(&["store", "verify"]).out.contains("it is not what was recorded"));

    let damaged =
        folder.call(&["checkpoint", "ls", "-o", "json"]).json()[1]["name"].as_str().unwrap().to_owned();
    folder.run(&["--resume", &damaged, "--rollback"]).fails(1, &["is damaged (its checksum is"]);
    let call = folder.run(&["--resume", "newest", "--rollback", "-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert!(call.err.contains(&format!("checkpoint {damaged} is damaged and was passed over")), "{call:?}");
    assert_eq!((&call.json()["read"], call.json()["resumed"].is_string()), (&80.into(), true));
    assert_eq!(folder.read("out.jsonl"), numbers(100));
    let status = folder.call(&["batch", "status", "-o", "json"]).json();
    assert_eq!((&status["done_share"], &status["left_seconds"]), (&1.0.into(), &0.0.into()));
}

/// Every item that the program is given is a line of `seen`, so what was done again can be counted.
#[test]
fn after_a_kill_at_most_one_interval_is_done_again_and_nothing_is_lost_or_doubled() {
    const ITEMS: u64 = 3000;
    const INTERVAL: u64 = 30;
    let stage = "[[stage]]\nname = \"see\"\ntype = \"exec\"\ncommand = [\"tee\", \"-a\", \"seen\"]\n";
    let file = TO_FILE.replace("[sink]", &format!("{stage}[sink]"));
    let file =
        format!("{file}\n[batch]\nsize = 10\ncheckpoint_interval = 3\ncheckpoint_dir = \"checkpoints\"\n");
    let folder = Folder::new(&file, numbers(ITEMS));
    let seen = || folder.read("seen").lines().count() as u64;
    let (mut kills, mut seen_before) = (0, 0);
    loop {
        let mut child = folder
            .command(&["run", "pipeline.toml"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Just before, at and just after the end of an interval, and in the middle of a chunk.
        let until = seen_before + 3 * INTERVAL + [0, 1, INTERVAL - 1, 15][kills % 4];
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if kills < 20 && seen() >= until {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::yield_now();
        };
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            break;
        }
        kills += 1;
        seen_before = seen();
    }
    assert!(kills >= 10, "{kills} kills");
    assert_eq!(folder.read("out.jsonl"), numbers(ITEMS));
    let again = seen() - ITEMS;
    assert!(again <= kills as u64 * INTERVAL, "{again} items were done again after {kills} kills");
    assert!(again > 0, "no kill came in the middle of anything");
}

#[test]
fn the_discovery_example_goes_on_behind_a_kill_and_behind_its_budget_and_back_to_a_checkpoint() {
    let folder = Folder::bare();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/discovery");
    folder.write("pipeline.toml", std::fs::read(example.join("pipeline.toml")).unwrap());
    let rows = || {
        let there = folder.at("organisations.db").exists();
        let count = "select count(*) || '' from sqlite_master where name = 'organisations'";
        if !there || folder.sql("organisations.db", count) == "0" {
            return 0;
        }
        folder.sql("organisations.db", "select count(*) || '' from organisations").parse::<u64>().unwrap()
    };
    let mut run = folder.command(&["run", "pipeline.toml"]);
    let mut run =
        run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    while rows() < 600 {
        assert!(run.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::yield_now();
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let killed_at = rows();
    assert!(killed_at < 3000, "{killed_at}");

    let call = folder.run(&["-o", "json"]);
    assert_eq!(call.code, 75, "{call:?}");
    let closing = call.json();
    assert!(
        closing["exhausted"].as_str().unwrap().starts_with("the budget enrichments is used up"),
        "{closing}"
    );
    // What the killed run had answered for was in the journal, and was not asked for again.
    assert!(closing["delivered"].as_u64().unwrap() >= 3000, "{closing}");
    assert_eq!(rows(), killed_at + closing["delivered"].as_u64().unwrap());

    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(
        folder.sql("organisations.db", "select count(*) || ' ' || count(distinct id) from organisations"),
        "5000 5000"
    );
    assert_eq!(folder.run(&[]).code, 4);
    let status = folder.call(&["batch", "status", "-o", "json"]).json();
    assert_eq!(status["batch_processing"]["default_batch_size"], 50, "{status}");
    let call = folder.run(&["--resume", "newest", "-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert_eq!(rows(), 5000);
}
