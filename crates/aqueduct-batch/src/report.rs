use aqueduct_stream::Report as RunReport;
use serde_json::Value;

/// What a batch did in one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run: why it ended, counts that balance, batches, checkpoints, stages, and how fast it was
    /// ([`RunReport::items_per_second`]).
    pub run: RunReport,
    /// Calls of chunk functions.
    pub chunk_calls: u64,
    /// Calls that failed and were divided to find the items.
    pub bisected: u64,
    /// Items that failed alone, and so were found to be what made a chunk fail.
    pub found: u64,
}

impl Report {
    pub(crate) fn new(run: RunReport) -> Self {
        let sum = |name: &str| {
            run.stages.iter().filter_map(|stage| stage.figures.get(name).and_then(Value::as_u64)).sum()
        };
        Self { chunk_calls: sum("chunk_calls"), bisected: sum("bisected"), found: sum("found"), run }
    }
}
