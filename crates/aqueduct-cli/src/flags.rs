//! What can be typed.

mod cases;
mod letters;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::cases::Test;
pub(crate) use self::letters::{Edit, Export, Letters, Purge};
pub(crate) use self::upkeep::{Checkpoint, Clean, Store};

/// Moves items from a source through stages into sinks, each exactly once.
///
/// A pipeline is one file. Run it; when it is stopped or killed, run it again: it continues where the last commit
/// was. Data goes to standard output, messages to standard error.
#[derive(Debug, Parser)]
#[command(name = "aqueduct", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a pipeline until its input ends. Run it again to continue
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Checks a pipeline file without touching anything: keys, types, expressions, guarantee
    Check(Look),
    /// Runs the cases of a pipeline: real stages, ledger and sinks in a private folder, with virtual time
    Test(Test),
    /// Tells what a pipeline does, what each sink guarantees and why
    Explain(Look),
    /// Tells how far a pipeline is, while it runs or after
    Status(Look),
    /// Looks at the items that were set aside, takes them out, mends and removes them
    #[command(subcommand)]
    Dlq(Dlq),
    /// Looks at the places that a pipeline can be taken back to
    #[command(subcommand)]
    Checkpoint(Checkpoint),
    /// Removes what a pipeline does not need any more; with --all everything, so that it starts over
    Clean(Clean),
    /// Looks after what a pipeline has stored
    #[command(subcommand)]
    Store(Store),
    /// Prints a generated page of the documentation
    #[command(hide = true)]
    Reference {
        /// Which page
        what: Page,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  aqueduct run pipeline.toml                       run to the end of the input
  aqueduct run pipeline.toml --limit 100           try the first 100 items, then continue without it
  aqueduct run pipeline.toml --set run.workers=8   change one key of the file for this run
  aqueduct run pipeline.toml -o json | jq .delivered

Ctrl-C finishes and commits what is in flight (exit 75); a second Ctrl-C stops at once. Nothing is lost either way.";

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    /// Read at most this many items, commit them and end (exit 75 when there are more)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Look {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The file and what is laid over it.
#[derive(Debug, Args)]
pub(crate) struct PipelineFile {
    /// The pipeline file; paths in it are relative to it
    #[arg(value_name = "FILE", default_value = "pipeline.toml")]
    pub(crate) file: PathBuf,
    /// Set one key of the file for this call, such as run.workers=4 or sink.results.table=t (may be repeated)
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// The folder for the lock and, without a database sink, the ledger [default: .aqueduct/NAME beside FILE]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// How results are printed: for people, as one JSON document, or as JSON lines
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    /// Say more: every setting and where it came from, the figures of each stage
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// One JSON value a line
    Jsonl,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// Lists dead letters: item, stage, reason; 1,000 of them unless --limit says otherwise
    Ls {
        #[command(flatten)]
        look: Look,
        #[command(flatten)]
        letters: Letters,
    },
    /// Shows one dead letter whole: reason, attempts, payload, original bytes
    Show {
        /// The item, as `dlq ls` prints it
        item: String,
        #[command(flatten)]
        look: Look,
    },
    /// Writes dead letters whole, one JSON object a line: payload, original bytes, reason
    Export(Export),
    /// Changes the payload of a dead letter, so that its replay works with what is right
    Edit(Edit),
    /// Removes dead letters for good. Rows, positions and the counts of the ledger stay
    Purge(Purge),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// The command line
    Cli,
    /// The keys of the pipeline file and the environment
    Config,
}
