//! Reading what a pipeline has done, while it runs or after.

use std::path::{Path, PathBuf};

use aqueduct_store::{
    Checkpoint, DeadLetter, DeadLetterFilter, DeadLetterTotal, Ledger, OpenError, ReadError, Removed,
    SqliteStore, Store,
};

use crate::spec::{PipelineSpec, SinkKind};

/// Where the ledger of a pipeline is: in its first database, else in the data folder.
#[must_use]
pub fn ledger_path(spec: &PipelineSpec) -> PathBuf {
    let database = spec.sinks.iter().find_map(|sink| match &sink.kind {
        SinkKind::Sqlite { path, .. } => Some(spec.path(path)),
        SinkKind::Jsonl { .. }
        | SinkKind::Csv { .. }
        | SinkKind::Http(_)
        | SinkKind::Queue(_)
        | SinkKind::Stdout => None,
    });
    database.unwrap_or_else(|| spec.path(&spec.settings.data_dir.value).join("ledger.db"))
}

/// A ledger that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl aqueduct_core::Classified for InspectError {
    fn class(&self) -> aqueduct_core::ErrorClass {
        match self {
            Self::Open(error) => error.class(),
            Self::Read(error) => error.class(),
        }
    }
}

/// A pipeline's ledger, opened for reading beside whoever writes it.
#[derive(Debug)]
pub struct Inspection {
    store: SqliteStore,
    pipeline: String,
    path: PathBuf,
}

impl Inspection {
    /// Opens the ledger; `None` when the pipeline has never run here.
    ///
    /// # Errors
    ///
    /// [`InspectError`] when there is a ledger that cannot be opened.
    pub async fn open(spec: &PipelineSpec) -> Result<Option<Self>, InspectError> {
        let path = ledger_path(spec);
        if !path.exists() {
            return Ok(None);
        }
        let store = SqliteStore::open_read_only(&path).await?;
        Ok(Some(Self { store, pipeline: spec.name.clone(), path }))
    }

    /// The ledger's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the ledger; `None` when the pipeline has never run here.
    ///
    /// # Errors
    ///
    /// [`InspectError::Read`].
    pub async fn ledger(&mut self) -> Result<Option<Ledger>, InspectError> {
        Ok(self.store.ledger(&self.pipeline).await?)
    }

    /// Reads one page of dead letters.
    ///
    /// # Errors
    ///
    /// [`InspectError::Read`].
    pub async fn dead_letters(&mut self, filter: DeadLetterFilter) -> Result<Vec<DeadLetter>, InspectError> {
        Ok(self.store.dead_letters(&self.pipeline, filter).await?)
    }

    /// Counts the dead letters that are kept.
    ///
    /// # Errors
    ///
    /// [`InspectError::Read`].
    pub async fn dead_letter_count(&mut self) -> Result<u64, InspectError> {
        Ok(self.store.dead_letter_count(&self.pipeline).await?)
    }

    /// Adds up the dead letters that a filter admits.
    ///
    /// # Errors
    ///
    /// [`InspectError::Read`].
    pub async fn dead_letter_total(
        &mut self,
        filter: DeadLetterFilter,
    ) -> Result<DeadLetterTotal, InspectError> {
        Ok(self.store.dead_letter_total(&self.pipeline, filter).await?)
    }

    /// Reads the kept checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// [`InspectError::Read`].
    pub async fn checkpoints(&mut self) -> Result<Vec<Checkpoint>, InspectError> {
        Ok(self.store.checkpoints(&self.pipeline).await?)
    }

    /// Tells what retention has removed so far.
    ///
    /// # Errors
    ///
    /// [`InspectError::Read`].
    pub async fn removed(&mut self) -> Result<Removed, InspectError> {
        Ok(self.store.removed(&self.pipeline).await?)
    }
}
