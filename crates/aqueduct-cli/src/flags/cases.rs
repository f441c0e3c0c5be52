//! What can be typed about the cases of a pipeline.

use clap::Args;

use super::{Output, PipelineFile};

const TEST_EXAMPLES: &str = "\
Examples:
  aqueduct test pipeline.toml                     run all cases
  aqueduct test pipeline.toml --case 'slow service'
  aqueduct test pipeline.toml -o json | jq '.cases[] | select(.ok | not)'

A case, in pipeline.test.toml or in the pipeline file itself:
  [[test]]
  name = \"a service that fails twice\"
  input = [{ id = \"a\", n = 1 }, \"not json\"]
  fault = [{ stage = \"score\", item = 1, class = \"transient\", times = 2 }]
  expect.results = [{ id = \"a\", score = 1 }]
  expect_dead_letters = [{ stage = \"source\", reason = \"line 2\" }]
  ledger = { read = 2, delivered = 1 }
  retries = 2

The pipeline runs for real in a private folder, with virtual time. Nothing of the real one is touched.";

#[derive(Debug, Args)]
#[command(after_help = TEST_EXAMPLES)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    /// Only the case of this name (may be repeated)
    #[arg(long = "case", value_name = "NAME")]
    pub(crate) cases: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}
