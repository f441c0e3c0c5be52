//! Question: what does a backend see when it is down, and what is lost when one of three endpoints is dead or slow?
//!
//! Workload: a pipeline with one http stage and a retry budget of a fifth.
//!
//! * A backend that fails every call, 20,000 items with the circuit off; and 10 s with the circuit on, open for a second.
//! * Three endpoints of 50 ms and 30 calls at once, which any one of them could take: 12,000 items when all are well, when one
//!   refuses connections, when one answers 503 at once, and when one takes 500 ms.
//!
//! A good answer: at most 1.2 calls an item at a backend that is down; at least 66 % of the items a second with a dead
//! endpoint, 90 % with a slow one, and no dead letter.

use std::time::Duration;

use aqueduct_benches::calls::{Failure, Ran, Until, row, run, title};
use aqueduct_testkit::backend::{Begins, Builder, Dead, Ends, Latency, Outage, Script};

const DOWN_ITEMS: u64 = 20_000;
const ITEMS: u64 = 12_000;
const ANSWER: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    down().await?;
    for circuit in ["breaker_failures = 0", "breaker_open_seconds = 1"] {
        let what =
            if circuit == "breaker_failures = 0" { "off" } else { "at 5 failures in a row, open for 1 s" };
        title(&format!("one of three endpoints; circuit {what}"));
        let healthy = one_of_three(circuit, |script| script).await?;
        row("all well, items a second", "", &format!("{:.0}", per_second(&healthy)));
        let refuses = one_of_three(circuit, |script| script.outage(dead(Dead::Refuses))).await?;
        compare("one refuses connections", ">= 66 %", &refuses, &healthy);
        let unavailable = one_of_three(circuit, |script| script.outage(dead(Dead::Unavailable))).await?;
        compare("one answers 503 at once", ">= 66 %", &unavailable, &healthy);
        let slow = one_of_three(circuit, |script| script.latency_of(0, Latency::of(10 * ANSWER))).await?;
        compare("one is 10 x slower", ">= 90 %", &slow, &healthy);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
async fn down() -> Result<(), Failure> {
    let pipeline = |count: &str, more: &str| {
        format!(
            r#"
name = "down"
[source]
type = "generator"
fields = {{ id = "sequence" }}
{count}
[[backend]]
name = "scorer"
endpoints = ["https://scorer.example"]
requests_per_minute = 0
retry_delay_seconds = 0.01
retry_budget_ratio = 0.2
{more}
[[stage]]
name = "score"
type = "http"
backend = "scorer"
url = "/item/{{item.id}}"
on_error = "dead-letter"
[run]
allowed_dead_letter_ratio = 1.0
[sink]
type = "jsonl"
path = "out.jsonl"
"#
        )
    };
    let script = || Script::builder().errors(1.0).latency(Latency::of(Duration::from_millis(20))).build();
    title("a backend that is down");
    let off = pipeline(&format!("count = {DOWN_ITEMS}"), "breaker_failures = 0");
    let ran = run(&off, script()?, Until::Done).await?;
    let tried = ran.report.counts.dead_lettered + ran.report.counts.delivered;
    let calls = ran.account.total.calls;
    row("circuit off: calls an item", "<= 1.2", &format!("{:.3}", calls as f64 / tried as f64));
    row("circuit off: calls, items", "", &format!("{calls}, {tried}"));
    row("circuit off: seconds", "", &format!("{:.1}", ran.took.as_secs_f64()));
    let on = pipeline("", "breaker_open_seconds = 1");
    let ran = run(&on, script()?, Until::After(Duration::from_secs(10))).await?;
    row("circuit on: calls in 10 s", "", &ran.account.total.calls.to_string());
    row("circuit on: dead letters", "", &ran.report.counts.dead_lettered.to_string());
    Ok(())
}

async fn one_of_three(circuit: &str, but: impl FnOnce(Builder) -> Builder) -> Result<Ran, Failure> {
    let pipeline = format!(
        r#"
name = "three"
[source]
type = "generator"
fields = {{ id = "sequence" }}
count = {ITEMS}
[[backend]]
name = "scorer"
endpoints = ["https://a.scorer.example", "https://b.scorer.example", "https://c.scorer.example"]
requests_per_minute = 0
retry_delay_seconds = 0.05
calls_max = 30
connections_per_host = 30
{circuit}
[[stage]]
name = "score"
type = "http"
backend = "scorer"
url = "/item/{{item.id}}"
set = {{ score = "item.response.body.score" }}
on_error = "dead-letter"
[sink]
type = "jsonl"
path = "out.jsonl"
"#
    );
    let script = but(Script::builder().hosts(3).latency(Latency::of(ANSWER)));
    run(&pipeline, script.build()?, Until::Done).await
}

fn dead(dead: Dead) -> Outage {
    Outage { host: 0, from: Begins::At(Duration::ZERO), until: Ends::Never, dead }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
fn per_second(ran: &Ran) -> f64 {
    ran.report.counts.delivered as f64 / ran.took.as_secs_f64()
}

fn compare(what: &str, wanted: &str, ran: &Ran, healthy: &Ran) {
    let share = 100.0 * per_second(ran) / per_second(healthy);
    row(&format!("{what}: items a second, of all well"), wanted, &format!("{share:.1} %"));
    row(&format!("{what}: dead letters"), "0", &ran.report.counts.dead_lettered.to_string());
    let hosts: Vec<String> = ran.account.hosts.iter().map(|host| host.calls.to_string()).collect();
    row(&format!("{what}: calls of each"), "", &hosts.join(", "));
}
