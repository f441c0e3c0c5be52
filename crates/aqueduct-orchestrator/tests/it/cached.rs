//! Stages that are done once for each key, over a service that counts its calls.

use std::path::Path;
use std::time::Duration;

use aqueduct_core::Clock;
use aqueduct_orchestrator::{CacheReach, Inputs, PipelineSpec, RunRequest, assemble};
use aqueduct_stream::{Report, RunFailure};
use aqueduct_testkit::backend::{Backend, Begins, Builder, Dead, Ends, Latency, Outage, Script};
use serde_json::Value;

struct Place {
    folder: tempfile::TempDir,
    backend: Backend,
}

impl Place {
    async fn with(script: Builder) -> Self {
        let backend = Backend::start(script.build().unwrap()).await.unwrap();
        Self { folder: tempfile::tempdir().unwrap(), backend }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn spec(&self, file: &str) -> PipelineSpec {
        read(self.path(), file).unwrap_or_else(|errors| panic!("{errors}"))
    }

    async fn run(&self, file: &str) -> Result<Report, RunFailure> {
        let request = RunRequest { stand_in: self.backend.urls().to_vec(), ..RunRequest::default() };
        self.run_with(file, request).await
    }

    /// Runs it from the beginning of its input, whatever has been run before.
    async fn run_with(&self, file: &str, request: RunRequest) -> Result<Report, RunFailure> {
        let out = self.path().join("out.jsonl");
        for gone in [self.path().join(".aqueduct/t/ledger.db"), out] {
            let _ = std::fs::remove_file(gone);
        }
        assemble(&self.spec(file), request).run().await
    }

    fn out(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path().join("out.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn calls(&self) -> u64 {
        self.backend.account().total.calls
    }

    async fn letters(&self, file: &str) -> Vec<(String, u32)> {
        let spec = self.spec(file);
        let mut ledger = aqueduct_orchestrator::Inspection::open(&spec).await.unwrap().unwrap();
        let letters = ledger.dead_letters(aqueduct_store::DeadLetterFilter::default()).await.unwrap();
        letters.into_iter().map(|letter| (letter.reason, letter.attempts)).collect()
    }
}

fn read(folder: &Path, file: &str) -> Result<PipelineSpec, aqueduct_orchestrator::ConfigErrors> {
    let environment = |_: &str| None;
    PipelineSpec::parse("p.toml", folder, file.as_bytes(), &Inputs::new(&environment))
}

/// A pipeline that looks up one of 20 projects for each of `count` items.
fn looking_up(count: u64, cached: &str, of: &str, rest: &str) -> String {
    format!(
        "name = \"t\"\n[source]\ntype = \"generator\"\ncount = {count}\nfields = {{ id = \"sequence\" }}\n\
         [[backend]]\nname = \"b\"\nrequests_per_minute = 0\nretry_delay_seconds = 0.001\nbreaker_failures = 0\nretries = 0\n\
         [[stage]]\nname = \"project\"\ntype = \"map\"\nset = {{ project = \"item.id % 20\" }}\n\
         [[stage]]\nname = \"lookup\"\ntype = \"cached\"\nkey = \"item.project\"\nnamespace = \"projects\"\n{cached}\n\
         [stage.of]\ntype = \"http\"\nbackend = \"b\"\nurl = \"http://a.example/item/{{item.project}}\"\n\
         set = {{ score = \"item.response.body.score\" }}\n{of}\n\
         [sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n{rest}"
    )
}

fn figure<'a>(report: &'a Report, name: &str) -> &'a Value {
    &report.stages.iter().find(|found| found.name == "lookup").unwrap().figures[name]
}

fn assert_all_looked_up(place: &Place, count: u64) {
    let out = place.out();
    let ids: Vec<u64> = out.iter().map(|item| item["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..count).collect::<Vec<_>>(), "each once, in the order of the input");
    for item in out {
        let fields: Vec<&String> = item.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["id", "project", "score"]);
        let score = aqueduct_testkit::backend::score(&item["project"].to_string());
        assert_eq!(item["score"], score, "{item}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_items_with_twenty_keys_make_twenty_calls_and_the_next_run_makes_none() {
    let place = Place::with(Script::builder()).await;
    let file = looking_up(1_000, "", "", "");
    let report = place.run(&file).await.unwrap();
    assert_eq!(report.counts.delivered, 1_000);
    assert_all_looked_up(&place, 1_000);
    assert_eq!(place.calls(), 20);
    let cache = figure(&report, "cache");
    assert_eq!(
        (&cache["name"], &cache["layers"], &cache["sets"]),
        (&"projects".into(), &2.into(), &20.into())
    );
    assert_eq!(cache["total_requests"], 1_000);
    assert_eq!(cache["hits"].as_u64().unwrap() + cache["misses"].as_u64().unwrap(), 1_000);
    assert_eq!(cache["misses"].as_u64().unwrap() - cache["joined"].as_u64().unwrap(), 20, "{cache}");
    assert_eq!(figure(&report, "calls"), 20, "the figures of the stage within are there");

    let report = place.run(&file).await.unwrap();
    assert_all_looked_up(&place, 1_000);
    assert_eq!(place.calls(), 20, "the disk has them");
    let cache = figure(&report, "cache");
    assert_eq!((&cache["misses"], &cache["hit_rate_percent"]), (&0.into(), &100.0.into()), "{cache}");
    assert!(cache["disk_hits"].as_u64() >= Some(20), "{cache}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_the_next_run_asks_again_and_leaves_nothing() {
    let place = Place::with(Script::builder()).await;
    let file = looking_up(100, "", "", "[cache]\ndisk = false\n");
    for calls in [20, 40] {
        let report = place.run(&file).await.unwrap();
        assert_eq!(figure(&report, "cache")["layers"], 1);
        assert_eq!(place.calls(), calls);
    }
    assert!(!place.path().join(".aqueduct/t/cache").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_asked_for_again_when_its_time_is_over() {
    let place = Place::with(Script::builder()).await;
    let file = looking_up(20, "ttl_seconds = 60", "", "");
    let clock_at = |seconds: i64| {
        let (clock, manual) = Clock::manual(aqueduct_core::Timestamp(1_700_000_000_000 + seconds * 1_000));
        // What sleeps in a run are retries and circuits; none of them is wanted here.
        std::mem::forget(manual);
        RunRequest { clock, stand_in: place.backend.urls().to_vec(), ..RunRequest::default() }
    };
    for (seconds, calls) in [(0, 20), (59, 20), (61, 40)] {
        place.run_with(&file, clock_at(seconds)).await.unwrap();
        assert_eq!(place.calls(), calls, "after {seconds} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_result_is_better_than_none_where_the_file_says_so() {
    let outage = Outage { host: 0, from: Begins::AtCall(21), until: Ends::Never, dead: Dead::Unavailable };
    let place = Place::with(Script::builder().outage(outage)).await;
    let fresh = "ttl_seconds = 0.001";
    let file = |stale: &str| looking_up(20, &format!("{fresh}\n{stale}\non_error = \"dead-letter\""), "", "");
    let stale = file("stale_seconds = 3600");
    place.run(&stale).await.unwrap();
    assert_eq!(place.calls(), 20);
    let report = place.run(&stale).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (20, 0));
    assert_all_looked_up(&place, 20);
    let cache = figure(&report, "cache");
    assert_eq!((&cache["stale"], &cache["failures"]), (&20.into(), &20.into()), "{cache}");
    // What says nothing of old results gets the error.
    let report = place.run(&file("")).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (0, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_waited_for_a_result_get_the_error_that_its_maker_got() {
    let outage = Outage { host: 0, from: Begins::AtCall(1), until: Ends::Never, dead: Dead::Unavailable };
    let place = Place::with(Script::builder().outage(outage)).await;
    let file = looking_up(100, "on_error = \"dead-letter\"", "", "");
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (0, 100));
    assert!(place.calls() < 100, "{} calls", place.calls());
    let letters = place.letters(&file).await;
    for (reason, attempts) in &letters {
        assert!(reason.starts_with("failed to call: GET http://a.example/item/"), "{reason}");
        assert!(reason.contains("was answered 503"), "{reason}");
        assert_eq!(*attempts, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_drawn_on_for_calls_only_and_ends_the_run_although_there_are_old_results() {
    let place = Place::with(Script::builder()).await;
    let budget = "[budget]\nfetches = 20\n";
    let file = looking_up(100, "ttl_seconds = 3600", "draw = \"fetches\"", budget);
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.counts.delivered, figure(&report, "fetches_used")), (100, &20.into()));
    let old = looking_up(100, "ttl_seconds = 0.001\nstale_seconds = 3600", "draw = \"fetches\"", budget)
        .replace("fetches = 20", "fetches = 0");
    place
        .run(&old.replace("fetches = 0", "fetches = 20").replace("namespace = \"projects\"", ""))
        .await
        .unwrap();
    let report = place.run(&old.replace("namespace = \"projects\"", "")).await.unwrap();
    assert_eq!(report.ended, aqueduct_stream::Ended::Exhausted);
    assert_eq!(report.counts.delivered, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stage_within_has_results_of_its_own() {
    let place = Place::with(Script::builder()).await;
    place.run(&looking_up(20, "", "", "")).await.unwrap();
    let twice =
        looking_up(20, "", "", "").replace("item.response.body.score", "item.response.body.score * 2.0");
    place.run(&twice).await.unwrap();
    assert_eq!(place.calls(), 40);
    let once = aqueduct_testkit::backend::score("7");
    assert_eq!(place.out()[7]["score"], 2.0 * once);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_plays_a_service_leaves_nothing_for_calls_that_are_real() {
    let place = Place::with(Script::builder()).await;
    let real = |file: String| {
        let own =
            format!("name = \"b\"\nendpoints = [{:?}]\nallow_private = true\n", place.backend.urls()[0]);
        file.replace("name = \"b\"\n", &own).replace("http://a.example/", "/")
    };
    for (file, calls) in
        [(real(looking_up(20, "", "", "")), [20, 40, 40]), (real(calling(20, "", "")), [60, 80, 80])]
    {
        place.run(&file).await.unwrap();
        assert_eq!(place.calls(), calls[0]);
        for calls in &calls[1..] {
            place.run_with(&file, RunRequest::default()).await.unwrap();
            assert_eq!(place.calls(), *calls);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_loads_are_under_way_as_the_stage_within_may_have() {
    let latency = Latency { typical: Duration::from_millis(5), tail: None };
    let place = Place::with(Script::builder().latency(latency)).await;
    place.run(&looking_up(200, "", "in_flight = 2", "")).await.unwrap();
    assert_all_looked_up(&place, 200);
    assert!(place.backend.account().total.in_flight_max <= 2, "{:?}", place.backend.account().total);
    assert_eq!(place.calls(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_item_had_itself_does_not_reach_another() {
    let place = Place::with(Script::builder()).await;
    // The first item has the right score already, the second a wrong one.
    let right = aqueduct_testkit::backend::score("1");
    let lines = format!("{{\"project\":1,\"score\":{right},\"own\":1}}\n{{\"project\":1,\"score\":0.5}}\n");
    std::fs::write(place.path().join("in.jsonl"), lines).unwrap();
    let file = looking_up(2, "", "", "");
    let (from, to) = (file.find("[source]").unwrap(), file.find("[[backend]]").unwrap());
    let file = file.replace(&file[from..to], "[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n");
    let file = file.replace("item.id % 20", "item.project");
    place.run(&file).await.unwrap();
    let out = place.out();
    assert_eq!(out[0], serde_json::json!({"project": 1, "score": right, "own": 1}));
    assert_eq!(out[1], serde_json::json!({"project": 1, "score": right}));
    assert_eq!(place.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_writes_nothing_and_reads_nothing_that_runs_have_kept() {
    let place = Place::with(Script::builder()).await;
    let file = looking_up(40, "", "", "");
    place.run(&file).await.unwrap();
    let before = std::fs::metadata(place.path().join(".aqueduct/t/cache-statistics.json")).unwrap();
    let request = RunRequest {
        stand_in: place.backend.urls().to_vec(),
        cache: CacheReach::Memory,
        ..RunRequest::default()
    };
    let preview = assemble(&place.spec(&file), request).preview(40).await.unwrap();
    assert_eq!(preview.items.len(), 40);
    assert_eq!(place.calls(), 40, "once for each key");
    let after = std::fs::metadata(place.path().join(".aqueduct/t/cache-statistics.json")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    let bare = Place::with(Script::builder()).await;
    let request = RunRequest {
        stand_in: bare.backend.urls().to_vec(),
        cache: CacheReach::Memory,
        ..RunRequest::default()
    };
    assemble(&bare.spec(&file), request).preview(1).await.unwrap();
    assert!(!bare.path().join(".aqueduct").exists());
}

/// The errors of a file as `line:column message; hint`.
fn faults(cached: &str, of: &str, rest: &str) -> Vec<String> {
    let errors = read(Path::new("/data"), &looking_up(1, cached, of, rest)).expect_err("an error");
    let fault = |error: &aqueduct_orchestrator::ConfigError| {
        let place = match error.place() {
            aqueduct_orchestrator::Place::Line { line, column, .. } => format!("{line}:{column}"),
            other => format!("{other:?}"),
        };
        format!("{place} {}; {}", error.message(), error.hint().unwrap_or("no hint"))
    };
    errors.into_iter().map(fault).collect()
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_place() {
    let all = [
        (
            "",
            "keep = [\"id\"]\n",
            "",
            "27:1 [stage.of] of stage \"lookup\" takes no keep; leave it out: a hit adds the kept fields to an item of its \
             own; choose fields in a `map` behind it",
        ),
        (
            "",
            "journal = true",
            "",
            "27:1 [stage.of] of stage \"lookup\" takes no journal; leave it out: with `disk = true` in [cache] the next \
             run has the results",
        ),
        (
            "",
            "ulr = \"/\"",
            "",
            "27:1 [stage.of] of stage \"lookup\" has no key \"ulr\"; did you mean \"url\"?",
        ),
        (
            "",
            "command = [\"a\"]",
            "",
            "27:1 [stage.of] of stage \"lookup\" has no key \"command\"; it belongs to type \"exec\"",
        ),
        ("ttl_seconds = 0", "", "", "21:15 ttl_seconds is 0, and must be from 0.001 to 31536000; no hint"),
        ("capacity = 0", "", "", "21:12 capacity is 0, and must be from 1 to 4294967296; no hint"),
        (
            "tags = \"1 + 1\"",
            "",
            "",
            "21:8 tags must give a list of texts, and this gives an integer; no hint",
        ),
        (
            "",
            "",
            "[cache]\nredis = \"http://user:hunter2@a\"\n",
            "32:9 this is not the address of a Redis server; it is written redis://USER:PASSWORD@HOST:PORT/DB or \
             unix:///PATH; TLS (rediss://) is not built in",
        ),
        (
            "",
            "",
            "[cache]\nnodes = \"redis://:hunter2@a,redis://:hunter2@a\"\n",
            "32:9 this is not a list of nodes; it is written local:3, or redis://A:6379,redis://B:6379 with each server once",
        ),
        (
            "",
            "",
            "[cache]\nredis = \"redis://a\"\nnodes = \"local:2\"\n",
            "33:9 [cache] has both redis and nodes; keep redis for one server, or nodes for several",
        ),
        (
            "",
            "",
            "[cache]\ndisk_bytes_max = 5\n",
            "32:18 disk_bytes_max is 5, and must be from 1048576 to 68719476736; no hint",
        ),
        (
            "",
            "",
            "[[stage]]\nname = \"projects\"\ntype = \"cached\"\nkey = \"item.id\"\nof = { type = \"exec\", command = [\"a\"] }\n",
            "31:1 stage \"projects\" has the namespace \"projects\" of stage \"lookup\"; give each a namespace of its own",
        ),
        (
            "",
            "",
            "[[stage]]\nname = \"x\"\ntype = \"cached\"\nkey = \"item.id\"\nof = { type = \"map\" }\n",
            "35:15 type cannot be \"map\"; there are http, model, exec",
        ),
        (
            "",
            "",
            "[[stage]]\nname = \"x\"\ntype = \"cached\"\nkey = \"item.id\"\n",
            "31:1 stage \"x\" lacks the key \"of\"; what is done for a key that is not there: a stage of type `http`, `model` \
             or `exec`. What it adds to an item or changes in it is kept",
        ),
    ];
    let found: Vec<String> =
        all.iter().map(|(cached, of, rest, _)| faults(cached, of, rest).join("\n")).collect();
    assert_eq!(found, all.map(|(_, _, _, expected)| expected));
}

/// Where a file shares its results, and who says so.
fn shared(file: &str, environment: &[(&str, &str)], set: Option<&str>) -> String {
    let environment = |name: &str| {
        environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let overrides: Vec<_> = set.into_iter().map(aqueduct_orchestrator::Override::set).collect();
    let inputs = Inputs::new(&environment).with_overrides(&overrides);
    match PipelineSpec::parse("p.toml", Path::new("/"), looking_up(1, "", "", file).as_bytes(), &inputs) {
        Ok(spec) => format!("{} ({})", spec.cache.shared.value, spec.cache.shared.origin),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let url = ("REDIS_URL", "redis://:hunter2@b");
    let nodes = ("AQUEDUCT_CACHE_NODES", "5");
    let file = "[cache]\nredis = \"redis://a\"\n";
    assert_eq!(shared("", &[], None), "none (default)");
    assert_eq!(shared(file, &[], None), "redis redis://a (file)");
    assert_eq!(shared(file, &[url], None), "redis ${env:REDIS_URL} (environment REDIS_URL)");
    assert_eq!(shared(file, &[url, nodes], None), "nodes local:5 (environment AQUEDUCT_CACHE_NODES)");
    assert_eq!(
        shared(file, &[url, nodes], Some("cache.nodes=redis://c,redis://d")),
        "nodes redis://c,redis://d (--set cache.nodes=redis://c,redis://d)"
    );
    assert_eq!(shared("[cache]\nnodes = \"local\"\n", &[], None), "nodes local:3 (file)");
    let wrong = shared("", &[("REDIS_URL", "redis://:hunter2@b:port")], None);
    assert!(wrong.starts_with("REDIS_URL: this is not the address of a Redis server"), "{wrong}");
    assert!(!wrong.contains("hunter2"), "{wrong}");
    let list = ("AQUEDUCT_CACHE_NODES", "redis://:hunter2@a,redis://b");
    assert_eq!(
        shared("", &[list], None),
        "nodes ${env:AQUEDUCT_CACHE_NODES} (environment AQUEDUCT_CACHE_NODES)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_asked_once_for_each_key_and_may_leave_fields_out() {
    let place = Place::with(Script::builder()).await;
    let program = "while read -r line; do echo x >> asked; \
        echo \"$line\" | sed -e 's/\"item\":{.*}/\"item\":{\"project\":1,\"seen\":true}}/'; done";
    let file = looking_up(60, "", "", "");
    let (from, to) = (file.find("[stage.of]").unwrap(), file.find("[sink]").unwrap());
    let of = format!("[stage.of]\ntype = \"exec\"\ncommand = [\"sh\", \"-c\", '''{program}''']\n");
    let file = file.replace(&file[from..to], &of);
    let report = place.run(&file).await;
    let report = report.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(report.counts.delivered, 60);
    let asked = std::fs::read_to_string(place.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 20);
    for item in place.out() {
        assert_eq!(item, serde_json::json!({"project": 1, "seen": true}), "the id is left out");
    }
}

/// Time that nobody waits for longer than.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_share_results_through_redis_and_go_on_without_it() {
    let mut redis = aqueduct_testkit::RedisServer::start().unwrap();
    let place = Place::with(Script::builder()).await;
    let file = |folder: &str| {
        let rest = format!("[cache]\nredis = \"{}\"\ndisk = false\n", redis.url());
        looking_up(100, "stale_seconds = 0", "", &rest)
            .replace("name = \"t\"", &format!("name = \"t\"\ndata_dir = {folder:?}"))
    };
    let (one, other) = (file("one"), file("other"));
    let clock = Clock::system();
    let begun = clock.now();
    let report = place.run(&one).await.unwrap();
    assert_eq!((place.calls(), &figure(&report, "cache")["layers"]), (20, &2.into()));
    std::fs::remove_file(place.path().join("one/ledger.db")).unwrap();
    // A server that answers late costs a call and no more, and this machine may be busy: what counts is that the calls end.
    let mut calls = place.calls();
    loop {
        let _ = std::fs::remove_file(place.path().join("other/ledger.db"));
        let report = place.run(&other).await.unwrap();
        assert_all_looked_up(&place, 100);
        if place.calls() == calls {
            let cache = figure(&report, "cache");
            assert_eq!(cache["shared_hits"], 20, "{cache}");
            break;
        }
        calls = place.calls();
        assert!(clock.now().since(begun) < LONG, "nothing is shared");
    }
    redis.kill().unwrap();
    for folder in ["one", "other"] {
        let _ = std::fs::remove_file(place.path().join(folder).join("ledger.db"));
    }
    let report = place.run(&one).await.unwrap();
    assert_eq!((report.counts.delivered, place.calls()), (100, calls + 20));
    assert_all_looked_up(&place, 100);
    assert!(clock.now().since(begun) < LONG, "nobody waits for a server that is away");
}

// ---- [backend.cache] ----

/// A pipeline that calls for each of `count` items, of which 20 have the same URL each.
fn calling(count: u64, cache: &str, stage: &str) -> String {
    format!(
        "name = \"t\"\n[source]\ntype = \"generator\"\ncount = {count}\nfields = {{ id = \"sequence\" }}\n\
         [[backend]]\nname = \"b\"\nrequests_per_minute = 0\nretry_delay_seconds = 0.001\nbreaker_failures = 0\nretries = 0\n\
         [backend.cache]\n{cache}\n\
         [[stage]]\nname = \"lookup\"\ntype = \"http\"\nbackend = \"b\"\nurl = \"http://a.example/item/{{item.id % 20}}\"\n\
         set = {{ score = \"item.response.body.score\" }}\n{stage}\n\
         [sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_keeps_good_answers_to_get_and_the_next_run_has_them() {
    let place = Place::with(Script::builder()).await;
    let file = calling(200, "", "");
    for run in 0..2 {
        let report = place.run(&file).await.unwrap();
        assert_eq!((report.counts.delivered, place.calls()), (200, 20), "run {run}");
        for item in place.out() {
            let id = item["id"].as_u64().unwrap() % 20;
            assert_eq!(item["score"], aqueduct_testkit::backend::score(&id.to_string()));
        }
        let backend = figure(&report, "backend");
        let cache = &backend["cache"];
        assert_eq!((&cache["name"], &cache["layers"]), (&"backend:b".into(), &2.into()));
        assert_eq!(cache["sets"], if run == 0 { 20 } else { 0 }, "{backend}");
        let [hits, misses, joined] = ["hits", "misses", "joined"].map(|name| cache[name].as_u64().unwrap());
        // Who comes while the call is under way waits for it, who comes later hits.
        let made = if run == 0 { 20 } else { 0 };
        assert_eq!((hits + joined, misses - joined), (200 - made, made), "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_other_headers_and_other_rules_are_other_answers() {
    let place = Place::with(Script::builder()).await;
    for (stage, calls) in [
        ("", 20),
        ("headers = { accept-language = \"sv\" }", 40),
        ("headers = { accept-language = \"fi\" }", 60),
        ("success = [\"2xx\", \"404\"]", 80),
        ("headers = { accept-language = \"sv\" }", 80),
        ("idempotency_key = true", 80),
        ("method = \"POST\"\non_error = \"skip\"", 120),
    ] {
        place.run(&calling(40, "", stage)).await.unwrap();
        assert_eq!(place.calls(), calls, "{stage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_gives_an_old_answer_where_the_service_is_down() {
    let outage = Outage { host: 0, from: Begins::AtCall(21), until: Ends::Never, dead: Dead::Unavailable };
    let place = Place::with(Script::builder().outage(outage)).await;
    let file = calling(20, "ttl_seconds = 0.001\nstale_seconds = 3600", "on_error = \"dead-letter\"");
    place.run(&file).await.unwrap();
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (20, 0));
    assert_eq!(figure(&report, "backend")["cache"]["stale"], 20);
    let fresh = calling(20, "ttl_seconds = 0.001", "on_error = \"dead-letter\"");
    assert_eq!(place.run(&fresh).await.unwrap().counts.dead_lettered, 20);
}

#[test]
fn what_is_wrong_about_the_cache_of_a_backend_is_said_with_its_place() {
    let fault = |cache: &str| {
        let errors = read(Path::new("/data"), &calling(1, cache, "")).expect_err("an error");
        errors.into_iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let key = fault("ttl = 5");
    assert!(
        key.contains("p.toml:13:1") && key.contains("[backend.cache] of backend \"b\" has no key \"ttl\""),
        "{key}"
    );
    let range = fault("stale_seconds = -1");
    assert!(range.contains("stale_seconds is -1, and must be from 0 to 31536000"), "{range}");
}

// ---- What is taken away ----

use aqueduct_orchestrator::{CacheAccount, CacheError, DiskAccount, Invalidation};
use aqueduct_orchestrator::{invalidate_cache, reset_cache_statistics};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_invalidated_is_made_again_and_nothing_else() {
    let place = Place::with(Script::builder()).await;
    let file = looking_up(
        20,
        "tags = \"['even', 'odd'].filter(t, (item.project % 2 == 0) == (t == 'even'))\"",
        "",
        "",
    );
    place.run(&file).await.unwrap();
    let spec = place.spec(&file);
    let mut calls = 20;
    for (what, made) in [
        (Invalidation::Pattern("7".to_owned()), 1),
        // 1, and 10 to 19.
        (Invalidation::Pattern("1*".to_owned()), 11),
        (Invalidation::Tag("even".to_owned()), 10),
        (Invalidation::All, 20),
    ] {
        let (namespaces, levels) = invalidate_cache(&spec, None, &what).await.unwrap();
        assert_eq!((namespaces, levels), (vec!["projects".to_owned()], vec!["disk"]));
        place.run(&file).await.unwrap();
        calls += made;
        assert_eq!(place.calls(), calls, "{what:?}");
    }
    let error = invalidate_cache(&spec, None, &Invalidation::Pattern("a*b".to_owned())).await.unwrap_err();
    assert!(matches!(error, CacheError::Pattern(_)), "{error}");
    let error = invalidate_cache(&spec, Some("project"), &Invalidation::All).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no namespace \"project\"; did you mean \"projects\"?");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_go_on_from_run_to_run_and_a_reset_takes_nothing_else() {
    let place = Place::with(Script::builder()).await;
    let file = looking_up(100, "", "", "");
    let spec = place.spec(&file);
    assert!(!reset_cache_statistics(&spec).unwrap());
    assert_eq!(CacheAccount::read(&spec).disk, DiskAccount::None);
    assert!(!place.path().join(".aqueduct").exists(), "a look leaves nothing");
    for runs in 1..3 {
        place.run(&file).await.unwrap();
        let account = CacheAccount::read(&spec);
        assert_eq!((account.runs, account.layers, account.total.total_requests()), (runs, 2, runs * 100));
        assert_eq!(account.total.sets, 20);
        assert_eq!(account.namespaces[0].namespace, "projects");
        assert!(matches!(account.disk, DiskAccount::Holds { entries: 20, .. }), "{account:?}");
    }
    assert!(reset_cache_statistics(&spec).unwrap());
    let account = CacheAccount::read(&spec);
    assert_eq!((account.runs, account.total.total_requests()), (0, 0));
    place.run(&file).await.unwrap();
    assert_eq!(place.calls(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_told_what_is_invalid_and_one_that_is_away_is_an_error() {
    let mut redis = aqueduct_testkit::RedisServer::start().unwrap();
    let place = Place::with(Script::builder()).await;
    let file = looking_up(20, "", "", &format!("[cache]\nredis = \"{}\"\ndisk = false\n", redis.url()));
    let spec = place.spec(&file);
    place.run(&file).await.unwrap();
    let (_, levels) = invalidate_cache(&spec, None, &Invalidation::All).await.unwrap();
    assert_eq!(levels, ["redis"]);
    place.run(&file).await.unwrap();
    assert_eq!(place.calls(), 40);
    redis.kill().unwrap();
    let error = invalidate_cache(&spec, None, &Invalidation::All).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("invalidate namespace projects on the level redis: it may still give what is old"),
        "{text}"
    );
}
