//! Question: what does it cost to keep every answer durably until its item is committed?
//!
//! Workload: a pipeline with one http stage against a backend that answers after 1 ms, and after 20 ms, with `journal` false
//! and true in turn, five times each after one round that does not count; 10,000 items, 64 calls at once.
//!
//! A good answer: the ratio of the items a second, told. There is no promise; the journal is written by whoever pays for
//! calls, and those take longer than 20 ms.

use std::time::Duration;

use aqueduct_benches::calls::{Failure, Ran, Until, row, run, title};
use aqueduct_testkit::backend::{Latency, Script};

const ITEMS: u64 = 10_000;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    for answer_ms in [1, 20] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            for (journal, kept) in [(false, &mut without), (true, &mut with)] {
                let ran = one(journal, Duration::from_millis(answer_ms)).await?;
                if round > 0 {
                    kept.push((
                        per_second(&ran),
                        ran.report.stages.last().map_or(f64::NAN, |stage| stage.p50_ms),
                    ));
                }
            }
        }
        title(&format!("answers after {answer_ms} ms"));
        for (what, kept) in [("journal = false", &without), ("journal = true", &with)] {
            let rates = kept.iter().map(|(rate, _)| *rate);
            let times = kept.iter().map(|(_, time)| *time);
            row(&format!("{what}: items a second"), "", &format!("{:.0}", median(rates)));
            row(&format!("{what}: median ms of the stage for an item"), "", &format!("{:.2}", median(times)));
        }
        let ratios = with.iter().zip(&without).map(|(with, without)| with.0 / without.0);
        row("items a second, true over false, round by round", "", &format!("{:.2}", median(ratios)));
    }
    Ok(())
}

async fn one(journal: bool, answer: Duration) -> Result<Ran, Failure> {
    let pipeline = format!(
        r#"
name = "journal"
[source]
type = "generator"
fields = {{ id = "sequence" }}
count = {ITEMS}
[[backend]]
name = "scorer"
endpoints = ["https://scorer.example"]
requests_per_minute = 0
calls_max = 64
connections_per_host = 64
[[stage]]
name = "score"
type = "http"
backend = "scorer"
url = "/item/{{item.id}}"
set = {{ score = "item.response.body.score" }}
journal = {journal}
[sink]
type = "jsonl"
path = "out.jsonl"
"#
    );
    let ran = run(&pipeline, Script::builder().latency(Latency::of(answer)).build()?, Until::Done).await?;
    if ran.report.counts.delivered != ITEMS {
        return Err(format!("{} of {ITEMS} items arrived", ran.report.counts.delivered).into());
    }
    Ok(ran)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
fn per_second(ran: &Ran) -> f64 {
    ran.report.counts.delivered as f64 / ran.report.elapsed.as_secs_f64()
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
