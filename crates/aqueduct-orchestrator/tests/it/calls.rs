//! Pipelines that call a service which misbehaves, and what arrives.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use aqueduct_core::Shutdown;
use aqueduct_orchestrator::{Inputs, PipelineSpec, RunRequest, assemble};
use aqueduct_stream::{Ended, Report, RunFailure};
use aqueduct_testkit::backend::{Backend, Begins, Builder, Dead, Ends, Latency, Outage, Page, Quota, Script};
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

    fn write(&self, name: &str, lines: impl IntoIterator<Item = String>) {
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn spec(&self, file: &str) -> PipelineSpec {
        let environment = |_: &str| None;
        PipelineSpec::parse("pipeline.toml", self.folder.path(), file.as_bytes(), &Inputs::new(&environment))
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Runs a pipeline whose services the backend plays.
    async fn run(&self, file: &str) -> Result<Report, RunFailure> {
        let request = RunRequest { stand_in: self.backend.urls().to_vec(), ..RunRequest::default() };
        assemble(&self.spec(file), request).run().await
    }

    /// Runs one whose calls are real.
    async fn run_real(&self, file: &str) -> Result<Report, RunFailure> {
        assemble(&self.spec(file), RunRequest::default()).run().await
    }

    fn out(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("out.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn letters(&self, file: &str) -> Vec<(String, u32)> {
        let spec = self.spec(file);
        let mut ledger = aqueduct_orchestrator::Inspection::open(&spec).await.unwrap().unwrap();
        let letters = ledger.dead_letters(aqueduct_store::DeadLetterFilter::default()).await.unwrap();
        letters.into_iter().map(|letter| (letter.reason, letter.attempts)).collect()
    }
}

/// A pipeline that scores each of `count` items by a call, with these lines for the backend and the stage.
fn scoring(count: u64, backend: &str, stage: &str) -> String {
    format!(
        "name = \"t\"\n[source]\ntype = \"generator\"\ncount = {count}\nfields = {{ id = \"sequence\" }}\n\
         [[backend]]\nname = \"b\"\nrequests_per_minute = 0\nretry_delay_seconds = 0.001\nbreaker_failures = 0\n{backend}\n\
         [[stage]]\nname = \"score\"\ntype = \"http\"\nbackend = \"b\"\nset = {{ score = \"item.response.body.score\" }}\n{stage}\n\
         [sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n"
    )
}

const ITEM: &str = "url = \"http://a.example/item/{item.id}\"\n";

fn figure<'a>(report: &'a Report, stage: &str, name: &str) -> &'a Value {
    &report.stages.iter().find(|found| found.name == stage).unwrap().figures[name]
}

fn assert_all_scored(place: &Place, count: u64) {
    let ids: Vec<u64> = place.out().iter().map(|item| item["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..count).collect::<Vec<_>>(), "each once, in the order of the input");
    for item in place.out() {
        assert_eq!(item["score"], aqueduct_testkit::backend::score(&item["id"].to_string()), "{item}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_item_gets_its_answer_though_a_fifth_of_the_calls_fails() {
    let place = Place::with(Script::builder().errors(0.2)).await;
    let report = place.run(&scoring(500, "retries = 20", ITEM)).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (500, 0));
    assert_all_scored(&place, 500);
    let calls = place.backend.account().total.calls;
    assert!(calls > 550, "{calls} calls");
    assert_eq!(report.retries, calls - 500, "what was called again is told");
    assert_eq!(figure(&report, "score", "attempts").as_u64(), Some(calls));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_changes_something_carries_the_same_key_however_often_it_is_made() {
    let place = Place::with(Script::builder().errors(0.3)).await;
    let stage = "url = \"http://a.example/sink\"\nbody = \"{'id': item.id}\"\n";
    let file = scoring(200, "retries = 20", stage)
        .replace("set = { score = \"item.response.body.score\" }", "keep = [\"id\"]");
    let report = place.run(&file).await.unwrap();
    assert_eq!(report.counts.delivered, 200);
    let keys = place.backend.account().keys;
    assert_eq!((keys.keys, keys.carried_out, keys.repeated), (200, 200, 0));
    assert!(keys.repeats > 20, "{keys:?}");
    assert!(place.backend.key("t/score/a0a0a0").is_some(), "{:?}", place.backend.keys().keys().next());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_endpoint_of_three_costs_no_item() {
    let outage = Outage { host: 1, from: Begins::AtCall(1), until: Ends::Never, dead: Dead::Refuses };
    let place = Place::with(Script::builder().hosts(3).outage(outage)).await;
    let backend =
        "endpoints = [\"http://a.example\", \"http://b.example\", \"http://c.example\"]\nretries = 10";
    let file = scoring(600, backend, "url = \"/item/{item.id}\"\non_error = \"dead-letter\"\n")
        .replace("breaker_failures = 0", "breaker_failures = 5");
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (600, 0));
    assert_all_scored(&place, 600);
    let account = place.backend.account();
    assert!(account.hosts[0].ok > 100 && account.hosts[2].ok > 100, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn items_wait_for_an_open_circuit_and_keep_their_attempts() {
    let outage =
        Outage { host: 0, from: Begins::AtCall(20), until: Ends::AtCall(25), dead: Dead::Unavailable };
    let place = Place::with(Script::builder().outage(outage)).await;
    let backend = "breaker_open_seconds = 1\nretries = 5\ncalls_max = 1";
    let file = scoring(100, backend, &format!("{ITEM}on_error = \"dead-letter\"\n"))
        .replace("breaker_failures = 0", "breaker_failures = 3");
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (100, 0));
    assert!(figure(&report, "score", "refusals_waited_for").as_u64() > Some(0), "{:?}", report.stages);
    assert!(figure(&report, "score", "backend")["circuits_opened"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_wants_fewer_calls_gets_fewer_and_every_item_its_answer() {
    let quota = Quota { calls: 40, window: Duration::from_secs(1) };
    let place = Place::with(Script::builder().quota(quota)).await;
    let file = scoring(100, "retries = 20", &format!("{ITEM}on_error = \"dead-letter\"\n"));
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (100, 0));
    let account = place.backend.account();
    assert!(account.total.over_quota > 0, "the quota was met");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_of_the_file_is_never_exceeded() {
    let quota = Quota { calls: 50, window: Duration::from_mins(1) };
    let place = Place::with(Script::builder().quota(quota)).await;
    let file = scoring(49, "burst = 50", ITEM).replace("requests_per_minute = 0", "requests_per_minute = 50");
    let report = place.run(&file).await.unwrap();
    assert_eq!(report.counts.delivered, 49);
    let account = place.backend.account();
    assert_eq!((account.total.over_quota, account.total.calls_in_window_max), (0, Some(49)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_set_aside_with_its_reason_and_was_tried_once() {
    let place = Place::with(Script::builder()).await;
    place.write("in.jsonl", [200, 404, 418, 201].map(|code| format!("{{\"code\":{code}}}")));
    let file = "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n[[stage]]\nname = \"ask\"\ntype = \"http\"\n\
        url = \"http://a.example/status/{item.code}\"\nkeep = []\n\
        set = { code = \"item.response.status\" }\nsuccess = [\"2xx\", \"418\"]\non_error = \"dead-letter\"\n\
        backend = \"b\"\n[[backend]]\nname = \"b\"\nrequests_per_minute = 0\n[sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n"
        .replace("keep = []\n", "keep = [\"none\"]\n");
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (3, 1));
    let letters = place.letters(&file).await;
    assert!(letters[0].0.contains("GET http://a.example/status/404 was answered 404"), "{letters:?}");
    assert_eq!(letters[0].1, 1);
    let codes: Vec<_> = place.out().iter().map(|item| item["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [200, 418, 201]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempts_of_an_item_stand_in_its_dead_letter() {
    let place = Place::with(Script::builder().errors(1.0)).await;
    let file =
        scoring(1, "retries = 2\nretry_budget_ratio = 1", &format!("{ITEM}on_error = \"dead-letter\"\n"));
    place.run(&file).await.unwrap();
    let letters = place.letters(&file).await;
    assert!(
        letters[0].0.starts_with("failed to call in 3 attempts: GET http://a.example/item/0 was answered 5"),
        "{letters:?}"
    );
    assert_eq!(letters[0].1, 3);
    assert_eq!(place.backend.account().total.calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_may_not_be_made_twice_is_not() {
    let outage = Outage { host: 0, from: Begins::AtCall(1), until: Ends::Never, dead: Dead::Resets };
    let place = Place::with(Script::builder().outage(outage)).await;
    let stage = format!("{ITEM}repeatable = false\non_error = \"dead-letter\"\n");
    let file = scoring(1, "retries = 5", &stage);
    place.run(&file).await.unwrap();
    let letters = place.letters(&file).await;
    assert!(letters[0].0.contains("may have been carried out"), "{letters:?}");
    assert_eq!(letters[0].1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_cannot_name_a_service_of_this_machine() {
    let place = Place::with(Script::builder()).await;
    let port = place.backend.addresses()[0].port();
    let urls = [
        format!("http://127.0.0.1:{port}/item/1"),
        format!("http://localhost:{port}/item/1"),
        format!("http://[::1]:{port}/x"),
        "ftp://a.example/".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://a.example/\\r\\nX: y".to_owned(),
    ];
    place.write("in.jsonl", urls.iter().map(|url| format!("{{\"url\":\"{url}\"}}")));
    let file = "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n[[stage]]\nname = \"fetch\"\ntype = \"http\"\n\
        url_from = \"item.url\"\non_error = \"dead-letter\"\nbackend = \"b\"\n[[backend]]\nname = \"b\"\nrequests_per_minute = 0\n\
        timeout_seconds = 1\nretries = 0\n[sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n";
    let report = place.run_real(file).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (0, 6));
    assert_eq!(place.backend.account().total.calls, 0, "nobody was called");
    let allowed = file
        .replace("requests_per_minute = 0", "requests_per_minute = 0\nallow_private = true")
        .replace("name = \"t\"", "name = \"u\"")
        .replace("out.jsonl", "u.jsonl");
    let report = place.run_real(&allowed).await.unwrap();
    assert!(report.counts.delivered >= 2, "{:?}", report.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_item_puts_into_a_url_arrives_as_it_was() {
    let place = Place::with(Script::builder()).await;
    let ids = ["../../admin", "a b?c=d#e", "\u{e9}\u{4e2d}", "%2e%2e", "x\\\\..\\\\y", "a;b,c"];
    place.write("in.jsonl", ids.iter().map(|id| format!("{{\"id\":\"{id}\"}}")));
    let file = scoring(1, "", "url = \"http://a.example/item/{item.id}\"\n")
        .replace(
            "type = \"generator\"\ncount = 1\nfields = { id = \"sequence\" }",
            "type = \"jsonl\"\npath = \"in.jsonl\"",
        )
        .replace("item.response.body.score", "item.response.body.id");
    place.run(&file).await.unwrap();
    for item in place.out() {
        assert_eq!(item["id"], item["score"], "{item}");
    }
    assert_eq!(place.out().len(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_ends_the_run_behind_the_last_item_that_it_pays_for() {
    let place = Place::with(Script::builder()).await;
    let file = scoring(100, "", ITEM).replace("[[stage]]", "[[stage]]\nname = \"pay\"\ntype = \"budget\"\ndraw = \"fetches\"\ncost = \"item.id == 3 ? 5 : 1\"\n[[stage]]")
        + "[budget]\nfetches = 44\n[run]\nbatch_size = 7\n";
    let report = place.run(&file).await.unwrap();
    assert_eq!(report.ended, Ended::Exhausted);
    assert_eq!(report.counts.delivered, 40);
    assert_eq!(figure(&report, "pay", "fetches_used"), 44);
    assert_eq!(figure(&report, "pay", "fetches_left"), 0);
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.ended, report.counts.delivered), (Ended::Exhausted, 44));
    let report = place.run(&file).await.unwrap();
    assert_eq!((report.ended, report.counts.delivered), (Ended::Done, 16));
    assert_all_scored(&place, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_drains_begins_no_more_calls_and_the_next_makes_them() {
    let latency = Latency::of(Duration::from_millis(10));
    let place = Place::with(Script::builder().latency(latency)).await;
    let file = scoring(300, "", &format!("{ITEM}in_flight = 4\n")) + "[run]\nwindow_items = 2000\n";
    let (shutdown, signal) = Shutdown::new();
    let request =
        RunRequest { stand_in: place.backend.urls().to_vec(), shutdown: signal, ..RunRequest::default() };
    let spec = place.spec(&file);
    let asked = async {
        while place.backend.account().total.calls == 0 {
            tokio::task::yield_now().await;
        }
        shutdown.drain();
    };
    let (report, ()) = tokio::join!(assemble(&spec, request).run(), asked);
    let report = report.unwrap();
    assert_eq!(report.ended, Ended::Drained);
    assert!(report.counts.delivered < 300, "what the window held was called before the run ended");
    assert_eq!(report.counts.dead_lettered, 0);
    assert_eq!(place.run(&file).await.unwrap().counts.delivered, 300 - report.counts.delivered);
    assert_all_scored(&place, 300);
}

fn paged(url: &str, paging: &str) -> String {
    format!(
        "name = \"t\"\n[source]\ntype = \"http\"\nbackend = \"b\"\nurl = \"{url}\"\n{paging}\n[[backend]]\nname = \"b\"\n\
         requests_per_minute = 0\nretry_delay_seconds = 0.001\nbreaker_failures = 0\nretries = 20\n[sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_page_by_page_however_it_is_paged_and_goes_on_where_it_was() {
    let pagings = [
        (
            "http://a.example/list",
            "items = \"item.response.body.records\"\npaging = \"offset\"\npage_size = 100",
        ),
        (
            "http://a.example/list?cursor=&limit=100",
            "items = \"item.response.body.records\"\npaging = \"cursor\"",
        ),
        ("/list/linked?limit=100", "paging = \"link\""),
    ];
    for (url, paging) in pagings {
        let place = Place::with(Script::builder().records(1_042).errors(0.1)).await;
        // The links of a played service name itself, so these calls are real.
        let mut file = paged(url, paging);
        let linked = url.starts_with('/');
        if linked {
            file = file.replace(
                "requests_per_minute = 0",
                &format!(
                    "requests_per_minute = 0\nallow_private = true\nendpoints = [\"{}\"]",
                    place.backend.url(0)
                ),
            );
        }
        let spec = place.spec(&file);
        let request = || RunRequest {
            stand_in: if linked { Vec::new() } else { place.backend.urls().to_vec() },
            ..RunRequest::default()
        };
        let report = assemble(&spec, RunRequest { limit: Some(250), ..request() }).run().await.unwrap();
        assert_eq!((report.ended, report.counts.delivered), (Ended::Limited, 250), "{url}");
        let report = assemble(&spec, request()).run().await.unwrap();
        assert_eq!((report.ended, report.counts.delivered), (Ended::Done, 792), "{url}");
        let ids: BTreeSet<String> = place.out().iter().map(|item| item["id"].to_string()).collect();
        assert_eq!((place.out().len(), ids.len()), (1_042, 1_042), "{url}");
        let calls = place.backend.account().total.calls;
        let report = assemble(&spec, request()).run().await.unwrap();
        assert_eq!(report.ended, Ended::NothingToDo, "{url}");
        assert!(place.backend.account().total.calls - calls < 8, "only the end is asked for again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_sends_every_result_in_batches_and_again_what_failed() {
    let place = Place::with(Script::builder().errors(0.2)).await;
    let sink =
        "[sink]\ntype = \"http\"\nbackend = \"b\"\nurl = \"http://a.example/sink\"\nbatch_items = 10\n";
    let file =
        scoring(250, "retries = 20", ITEM).replace("[sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n", sink);
    let report = place.run(&file).await.unwrap();
    assert_eq!(report.counts.delivered, 250);
    assert_eq!(place.backend.account().total.records, 250);
    assert_eq!(place.backend.account().keys.repeated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_drains_still_sends_what_is_on_its_way_to_a_service() {
    let latency = Latency::of(Duration::from_millis(5));
    let place = Place::with(Script::builder().latency(latency)).await;
    place.write("in.jsonl", (0..300).map(|number| format!("{{\"id\":{number}}}")));
    let file = "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n[[backend]]\nname = \"b\"\nrequests_per_minute = 0\n\
        [sink]\ntype = \"http\"\nbackend = \"b\"\nurl = \"http://a.example/sink\"\nbatch_items = 1\n[run]\nwindow_items = 50\nbatch_size = 10\n";
    let (shutdown, signal) = Shutdown::new();
    let request =
        RunRequest { stand_in: place.backend.urls().to_vec(), shutdown: signal, ..RunRequest::default() };
    let spec = place.spec(file);
    let asked = async {
        while place.backend.account().total.calls < 3 {
            tokio::task::yield_now().await;
        }
        shutdown.drain();
    };
    let (report, ()) = tokio::join!(assemble(&spec, request).run(), asked);
    let report = report.unwrap();
    assert_eq!((report.ended, report.counts.dead_lettered), (Ended::Drained, 0));
    assert_eq!(place.run(file).await.unwrap().counts.delivered, 300 - report.counts.delivered);
    assert_eq!(place.backend.account().total.records, 300);
    assert_eq!(place.backend.account().keys.repeated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_reads_a_page_itself_and_is_given_its_text_when_it_cannot() {
    let page = |text: &str| Page::new(format!("<html><body><p>{text}</p></body></html>"));
    let pages = [
        ("one.html".to_owned(), page("The first page says this and no more of it.")),
        ("two.html".to_owned(), page("The second page says that and no more of it.").unreadable()),
    ];
    let place = Place::with(Script::builder().pages(pages).any_path(true)).await;
    place.write(
        "in.jsonl",
        ["one", "two"].map(|name| format!("{{\"url\":\"https://w.example/{name}.html\"}}")),
    );
    let file = "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n[budget]\ntokens = 100000\n\
        [[stage]]\nname = \"sum\"\ntype = \"model\"\nshape = \"generate-content\"\nmodel = \"m\"\nprompt = \"'Sum it up.'\"\n\
        read_url = \"item.url\"\npages = \"b\"\ninto = \"summary\"\ndraw_tokens = \"tokens\"\nbackend = \"b\"\njournal = true\n\
        [[backend]]\nname = \"b\"\nrequests_per_minute = 0\n[sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n";
    let report = place.run(file).await.unwrap();
    let out = place.out();
    assert_eq!(out[0]["summary"], "The first page says this and no more of it.", "{out:?}");
    assert_eq!(out[1]["summary"], "The second page says that and no more of it.", "{out:?}");
    let get = |name| figure(&report, "sum", name).clone();
    assert_eq!(get("total_requests"), 3);
    assert_eq!(
        (get("successful_requests"), get("failed_requests"), get("fallback_requests")),
        (3.into(), 0.into(), 1.into())
    );
    assert_eq!(get("success_rate_percent"), 100.0);
    let tokens: u64 = get("total_tokens").as_u64().unwrap();
    assert!(tokens > 20, "{tokens}");
    assert_eq!(
        get("tokens_used").as_u64(),
        Some(tokens),
        "all tokens are drawn, those of the first try included"
    );
    assert!(
        get("average_time_seconds").as_f64().is_some() && get("total_processing_time").as_f64().is_some()
    );
    // The next batch begins with zeros.
    let report = place.run(file).await.unwrap();
    assert_eq!(figure(&report, "sum", "total_requests"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_model_is_asked_in_its_own_shape() {
    let place = Place::with(Script::builder()).await;
    place.write(
        "in.jsonl",
        ["{\"text\":\"A sentence of five words here. Another sentence of five words.\"}".to_owned()],
    );
    let file = "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n\
        [[stage]]\nname = \"sum\"\ntype = \"model\"\nshape = \"chat-completions\"\nmodel = \"m\"\nprompt = \"'Sum it up.'\"\ntext = \"item.text\"\nkey = \"k\"\n\
        [sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n";
    place.run(file).await.unwrap();
    assert_eq!(place.out()[0]["answer"], "A sentence of five words here. Another sentence of five words.");
    assert!(place.out()[0]["tokens"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_calls_for_real_and_writes_nothing() {
    let place = Place::with(Script::builder()).await;
    let request = RunRequest { stand_in: place.backend.urls().to_vec(), ..RunRequest::default() };
    let preview = assemble(&place.spec(&scoring(100, "", ITEM)), request).preview(3).await.unwrap();
    assert_eq!(preview.items.len(), 3);
    assert_eq!(place.backend.account().total.calls, 3);
    let left: Vec<_> = std::fs::read_dir(place.folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_read_is_told_before_anything_is_claimed() {
    let place = Place::with(Script::builder()).await;
    let file = scoring(1, "root_certificate = \"none.pem\"", ITEM);
    let failure = place.run(&file).await.unwrap_err();
    assert!(failure.to_string().contains("root_certificate of backend b"), "{failure}");
    assert!(!Path::new(&place.folder.path().join("out.jsonl")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn supabase_url_and_supabase_service_key_fill_references_of_a_sink() {
    let place = Place::with(Script::builder()).await;
    place.write("in.jsonl", ["{\"id\":1}", "{\"id\":2}"].map(str::to_owned));
    let file = "name = \"t\"\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n[[backend]]\nname = \"b\"\nallow_private = true\n\
        [sink]\ntype = \"http\"\nbackend = \"b\"\nurl = \"${env:SUPABASE_URL}/sink\"\nheaders = { apikey = \"${env:SUPABASE_SERVICE_KEY}\" }\n";
    let url = place.backend.url(0).to_owned();
    let environment = |name: &str| match name {
        "SUPABASE_URL" => Some(url.clone()),
        "SUPABASE_SERVICE_KEY" => Some("hush".to_owned()),
        _ => None,
    };
    let inputs = Inputs::new(&environment);
    let spec = PipelineSpec::parse("p.toml", place.folder.path(), file.as_bytes(), &inputs).unwrap();
    assert!(!format!("{spec:?}").contains("hush"));
    let report = assemble(&spec, RunRequest::default()).run().await.unwrap();
    assert_eq!((report.counts.delivered, place.backend.account().total.records), (2, 2));
    let absent = |name: &str| (name == "SUPABASE_URL").then(|| url.clone());
    let error = PipelineSpec::parse("p.toml", place.folder.path(), file.as_bytes(), &Inputs::new(&absent))
        .unwrap_err();
    assert!(error.to_string().contains("SUPABASE_SERVICE_KEY"), "{error}");
}
