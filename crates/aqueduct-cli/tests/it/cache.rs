//! What the cache of a pipeline has saved, and how it is taken away.

use crate::support::{Folder, TO_FILE};

/// 100 items with 20 projects, looked up at a service that the process plays itself.
const LOOKUP: &str = r#"
name = "t"
[source]
type = "generator"
count = 100
fields = { id = "sequence" }
[[backend]]
name = "b"
requests_per_minute = 0
[[stage]]
name = "project"
type = "map"
set = { project = "item.id % 20" }
[[stage]]
name = "lookup"
type = "cached"
key = "item.project"
namespace = "projects"
tags = "['p' + string(item.project)]"
[stage.of]
type = "http"
backend = "b"
url = "http://a.example/item/{item.project}"
set = { score = "item.response.body.score" }
[sink]
type = "jsonl"
path = "out.jsonl"
[stand_in]
hosts = 1
"#;

fn folder() -> Folder {
    Folder::new(LOOKUP, "")
}

/// Runs it from the start of its input.
fn run_again(folder: &Folder) -> serde_json::Value {
    for gone in ["out.jsonl", ".aqueduct/t/ledger.db"] {
        let _ = std::fs::remove_file(folder.at(gone));
    }
    let call = folder.run(&["-o", "json"]);
    assert_eq!(call.code, 0, "{call:?}");
    let stages = call.json()["stages"].clone();
    stages.as_array().unwrap().iter().find(|stage| stage["name"] == "lookup").unwrap()["figures"].clone()
}

#[test]
fn stats_have_every_figure_of_all_runs_and_what_the_disk_holds() {
    let folder = folder();
    let before = folder.call(&["cache", "stats", "-o", "json"]).json();
    assert_eq!(
        (&before["runs"], &before["total_requests"], &before["disk"]),
        (&0.into(), &0.into(), &().into())
    );
    assert!(!folder.at(".aqueduct").exists());
    assert_eq!(run_again(&folder)["calls"], 20);
    assert_eq!(run_again(&folder)["calls"], 0);
    let stats = folder.call(&["cache", "stats", "-o", "json"]).json();
    assert_eq!(
        (&stats["runs"], &stats["layers"], &stats["total_requests"]),
        (&2.into(), &2.into(), &200.into())
    );
    for scope in [&stats, &stats["namespaces"]["projects"]] {
        assert_eq!((&scope["sets"], &scope["deletes"]), (&20.into(), &0.into()), "{stats}");
        let [hits, misses] = ["hits", "misses"].map(|name| scope[name].as_u64().unwrap());
        assert!(hits >= 100 && misses >= 20 && hits + misses == 200, "{stats}");
        let percent = scope["hit_rate_percent"].as_f64().unwrap();
        assert!((percent - hits as f64 / 2.0).abs() < 0.005, "{stats}");
    }
    assert_eq!((&stats["disk"]["entries"], &stats["disk"]["in_use"]), (&20.into(), &false.into()));
    let text = folder.call(&["cache", "stats"]).out;
    for piece in
        ["pipeline t: 2 layers and 2 runs counted", "projects: hits ", " of 200 (", "disk: 20 entries, "]
    {
        assert!(text.contains(piece), "{piece:?} is not in\n{text}");
    }
}

#[test]
fn a_reset_sets_the_figures_to_nought_and_empties_nothing() {
    let folder = folder();
    folder.call(&["cache", "reset"]).fails(4, &["nothing was counted yet"]);
    run_again(&folder);
    folder.call(&["cache", "reset"]).fails(0, &["what is cached stays"]);
    let stats = folder.call(&["cache", "stats", "-o", "json"]).json();
    assert_eq!(
        (&stats["runs"], &stats["hits"], &stats["disk"]["entries"]),
        (&0.into(), &0.into(), &20.into())
    );
    assert_eq!(run_again(&folder)["calls"], 0);
}

#[test]
fn what_is_invalidated_is_asked_for_again() {
    let folder = folder();
    run_again(&folder);
    for (arguments, calls) in [
        (&["--pattern", "7"][..], 1),
        (&["--pattern", "1*"], 11),
        (&["--tag", "p3"], 1),
        (&["--namespace", "projects", "--all"], 20),
    ] {
        let call = folder.call(&[&["cache", "invalidate"], arguments].concat());
        assert_eq!((call.code, call.out.as_str()), (0, "invalidated projects on disk\n"), "{call:?}");
        assert_eq!(run_again(&folder)["calls"], calls, "{arguments:?}");
    }
    let json = folder.call(&["cache", "invalidate", "--all", "-o", "json"]).json();
    assert_eq!(json, serde_json::json!({"pipeline": "t", "namespaces": ["projects"], "levels": ["disk"]}));
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let folder = folder();
    let invalidate = |arguments: &[&str]| folder.call(&[&["cache", "invalidate"], arguments].concat());
    invalidate(&[]).fails(2, &["--tag", "--pattern", "--all"]);
    invalidate(&["--all", "--tag", "x"]).fails(2, &["cannot be used with"]);
    invalidate(&["--all"]).fails(4, &["nothing is kept that outlives a run"]);
    run_again(&folder);
    invalidate(&["--all", "--namespace", "project"]).fails(1, &["did you mean \"projects\"?"]);
    invalidate(&["--pattern", "a*b"]).fails(1, &["one * and that at its end"]);
    // A run holds its data folder and the cache in it.
    let _lock = aqueduct_cache::Disk::open(
        folder.at(".aqueduct/t/cache"),
        aqueduct_cache::DiskConfig::default(),
        aqueduct_core::Clock::system(),
    )
    .unwrap();
    invalidate(&["--all"]).fails(1, &["it is in use by process", "end that one"]);
    assert_eq!(
        folder.call(&["cache", "stats", "-o", "json"]).json()["disk"],
        serde_json::json!({"in_use": true})
    );
    let lock = std::fs::File::open(folder.at(".aqueduct/t/lock")).unwrap();
    lock.try_lock().unwrap();
    folder.call(&["cache", "reset"]).fails(1, &["in use"]);
    let none = Folder::new(TO_FILE, "");
    none.call(&["cache", "stats"]).fails(4, &["pipeline t caches nothing", "type \"cached\""]);
    none.call(&["cache", "invalidate", "--all"]).fails(4, &["caches nothing"]);
}

#[test]
fn a_dry_run_asks_and_keeps_nothing() {
    let folder = folder();
    let call = folder.run(&["--dry-run", "--limit", "3"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert!(!folder.at(".aqueduct").exists());
}

#[test]
fn explain_says_what_is_done_once_and_where_it_is_kept() {
    let folder = folder();
    let mut command = folder.command(&["explain"]);
    let call = crate::support::Call::of(command.env("REDIS_URL", "redis://:hunter2@a").output().unwrap());
    let levels = "cache    memory, disk of at most 1,073,741,824 bytes, redis ${env:REDIS_URL} (environment REDIS_URL)";
    assert!(call.out.contains(levels) && !call.out.contains("hunter2"), "{}", call.out);
    let line = "stage    lookup: once for each item.project in 300 s: calls GET http://a.example/item/{item.project}";
    assert!(call.out.contains(line), "{}", call.out);
}
