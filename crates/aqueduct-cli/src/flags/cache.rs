//! What can be typed about the cache.

use clap::{Args, Subcommand};

use super::{Look, Output, PipelineFile};

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Tells how often results were found: in all runs, by namespace and by level; and what the disk holds
    Stats(Look),
    /// Sets what was counted to nought; what is cached stays
    Reset(Look),
    /// Lets cached results count as gone, on disk and on the shared server
    Invalidate(Invalidate),
}

const INVALIDATE_HELP: &str = "\
Nothing is searched for and removed one by one: what is invalid is not found from then on, and leaves by itself. A run that
shares the server is told and forgets it, too. The cache on disk belongs to the run that is under way; wait for its end.

Examples:
  aqueduct cache invalidate pipeline.toml --all                           everything that the pipeline has cached
  aqueduct cache invalidate pipeline.toml --namespace projects --all      what one stage has cached
  aqueduct cache invalidate pipeline.toml --pattern 'training_data_*'     the keys that begin so
  aqueduct cache invalidate pipeline.toml --pattern training_data_10      one key
  aqueduct cache invalidate pipeline.toml --tag customer-17               what carries a tag (`tags` of the stage)";

#[derive(Debug, Args)]
#[command(after_help = INVALIDATE_HELP)]
pub(crate) struct Invalidate {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    /// Only what is cached under this name: the `namespace` of a stage, or `backend:NAME`
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// What carries this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// The keys that begin with what is before the `*` at its end, or the one key that it is
    #[arg(long, value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// Everything
    #[arg(long)]
    pub(crate) all: bool,
}
