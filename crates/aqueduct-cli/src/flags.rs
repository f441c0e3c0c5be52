//! What can be typed.

mod batch;
mod cache;
mod cases;
mod demo;
mod letters;
mod queue;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::batch::Batch;
pub(crate) use self::cache::{Cache, Invalidate};
pub(crate) use self::cases::Test;
pub(crate) use self::demo::{Demo, DemoBackend, DemoPart};
pub(crate) use self::letters::{Edit, Export, Letters, Purge, Replay};
pub(crate) use self::queue::{
    Publish, Queue, QueueFile, QueueGroup, QueuePeek, QueuePurge, QueueRedrive, Repair, cause_name,
};
pub(crate) use self::upkeep::{Checkpoint, Clean, NEWEST, Store};

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
    /// Looks at work on an input that ends
    #[command(subcommand)]
    Batch(Batch),
    /// Tells what the cache of a pipeline has saved, and takes away what is in it
    #[command(subcommand)]
    Cache(Cache),
    /// Looks into a file of queues, puts messages into it, and mends it
    #[command(subcommand)]
    Queue(Queue),
    /// Removes what a pipeline does not need any more; with --all everything, so that it starts over
    Clean(Clean),
    /// Looks after what a pipeline has stored
    #[command(subcommand)]
    Store(Store),
    /// Shows a pipeline at work on a service that misbehaves, without a network
    Demo(Demo),
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
  aqueduct run pipeline.toml --dry-run             see what each stage makes of the first items; nothing is written
  aqueduct run pipeline.toml --limit 100           run the first 100 items, then continue without it
  aqueduct run pipeline.toml --resume epoch-40 --rollback
                                                   take everything back to a checkpoint, and go on from there
  aqueduct run pipeline.toml --set run.workers=8   change one key of the file for this run
  aqueduct run pipeline.toml -o json | jq .delivered

Ctrl-C finishes and commits what is in flight (exit 75); a second Ctrl-C stops at once. Nothing is lost either way.";

const REPLAY_HELP: &str = "\
A letter goes in the same commit that has what became of it: one that fails again is there again, with its attempts
counted on, and a replay that is cut short has lost nothing. Checkpoints from before a replay are dropped, since going
back over it would undo it. Exit 3 when letters are left: they failed again, or their stage is gone.

Examples:
  aqueduct dlq replay pipeline.toml --stage score --rate 50
  aqueduct dlq replay pipeline.toml --reason timeout --since '2h ago' --yes -o json";

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    /// Read at most this many items, commit them and end (exit 75 when there are more)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Show what each stage makes of the first items (10, or as many as --limit says). Writes nothing; stages that
    /// call programs do call them
    #[arg(long, conflicts_with_all = ["resume", "rollback", "accept_change"])]
    pub(crate) dry_run: bool,
    /// Go back to this checkpoint first (see `aqueduct checkpoint ls`), or to the `newest` that is whole, and continue from
    /// there
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) resume: Option<String>,
    /// With --resume: remove what was written behind the checkpoint from files and from tables without a key
    #[arg(long, requires = "resume")]
    pub(crate) rollback: bool,
    /// Run although the source, what a stage remembers, or the columns of a sink have changed since the last run, or a
    /// table is gone
    #[arg(long)]
    pub(crate) accept_change: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Run {
    /// Runs a file with nothing else said.
    pub(crate) fn of(file: PipelineFile, output: Output) -> Self {
        Self {
            file,
            limit: None,
            dry_run: false,
            resume: None,
            rollback: false,
            accept_change: false,
            output,
        }
    }
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
    /// Say more: every setting and where it came from, each request and what became of it, the figures of each stage, what
    /// programs write to standard error
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
    /// Puts dead letters back on their way, at the stage that failed on them
    #[command(after_help = REPLAY_HELP)]
    Replay(Replay),
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
