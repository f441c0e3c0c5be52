use std::path::PathBuf;

use aqueduct_core::json::JsonError;
use aqueduct_core::{Classified, ErrorClass, Imbalance, PayloadError};
use aqueduct_store::{ClaimError, CommitError, OpenError, ReadError};

/// An input that cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is nothing at the path.
    #[error("the input {} does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The path is a folder.
    #[error("the input {} is a folder; name one file in it", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
    },
    /// The path is a pipe, a socket or a device, which has no end or cannot be read twice.
    #[error("the input {} is a pipe or a device and no file; a source of type = \"stdin\" reads from a pipe", path.display())]
    Special {
        /// The path.
        path: PathBuf,
    },
    /// A path with a pattern in it names no file.
    #[error("the input {pattern} matches no file; a pattern is made of *, ?, [..] and ** for folders")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A path with a pattern in it that is not one.
    #[error("the input {pattern} is not a pattern: {message}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
    /// A compressed file is not whole. Everything in front of the place was given.
    #[error("the input {} {how} at byte {offset} of its content ({packing}); put a whole file there", path.display())]
    Packed {
        /// The path.
        path: PathBuf,
        /// How it is compressed.
        packing: &'static str,
        /// What is wrong with it.
        how: &'static str,
        /// The bytes that came out before.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: std::io::Error,
    },
    /// A compressed file becomes more than it may.
    #[error(
        "the input {} became {bytes} bytes out of {packed}; the limit is {limit} (source key {key}), which a file made to fill disks \
         passes; raise it if this one is right",
        path.display()
    )]
    Expansion {
        /// The path.
        path: PathBuf,
        /// How much was read of it.
        packed: u64,
        /// How much came out.
        bytes: u64,
        /// The key of the limit.
        key: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The columns of a file cannot be told, or are not what the configuration says.
    #[error("the header of {file} (line {line}): {message}")]
    Header {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The source was configured wrongly.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The input is not the one that was read before.
    #[error(
        "the input {} was read up to byte {bytes} before, and {how}; put the old one back, or start over with \
         another pipeline name or without the ledger",
        path.display()
    )]
    Changed {
        /// The path.
        path: PathBuf,
        /// In what way.
        how: &'static str,
        /// How far it was read.
        bytes: u64,
    },
    /// The ledger holds a position that this build does not understand.
    #[error(
        "the ledger's position {text:?} is not one that this aqueduct can read; a newer one may have written it"
    )]
    Position {
        /// The position.
        text: String,
    },
    /// An item cannot be read a second time.
    #[error("{source_name} cannot read the item at {offset} of {partition} again")]
    NoReread {
        /// The source.
        source_name: String,
        /// The partition.
        partition: String,
        /// The place in it.
        offset: u64,
    },
    /// A service that gives the input did not, or gave something else.
    #[error("{source_name}: {message}")]
    Remote {
        /// The source.
        source_name: String,
        /// What is wrong.
        message: String,
        /// Of what class it is.
        class: ErrorClass,
        /// What the call said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Reading failed.
    #[error("the input {} cannot be read", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Classified for SourceError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Io { .. } => ErrorClass::Permanent,
            Self::Remote { class, .. } => *class,
            _ => ErrorClass::Invalid,
        }
    }
}

/// An item that the source could not turn into a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The line is not a JSON object.
    #[error("line {line}{}", if *cut_off { " (the last, without a line end)" } else { "" })]
    Json {
        /// The line, counted from 1.
        line: u64,
        /// Whether it is the last one and has no line end.
        cut_off: bool,
        /// What is wrong with it.
        #[source]
        source: JsonError,
    },
    /// The row has another number of fields than there are columns.
    #[error("line {line}: {}{}", against(*found, *expected), beside(*found, *expected, near))]
    Fields {
        /// The line on which the row begins, counted from 1.
        line: u64,
        /// How many fields it has.
        found: usize,
        /// How many columns there are.
        expected: usize,
        /// The column that is the first without a field, or the last with one.
        near: String,
    },
    /// A field is not of the type of its column.
    #[error("line {line}, column {column}: {value:?} is not {expected}")]
    Value {
        /// The line on which the row begins, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// The field, or its beginning.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A quote is opened and not closed.
    #[error(
        "line {line}, column {column}: a quote is opened and never closed; a quote inside of quotes is doubled"
    )]
    Unclosed {
        /// The line on which the row begins, counted from 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// The line is not UTF-8.
    #[error("line {line}{}: not valid UTF-8 at byte {at}", column.as_ref().map_or(String::new(), |name| format!(", column {name}")))]
    NotUtf8 {
        /// The line, counted from 1.
        line: u64,
        /// The column, in formats that have columns.
        column: Option<String>,
        /// The byte of the line or row, counted from 1.
        at: usize,
    },
    /// A row cannot be read again, because nobody knows its columns any more.
    #[error("the columns of this row are not known: the files have different headers")]
    Columns,
    /// What is wrong with an item of one of several files.
    #[error("in {file}")]
    InFile {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        source: Box<DecodeError>,
    },
    /// The line is too long to be carried.
    #[error("line {line} has {bytes} bytes; the limit is {limit} (source key line_bytes_max)")]
    Oversize {
        /// The line, counted from 1.
        line: u64,
        /// Its length.
        bytes: u64,
        /// The longest that is carried.
        limit: usize,
    },
}

/// How many fields stand against how many columns.
fn against(found: usize, expected: usize) -> String {
    let s = |count: usize| if count == 1 { "" } else { "s" };
    let are = if expected == 1 { "is" } else { "are" };
    format!("{found} field{}, but there {are} {expected} column{}", s(found), s(expected))
}

/// Where the fields and the columns part.
fn beside(found: usize, expected: usize, near: &str) -> String {
    if found < expected {
        format!("; {near} is the first that has none")
    } else {
        format!("; {near} is the last of them; a delimiter inside of a field needs quotes around the field")
    }
}

impl Classified for DecodeError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

/// A stage that failed on one item. The class decides what happens next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StageError {
    class: ErrorClass,
    message: String,
    retry_after: Option<std::time::Duration>,
    halt: Option<Halt>,
    attempts: u32,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What an error that is not the item's means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    /// It cannot go on.
    Fails,
    /// It has done what it may.
    Ends,
}

impl StageError {
    /// An error of this class, in words: lower case, no full stop.
    #[must_use]
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), retry_after: None, halt: None, attempts: 1, source: None }
    }

    /// The same call fails again: the rule of the stage decides.
    #[must_use]
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Permanent, message)
    }

    /// The same call may succeed now: it is tried again.
    #[must_use]
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Transient, message)
    }

    /// The stage cannot work on any item any more, and nothing is wrong with this one: the run stops here, whatever
    /// the rule, and commits what is before it.
    #[must_use]
    pub fn stop(message: impl Into<String>) -> Self {
        Self { halt: Some(Halt::Fails), ..Self::permanent(message) }
    }

    /// The run has used what it may, and nothing is wrong: it commits what is before the item and ends there, like one
    /// that has reached its limit ([`Ended::Exhausted`](crate::Ended::Exhausted)). The message says what is used up.
    /// A stage whose work is long also leaves with it what it has not begun when the run drains; the run then ends as
    /// [`Ended::Drained`](crate::Ended::Drained).
    #[must_use]
    pub fn end(message: impl Into<String>) -> Self {
        Self { halt: Some(Halt::Ends), ..Self::new(ErrorClass::Overload, message) }
    }

    /// Tells whether the run stops, whatever the rule of the stage.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.halt.is_some()
    }

    /// Tells whether the run ends although nothing is wrong.
    pub(crate) fn ends(&self) -> bool {
        self.halt == Some(Halt::Ends)
    }

    /// Says how many attempts the stage made by itself, where it made more than one.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// How many attempts the stage made. At least 1.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Adds how long the other side asked us to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: std::time::Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same error for another item of the same call, its causes in words.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            class: self.class,
            message: crate::batch::in_words(self),
            retry_after: self.retry_after,
            halt: self.halt,
            attempts: self.attempts,
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// How long the other side asked us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        self.retry_after
    }
}

impl Classified for StageError {
    fn class(&self) -> ErrorClass {
        self.class
    }
}

impl From<PayloadError> for StageError {
    fn from(error: PayloadError) -> Self {
        Self::permanent(error.to_string()).with_source(error)
    }
}

/// Kept state that a stage cannot read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StateError {
    message: String,
}

impl StateError {
    /// What is wrong with the notes, in words: lower case, no full stop.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl Classified for StateError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

/// A sink that cannot be opened or written. The run stops; what is committed stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// There is a file that the ledger does not know.
    #[error(
        "sink {sink}: {} is there already and this pipeline did not write it; move it away or choose another path",
        path.display()
    )]
    Unknown {
        /// The sink.
        sink: String,
        /// The file.
        path: PathBuf,
    },
    /// A file is shorter than what was committed to it, or gone.
    #[error(
        "sink {sink}: {} has {found} bytes, but {committed} are committed; somebody changed it; put it back, or start \
         over with another path and pipeline name",
        path.display()
    )]
    Shorter {
        /// The sink.
        sink: String,
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The committed length.
        committed: u64,
    },
    /// Another run writes there.
    #[error("sink {sink}: {} is being written by another run; wait for it or stop it", path.display())]
    InUse {
        /// The sink.
        sink: String,
        /// The file or folder.
        path: PathBuf,
    },
    /// A table, or a file with columns, that cannot take the rows.
    #[error("sink {sink}: {message}")]
    Table {
        /// The sink.
        sink: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A failed sync: the kernel may have dropped what was written, so it is never tried again.
    #[error("sink {sink}: syncing {} failed; nothing of this epoch counts as written", path.display())]
    Sync {
        /// The sink.
        sink: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A service that takes results did not.
    #[error("sink {sink}")]
    Remote {
        /// The sink.
        sink: String,
        /// Of what class it is.
        class: ErrorClass,
        /// What the call said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Any other failure of reading or writing.
    #[error("sink {sink}: {} cannot be written", path.display())]
    Io {
        /// The sink.
        sink: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Classified for SinkError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Unknown { .. } | Self::Shorter { .. } | Self::Table { .. } => ErrorClass::Invalid,
            Self::InUse { .. } => ErrorClass::Transient,
            Self::Sync { .. } | Self::Io { .. } => ErrorClass::Permanent,
            Self::Remote { class, .. } => *class,
        }
    }
}

/// A pipeline that cannot be built as it is described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field has a value that it must not have.
    #[error("{field} is {value}; it must be {expected}")]
    Value {
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// Something that a pipeline needs is not there.
    #[error("the pipeline has no {missing}")]
    Missing {
        /// What.
        missing: &'static str,
    },
    /// The program of an exec stage cannot be run.
    #[error("the program {program} cannot be run: {reason}")]
    Program {
        /// The program, as it was given.
        program: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// Two parts have one name.
    #[error("two parts of the pipeline are named {name:?}; each needs a name of its own")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A stage writes to a sink that is not there.
    #[error("stage {stage:?} sends items to {sink:?}, but the sinks and branches are {known}")]
    UnknownSink {
        /// The stage.
        stage: String,
        /// What it names.
        sink: String,
        /// The sinks that are there.
        known: String,
    },
    /// Every sink is fed by a stage by name, so the items themselves have nowhere to go.
    #[error(
        "no sink takes the items: every one ({known}) is the target of a stage; add a sink for the items"
    )]
    NoMainSink {
        /// The sinks that are there.
        known: String,
    },
    /// A branch ends without a sink.
    #[error("no sink takes the items of branch {branch:?}; give one `branch = {branch:?}`")]
    BranchWithoutSink {
        /// The branch.
        branch: String,
    },
    /// A stage or sink takes the items of a branch to which nothing is sent before it.
    #[error("{part:?} takes the items of branch {branch:?}, but no stage before it sends any there")]
    BranchNotFed {
        /// The stage or sink.
        part: String,
        /// The branch.
        branch: String,
    },
    /// The source names files by a pattern that matches what a sink writes: a run would read its own results.
    #[error("the source {source_name} would read what sink {sink} writes to {}; write elsewhere, or narrow the pattern", path.display())]
    Loop {
        /// The source.
        source_name: String,
        /// The sink.
        sink: String,
        /// What it writes.
        path: PathBuf,
    },
    /// The pipeline is asked for more than its route can give.
    #[error("{wanted} is asked for, but the route gives {given}: {reason}")]
    Guarantee {
        /// What is asked for.
        wanted: crate::Guarantee,
        /// What it gives.
        given: crate::Guarantee,
        /// Because of what.
        reason: String,
    },
}

impl Classified for ConfigError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

/// A run that failed. What was committed stays, and the next run continues behind it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The pipeline cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A sink failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger cannot be claimed.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The pipeline is not the one that ran before, in a way that could lose or double something.
    #[error(
        "the {what} has changed since {since}, from {before:?} to {now:?}; put it back, give the pipeline another \
         name, or accept the change (--accept-change)"
    )]
    Changed {
        /// What.
        what: String,
        /// Since when: the last run, or a checkpoint.
        since: String,
        /// What it was.
        before: String,
        /// What it is.
        now: String,
    },
    /// The state that a stage kept cannot be read.
    #[error("the kept state of stage {stage} cannot be read; go back to an older checkpoint or start over")]
    State {
        /// The stage.
        stage: String,
        /// What is wrong with it.
        #[source]
        source: StateError,
    },
    /// There is no such checkpoint.
    #[error("there is no checkpoint {name}; {}", if known.is_empty() { "none is kept".to_owned() } else { format!("there are {known}") })]
    NoCheckpoint {
        /// What was asked for.
        name: String,
        /// What is kept.
        known: String,
    },
    /// The source cannot be read again.
    #[error(
        "{source_name} cannot be read again, so there is no way back to {checkpoint}; run without --resume to go on"
    )]
    NoWayBack {
        /// The source.
        source_name: String,
        /// The checkpoint.
        checkpoint: String,
    },
    /// The checkpoint is not what was recorded, and nothing that it says can be relied on.
    #[error("checkpoint {name} is damaged ({damage}); {}", match older {
        Some(older) => format!("the newest that is whole before it is {older}"),
        None => "there is no whole one before it".to_owned(),
    })]
    DamagedCheckpoint {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        damage: String,
        /// The newest one before it that is whole.
        older: Option<String>,
    },
    /// Going back would leave results twice.
    #[error(
        "going back to {checkpoint} would write some results a second time ({outputs}); remove them with --rollback, or \
         give the sinks a key to upsert by"
    )]
    RollbackNeeded {
        /// The checkpoint.
        checkpoint: String,
        /// What cannot overwrite itself.
        outputs: String,
    },
    /// A dead letter that cannot be replayed.
    #[error("the dead letter of item {item} at {stage} cannot be replayed: {reason}")]
    Letter {
        /// Its item.
        item: String,
        /// Its stage.
        stage: String,
        /// Why.
        reason: String,
    },
    /// Another process runs on the same data folder.
    #[error("the data folder {} is in use by another run{holder}; wait for it or stop it", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds it, where that is known.
        holder: String,
    },
    /// The data folder cannot be made or written.
    #[error("the data folder {} cannot be written", path.display())]
    DataFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An item failed, and the rule of its stage is to stop. Everything before it is committed.
    #[error("{stage} failed on item {item}; everything before it is committed")]
    Item {
        /// The stage, sink or source.
        stage: String,
        /// The item.
        item: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The ledger does not balance: a bug. Nothing of that epoch was written.
    #[error("an epoch was not written, because items were lost or doubled inside; please report this")]
    Imbalance(#[from] Imbalance),
    /// The metrics registry refused a name: somebody else uses it differently.
    #[error("the run's metrics cannot be registered")]
    Metrics(#[from] aqueduct_metrics::MetricsError),
    /// A thread of the engine is gone: a bug.
    #[error("the {thread} thread of the engine stopped unexpectedly; please report this")]
    Thread {
        /// Which.
        thread: &'static str,
    },
}

impl Classified for RunError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Config(error) => error.class(),
            Self::Metrics(_) => ErrorClass::Invalid,
            Self::Source(error) => error.class(),
            Self::Sink(error) => error.class(),
            Self::Open(error) => error.class(),
            Self::Claim(error) => error.class(),
            Self::Commit(error) => error.class(),
            Self::Read(error) => error.class(),
            Self::InUse { .. } => ErrorClass::Transient,
            Self::Changed { .. }
            | Self::NoCheckpoint { .. }
            | Self::NoWayBack { .. }
            | Self::RollbackNeeded { .. } => ErrorClass::Invalid,
            Self::State { .. }
            | Self::Letter { .. }
            | Self::DataFolder { .. }
            | Self::DamagedCheckpoint { .. }
            | Self::Item { .. } => ErrorClass::Permanent,
            Self::Imbalance(_) | Self::Thread { .. } => ErrorClass::Internal,
        }
    }
}
