//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Writes a starter pipeline with a little input, ready to run
    Init(Init),
    /// Checks a pipeline file without touching anything: keys, types, expressions, guarantee
    Check(Check),
    /// Tells what a pipeline does, what each sink guarantees and why
    Explain(Look),
    /// Tells how far a pipeline is, while it runs or after
    Status(Look),
    /// Looks at the items that were set aside
    #[command(subcommand)]
    Dlq(Dlq),
    /// Prints a JSON Schema of the pipeline file, for editors
    Schema,
    /// Prints a script that lets a shell complete commands and flags
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Writes the manual pages, one for each command
    Man {
        /// The folder to write them to, made if absent; without it, the first page is printed
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
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

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  aqueduct completions bash > ~/.local/share/bash-completion/completions/aqueduct
  aqueduct completions zsh > ~/.zfunc/_aqueduct        with ~/.zfunc in fpath
  aqueduct completions fish > ~/.config/fish/completions/aqueduct.fish";

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write; the input goes beside it and is called after it
    #[arg(value_name = "FILE", default_value = "pipeline.toml")]
    pub(crate) file: PathBuf,
    /// Write no input
    #[arg(long)]
    pub(crate) no_data: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) look: Look,
    /// Also try what a run will need, and change nothing: source, programs, sinks, data folder
    #[arg(long)]
    pub(crate) connect: bool,
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
    /// Say more: every setting and where it came from, the figures of each stage, what programs write to standard error
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
    /// Lists dead letters: item, stage, reason
    Ls {
        #[command(flatten)]
        look: Look,
        /// Only those of this stage (`source` for input that could not be read)
        #[arg(long)]
        stage: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
    /// Shows one dead letter whole: reason, attempts, payload, original bytes
    Show {
        /// The item, as `dlq ls` prints it
        item: String,
        #[command(flatten)]
        look: Look,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// The command line
    Cli,
    /// The keys of the pipeline file and the environment
    Config,
}
