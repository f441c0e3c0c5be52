mod claim;
mod commit;
mod fault;
mod insert;
mod letters;
mod number;
mod open;
mod read;
mod retain;
mod rewind;
mod rows;
#[cfg(feature = "failpoints")]
mod sabotage;
mod schema;
mod seal;
#[cfg(test)]
mod tests;
mod transaction;
mod upkeep;

use std::io;
use std::path::{Path, PathBuf};

use aqueduct_core::{Fence, Timestamp};
use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};

use self::fault::Stop;
use crate::contract::{
    Checkpoint, Claim, Claimed, Commit, FoundTable, JournalEntry, Ledger, Rewind, RunOutcome, Store,
};
use crate::dead_letter::{DeadLetter, DeadLetterEdit, DeadLetterFilter, DeadLetterTotal, Purged};
use crate::error::{BackendError, ClaimError, CommitError, EditError, OpenError, ReadError};
use crate::retention::{Removed, Retention};

/// Keeps rows and ledger in one SQLite database.
///
/// It has one connection, on a thread of its own, with a write-ahead log and `synchronous=FULL`. Other
/// processes may read the database at any time; a second writer waits two seconds and is then told.
///
/// The ledger's tables begin with `aqueduct_` and are keyed by pipeline, so that several pipelines may share
/// a database. Everything else in the database is left alone.
///
/// # The tables
///
/// They may be read by anybody with plain SQL; times are milliseconds since 1970, payloads are blobs of text.
///
/// | table | one row for each | holds |
/// |---|---|---|
/// | `aqueduct_meta` | fact about the ledger | its format |
/// | `aqueduct_pipeline` | pipeline | fence, generation, epoch, the nine counts, the newest run |
/// | `aqueduct_partition` | file or stream that was read | number, position, revision |
/// | `aqueduct_file` | output file | committed bytes and items |
/// | `aqueduct_table` | table of a sink | columns, key, what a second row does |
/// | `aqueduct_dead_letter` | item and stage that failed | reason, class, attempts, payload, original (with offset, length and SHA-256 where it is cut) |
/// | `aqueduct_checkpoint` | named checkpoint | positions as JSON pairs of number and text, and the counts |
/// | `aqueduct_state` | key of a stage's state | the value |
/// | `aqueduct_journal` | journalled call | the result |
/// | `aqueduct_retained` | pipeline with letters | how many and how large they are, and what retention removed |
///
/// A result table has `item_id`, then the sink's columns without declared types. Its primary key is `item_id`,
/// or the column that the sink upserts by.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: SqliteConnection,
    /// Set while a write is under way. It stays set when the write was dropped or its outcome is unknown, and
    /// then nothing more is written: only opening the database again tells what is true.
    undecided: bool,
}

impl SqliteStore {
    /// Opens a database to write, and makes the file and the ledger's tables where they are missing.
    ///
    /// The folder must be there. A database that another program made is accepted, and keeps its application id.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; what it refuses stays as it was.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        Ok(Self { path: path.to_owned(), connection: open::read_write(path).await?, undecided: false })
    }

    /// Opens a database to read it while somebody else may be writing. Makes no file.
    ///
    /// Everything that writes fails on such a store.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; [`OpenError::Missing`] when there is no such file.
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        Ok(Self { path: path.to_owned(), connection: open::read_only(path).await?, undecided: false })
    }

    /// Opens a database to read it as it is now, whatever others write later.
    ///
    /// While it is open the writer's log grows instead of being folded into the file.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open_read_only`].
    pub async fn open_snapshot(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let mut store = Self::open_read_only(path).await?;
        match transaction::begin_snapshot(&mut store.connection).await {
            Ok(()) => Ok(store),
            Err(error) => Err(fault::open(&store.path, error)),
        }
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that a write begins, or tells that an earlier one never ended.
    fn start(&mut self) -> Result<(), BackendError> {
        if std::mem::replace(&mut self.undecided, true) {
            return Err(Box::new(io::Error::other(
                "an earlier write was dropped or failed while committing; open the database again",
            )));
        }
        Ok(())
    }

    /// Notes that a write has ended, one way or the other.
    fn end<T>(&mut self, ended: Result<T, Stop>) -> Result<T, CommitError> {
        let ended = ended.map_err(|stop| stop.into_commit_error(&self.path));
        self.undecided = matches!(ended, Err(CommitError::Unknown(_)));
        ended
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn claim(&mut self, claim: Claim) -> Result<Claimed, ClaimError> {
        self.start().map_err(ClaimError::Backend)?;
        let claimed = claim::claim(&mut self.connection, claim).await;
        // A claim whose commit failed may have raised the fence; the next claim raises it again.
        self.undecided = false;
        claimed.map_err(|stop| match stop {
            Stop::Sql(error) => fault::claim(&self.path, error),
            Stop::Refused(error) => ClaimError::Backend(error.into()),
        })
    }

    async fn journal(
        &mut self,
        pipeline: &str,
        fence: Fence,
        entries: Vec<JournalEntry>,
    ) -> Result<(), CommitError> {
        self.start().map_err(CommitError::Backend)?;
        let written = commit::journal(&mut self.connection, pipeline, fence, entries).await;
        self.end(written)
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        self.start().map_err(CommitError::Backend)?;
        let written = commit::commit(&mut self.connection, commit).await;
        self.end(written)
    }

    async fn rewind(&mut self, pipeline: &str, fence: Fence, rewind: Rewind) -> Result<(), CommitError> {
        self.start().map_err(CommitError::Backend)?;
        let written = rewind::rewind(&mut self.connection, pipeline, fence, rewind).await;
        self.end(written)
    }

    async fn finish(
        &mut self,
        pipeline: &str,
        fence: Fence,
        outcome: RunOutcome,
        at: Timestamp,
    ) -> Result<(), CommitError> {
        self.start().map_err(CommitError::Backend)?;
        let written = commit::finish(&mut self.connection, pipeline, fence, outcome, at).await;
        self.end(written)
    }

    async fn ledger(&mut self, pipeline: &str) -> Result<Option<Ledger>, ReadError> {
        let read = read::ledger_snapshot(&mut self.connection, pipeline).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn dead_letters(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        let read = letters::page(&mut self.connection, pipeline, &filter).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn dead_letter_count(&mut self, pipeline: &str) -> Result<u64, ReadError> {
        let read = read::dead_letter_count(&mut self.connection, pipeline).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn dead_letter_total(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<DeadLetterTotal, ReadError> {
        let read = letters::total(&mut self.connection, pipeline, &filter).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn edit_dead_letter(&mut self, pipeline: &str, edit: DeadLetterEdit) -> Result<(), EditError> {
        self.start().map_err(CommitError::Backend)?;
        let edited = letters::edit(&mut self.connection, pipeline, &edit).await;
        let (item_id, stage) = (edit.read.item_id, edit.read.stage);
        match self.end(edited)? {
            letters::Edited::Done => Ok(()),
            letters::Edited::Changed => Err(EditError::Changed { item_id, stage }),
            letters::Edited::Gone => Err(EditError::Gone { item_id, stage }),
        }
    }

    async fn purge_dead_letters(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<Purged, CommitError> {
        self.start().map_err(CommitError::Backend)?;
        let purged = letters::purge(&mut self.connection, pipeline, &filter).await;
        self.end(purged)
    }

    async fn retain(
        &mut self,
        pipeline: &str,
        retention: &Retention,
        at: Timestamp,
    ) -> Result<Removed, CommitError> {
        self.start().map_err(CommitError::Backend)?;
        let removed = retain::retain(&mut self.connection, pipeline, retention, at).await;
        self.end(removed)
    }

    async fn removed(&mut self, pipeline: &str) -> Result<Removed, ReadError> {
        let read = retain::removed(&mut self.connection, pipeline).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn forget(&mut self, pipeline: &str) -> Result<(), CommitError> {
        self.start().map_err(CommitError::Backend)?;
        let forgotten = retain::forget(&mut self.connection, pipeline).await;
        self.end(forgotten)
    }

    async fn checkpoints(&mut self, pipeline: &str) -> Result<Vec<Checkpoint>, ReadError> {
        let read = read::checkpoints(&mut self.connection, pipeline).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn state(
        &mut self,
        pipeline: &str,
        stage: &str,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ReadError> {
        let read = read::state(&mut self.connection, pipeline, stage, after, limit).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn journalled(&mut self, pipeline: &str) -> Result<Vec<JournalEntry>, ReadError> {
        let read = read::journalled(&mut self.connection, pipeline).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn table(&mut self, name: &str) -> Result<Option<FoundTable>, ReadError> {
        let read = rows::find(&mut self.connection, name).await;
        read.map_err(|error| fault::read(&self.path, error))
    }

    async fn close(self: Box<Self>) -> Result<(), ReadError> {
        let Self { path, connection, .. } = *self;
        connection.close().await.map_err(|error| fault::read(&path, error))
    }
}
