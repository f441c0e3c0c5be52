//! Trying what a run will need, without changing anything.

use std::io;
use std::path::Path;

use aqueduct_store::{FileMark, SqliteStore, Store};

use crate::error::{ConfigError, RunError, SinkError, SourceError};
use crate::pipeline::{Pipeline, SinkKind};
use crate::sink::table::refuse_unfit;
use crate::sink::{Opening, SqliteSink};
use crate::stage::Work;

/// One thing that a run will need, and whether it is there.
#[derive(Debug)]
pub struct Connection {
    /// The part that needs it: `source`, `stage NAME`, `ledger`, `sink NAME` or `data folder`.
    pub part: String,
    /// What it is, in words.
    pub what: String,
    /// Why the run would fail on it.
    pub error: Option<RunError>,
}

impl Connection {
    /// What would mend it, where the error does not say so itself.
    #[must_use]
    pub fn mend(&self) -> Option<&'static str> {
        match self.error.as_ref()? {
            RunError::Source(SourceError::Missing { .. }) => Some("put it there, or correct the path"),
            RunError::Source(SourceError::Io { .. }) => Some("let this user read it"),
            RunError::Sink(SinkError::Io { .. }) | RunError::DataFolder { .. } => {
                Some("let this user write there, or choose another path")
            }
            _ => None,
        }
    }
}

impl Pipeline {
    /// Tries what a run will need: that the source can be read, the programs of stages are there, and the sinks and
    /// the data folder can be written. Nothing is created, changed, claimed or locked, so another run may still
    /// come first.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as [`Pipeline::run`] would give it before it looks at anything.
    ///
    /// # Cancel safety
    ///
    /// There is nothing to undo.
    pub async fn connect(mut self) -> Result<Vec<Connection>, ConfigError> {
        self.guarantees()?;
        let mut connections = Vec::new();
        let mut note = |part: String, what: String, result: Result<(), RunError>| {
            connections.push(Connection { part, what, error: result.err() });
        };
        if let Some(source) = &mut self.source {
            let result = source.connect().map_err(RunError::Source);
            note("source".to_owned(), source.describe(), result);
        }
        for step in &self.steps {
            if let Work::Async(stage, _) = &step.work
                && let Some(what) = stage.describe()
            {
                note(format!("stage {}", step.name), what, stage.open().await.map_err(RunError::Config));
            }
        }
        let ledger = self.ledger_path();
        let (files, result) = match connect_ledger(&ledger, &self.name).await {
            Ok(files) => (files, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        note("ledger".to_owned(), ledger.display().to_string(), result);
        for sink in &self.sinks {
            let part = format!("sink {}", sink.name);
            match &sink.kind {
                SinkKind::Direct(direct) => {
                    let marks: Vec<FileMark> =
                        files.iter().filter(|mark| *mark.sink == *sink.name).cloned().collect();
                    let opening =
                        Opening { sink: &sink.name, marks: &marks, guarantee: direct.guarantee().0 };
                    note(part, direct.describe(), direct.connect(&opening).map_err(RunError::Sink));
                }
                SinkKind::Table(table) => {
                    let what = format!("sqlite {}, table {}", table.path.display(), table.table);
                    let result = connect_table(&self.name, &sink.name, table).await;
                    note(part, what, result);
                }
            }
        }
        let folder = self.data_folder();
        let result =
            can_write(&folder).map_err(|source| RunError::DataFolder { path: folder.clone(), source });
        note("data folder".to_owned(), folder.display().to_string(), result);
        Ok(connections)
    }
}

/// The files that the ledger knows. Whether it can be written is a question of its sink or of the data folder.
async fn connect_ledger(path: &Path, pipeline: &str) -> Result<Vec<FileMark>, RunError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut store = SqliteStore::open_read_only(path).await?;
    Ok(store.ledger(pipeline).await?.map(|ledger| ledger.files).unwrap_or_default())
}

async fn connect_table(pipeline: &str, sink: &str, table: &SqliteSink) -> Result<(), RunError> {
    can_write(&table.path).map_err(|source| {
        RunError::Sink(SinkError::Io { sink: sink.to_owned(), path: table.path.clone(), source })
    })?;
    if !table.path.exists() {
        return Ok(());
    }
    let mut store = SqliteStore::open_read_only(&table.path).await?;
    let Some(found) = store.table(&table.table).await? else { return Ok(()) };
    let known = store.ledger(pipeline).await?.and_then(|ledger| {
        ledger.tables.into_iter().find(|known| known.name.eq_ignore_ascii_case(&table.table))
    });
    Ok(refuse_unfit(sink, table, &found, known.as_ref(), false)?)
}

/// Whether a path could be written by this user: it is there and writable, or could be made.
pub(crate) fn can_write(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let Some(there) = path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let metadata = there.metadata()?;
    if there != path && !metadata.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} is not a folder", there.display()),
        ));
    }
    may_write(there, &metadata)?;
    // A database and a file that is replaced need their folder too.
    match there.parent() {
        Some(folder) if metadata.is_file() => may_write(folder, &folder.metadata()?),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn may_write(path: &Path, metadata: &std::fs::Metadata) -> io::Result<()> {
    use rustix::fs::Access;
    let wanted = if metadata.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    Ok(rustix::fs::access(path, wanted)?)
}

#[cfg(not(unix))]
fn may_write(_: &Path, metadata: &std::fs::Metadata) -> io::Result<()> {
    // What is read-only on other systems are files; the rights of a folder show when it is written.
    if metadata.is_file() && metadata.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}
