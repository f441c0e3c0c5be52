use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use aqueduct_core::Counts;

use crate::error::RunError;
use crate::guarantee::{Guarantee, SinkGuarantee};

/// Why a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All input there was is committed.
    Done,
    /// There was no input that was not committed already.
    NothingToDo,
    /// Somebody asked it to drain; everything that was read is committed.
    Drained,
    /// Somebody asked it to stop at once; what is in flight is read again next time.
    Stopped,
    /// The limit of items is reached and committed.
    Limited,
    /// A stage has used what it may; everything before that is committed. [`Report::exhausted`] says what.
    Exhausted,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The pipeline.
    pub pipeline: String,
    /// Why it ended; for a failed run see [`RunFailure::error`].
    pub ended: Ended,
    /// What is used up, where that ended it.
    pub exhausted: Option<String>,
    /// The ledger of this run. It balances.
    pub counts: Counts,
    /// Attempts beyond the first, those that were cut short included.
    pub retries: u64,
    /// Commits.
    pub epochs: u64,
    /// Batches that were committed.
    pub batches: u64,
    /// Checkpoints that were recorded; retention may have removed some since.
    pub checkpoints: u64,
    /// Items that failed for good and were left behind, as skipped or as dead letters, those of batches that were not
    /// committed included.
    pub failed: u64,
    /// The checkpoint that it went back to first, if it did.
    pub resumed: Option<Resumed>,
    /// How long it took, from the start to the last commit.
    pub elapsed: Duration,
    /// What the route as a whole gave.
    pub guarantee: Guarantee,
    /// What each sink gave, and why.
    pub sinks: Vec<SinkGuarantee>,
    /// The source's decoding first, then each stage.
    pub stages: Vec<StageReport>,
    /// Dead letters that a replay left alone because their stage is not in the pipeline any more, by stage.
    pub left: BTreeMap<String, u64>,
}

/// Where a run went back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The checkpoint.
    pub checkpoint: String,
    /// The newer ones that were passed over, each with what is wrong with it.
    pub damaged: Vec<(String, String)>,
}

impl Report {
    /// Items read a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn items_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.counts.read as f64 / seconds } else { 0.0 }
    }
}

/// The figures of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// Items it worked on, repeated attempts included.
    pub taken: u64,
    /// Items it gave, to the next stage or a sink.
    pub given: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// The share of all workers' time that it took; a stage that waits may have more than 1.
    pub busy_share: f64,
    /// Half of the items took at most this many milliseconds.
    pub p50_ms: f64,
    /// 95 % of the items took at most this.
    pub p95_ms: f64,
    /// 99 % of the items took at most this.
    pub p99_ms: f64,
    /// What the stage itself says of the run, by name.
    pub figures: serde_json::Map<String, serde_json::Value>,
}

/// A run that failed: why, and what it did before.
#[derive(Debug)]
pub struct RunFailure {
    /// Why.
    pub error: RunError,
    /// What it had done; `None` when it never began. Boxed, since failures are rare.
    pub report: Option<Box<Report>>,
}

impl fmt::Display for RunFailure {
    /// Writes the error's own text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for RunFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<E: Into<RunError>> From<E> for RunFailure {
    fn from(error: E) -> Self {
        Self { error: error.into(), report: None }
    }
}

impl aqueduct_core::Classified for RunFailure {
    fn class(&self) -> aqueduct_core::ErrorClass {
        self.error.class()
    }
}
