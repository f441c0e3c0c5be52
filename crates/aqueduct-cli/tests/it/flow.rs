//! Routes, deduplication, dry runs, going back, replays and what is dropped, as a person uses them.

use crate::support::{Folder, TO_FILE, TO_TABLE, numbers};

const STAGE: &str = "[[stage]]\nname = ";

/// Numbers sorted into two branches, a sink by name, and the rest.
const SORTED: &str = r#"
name = "t"
[source]
type = "jsonl"
path = "in.jsonl"
[[stage]]
name = "sort"
type = "route"
routes = { big = "item.n >= 90", odd = "item.n % 2 == 1" }
otherwise = "pass"
[[stage]]
name = "mark"
type = "map"
branch = "big"
set = { big = "true" }
[[sink]]
name = "rest"
type = "sqlite"
path = "out.db"
table = "items"
[[sink]]
name = "large"
type = "jsonl"
path = "big.jsonl"
branch = "big"
[[sink]]
name = "odd"
type = "jsonl"
path = "odd.jsonl"
"#;

#[test]
fn a_route_sends_items_to_branches_and_sinks_and_lets_the_rest_pass() {
    let folder = Folder::new(SORTED, numbers(100));
    let call = folder.run(&["-o", "json"]);
    assert_eq!((call.code, call.json()["delivered"].as_u64()), (0, Some(100)), "{call:?}");
    let big: String = (90..100).map(|n| format!("{{\"n\":{n},\"big\":true}}\n")).collect();
    assert_eq!(folder.read("big.jsonl"), big);
    let odd: String = (0..90).filter(|n| n % 2 == 1).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    assert_eq!(folder.read("odd.jsonl"), odd);
    assert_eq!(folder.sql("out.db", "select count(*) || ' ' || sum(n) from items"), "45 1980");
    let explained = folder.call(&["explain"]).out;
    for line in [
        "sort: sends items to big where item.n >= 90, to odd where item.n % 2 == 1; lets the others pass",
        "stage    mark on branch big: keeps all fields; sets big",
        "takes routed items of branch big",
    ] {
        assert!(explained.contains(line), "{line:?} is not in\n{explained}");
    }
}

#[test]
fn a_route_may_copy_and_an_item_without_a_match_is_an_error_unless_otherwise_says() {
    let all = SORTED
        .replace("otherwise = \"pass\"", "match = \"all\"\non_error = \"dead-letter\"")
        .replace("[[sink]]\nname = \"rest\"\ntype = \"sqlite\"\npath = \"out.db\"\ntable = \"items\"\n", "");
    let folder = Folder::new(&all, numbers(100));
    let json = folder.run(&["-o", "json"]).json();
    // 10 numbers are big, 50 are odd, 5 are both; 45 are neither.
    assert_eq!((json["delivered"].as_u64(), json["dead_lettered"].as_u64()), (Some(60), Some(45)));
    assert_eq!(folder.read("odd.jsonl").lines().count(), 50);
    assert_eq!(folder.reasons()[0], "no route holds (big, odd), and there is no otherwise");
    let skip = all.replace("match = \"all\"", "otherwise = \"skip\"");
    let folder = Folder::new(&skip, numbers(100));
    assert_eq!(folder.run(&["-o", "json"]).json()["skipped"].as_u64(), Some(45));
}

#[test]
fn ways_that_lead_nowhere_are_shown_in_the_file() {
    let check = |pipeline: String| Folder::new(&pipeline, "").call(&["check"]);
    check(SORTED.replace("odd = \"item", "ood = \"item")).fails(
        78,
        &["pipeline.toml:9:10", "\"ood\" is neither a sink nor a branch", "did you mean \"odd\"?"],
    );
    check(SORTED.replace("branch = \"big\"\nset", "branch = \"bug\"\nset"))
        .fails(78, &["pipeline.toml:14:10", "stage \"mark\" takes branch \"bug\"", "did you mean \"big\"?"]);
    check(SORTED.replace("path = \"big.jsonl\"\nbranch = \"big\"", "path = \"big.jsonl\""))
        .fails(78, &["pipeline.toml:14:10", "no sink takes the items of branch \"big\""]);
    check(SORTED.replace("item.n >= 90", "item.n + 90"))
        .fails(78, &["big must give true or false, and this gives"]);
    check(SORTED.replace("{ big = \"item.n >= 90\", odd = \"item.n % 2 == 1\" }", "{}"))
        .fails(78, &["stage \"sort\" has no route"]);
    check(SORTED.replace("branch = \"big\"\nset", "branch = \"big\"\nhorizon_items = 3\nset"))
        .fails(78, &["it belongs to type \"dedupe\""]);
    check(SORTED.replace("otherwise = \"pass\"", "otherwise = \"odd\""))
        .fails(78, &["pipeline.toml:16:1", "nothing comes to sink \"rest\": the route \"sort\" before it"]);
    check(
        SORTED.replace("otherwise = \"pass\"", "otherwise = \"odd\"").replace("branch = \"big\"\nset", "set"),
    )
    .fails(78, &["nothing comes to stage \"mark\": the route \"sort\" before it sends all items elsewhere"]);
    let no_rest = "[[sink]]\nname = \"rest\"\ntype = \"sqlite\"\npath = \"out.db\"\ntable = \"items\"\n";
    check(SORTED.replace(no_rest, ""))
        .fails(78, &["every sink takes what stages send it, and none the items that are left"]);
}

fn with_dedupe(horizon: &str) -> String {
    TO_FILE.replace(
        "[sink]",
        &format!("{STAGE}\"once\"\ntype = \"dedupe\"\nkey = \"item.k\"\n{horizon}\non_error = \"dead-letter\"\n[sink]"),
    )
}

#[test]
fn dedupe_remembers_over_runs_and_says_what_is_wrong_with_its_horizon() {
    let keys = |keys: &[u64]| keys.iter().map(|k| format!("{{\"k\":{k}}}\n")).collect::<String>();
    let folder = Folder::new(&with_dedupe("horizon_items = 4"), keys(&[1, 2, 1, 3]));
    assert_eq!(folder.run(&["-o", "json"]).json()["skipped"].as_u64(), Some(1));
    // The horizon of 1 ended with the fifth item; that of 2 with the sixth.
    folder.write("in.jsonl", keys(&[1, 2, 1, 3, 2, 1, 2]) + "{\"k\":null}\n{}\n");
    let json = folder.run(&["-o", "json"]).json();
    assert_eq!((json["delivered"].as_u64(), json["skipped"].as_u64()), (Some(2), Some(1)), "{json}");
    assert_eq!(folder.read("out.jsonl"), keys(&[1, 2, 3, 1, 2]));
    let reasons = folder.reasons();
    assert_eq!(reasons[0], "the item has no key: the expression gives null");
    assert!(reasons[1].starts_with("key cannot be computed"), "{reasons:?}");

    let wrong = |horizon: &str| Folder::new(&with_dedupe(horizon), "").call(&["check"]);
    wrong("").fails(78, &["stage \"once\" lacks the key \"horizon_items\"", "`horizon_seconds` is needed"]);
    wrong("horizon_items = 4\nhorizon_seconds = 4").fails(78, &["stage \"once\" has two horizons"]);
    wrong("horizon_items = 0").fails(78, &["horizon_items is 0, and must be from 1 to 2147483648"]);
}

#[test]
fn a_change_that_could_lose_or_double_something_is_refused_unless_accepted() {
    let folder = Folder::new(&with_dedupe("horizon_items = 4"), "{\"k\":1}\n");
    assert_eq!(folder.run(&[]).code, 0);
    // A stage without state may change: it is a generation of its own.
    folder.write("pipeline.toml", with_dedupe("horizon_items = 9").replace("dead-letter", "skip"));
    assert_eq!(folder.run(&[]).code, 4);
    assert_eq!(
        folder.sql(".aqueduct/t/ledger.db", "select cast(generation as text) from aqueduct_pipeline"),
        "2"
    );
    folder.write("pipeline.toml", with_dedupe("horizon_items = 4").replace("item.k", "string(item.k)"));
    folder
        .run(&[])
        .fails(78, &["the state of stage once has changed", "accept the change (--accept-change)"]);
    folder.write("other.jsonl", "{\"k\":1}\n");
    folder.write("pipeline.toml", with_dedupe("horizon_items = 4").replace("in.jsonl", "other.jsonl"));
    folder.run(&[]).fails(
        78,
        &["the source has changed since the last run, from \"jsonl in.jsonl\" to \"jsonl other.jsonl\""],
    );
    let call = folder.run(&["--accept-change", "-o", "json"]);
    assert_eq!(call.json()["skipped"].as_u64(), Some(1), "{call:?}");
}

#[test]
fn declared_columns_may_change_when_that_is_accepted() {
    let columns = |columns: &str| {
        TO_TABLE.replace("table = \"items\"", &format!("table = \"items\"\ncolumns = {columns}"))
    };
    let folder = Folder::new(&columns(r#"["n"]"#), "{\"n\":1}\n");
    assert_eq!(folder.run(&[]).code, 0);
    folder.write("in.jsonl", "{\"n\":1}\n{\"m\":2}\n");
    folder.write("pipeline.toml", columns(r#"["m"]"#));
    folder
        .run(&[])
        .fails(78, &["the columns of sink results has changed since the last run, from \"n\" to \"m\""]);
    assert_eq!(folder.run(&["--accept-change"]).code, 0);
    folder.write("in.jsonl", "{\"n\":1}\n{\"m\":2}\n{\"m\":3}\n");
    assert_eq!(folder.run(&[]).code, 0);
    let rows =
        folder.sql("out.db", "select coalesce(n, '-') || coalesce(m, '-') from items order by item_id");
    assert_eq!(rows, "1-,-2,-3");
}

#[test]
fn a_dry_run_shows_each_stage_and_writes_nothing() {
    let folder = Folder::new(SORTED, "{\"n\":95}\nnone\n{\"n\":1}\n{\"n\":2}\n");
    let call = folder.run(&["--dry-run", "--limit", "3"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert_eq!(
        call.out,
        "\
item a0a0a0
  source           {\"n\":95}
  sort             to big: unchanged
  mark             to big: {\"n\":95,\"big\":true}
  => large         {\"n\":95,\"big\":true}
item a0a0a9
  source           none
                   dead letter: line 2: not JSON: expected true, false or null at byte 1
item a0a0b14
  source           {\"n\":1}
  sort             to odd: unchanged
  => odd           {\"n\":1}
"
    );
    assert_eq!(call.err, "3 items looked at; nothing was written\n");
    let json = folder.run(&["--dry-run", "-o", "json"]).json();
    assert_eq!(json["items"][3]["delivered"]["rest"][0]["n"], 2);
    assert_eq!(json["items"][0]["stages"][1]["after"][0]["way"], "big");
    let mut there: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["in.jsonl", "pipeline.toml"]);
    folder.run(&["--dry-run", "--resume", "epoch-1"]).fails(2, &["cannot be used with"]);
}

#[test]
fn a_pipeline_goes_back_to_a_checkpoint_with_everything_it_wrote() {
    let pipeline = SORTED.to_owned() + "[run]\nbatch_size = 10\nepoch_batches = 1\ncheckpoint_interval = 1\n";
    let folder = Folder::new(&pipeline, numbers(100));
    assert_eq!(folder.run(&[]).code, 0);
    let everything = |folder: &Folder| {
        let rows = folder.sql("out.db", "select item_id || n from items order by 1");
        (rows, folder.read("odd.jsonl"), folder.read("big.jsonl"))
    };
    let wanted = everything(&folder);
    let listed = folder.call(&["checkpoint", "ls", "-o", "jsonl"]).out;
    let names: Vec<String> = listed
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(names.len() > 5, "{listed}");
    let middle = &names[names.len() / 2];
    folder.run(&["--resume", middle]).fails(
        78,
        &[
            "would write some results a second time (table items, files of sink ",
            "remove them with --rollback",
        ],
    );
    folder.run(&["--resume", "yesterday"]).fails(78, &["there is no checkpoint yesterday; there are epoch-"]);
    folder.run(&["--rollback"]).fails(2, &["--resume"]);
    // First only back, and a look at what is there then.
    let call = folder.run(&["--resume", middle, "--rollback", "--limit", "1"]);
    assert_eq!(call.code, 75, "{call:?}");
    let rows: u64 = folder.sql("out.db", "select cast(count(*) as text) from items").parse().unwrap();
    assert!(rows < 45, "{rows} rows");
    assert_eq!(folder.run(&[]).code, 0);
    assert_eq!(everything(&folder), wanted);
}

#[test]
fn a_replay_asks_and_puts_letters_back_at_the_stage_that_failed() {
    let checked = |when: &str| {
        TO_TABLE.replace(
            "[sink]",
            &format!(
                "{STAGE}\"add\"\ntype = \"map\"\nset = {{ n = \"item.n + 100\" }}\n{STAGE}\"check\"\ntype = \
                 \"assert\"\nwhen = \"{when}\"\non_error = \"dead-letter\"\n[sink]"
            ),
        )
    };
    let folder = Folder::new(&checked("item.n % 10 != 5"), numbers(50));
    folder.call(&["dlq", "replay"]).fails(4, &["no dead letters to replay"]);
    assert_eq!(folder.run(&[]).code, 3);
    folder.call(&["dlq", "replay"]).fails(2, &["replay 5 dead letters?", "say --yes"]);
    // Nothing has changed, so they fail again.
    let call = folder.call(&["dlq", "replay", "--yes", "-o", "json"]);
    assert_eq!((call.code, call.json()["dead_lettered"].as_u64()), (3, Some(5)));
    // The stage is gone, so they stay.
    folder.write("pipeline.toml", TO_TABLE);
    let call = folder.call(&["dlq", "replay", "--yes"]);
    call.fails(3, &["5 dead letters left alone: there is no stage or sink check any more"]);
    folder.write("pipeline.toml", checked("item.n % 10 != 5 || item.n > 120"));
    let call = folder.call(&["dlq", "replay", "--yes", "--rate", "1000", "-o", "json"]);
    let json = call.json();
    assert_eq!((json["delivered"].as_u64(), json["dead_lettered"].as_u64()), (Some(3), Some(2)), "{call:?}");
    folder.write("pipeline.toml", checked("true"));
    let call = folder.call(&["dlq", "replay", "--yes", "--limit", "1"]);
    assert_eq!(call.code, 75, "{call:?}");
    assert_eq!(folder.call(&["dlq", "replay", "--yes"]).code, 0);
    assert_eq!(
        folder.sql("out.db", "select count(*) || ' ' || min(n) || ' ' || max(n) from items"),
        "50 100 149"
    );
    let status = folder.call(&["status", "-o", "json"]).json();
    assert_eq!(
        (status["delivered"].as_u64(), status["dead_lettered"].as_u64()),
        (Some(50), Some(0)),
        "{status}"
    );
    folder.call(&["dlq", "replay", "--rate", "0"]).fails(2, &["a rate is a number of letters a second"]);
}

#[test]
fn a_letter_that_was_edited_is_replayed_with_what_is_right() {
    let folder = Folder::new(TO_TABLE, "{\"n\":1}\n{\"n\":2\n");
    assert_eq!(folder.run(&[]).code, 3);
    let item = "a0a0a8";
    folder.call(&["dlq", "edit", item, "--set", "n=2"]).fails(1, &["has no payload", "--payload FILE"]);
    folder.write("right.json", "{\"n\":2}");
    assert_eq!(folder.call(&["dlq", "edit", item, "--payload", "right.json"]).code, 0);
    let call = folder.call(&["dlq", "replay", "--yes"]);
    assert_eq!(call.code, 0, "{call:?}");
    assert_eq!(folder.sql("out.db", "select item_id || ' ' || n from items order by 1"), "a0a0a0 1,a0a0a8 2");
}

#[test]
fn at_most_once_and_dropping_are_said_and_cannot_be_more() {
    let at_most = |guarantee: &str, run: &str| {
        TO_FILE.replace("[source]", &format!("{guarantee}\n[source]")) + "[run]\n" + run + "\n"
    };
    let folder = Folder::new(&at_most("guarantee = \"at-most-once\"", ""), numbers(50));
    assert!(folder.call(&["explain"]).out.contains("pipeline t: at-most-once"));
    let json = folder.run(&["-o", "json"]).json();
    assert_eq!((json["delivered"].as_u64(), json["guarantee"].as_str()), (Some(50), Some("at-most-once")));
    let folder = Folder::new(&at_most("", "overflow = \"drop-oldest\""), numbers(50));
    let json = folder.run(&["-o", "json"]).json();
    let counted = json["delivered"].as_u64().unwrap() + json["dropped"].as_u64().unwrap();
    assert_eq!((counted, json["guarantee"].as_str()), (50, Some("at-most-once")));
    let folder = Folder::new(&at_most("guarantee = \"exactly-once\"", "overflow = \"drop-newest\""), "");
    folder.call(&["check"]).fails(78, &["exactly-once is asked for, but the route gives at-most-once"]);
}

#[test]
fn what_a_sink_cannot_take_goes_the_way_of_its_rule() {
    let sink = |rule: &str| TO_TABLE.to_owned() + "key = \"id\"\ncolumns = [\"id\"]\n" + rule;
    let input = "{\"id\":1}\n{\"no\":2}\n{\"id\":3}\n";
    let folder = Folder::new(&sink(""), input);
    assert_eq!(folder.run(&[]).code, 1);
    let folder = Folder::new(&sink("on_error = \"dead-letter\"\n"), input);
    let call = folder.run(&["-o", "json"]);
    assert_eq!((call.code, call.json()["delivered"].as_u64()), (3, Some(2)), "{call:?}");
    assert!(folder.reasons()[0].contains("no"), "{:?}", folder.reasons());
    let folder = Folder::new(&sink("on_error = \"skip\"\n"), input);
    assert_eq!(folder.run(&["-o", "json"]).json()["skipped"].as_u64(), Some(1));
}
