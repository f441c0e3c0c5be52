//! Question: how much of what a flaky backend allows does a pipeline get, and does it keep to the quota?
//!
//! Workload: one http stage calls a backend that fails a fifth of the calls, takes 20 ms and, for one in a hundred, 500 ms,
//! and takes 6,000 calls in any 60 s, for 120 s from its first call. Three files at once, each with a backend of its own:
//! one that says the quota, one that says a tenth more of it, so that 429s come, and one that says the quota and leaves the
//! circuit as it is by default, at five failures in a row. At a fifth of failures those come once in some 4,000 calls.
//!
//! A good answer: at least 95 % of the answers that the backend would give to a client that used its quota up (a fifth
//! of the quota fails), no window with more than the quota, and no 429. A client that asks for more than the quota cannot
//! have the last two; it should still have most of the first.

use std::time::Duration;

use aqueduct_benches::calls::{Failure, Ran, Until, row, run, title};
use aqueduct_testkit::backend::{Latency, Quota, Script};

/// In any window.
const QUOTA: u64 = 6_000;
const WINDOW: Duration = Duration::from_secs(60);
/// Two windows: the share of failures is then within 1 % of a fifth.
const TIME: Duration = Duration::from_secs(120);
const FAILURES: f64 = 0.2;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let circuit_off = "breaker_failures = 0";
    let (kept, asked_more, circuit) = tokio::try_join!(
        one(QUOTA, circuit_off, 1),
        one(QUOTA + QUOTA / 10, circuit_off, 2),
        one(QUOTA, "breaker_open_seconds = 10", 3),
    )?;
    title("the file says the quota");
    print(&kept, Wanted::All);
    title("the file says a tenth more than the quota");
    print(&asked_more, Wanted::Nothing);
    title("the file says the quota; circuit at 5 failures in a row, open for 10 s");
    print(&circuit, Wanted::Kept);
    Ok(())
}

async fn one(requests_per_minute: u64, more: &str, seed: u64) -> Result<Ran, Failure> {
    let pipeline = format!(
        r#"
name = "goodput"
[source]
type = "generator"
fields = {{ id = "sequence" }}
[[backend]]
name = "scorer"
endpoints = ["https://scorer.example"]
requests_per_minute = {requests_per_minute}
retry_delay_seconds = 0.1
{more}
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
[run]
# What was read is worked through when the time is over.
window_items = 1000
batch_size = 100
"#
    );
    let latency =
        Latency { typical: Duration::from_millis(20), tail: Some((0.01, Duration::from_millis(500))) };
    let script = Script::builder()
        .errors(FAILURES)
        .latency(latency)
        .quota(Quota { calls: QUOTA, window: WINDOW })
        .seed(seed)
        .build()?;
    run(&pipeline, script, Until::After(TIME)).await
}

/// What a file can be held to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// The quota is kept, whatever else.
    Kept,
    Nothing,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
fn print(ran: &Ran, wanted: Wanted) {
    let total = &ran.account.total;
    let windows = ran.took.as_secs_f64() / WINDOW.as_secs_f64();
    let allowed = QUOTA as f64 * windows * (1.0 - FAILURES);
    let says = |figure, said: bool| if said { figure } else { "" };
    let goodput = format!("{:.1} %", 100.0 * total.ok as f64 / allowed);
    row("answers that were ok, of what the quota allows", says(">= 95 %", wanted == Wanted::All), &goodput);
    // Calls beyond the quota are in this count too.
    let most = total.calls_in_window_max.unwrap_or(0).to_string();
    row("most calls in any 60 s, as the backend counts", says("<= 6000", wanted != Wanted::Nothing), &most);
    row("answers 429", says("0", wanted != Wanted::Nothing), &total.status(429).to_string());
    row("calls", "", &total.calls.to_string());
    row("items, and dead letters among them", "", &{
        let counts = &ran.report.counts;
        format!("{}, {}", counts.delivered + counts.dead_lettered, counts.dead_lettered)
    });
}
