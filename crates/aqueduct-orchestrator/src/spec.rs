//! What a pipeline file means: checked, complete, ready to be assembled.

mod backend;
mod cache;
mod model;
mod queue;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_store::Retention;
use aqueduct_stream::{CsvHeader, CsvType, Every, GeneratorField, Horizon, Overflow, SkipLimit};

use crate::expression::Expression;
use crate::redacted::Redacted;
use crate::settings::Settings;

pub use self::backend::{
    AllowanceSpec, BackendSpec, Balance, ClientSpec, Concurrency, HttpSinkSpec, HttpSourceSpec, HttpSpec,
    Method, Paging, Scope, SinkFormat, StandInSpec, StatusRange, Statuses, Target,
};
pub use self::cache::{CacheSpec, CachedSpec, InnerSpec, KeptSpec, SharedCacheSpec};
pub use self::model::{ModelShape, ModelSpec};
pub use self::queue::{QueueSinkSpec, QueueSourceSpec};

/// A pipeline, checked. Every default is filled in, every expression compiled, every name resolved.
#[derive(Debug)]
pub struct PipelineSpec {
    /// The pipeline's name: letters, digits, `.`, `_` and `-`, 1 to 128 of them, no dot in front.
    pub name: String,
    /// The folder of the pipeline file. Relative paths start here; see [`PipelineSpec::path`].
    pub folder: PathBuf,
    /// The guarantee that was asked for; without one, the best that the route gives.
    pub guarantee: Option<Guarantee>,
    /// Where items come from.
    pub source: SourceSpec,
    /// What calls go to, those of stages that name none included.
    pub backends: Vec<BackendSpec>,
    /// What a run may use, by the order of the file.
    pub budget: Vec<AllowanceSpec>,
    /// Where results are kept that are not asked for again.
    pub cache: CacheSpec,
    /// What happens to them, in order.
    pub stages: Vec<StageSpec>,
    /// Where they go; at least one of them takes the items themselves.
    pub sinks: Vec<SinkSpec>,
    /// How it runs, and where each value came from.
    pub settings: Settings,
    /// What happens when the source is faster than the stages.
    pub overflow: Overflow,
    /// What makes it a batch, if it is one.
    pub batch: Option<BatchSpec>,
    /// What stays of checkpoints and dead letters.
    pub retention: Retention,
    /// What plays the services, unless they are called.
    pub stand_in: Option<StandInSpec>,
}

impl PipelineSpec {
    /// What lies between two checkpoints.
    #[must_use]
    pub fn checkpoint_interval(&self) -> Every {
        let batches = Every::Batches(self.settings.checkpoint_interval.value);
        self.batch.and_then(|batch| batch.every).unwrap_or(batches)
    }

    /// Where a path of the file points to: relative ones start at the folder of the pipeline file.
    #[must_use]
    pub fn path(&self, path: &Redacted) -> PathBuf {
        self.folder.join(path.expose())
    }
}

/// What makes a pipeline a batch, beside its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchSpec {
    /// What lies between two checkpoints, if that is not [`Settings::checkpoint_interval`] batches.
    pub every: Option<Every>,
    /// How many items may fail and be left behind.
    pub skip_limit: Option<SkipLimit>,
}

/// A guarantee that a file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Every item once, whatever is killed.
    ExactlyOnce,
    /// Every item, some of them again after a crash.
    AtLeastOnce,
    /// No item twice; those that a crash cuts off not at all.
    AtMostOnce,
}

/// Where items come from.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// What is read, and how.
    pub kind: SourceKind,
    /// What happens to input that is not an item. Never [`OnError::Retry`]: it would not become one.
    pub on_error: OnError,
}

/// The types of sources.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// One JSON object a line.
    Jsonl {
        /// The files.
        files: FilesSpec,
    },
    /// Rows of separated fields.
    Csv {
        /// The files.
        files: FilesSpec,
        /// How rows are read.
        format: CsvSpec,
    },
    /// Lines of any kind.
    Lines {
        /// The files.
        files: FilesSpec,
        /// The field that holds a line.
        field: String,
    },
    /// The standard input.
    Stdin {
        /// How its bytes become items.
        format: StdinSpec,
        /// The longest line that is read; a longer one is treated as `on_error` says.
        line_bytes_max: usize,
    },
    /// Items that are made up.
    Generator {
        /// How many over all runs; without it, endless.
        count: Option<u64>,
        /// Which of all sequences of items.
        seed: u64,
        /// The most items a second; without it, as fast as they are taken.
        rate: Option<f64>,
        /// The fields of each item, in the order of the file. At least one, each name once.
        fields: Vec<(String, GeneratorField)>,
    },
    /// A list that a service gives page by page.
    Http(Box<HttpSourceSpec>),
    /// Messages of a queue.
    Queue(Box<QueueSourceSpec>),
}

impl SourceKind {
    /// The longest line or row that is read, where there are any.
    #[must_use]
    pub fn line_bytes_max(&self) -> Option<usize> {
        match self {
            Self::Jsonl { files } | Self::Csv { files, .. } | Self::Lines { files, .. } => {
                Some(files.line_bytes_max)
            }
            Self::Stdin { line_bytes_max, .. } => Some(*line_bytes_max),
            Self::Generator { .. } | Self::Http(_) | Self::Queue(_) => None,
        }
    }
}

impl fmt::Display for SourceKind {
    /// Says in a few words what is read: `jsonl data/in.jsonl`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jsonl { files } => write!(f, "jsonl {}", files.path),
            Self::Csv { files, .. } => write!(f, "csv {}", files.path),
            Self::Lines { files, .. } => write!(f, "lines {}", files.path),
            Self::Stdin { format: StdinSpec::Jsonl, .. } => f.write_str("stdin, jsonl"),
            Self::Stdin { format: StdinSpec::Csv(_), .. } => f.write_str("stdin, csv"),
            Self::Stdin { format: StdinSpec::Lines { .. }, .. } => f.write_str("stdin, lines"),
            Self::Generator { count: Some(count), seed, .. } => {
                write!(f, "generator, {count} items of seed {seed}")
            }
            Self::Generator { count: None, seed, .. } => write!(f, "generator, endless items of seed {seed}"),
            Self::Http(http) => write!(f, "http {}", http.url),
            Self::Queue(queue) => write!(f, "queue {} of {}", queue.queue, queue.path),
        }
    }
}

/// The files of a source.
#[derive(Clone, Debug)]
pub struct FilesSpec {
    /// The file, or a pattern for all files that it matches.
    pub path: Redacted,
    /// The longest line or row that is read, in bytes; a longer one is treated as `on_error` says.
    pub line_bytes_max: usize,
    /// The most bytes that one compressed file may become.
    pub expanded_bytes_max: u64,
    /// How many times larger than itself a compressed file may become.
    pub expanded_ratio_max: u64,
}

/// How rows of separated fields are read. Checked: it makes a format that is one.
#[derive(Clone, Debug)]
pub struct CsvSpec {
    /// What separates fields.
    pub delimiter: char,
    /// What surrounds fields that hold delimiters and line ends.
    pub quote: char,
    /// Whether files begin with the names of their columns.
    pub header: CsvHeader,
    /// The columns, in the place of the header's.
    pub columns: Option<Vec<Redacted>>,
    /// The types of columns that are not texts.
    pub types: Vec<(String, CsvType)>,
}

/// How the bytes of the standard input become items.
#[derive(Clone, Debug)]
pub enum StdinSpec {
    /// One JSON object a line.
    Jsonl,
    /// Rows of separated fields.
    Csv(CsvSpec),
    /// Lines of any kind.
    Lines {
        /// The field that holds a line.
        field: String,
    },
}

/// What becomes of an item on which a stage failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Commit everything before the item and stop.
    Stop,
    /// Leave it out and count it.
    Skip,
    /// Try again as [`StageSpec::retry`] says, then stop.
    Retry,
    /// Keep it aside, with the reason.
    DeadLetter,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct StageSpec {
    /// Its name, unique among stages.
    pub name: String,
    /// What it does.
    pub kind: StageKind,
    /// The branch whose items it takes; without one, those that no route has sent away.
    pub branch: Option<String>,
    /// What happens to items it fails on.
    pub on_error: OnError,
    /// How it tries errors that may pass again, and all errors with [`OnError::Retry`]. Without it, as the engine
    /// does by itself, within the run's `max_elapsed_seconds`.
    pub retry: Option<RetrySpec>,
}

/// How a stage tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySpec {
    /// How often the stage is tried in all, the first time included. 1 to 100.
    pub attempts: u32,
    /// How long the first wait is, before jitter; each later one is twice as long.
    pub delay: Duration,
    /// How long an item may be tried again; without it, as long as the run's settings say.
    pub elapsed_max: Option<Duration>,
}

/// The types of stages.
#[derive(Clone, Debug)]
pub enum StageKind {
    /// Writes a new record.
    Map {
        /// The fields carried over; without it, all.
        keep: Option<Vec<String>>,
        /// Fields and their expressions, in the order of the file. All read the record that came in. A field
        /// that is carried over as well is replaced.
        set: Vec<(String, Arc<Expression>)>,
    },
    /// Lets items pass.
    Filter {
        /// Which pass. Never known to give anything but true or false.
        when: Arc<Expression>,
    },
    /// Writes a record about some items to a sink, and lets all pass.
    Alert {
        /// Which items. Never known to give anything but true or false.
        when: Arc<Expression>,
        /// The sink, an index into [`PipelineSpec::sinks`].
        to: usize,
        /// The field of the item that becomes `id`.
        id_field: String,
        /// The field of the item that becomes `score`.
        score_field: String,
        /// The value of `threshold`.
        threshold: f64,
    },
    /// Sends items to branches and sinks.
    Route {
        /// Names and conditions, in order. A name is a branch that a later stage or sink takes, else a sink. No
        /// condition is known to give anything but true or false.
        routes: Vec<(String, Arc<Expression>)>,
        /// A copy goes wherever a condition holds, instead of the item where the first does.
        all: bool,
        /// Where items go for which none holds.
        otherwise: Otherwise,
    },
    /// Lets the first item of each key pass.
    Dedupe {
        /// What the key is.
        key: Arc<Expression>,
        /// How far back keys are remembered.
        horizon: Horizon,
    },
    /// Makes an item of each element of a list.
    Split {
        /// The field that holds the list.
        field: String,
        /// The field of the new item that holds the element; without it, an object becomes the item itself and
        /// anything else its field `value`.
        name: Option<String>,
        /// The fields of the old item that each new one gets, unless it has them itself.
        keep: Vec<String>,
        /// The most elements that a list may have. 1 to 1,000,000.
        items_max: usize,
    },
    /// Lets a share of the items pass, the same ones in every run.
    Sample {
        /// The share, from 0 to 1.
        ratio: f64,
        /// Another seed is another sample.
        seed: u64,
        /// Items for which it gives the same pass or stay out together.
        key: Option<Arc<Expression>>,
    },
    /// Fails for good on items for which a condition does not hold.
    Assert {
        /// What must hold. Never known to give anything but true or false.
        when: Arc<Expression>,
        /// What to say of an item for which it does not.
        message: Option<String>,
    },
    /// Gives items to a program.
    Exec(Box<ExecSpec>),
    /// Makes a call for each item.
    Http(Box<HttpSpec>),
    /// Asks a language model about each item.
    Model(Box<ModelSpec>),
    /// Draws on an allowance, in the order of the input, and ends the run when it is used up.
    Budget {
        /// Which, an index into [`PipelineSpec::budget`].
        draw: usize,
        /// How much; without it, 1.
        cost: Option<Arc<Expression>>,
    },
    /// Does another stage for keys that are not in the cache.
    Cached(Box<CachedSpec>),
}

/// What becomes of an item for which no route holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It goes to this branch or sink.
    To(String),
    /// It is left out and counted.
    Skip,
    /// It goes on to the next stage.
    Pass,
    /// It is an error of the stage.
    Fail,
}

/// A program that works on items; [`aqueduct_stream::ExecStage`] has the protocol.
#[derive(Clone, Debug)]
pub struct ExecSpec {
    /// The program and its arguments, at least the program.
    pub command: Vec<Redacted>,
    /// Variables for it, beside those of this process.
    pub environment: Vec<(String, Redacted)>,
    /// How many of it work side by side. 1 to 256.
    pub processes: usize,
    /// The most items that each has and has not answered. 1 to 1,024.
    pub in_flight: usize,
    /// The time for an item while it is the oldest unanswered one. 1 ms to one day.
    pub timeout: Duration,
    /// The longest answer in bytes. 64 to 1 GiB.
    pub answer_bytes_max: usize,
    /// How often each process may be replaced within the window. 0 to 1,000.
    pub restarts_max: u32,
    /// The time in which restarts are counted. 1 s to one day.
    pub restart_window: Duration,
    /// How long a process may take to end by itself. Up to one day.
    pub grace: Duration,
}

impl StageKind {
    /// The expressions in it, in the order of the file.
    #[must_use]
    pub fn expressions(&self) -> Vec<&Expression> {
        match self {
            Self::Map { set, .. } => set.iter().map(|(_, expression)| &**expression).collect(),
            Self::Filter { when } | Self::Alert { when, .. } | Self::Assert { when, .. } => vec![when],
            Self::Route { routes, .. } => routes.iter().map(|(_, expression)| &**expression).collect(),
            Self::Dedupe { key, .. } => vec![key],
            Self::Sample { key, .. } => key.as_deref().into_iter().collect(),
            Self::Http(http) => http.expressions(),
            Self::Model(model) => model.expressions(),
            Self::Budget { cost, .. } => cost.as_deref().into_iter().collect(),
            Self::Cached(cached) => {
                let own = std::iter::once(&*cached.key).chain(cached.tags.as_deref());
                own.chain(cached.of.expressions()).collect()
            }
            Self::Split { .. } | Self::Exec(_) => Vec::new(),
        }
    }
}

/// One sink.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// Its name, unique among sinks.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// The branch whose items it takes.
    pub branch: Option<String>,
    /// What happens to items that it cannot take. Never [`OnError::Retry`].
    pub on_error: OnError,
    /// What it takes.
    pub feed: Feed,
}

/// What flows into a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The items that leave the last stage.
    Items,
    /// The records of the alert stages that name it.
    Alerts,
    /// What routes send it, by its name or by its branch.
    Routed,
}

/// The types of sinks.
#[derive(Clone, Debug)]
pub enum SinkKind {
    /// A table of a SQLite database.
    Sqlite {
        /// The database.
        path: Redacted,
        /// The table.
        table: Redacted,
        /// The field that is the key, which means upsert.
        key: Option<Redacted>,
        /// The columns; without them, those of the first epoch.
        columns: Option<Vec<Redacted>>,
    },
    /// One JSON object a line: a folder of parts, or one file when the name ends in `.jsonl`.
    Jsonl {
        /// The folder or the file.
        path: Redacted,
    },
    /// Rows of separated fields: a folder of parts, or one file when the name ends in `.csv`.
    Csv {
        /// The folder or the file.
        path: Redacted,
        /// What separates fields. Checked: it is one that can.
        delimiter: char,
        /// The columns; without them, those of the first epoch.
        columns: Option<Vec<Redacted>>,
    },
    /// A service that takes them.
    Http(Box<HttpSinkSpec>),
    /// Messages of a queue.
    Queue(Box<QueueSinkSpec>),
    /// One JSON object a line on the standard output.
    Stdout,
}
