//! Processes a data set in chunks, and goes on where it was when it is run again.
//!
//! # When to use it
//!
//! You have more items than you want to do twice: a million organisations to enrich, a table to send through a service
//! that takes 50 at a time, a night's work that somebody may kill. Do not use it for a stream that never ends, which is
//! `aqueduct-stream` itself, or for jobs that come from others, which is a queue.
//!
//! # The model
//!
//! A *batch pipeline* is a source that ends, functions over chunks of its items, and sinks. It runs on the engine of
//! `aqueduct-stream`, with everything that this gives. A *checkpoint* is a place that is kept by name: every 10 chunks, or
//! after so many items, bytes or so much time ([`Every`]). The last so many are kept, and one where a run stopped on an
//! item.
//!
//! * Run it again, and it goes on behind the last commit; nobody has to recover anything.
//! * [`Batch::resume`] goes back to any kept checkpoint, and takes back what was written behind it.
//! * A chunk that fails for good is halved until the bad items stand alone ([`Bisect`]). They go by the rule of the
//!   stage (stop, skip, dead letter), the others are done. A [`SkipLimit`] ends a run in which too many fail.
//! * [`FinishedSet`] remembers which of billions of numbers are finished when they finish in any order.
//!
//! # Guarantees and limits
//!
//! * Exactly once into files and the ledger's database, whatever is killed: [`Pipeline::guarantees`].
//! * No more is in flight than lies between two checkpoints, so no more is done again after a crash. Between two
//!   checkpoints by time the window of the engine bounds it instead.
//! * Memory is bounded by that as well, whatever the size of the data set.
//! * A function may see an item again: after a crash, when it is tried again, and when its chunk is halved.
//! * Before anything is taken back, the input in front of the checkpoint and the configuration are compared with what
//!   they were, and the checkpoint with its checksum.
//!
//! # Units
//!
//! Times are [`std::time::Duration`], shares are from 0 to 1, sizes count items or bytes as they say.
//!
//! # Example
//!
//! ```
//! use aqueduct_batch::{Batch, Every, OnError, SkipLimit};
//! use aqueduct_stream::{JsonlSink, StageError};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Organisation { id: u32 }
//! #[derive(Serialize)]
//! struct Enriched { id: u32, staff: u32 }
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?; let at = |name: &str| folder.path().join(name);
//! let report = Batch::named("enrich")
//!     .items(|| (0..1_000).map(|id| Organisation { id }))
//!     .size(50)
//!     .checkpoint(Every::Batches(10))
//!     .chunk("enrich", |some: Vec<Organisation>| async move {
//!         if some.iter().any(|one| one.id == 777) {
//!             return Err(StageError::permanent("the service does not like one of these"));
//!         }
//!         Ok(some.iter().map(|one| Enriched { id: one.id, staff: one.id % 90 }).collect())
//!     })
//!     .on_error(OnError::DeadLetter)
//!     .skip_limit(SkipLimit::items(10))
//!     .sink("enriched", JsonlSink::new(at("enriched.jsonl")))
//!     .dir(at("checkpoints"))
//!     .run()
//!     .await?;
//! assert_eq!((report.run.counts.delivered, report.run.counts.dead_lettered), (999, 1));
//! assert_eq!((report.run.batches, report.run.checkpoints), (20, 2));
//! # Ok(()) }
//! ```
//!
//! # Metrics
//!
//! Those of `aqueduct-stream`. [`Pace`] has the rate and how long the rest takes.
//!
//! # Sources
//!
//! Chunks, skip limits and restart are those of the Java batch standard (JSR 352, 2013) and of Spring Batch, with the
//! position in the transaction of the results and no call to recover. Halving is group testing: Dorfman, "The Detection
//! of Defective Members of Large Populations", 1943; by halves, Hwang 1972. The bitmap is Lemire, Ssi-Yan-Kai and Kaser,
//! "Consistently faster and smaller compressed bitmaps with Roaring", 2016.
//!
//! [`Pipeline::guarantees`]: aqueduct_stream::Pipeline::guarantees

mod batch;
mod bisect;
mod chunk;
mod config;
mod error;
mod finished;
mod items;
mod pace;
mod report;

pub use aqueduct_store::Checkpoint;
pub use aqueduct_stream::{Every, OnError, Resume, Rule, SkipLimit, SkipLimitReached};
pub use batch::Batch;
pub use bisect::Bisect;
pub use chunk::ItemResult;
pub use config::{CHECKPOINT, CONCURRENCY, KEEP, SIZE, within_interval};
pub use error::FinishedError;
pub use finished::FinishedSet;
pub use pace::Pace;
pub use report::Report;
