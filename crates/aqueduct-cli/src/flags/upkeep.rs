//! What can be typed about checkpoints, stores and cleaning.

use clap::{Args, Subcommand};

use super::{Look, Output, PipelineFile};

/// Stands for the name of the newest checkpoint.
pub(crate) const NEWEST: &str = "newest";

#[derive(Debug, Subcommand)]
pub(crate) enum Checkpoint {
    /// Lists the kept checkpoints, the newest last: name, commit, time, items read
    Ls(Look),
    /// Shows one checkpoint: its positions and its totals
    Show {
        /// Which one, as `checkpoint ls` prints it, or `newest`
        #[arg(value_name = "NAME", default_value = NEWEST)]
        name: String,
        #[command(flatten)]
        look: Look,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Holds everything that is stored against the ledger: pages, balance, files, tables, dead letters
    Verify(Look),
    /// Tells what the databases hold: pipelines, tables, rows, bytes
    Inspect(Look),
}

const CLEAN_EXAMPLES: &str = "\
Examples:
  aqueduct clean pipeline.toml --dry-run          what would go: letters and checkpoints beyond [retention], leftovers
  aqueduct clean pipeline.toml --all --outputs    start over: ledger, output files and tables
  aqueduct clean pipeline.toml --all              forget how far it was; its outputs stay, and the next run refuses them
                                                  until they are moved away or the sinks get other names

Nothing is removed while a run is under way.";

#[derive(Debug, Args)]
#[command(after_help = CLEAN_EXAMPLES)]
pub(crate) struct Clean {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Remove all that the ledger knows of the pipeline, so that its next run starts over
    #[arg(long)]
    pub(crate) all: bool,
    /// With --all, remove also the files and tables that it wrote
    #[arg(long, requires = "all")]
    pub(crate) outputs: bool,
    /// Afterwards write the databases anew without their free pages; needs as much room again meanwhile
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) vacuum: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}
