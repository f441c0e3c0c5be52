//! A queue between two pipelines.

use std::process::Stdio;

use crate::support::{Folder, numbers};

const FEED: &str = r#"
name = "feed"
[source]
type = "jsonl"
path = "in.jsonl"
[sink]
type = "queue"
path = "queues.redb"
queue = "work"
key = "item.n % 7"
tenant = "item.n % 2 == 0 ? 'even' : 'odd'"
"#;

const WORK: &str = r#"
name = "work"
[source]
type = "queue"
path = "queues.redb"
queue = "work"
until = "empty"
[[stage]]
name = "check"
type = "assert"
when = "item.n != 13"
[sink]
type = "sqlite"
path = "out.db"
table = "items"
"#;

fn folder(count: u64) -> Folder {
    let folder = Folder::new(FEED, numbers(count));
    folder.write("work.toml", WORK);
    folder
}

#[test]
fn what_one_pipeline_puts_into_a_queue_another_one_takes_out_once() {
    let folder = folder(1000);
    folder.write("work.toml", WORK.replace("item.n != 13", "true"));
    let call = folder.run(&["-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert_eq!(call.json()["delivered"], 1000);
    assert_eq!(call.json()["guarantee"], "effectively-once");
    let call = folder.call(&["run", "work.toml", "-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert_eq!(call.json()["guarantee"], "exactly-once");
    assert_eq!(
        folder.sql("out.db", "select count(*) || ' ' || count(distinct n) || ' ' || sum(n) from items"),
        "1000 1000 499500"
    );
    // Nothing is left, and nothing comes again.
    assert_eq!(folder.call(&["run", "work.toml"]).code, 4);
    // What is published again is there once: the queue knows it.
    std::fs::remove_dir_all(folder.at(".aqueduct/feed")).unwrap();
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.call(&["run", "work.toml"]).code, 4);
}

#[test]
fn an_item_that_stops_the_run_is_in_the_queue_still_and_so_is_what_is_behind_it() {
    let folder = folder(50);
    assert_eq!(folder.run(&[]).code, 0);
    let call = folder.call(&["run", "work.toml"]);
    assert_eq!(call.code, 1, "{call:?}");
    let before = folder.sql("out.db", "select count(*) || '' from items");
    folder.write("work.toml", WORK.replace("item.n != 13", "true"));
    let call = folder.call(&["run", "work.toml", "-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert_eq!(call.json()["delivered"].as_u64().unwrap() + before.parse::<u64>().unwrap(), 50);
    assert_eq!(folder.sql("out.db", "select count(*) || ' ' || sum(n) from items"), "50 1225");
}

#[test]
fn an_item_that_is_set_aside_by_the_pipeline_is_done_for_the_queue() {
    let folder = folder(50);
    folder.write("work.toml", WORK.replace("item.n != 13\"", "item.n != 13\"\non_error = \"dead-letter\""));
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.call(&["run", "work.toml"]).code, 3);
    assert_eq!(folder.call(&["run", "work.toml"]).code, 4);
    let call = folder.call(&["dlq", "ls", "work.toml", "-o", "json"]);
    assert_eq!(call.json().as_array().unwrap().len(), 1, "{call:?}");
}

#[test]
fn what_is_no_object_becomes_a_dead_letter() {
    let folder = folder(0);
    folder.write("in.jsonl", "{\"n\":1}\n");
    assert_eq!(folder.run(&[]).code, 0);
    let call = folder.call(&["run", "work.toml", "-o", "json"]);
    assert_eq!((call.code, call.json()["delivered"].as_u64()), (0, Some(1)), "{call:?}");
}

#[test]
fn there_is_no_way_back_in_a_queue() {
    let folder = folder(500);
    folder.write("work.toml", WORK.replace("item.n != 13", "true"));
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.call(&["run", "work.toml", "--set", "run.checkpoint_interval=1"]).code, 0);
    let call = folder.call(&["checkpoint", "ls", "work.toml", "-o", "json"]);
    let name = call.json()[0]["name"].as_str().unwrap().to_owned();
    folder.call(&["run", "work.toml", "--resume", &name, "--rollback"]).fails(
        1,
        &[
            "queue work of queues.redb cannot be read again, so there is no way back to",
            "run without --resume to go on",
        ],
    );
    assert_eq!(folder.sql("out.db", "select count(*) || '' from items"), "500");
}

#[test]
fn a_file_of_queues_that_is_in_use_is_named() {
    let folder = folder(10);
    assert_eq!(folder.run(&[]).code, 0);
    // It waits for messages until it is asked to end.
    folder.write("wait.toml", WORK.replace("until = \"empty\"", "").replace("item.n != 13", "true"));
    let mut waiting = folder.command(&["run", "wait.toml", "-o", "json"]);
    let mut waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let done = |folder: &Folder| {
        folder.at("out.db").exists()
            && folder.sql("out.db", "select count(*) || '' from sqlite_master where name = 'items'") == "1"
            && folder.sql("out.db", "select count(*) || '' from items") == "10"
    };
    while !done(&folder) {
        assert!(waiting.try_wait().unwrap().is_none(), "it has ended");
        std::thread::yield_now();
    }
    folder
        .run(&[])
        .fails(1, &["queues.redb is in use by another process; one process owns a file of queues"]);
    crate::run::signal(waiting.id(), "-INT");
    let call = crate::support::Call::of(waiting.wait_with_output().unwrap());
    assert_eq!(call.code, 75, "{call:?}");
    assert_eq!(call.json()["ended"], "drained");
}

#[test]
fn wrong_keys_of_queues_are_told_at_their_place() {
    let folder = folder(0);
    folder.write(
        "pipeline.toml",
        FEED.replace("queue = \"work\"", "queue = \"work\"\ntopic = \"a..b\"\npriority = \"urgent\""),
    );
    folder
        .call(&["check"])
        .fails(78, &["topic is \"a..b\", allowed is words with points in between", "priority"]);
    folder.write("pipeline.toml", WORK.replace("until = \"empty\"", "until = \"empty\"\ntopics = \"a.>.b\""));
    folder.call(&["check"]).fails(78, &["topics is \"a.>.b\", allowed is words with points in between"]);
}

#[test]
fn a_run_that_stood_still_for_longer_than_its_leases_does_nothing_twice() {
    let folder = folder(3000);
    assert_eq!(folder.run(&[]).code, 0);
    let lease = "until = \"empty\"\nlease_seconds = 0.02";
    folder.write("work.toml", WORK.replace("until = \"empty\"", lease).replace("item.n != 13", "true"));
    let mut run = folder.command(&["run", "work.toml", "-o", "json", "--set", "run.batch_size=10"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let rows = |folder: &Folder| {
        let table = "select count(*) || '' from sqlite_master where name = 'items'";
        let made = folder.at("out.db").exists() && folder.sql("out.db", table) == "1";
        if made { folder.sql("out.db", "select count(*) || '' from items").parse().unwrap() } else { 0_u64 }
    };
    let clock = aqueduct_core::Clock::system();
    for part in 1..4 {
        while rows(&folder) < part * 300 && run.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        if run.try_wait().unwrap().is_some() {
            break;
        }
        crate::run::signal(run.id(), "-STOP");
        let stopped = clock.now();
        // Five leases long.
        while clock.now().since(stopped) < std::time::Duration::from_millis(100) {
            std::thread::yield_now();
        }
        crate::run::signal(run.id(), "-CONT");
    }
    let call = crate::support::Call::of(run.wait_with_output().unwrap());
    assert_eq!(call.code, 0, "{call:?}");
    let sums = "select count(*) || ' ' || count(distinct n) || ' ' || sum(n) from items";
    assert_eq!(folder.sql("out.db", sums), "3000 3000 4498500");
    assert_eq!(folder.call(&["run", "work.toml"]).code, 4);
}

#[test]
fn a_queue_that_is_full_holds_the_pipeline_back_until_it_is_asked_to_stop() {
    let folder = folder(100);
    folder.write("pipeline.toml", FEED.replace("queue = \"work\"", "queue = \"work\"\nitems_max = 40"));
    let small = ["run", "pipeline.toml", "--set", "run.batch_size=10", "--set", "run.epoch_batches=1"];
    let mut run = folder.command(&small);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Its ledger says how far it is; with forty messages in the queue it goes no further.
    let committed = || {
        let folder = &folder;
        let status = folder.call(&["status", "-o", "json"]);
        serde_json::from_str::<serde_json::Value>(&status.out)
            .ok()
            .and_then(|status| status["delivered"].as_u64())
    };
    while committed().unwrap_or(0) < 40 {
        assert!(run.try_wait().unwrap().is_none(), "it has ended");
        std::thread::yield_now();
    }
    assert!(run.try_wait().unwrap().is_none(), "it has ended");
    crate::run::signal(run.id(), "-INT");
    crate::run::signal(run.id(), "-INT");
    let call = crate::support::Call::of(run.wait_with_output().unwrap());
    assert!(!call.err.is_empty() && call.code != 0, "{call:?}");
    assert_eq!(committed(), Some(40));
    // Room comes about, and what is left goes on.
    folder.write("work.toml", WORK.replace("item.n != 13", "true"));
    assert_eq!(folder.call(&["run", "work.toml"]).code, 0);
    folder.write("pipeline.toml", FEED);
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(folder.call(&["run", "work.toml"]).code, 0);
    assert_eq!(folder.sql("out.db", "select count(*) || ' ' || sum(n) from items"), "100 4950");
}
