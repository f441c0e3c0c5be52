use aqueduct_core::{Counts, Fence, PartitionId, Position, Revision, Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::dead_letter::{DeadLetter, DeadLetterEdit, DeadLetterFilter, DeadLetterTotal, Purged};
use crate::error::{ClaimError, CommitError, EditError, ReadError};
use crate::retention::{Removed, Retention};
use crate::row::{Rows, Table};

/// Rows, positions and everything between them, changed together or not at all.
///
/// Every backend passes the conformance suite in this crate's tests. Decision 0001 is the contract in full.
#[async_trait]
pub trait Store: Send {
    /// Takes the pipeline over: raises its fence, gives new partitions their numbers, and reads the ledger.
    ///
    /// Partitions keep the number of their first sight. From here on every older run is fenced off. What an
    /// older run left in flight is abandoned from here on, since nobody works on it any more.
    ///
    /// # Errors
    ///
    /// [`ClaimError`]; nothing was changed.
    async fn claim(&mut self, claim: Claim) -> Result<Claimed, ClaimError>;

    /// Keeps entries, durably, until a commit consumes them. An entry with the same stage, item and call
    /// replaces the earlier one.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; all entries are there or none is.
    async fn journal(
        &mut self,
        pipeline: &str,
        fence: Fence,
        entries: Vec<JournalEntry>,
    ) -> Result<(), CommitError>;

    /// Makes one epoch durable, all of it or nothing, in the order of decision 0001.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; nothing was changed, except that [`CommitError::Unknown`] does not know.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may or may not have committed. Reopen and read.
    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError>;

    /// Takes the pipeline back to one of its checkpoints, all of it or nothing: positions, totals and file marks
    /// are what they were (a file that came later is marked with length 0), the letters of items behind it go,
    /// and so do later checkpoints, later state and the rows that [`Rewind::tables`] holds of items behind it. The
    /// epoch goes on counting.
    ///
    /// # Errors
    ///
    /// [`CommitError`], like a commit.
    ///
    /// # Complexity
    ///
    /// Linear in what is removed.
    async fn rewind(&mut self, pipeline: &str, fence: Fence, rewind: Rewind) -> Result<(), CommitError>;

    /// Notes how a run ended. For people: nothing depends on it. Conditional on the fence.
    ///
    /// # Errors
    ///
    /// [`CommitError`], like a commit.
    async fn finish(
        &mut self,
        pipeline: &str,
        fence: Fence,
        outcome: RunOutcome,
        at: Timestamp,
    ) -> Result<(), CommitError>;

    /// Reads all that the ledger knows of a pipeline; `None` when it was never claimed here.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    async fn ledger(&mut self, pipeline: &str) -> Result<Option<Ledger>, ReadError>;

    /// Reads dead letters in the order of their item ids.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    async fn dead_letters(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, ReadError>;

    /// Counts the dead letters that are kept.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    async fn dead_letter_count(&mut self, pipeline: &str) -> Result<u64, ReadError>;

    /// Adds up the dead letters that a filter admits; its page and limit do not matter.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    ///
    /// # Complexity
    ///
    /// Linear in the number of letters that are kept.
    async fn dead_letter_total(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<DeadLetterTotal, ReadError>;

    /// Gives a dead letter another payload, if it is still the one that was read.
    ///
    /// It takes no part in the fence: it moves no position, and a run never reads letters. A replay does, and
    /// resolves what it has read; so a caller holds the pipeline's data folder while it edits.
    ///
    /// # Errors
    ///
    /// [`EditError`]; nothing was changed.
    async fn edit_dead_letter(&mut self, pipeline: &str, edit: DeadLetterEdit) -> Result<(), EditError>;

    /// Removes the first dead letters that a filter admits, at most its limit, in one transaction. Rows, positions
    /// and counts stay as they are.
    ///
    /// It takes no part in the fence and may be called beside a run, which then waits for one step at most: call it
    /// with the last letter of the step before until nothing is left. A letter that a replay is working on is
    /// replayed although it is purged, as if the purge had come after it.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; nothing of this step was removed.
    async fn purge_dead_letters(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<Purged, CommitError>;

    /// Removes what retention does not keep: all surplus checkpoints, and at most
    /// [`Retention::LETTERS_REMOVED_MAX`] dead letters.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; nothing was removed.
    ///
    /// # Complexity
    ///
    /// Linear in the number of checkpoints and of what is removed, not in what stays.
    async fn retain(
        &mut self,
        pipeline: &str,
        retention: &Retention,
        at: Timestamp,
    ) -> Result<Removed, CommitError>;

    /// Tells what retention has removed over the pipeline's whole life.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    async fn removed(&mut self, pipeline: &str) -> Result<Removed, ReadError>;

    /// Removes everything that the ledger knows of a pipeline, so that its next run starts over. Rows in tables of
    /// sinks stay. A run that is still under way is fenced off.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; nothing was removed.
    async fn forget(&mut self, pipeline: &str) -> Result<(), CommitError>;

    /// Reads the kept checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    async fn checkpoints(&mut self, pipeline: &str) -> Result<Vec<Checkpoint>, ReadError>;

    /// Reads a page of the state of one stage, in the order of the keys: at most `limit` entries behind `after`.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    async fn state(
        &mut self,
        pipeline: &str,
        stage: &str,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ReadError>;

    /// Reads the journal entries that no commit has consumed, in the order of stage, item and call.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    async fn journalled(&mut self, pipeline: &str) -> Result<Vec<JournalEntry>, ReadError>;

    /// Looks at a table of this database, whoever made it; `None` when there is none of this name.
    ///
    /// The columns come without `item_id`; a table that lacks `item_id` is reported with `has_item_id` false.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    async fn table(&mut self, name: &str) -> Result<Option<FoundTable>, ReadError>;

    /// Closes the store. What was committed stays; closing only tidies (SQLite folds its log into the file).
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the backend complains; nothing that was committed is in danger.
    async fn close(self: Box<Self>) -> Result<(), ReadError>;
}

/// Who takes a pipeline over, and what it reads.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The pipeline's name.
    pub pipeline: String,
    /// The names of all partitions that the run will read.
    pub partitions: Vec<String>,
    /// What the pipeline is made of, in words of the caller; a change starts a new generation.
    pub configuration: String,
    /// When.
    pub at: Timestamp,
}

/// What a claim gives.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The fence to write with.
    pub fence: Fence,
    /// How often the configuration has changed; 1 at first.
    pub generation: u64,
    /// The partitions of the claim, in its order.
    pub partitions: Vec<PartitionState>,
    /// The ledger as it stood, the claim's own partitions included.
    pub ledger: Ledger,
}

/// How far one partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Its number, for good.
    pub id: PartitionId,
    /// Its name, such as a path relative to the pipeline file.
    pub name: String,
    /// How far it is committed; `None` before the first commit.
    pub position: Option<Position>,
    /// How often it was committed.
    pub revision: Revision,
}

/// Moves one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub partition: PartitionId,
    /// The revision that this builds on.
    pub from: Revision,
    /// The new position.
    pub to: Position,
    /// The least id that an item behind this position can have, as text. Rewinding removes what is not less.
    pub next_item: String,
}

/// How much of an output file is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    /// The sink.
    pub sink: String,
    /// The file, as the sink names it.
    pub part: String,
    /// The committed length in bytes; what follows is nobody's.
    pub bytes: u64,
    /// The items in it.
    pub items: u64,
}

/// A result that must not be computed again, such as the answer to a paid call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalEntry {
    /// The stage.
    pub stage: String,
    /// The item's id, as text.
    pub item_id: String,
    /// Which call of the stage for this item, counted from 0.
    pub call: u32,
    /// The result.
    pub value: Vec<u8>,
}

/// One change of a stage's keyed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The stage.
    pub stage: String,
    /// The key.
    pub key: Vec<u8>,
    /// The new value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// One epoch, ready to become durable.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The pipeline.
    pub pipeline: String,
    /// The fence of our claim.
    pub fence: Fence,
    /// When.
    pub at: Timestamp,
    /// Tables to create if they are not there; a table that is there must have these columns.
    pub tables: Vec<Table>,
    /// Rows for tables in this database.
    pub rows: Vec<Rows>,
    /// What could not be processed.
    pub dead_letters: Vec<DeadLetter>,
    /// Dead letters, by item and stage, that a replay has worked on again. They go before [`Commit::dead_letters`]
    /// come, and leave the total of dead letters. Checkpoints from before a replay cannot be gone back to, so
    /// they go as well.
    pub resolved: Vec<(String, String)>,
    /// Changes of stages' states.
    pub state: Vec<StateChange>,
    /// Items whose journal entries this epoch consumes, as text.
    pub consumed: Vec<String>,
    /// New committed lengths of files that were synced already.
    pub files: Vec<FileMark>,
    /// Positions to move.
    pub advances: Vec<Advance>,
    /// What happened in this epoch; added to the pipeline's total.
    pub counts: Counts,
    /// Items that an earlier commit counted as in flight and this one accounts for; they leave that total.
    pub landed: u64,
    /// Adds the columns that a table of this pipeline lacks, instead of refusing it.
    pub widen: bool,
    /// Records a checkpoint of this name with the positions and totals as they are after this commit.
    pub checkpoint: Option<String>,
    /// What stays of checkpoints and dead letters when a checkpoint is recorded.
    pub retention: Retention,
}

impl Commit {
    /// Starts an empty epoch.
    #[must_use]
    pub fn new(pipeline: impl Into<String>, fence: Fence, at: Timestamp) -> Self {
        Self {
            pipeline: pipeline.into(),
            fence,
            at,
            tables: Vec::new(),
            rows: Vec::new(),
            dead_letters: Vec::new(),
            resolved: Vec::new(),
            state: Vec::new(),
            consumed: Vec::new(),
            files: Vec::new(),
            advances: Vec::new(),
            counts: Counts::default(),
            landed: 0,
            widen: false,
            checkpoint: None,
            retention: Retention::default(),
        }
    }
}

/// A place that a pipeline can be taken back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its name, unique in the pipeline.
    pub name: String,
    /// The epoch that recorded it.
    pub epoch: u64,
    /// When.
    pub at: Timestamp,
    /// All positions at that epoch.
    pub positions: Vec<CheckpointPosition>,
    /// All committed files at that epoch, by sink and part.
    pub files: Vec<FileMark>,
    /// The totals at that epoch.
    pub counts: Counts,
    /// What the pipeline was made of, as its claim said; empty in a ledger of before format 3.
    pub configuration: String,
    /// What is wrong with it, if it is not what was recorded. Nobody may go back to it then: its other fields may be
    /// anything.
    pub damage: Option<String>,
}

/// How far one partition was at a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPosition {
    /// The partition's number.
    pub partition: u32,
    /// Its position.
    pub position: Position,
    /// The least id that an item behind that position can have; see [`Advance::next_item`].
    pub next_item: String,
}

/// Where to go back to, and what goes.
#[derive(Clone, Debug)]
pub struct Rewind {
    /// The checkpoint, as [`Store::checkpoints`] gave it.
    pub checkpoint: Checkpoint,
    /// The tables of this database whose rows of later items are removed.
    pub tables: Vec<String>,
    /// State whose key is greater than this is removed.
    pub state_after: Vec<u8>,
    /// When.
    pub at: Timestamp,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// Everything there was is done.
    Done,
    /// It stopped early with everything committed; run again to continue.
    Stopped,
    /// An error stopped it.
    Failed,
}

impl RunOutcome {
    /// The name used in the ledger and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// One run of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    /// When it claimed the pipeline.
    pub started: Timestamp,
    /// When it last committed or finished.
    pub last_seen: Timestamp,
    /// How it ended; `None` while it runs, and for ever after a crash.
    pub outcome: Option<RunOutcome>,
}

/// All that a store knows of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The pipeline.
    pub pipeline: String,
    /// The newest fence.
    pub fence: Fence,
    /// How often the configuration has changed.
    pub generation: u64,
    /// What the newest run was made of, as its claim said.
    pub configuration: String,
    /// The number of commits so far.
    pub epoch: u64,
    /// All partitions ever read, by number.
    pub partitions: Vec<PartitionState>,
    /// All committed files, by sink and part.
    pub files: Vec<FileMark>,
    /// The tables that this pipeline made or adopted, by name.
    pub tables: Vec<Table>,
    /// Totals over the pipeline's whole life.
    pub counts: Counts,
    /// The newest run.
    pub run: RunState,
}

/// A table that is in the database, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTable {
    /// Its columns without `item_id`, in their order.
    pub columns: Vec<String>,
    /// Whether it has a column `item_id`.
    pub has_item_id: bool,
    /// The columns of its primary key.
    pub primary_key: Vec<String>,
    /// Whether it holds any row.
    pub has_rows: bool,
}
