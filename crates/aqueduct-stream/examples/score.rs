//! Scores test runs from a file into a file, sets a broken line aside, and has nothing to do the second time.
//!
//!     cargo run -p aqueduct-stream --example score

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use aqueduct_stream::{Jsonl, JsonlSink, Pipeline, Report, RunFailure};
use serde::{Deserialize, Serialize};

const RUNS: &str = r#"{"id":"a","passed":3,"failed":1}
{"id":"b","passed":
{"id":"c","passed":9,"failed":0}
"#;

#[derive(Deserialize)]
struct Run {
    id: String,
    passed: f64,
    failed: f64,
}

#[derive(Serialize)]
struct Score {
    id: String,
    score: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("runs.jsonl"), RUNS)?;

    let score = async || -> Result<Report, RunFailure> {
        Pipeline::named("scores")
            .source(Jsonl::new(at("runs.jsonl")))
            .map("score", |run: &Run| Score {
                id: run.id.clone(),
                score: 100.0 * run.passed / (run.passed + run.failed),
            })
            .sink("scores", JsonlSink::new(at("scores.jsonl")))
            .data_dir(at("data"))
            .run()
            .await
    };

    for _ in 0..2 {
        let report = score().await?;
        let counts = report.counts;
        println!(
            "{:?}, {}: read {}, delivered {}, dead-lettered {}",
            report.ended, report.guarantee, counts.read, counts.delivered, counts.dead_lettered
        );
    }
    print!("{}", std::fs::read_to_string(at("scores.jsonl"))?);
    Ok(())
}
