//! Removes what a pipeline does not need any more, or everything, so that its next run starts over.

use std::io;
use std::path::PathBuf;

use aqueduct_core::Timestamp;
use aqueduct_store::{Removed, SqliteStore, Store};

use crate::inspect::ledger_path;
use crate::outputs;
use crate::spec::PipelineSpec;
use crate::upkeep::UpkeepError;

/// How much is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanScope {
    /// What retention does not keep, and what a killed run left behind.
    Surplus,
    /// Also all that the ledger knows of the pipeline.
    Ledger,
    /// Also the files and tables that it wrote.
    Outputs,
}

/// What will be removed, found before anything is touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanPlan {
    /// Letters and checkpoints beyond retention.
    pub surplus: Removed,
    /// Files that a killed run left half-written, and whole files of the data folder.
    pub files: Vec<PathBuf>,
    /// Databases whose ledger forgets the pipeline, its own ledger last.
    pub ledgers: Vec<PathBuf>,
    /// Output files that the ledger has marked.
    pub output_files: Vec<PathBuf>,
    /// Tables that the pipeline wrote, each with its database.
    pub output_tables: Vec<(PathBuf, String)>,
    /// Tables that stay, since these other pipelines of the same database write them, too.
    pub shared_tables: Vec<(String, Vec<String>)>,
}

impl CleanPlan {
    /// Tells whether there is nothing to remove.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { surplus, files, ledgers, output_files, output_tables, shared_tables: _ } = self;
        *surplus == Removed::default()
            && files.is_empty()
            && ledgers.is_empty()
            && output_files.is_empty()
            && output_tables.is_empty()
    }
}

/// A cleaning that stopped on the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CleanError {
    /// The ledger cannot be read or changed.
    #[error(transparent)]
    Ledger(#[from] UpkeepError),
    /// A file cannot be removed.
    #[error("{} cannot be removed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl aqueduct_core::Classified for CleanError {
    fn class(&self) -> aqueduct_core::ErrorClass {
        match self {
            Self::Ledger(error) => error.class(),
            Self::File { .. } => aqueduct_core::ErrorClass::Permanent,
        }
    }
}

impl CleanPlan {
    /// Finds what there is to remove. Removes nothing; the caller [holds](crate::hold) the pipeline, or only looks.
    ///
    /// # Errors
    ///
    /// [`CleanError::Ledger`].
    pub async fn find(spec: &PipelineSpec, scope: CleanScope, at: Timestamp) -> Result<Self, CleanError> {
        let mut plan = Self::default();
        let unfinished = outputs::folders(spec).map(|(_, folder)| folder.join("manifest.json.new"));
        plan.files.extend(unfinished.filter(|path| path.is_file()));
        let mut databases = outputs::databases(spec);
        databases.reverse();
        for path in databases.into_iter().filter(|path| path.is_file()) {
            plan.look_into(spec, scope, path, at).await?;
        }
        Ok(plan)
    }

    async fn look_into(
        &mut self,
        spec: &PipelineSpec,
        scope: CleanScope,
        path: PathBuf,
        at: Timestamp,
    ) -> Result<(), UpkeepError> {
        // Looked at first: opening to write would make a ledger where there is none.
        let mut reading = SqliteStore::open_read_only(&path).await?;
        let known = reading.ledger(&spec.name).await?;
        Box::new(reading).close().await?;
        let Some(ledger) = known else { return Ok(()) };
        let mut store = SqliteStore::open(&path).await?;
        if scope == CleanScope::Surplus {
            let surplus = store.surplus(&spec.name, &spec.retention, at).await?;
            self.surplus += surplus;
            return Ok(Box::new(store).close().await?);
        }
        if scope == CleanScope::Outputs {
            self.output_files.extend(
                ledger
                    .files
                    .iter()
                    .filter_map(|mark| outputs::part_path(spec, mark))
                    .filter(|path| path.is_file()),
            );
            let manifests = outputs::folders(spec).map(|(_, folder)| folder.join("manifest.json"));
            let manifests: Vec<PathBuf> = manifests.filter(|path| path.is_file()).collect();
            for manifest in manifests {
                if !self.output_files.contains(&manifest) {
                    self.output_files.push(manifest);
                }
            }
            for table in &ledger.tables {
                let others = store.other_writers(&table.name, &spec.name).await?;
                if others.is_empty() {
                    self.output_tables.push((path.clone(), table.name.clone()));
                } else {
                    self.shared_tables.push((table.name.clone(), others));
                }
            }
        }
        let alone = store.facts().await?.pipelines.len() == 1;
        Box::new(store).close().await?;
        let own = spec.path(&spec.settings.data_dir.value).join("ledger.db");
        if alone && path == own && path == ledger_path(spec) {
            self.files.push(path.clone());
        }
        self.ledgers.push(path);
        Ok(())
    }

    /// Removes what was found. The caller [holds](crate::hold) the pipeline.
    ///
    /// Outputs go first and the ledger last, so that a cleaning that was interrupted can be done again.
    ///
    /// # Errors
    ///
    /// [`CleanError`]; what was removed before stays removed.
    pub async fn carry_out(&self, spec: &PipelineSpec, at: Timestamp) -> Result<(), CleanError> {
        for path in &self.output_files {
            remove(path)?;
        }
        for (path, table) in &self.output_tables {
            let mut store = SqliteStore::open(path).await.map_err(UpkeepError::from)?;
            store.drop_table(table).await.map_err(UpkeepError::from)?;
            Box::new(store).close().await.map_err(UpkeepError::from)?;
        }
        for path in &self.ledgers {
            let mut store = SqliteStore::open(path).await.map_err(UpkeepError::from)?;
            store.forget(&spec.name).await.map_err(UpkeepError::from)?;
            Box::new(store).close().await.map_err(UpkeepError::from)?;
        }
        if self.surplus != Removed::default()
            && let Some(mut upkeep) = crate::upkeep::Upkeep::open(spec).await?
        {
            upkeep.retain(spec, at).await?;
            upkeep.close().await?;
        }
        for path in &self.files {
            remove(path)?;
            for suffix in ["-wal", "-shm"] {
                let mut beside = path.as_os_str().to_owned();
                beside.push(suffix);
                remove(&PathBuf::from(beside))?;
            }
        }
        Ok(())
    }
}

/// Writes the databases of a pipeline anew without their free pages. The caller [holds](crate::hold) the pipeline.
///
/// # Errors
///
/// [`UpkeepError`]; a database that was not written is as it was.
pub async fn vacuum(spec: &PipelineSpec) -> Result<(), UpkeepError> {
    for path in outputs::databases(spec).into_iter().filter(|path| path.is_file()) {
        let mut store = SqliteStore::open(&path).await?;
        store.vacuum().await?;
        Box::new(store).close().await?;
    }
    Ok(())
}

fn remove(path: &PathBuf) -> Result<(), CleanError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(CleanError::File { path: path.clone(), source })
        }
        _ => Ok(()),
    }
}
