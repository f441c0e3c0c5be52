//! Changing what a pipeline keeps for people: dead letters, checkpoints, and the ledger as a whole.

use std::path::{Path, PathBuf};

use aqueduct_core::Timestamp;
use aqueduct_store::{
    CommitError, DeadLetterEdit, DeadLetterFilter, EditError, OpenError, Purged, ReadError, Removed,
    SqliteStore, Store,
};
use aqueduct_stream::{FolderLock, RunError};

use crate::inspect::ledger_path;
use crate::spec::PipelineSpec;

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// The ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A run holds the pipeline, or its data folder cannot be used.
    #[error(transparent)]
    Held(Box<RunError>),
    /// The letter is not the one that was read.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl aqueduct_core::Classified for UpkeepError {
    fn class(&self) -> aqueduct_core::ErrorClass {
        match self {
            Self::Open(error) => error.class(),
            Self::Read(error) => error.class(),
            Self::Held(error) => error.class(),
            Self::Edit(error) => error.class(),
            Self::Commit(error) => error.class(),
        }
    }
}

/// Takes the data folder of a pipeline, so that no run and no replay begins until it is dropped.
///
/// # Errors
///
/// [`UpkeepError::Held`] when a run has it.
pub fn hold(spec: &PipelineSpec) -> Result<FolderLock, UpkeepError> {
    FolderLock::take(&spec.path(&spec.settings.data_dir.value))
        .map_err(|error| UpkeepError::Held(Box::new(error)))
}

/// A pipeline's ledger, opened to change it beside a run or without one.
#[derive(Debug)]
pub struct Upkeep {
    store: SqliteStore,
    pipeline: String,
    path: PathBuf,
}

impl Upkeep {
    /// Opens the ledger; `None` when the pipeline has never run here.
    ///
    /// # Errors
    ///
    /// [`UpkeepError`] when there is a ledger that cannot be opened.
    pub async fn open(spec: &PipelineSpec) -> Result<Option<Self>, UpkeepError> {
        let path = ledger_path(spec);
        if !path.exists() {
            return Ok(None);
        }
        // Looked at first, since opening to write would make a ledger in a database that has none.
        let mut reading = SqliteStore::open_read_only(&path).await?;
        let known = reading.ledger(&spec.name).await?.is_some();
        Box::new(reading).close().await?;
        if !known {
            return Ok(None);
        }
        let store = SqliteStore::open(&path).await?;
        Ok(Some(Self { store, pipeline: spec.name.clone(), path }))
    }

    /// The ledger's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a dead letter another payload. The caller [holds](hold) the pipeline, since a replay might be working on
    /// the letter.
    ///
    /// # Errors
    ///
    /// [`UpkeepError::Edit`]; nothing was changed.
    pub async fn edit(&mut self, edit: DeadLetterEdit) -> Result<(), UpkeepError> {
        Ok(self.store.edit_dead_letter(&self.pipeline, edit).await?)
    }

    /// Removes one page of dead letters, beside a run or without one.
    ///
    /// # Errors
    ///
    /// [`UpkeepError::Commit`]; nothing of this page was removed.
    pub async fn purge(&mut self, page: DeadLetterFilter) -> Result<Purged, UpkeepError> {
        Ok(self.store.purge_dead_letters(&self.pipeline, page).await?)
    }

    /// Removes everything that the pipeline's retention does not keep.
    ///
    /// # Errors
    ///
    /// [`UpkeepError::Commit`]; what was removed before stays removed.
    pub async fn retain(&mut self, spec: &PipelineSpec, at: Timestamp) -> Result<Removed, UpkeepError> {
        let mut total = Removed::default();
        loop {
            let removed = self.store.retain(&self.pipeline, &spec.retention, at).await?;
            if removed == Removed::default() {
                return Ok(total);
            }
            total += removed;
        }
    }

    /// Removes all that the ledger knows of the pipeline. The caller [holds](hold) the pipeline.
    ///
    /// # Errors
    ///
    /// [`UpkeepError::Commit`]; nothing was removed.
    pub async fn forget(&mut self) -> Result<(), UpkeepError> {
        Ok(self.store.forget(&self.pipeline).await?)
    }

    /// Closes the ledger; what was changed stays.
    ///
    /// # Errors
    ///
    /// [`UpkeepError::Read`] when the database complains.
    pub async fn close(self) -> Result<(), UpkeepError> {
        Ok(Box::new(self.store).close().await?)
    }
}
