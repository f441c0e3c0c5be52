//! Moves items from a source through stages into sinks, each exactly once.
//!
//! # When to use it
//!
//! You have files of JSON lines, csv or plain lines, compressed or not, and want each line worked on by all cores
//! and landed in a file or a SQLite table, once, whatever is killed in between. Write ten lines and a closure, run it, run it again after a
//! crash. Do not use it for request and response, for joins over the whole input, or for a stream whose order
//! across files matters.
//!
//! # The model
//!
//! ```text
//! source -> chunk -> decode -> stage -> stage -> encode -> commit
//! reader             workers, all cores, batch by batch    committer, in input order
//! ```
//!
//! A reader cuts the input into chunks. Workers turn each chunk into a batch of items, run the stages over it
//! and encode the results. A committer puts batches back into input order and makes as many durable at once as
//! are ready: file lengths, rows, dead letters and the position are one transaction of the ledger.
//!
//! A stage keeps an item, changes it, makes several of it, skips it or fails on it. The class of the error
//! decides first: transient errors and overload are tried again. What is left is for the stage's rule,
//! [`OnError`].
//!
//! # Guarantees and limits
//!
//! * Exactly once into files and into the ledger's database; [`Pipeline::guarantees`] says what each sink gives
//!   and why. Decision 0001 of this repository has the rules.
//! * What cannot be read twice gives less: [`Stdin`] gives at most once.
//! * Results are in input order. A retrying item holds back what is behind it, for at most
//!   [`Rule::ELAPSED_MAX`] and [`Options::window_bytes`]; then the source pauses.
//! * Memory is bounded by the window, whatever the size of the input.
//! * Every item is accounted for: an epoch whose [`Counts`](aqueduct_core::Counts) do not balance is not written.
//!
//! # Units
//!
//! Sizes are bytes, times [`std::time::Duration`], busy shares ratios between 0 and 1 of all workers' time.
//!
//! # Example
//!
//! ```
//! use aqueduct_stream::{Jsonl, JsonlSink, Pipeline};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Deserialize)]
//! struct Run { id: String, passed: f64, failed: f64 }
//! #[derive(Serialize)]
//! struct Score { id: String, score: f64 }
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?; let at = |name: &str| folder.path().join(name);
//! std::fs::write(at("runs.jsonl"), "{\"id\":\"a\",\"passed\":3,\"failed\":1}\n")?;
//! let report = Pipeline::named("scores")
//!     .source(Jsonl::new(at("runs.jsonl")))
//!     .map("score", |run: &Run| Score { id: run.id.clone(), score: run.passed / (run.passed + run.failed) })
//!     .sink("scores", JsonlSink::new(at("scores.jsonl")))
//! #   .data_dir(at("data"))
//!     .run()
//!     .await?;
//! assert_eq!(report.counts.delivered, 1);
//! assert_eq!(std::fs::read_to_string(at("scores.jsonl"))?, "{\"id\":\"a\",\"score\":0.75}\n");
//! # Ok(()) }
//! ```
//!
//! # Metrics
//!
//! `aqueduct_stream_stage_in_total`, `_out_total`, `_failed_total` and `aqueduct_stream_stage_seconds`, by
//! pipeline and stage.
//!
//! # Sources
//!
//! Position and results in one transaction: Gray and Reuter, "Transaction Processing", 1993, chapter 5 on
//! queued transactions. Contiguous prefix instead of barriers: decision 0001.

mod batch;
mod config;
mod connect;
mod engine;
mod error;
mod every;
mod exec;
mod fault;
mod guarantee;
mod metrics;
mod paths;
mod pipeline;
mod preview;
mod progress;
mod report;
mod rule;
mod sink;
mod skip_limit;
mod source;
mod stage;
mod typed;
mod ways;

pub use config::{Options, Overflow, Replay, Resume};
pub use connect::Connection;
pub use engine::lock::FolderLock;
pub use error::{ConfigError, DecodeError, RunError, SinkError, SourceError, StageError, StateError};
pub use every::Every;
pub use exec::{ExecBuilder, ExecStage, StderrLines};
pub use fault::Fault;
pub use guarantee::{Guarantee, SinkGuarantee};
pub use pipeline::{Pipeline, SinkKind};
pub use preview::{Preview, PreviewItem, PreviewStep, Shown};
pub use progress::{Progress, ProgressSnapshot};
pub use report::{Ended, Report, Resumed, RunFailure, StageReport};
pub use rule::{OnError, Rule};
pub use sink::{CsvSink, Encode, Encoded, JsonlSink, Opening, Sink, SqliteSink, StdoutSink};
pub use skip_limit::{SkipLimit, SkipLimitReached};
pub use source::{
    Acknowledge, Chunk, ChunkContent, Csv, CsvFormat, CsvHeader, CsvType, Decode, Decoded,
    EXPANDED_BYTES_MAX, EXPANDED_RATIO_MAX, Generator, GeneratorField, Jsonl, LINE_BYTES_MAX, LINE_FIELD,
    Lines, Source, SourceContext, Stdin, StdinFormat,
};
pub use stage::{AsyncStage, BatchStage, Dedupe, Emission, Horizon, OrderedStage, Outcome, Stage};
