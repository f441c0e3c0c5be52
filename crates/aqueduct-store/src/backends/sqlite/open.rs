//! Opens a database, for writing or beside a writer, and refuses what must not be touched.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::{fault, retain, schema};
use crate::error::OpenError;

/// How long a statement waits for another process to let go: longer than any commit of ours takes, and short
/// enough for a person who started the same pipeline twice.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How many prepared statements are kept: some thirty of the ledger's own, and for each table one a group size.
const STATEMENTS_KEPT: usize = 256;

/// The page cache in KiB, as a negative number as the pragma has it. Rows in key order need next to nothing
/// (2 MiB are as fast); 16 MiB keep the upper levels and the hot pages of a table that is upserted by key.
const CACHE_SIZE: &str = "-16384";

/// Opens a database to write, and makes it and its ledger where they are missing.
pub(super) async fn read_write(path: &Path) -> Result<SqliteConnection, OpenError> {
    if path.is_dir() {
        return Err(damaged(path, "it is a folder"));
    }
    if !folder(path).is_dir() {
        let error = io::Error::new(io::ErrorKind::NotFound, "its folder is not there");
        return Err(OpenError::Backend { path: path.to_owned(), source: error.into() });
    }
    let options = options(path).create_if_missing(true);
    let mut connection = options.connect().await.map_err(|error| fault::open(path, error))?;
    match prepare(path, &mut connection).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            // What failed is already known; closing may only fail the same way.
            let _ = connection.close().await;
            Err(error)
        }
    }
}

/// Opens a database to read, beside a writer or alone; makes no file.
pub(super) async fn read_only(path: &Path) -> Result<SqliteConnection, OpenError> {
    if path.is_dir() {
        return Err(damaged(path, "it is a folder"));
    }
    if !path.is_file() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    // Without a log there is no writer, and a plain read-only open would make one. If a writer starts while we
    // read, it writes its log and leaves the file alone until it folds the log, after thousands of pages.
    let options = options(path).read_only(true).immutable(!log(path).exists());
    let mut connection = options.connect().await.map_err(|error| fault::open(path, error))?;
    match refuse_newer(path, &mut connection).await {
        Ok(_) => Ok(connection),
        Err(error) => {
            let _ = connection.close().await;
            Err(error)
        }
    }
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    // SQLite takes `file:` and `:memory:` for something else than names; a leading folder stops that.
    let path = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .foreign_keys(true)
        .pragma("synchronous", "full")
        // Only macOS knows the difference: there a plain sync leaves the data in the drive's cache.
        .pragma("fullfsync", "on")
        .pragma("checkpoint_fullfsync", "on")
        .pragma("cache_size", CACHE_SIZE)
        .pragma("mmap_size", "0")
        // A table that we adopt may come with triggers and views of people whom nobody knows.
        .pragma("trusted_schema", "off")
        .disable_statement_logging()
}

async fn prepare(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    // Read before the first change: a database that is refused stays as it was.
    if refuse_newer(path, connection).await? != schema::Found::Nothing {
        let found = schema::damage(connection).await.map_err(|error| fault::open(path, error))?;
        if let Some(said) = found {
            return Err(damaged(path, &said));
        }
    }
    write(connection).await.map_err(|error| fault::open(path, error))
}

async fn refuse_newer(path: &Path, connection: &mut SqliteConnection) -> Result<schema::Found, OpenError> {
    let found = schema::format(connection).await.map_err(|error| fault::open(path, error))?;
    match found {
        schema::Found::Format(found) if found > schema::FORMAT => {
            Err(OpenError::Newer { path: path.to_owned(), found, supported: schema::FORMAT })
        }
        found => Ok(found),
    }
}

/// Turns the log on and makes the ledger. Takes the write lock in any case, so that a database which another
/// process holds is refused here and not in the middle of a run.
async fn write(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mode = sqlx::query("pragma journal_mode = wal").fetch_one(&mut *connection).await?;
    let mode: String = mode.try_get(0)?;
    if mode != "wal" {
        let text =
            format!("SQLite keeps its journal mode {mode}; the file system lacks shared memory for the log");
        return Err(sqlx::Error::Configuration(text.into()));
    }
    sqlx::query("begin immediate").execute(&mut *connection).await?;
    let made = match schema::format(connection).await {
        Ok(schema::Found::Nothing) => schema::create(connection).await,
        Ok(schema::Found::Format(found)) => schema::upgrade(connection, found).await,
        Err(error) => Err(error),
    };
    let made = match made {
        Ok(()) => retain::prepare(connection).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(()) => sqlx::query("commit").execute(&mut *connection).await.map(|_| ()),
        Err(error) => {
            // The first error says what happened; the rollback can only repeat it.
            let _ = sqlx::query("rollback").execute(&mut *connection).await;
            Err(error)
        }
    }
}

fn damaged(path: &Path, said: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), source: said.to_owned().into() }
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn log(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}
