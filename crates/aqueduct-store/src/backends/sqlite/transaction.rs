//! Begins and ends transactions, and tells a failed commit from an unknown one.

use aqueduct_core::failpoint;
use sqlx::SqliteConnection;

use super::fault::{self, Stop};
use crate::error::CommitError;

/// Begins a transaction that writes: it takes the lock now, so that nothing that is read can change under it.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("begin immediate").execute(connection).await.map(|_| ())
}

/// Begins a transaction that reads: everything in it comes from one moment.
pub(super) async fn begin_reading(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("begin").execute(connection).await.map(|_| ())
}

/// Begins a transaction that reads, and takes its moment now: SQLite would take it at the first read.
pub(super) async fn begin_snapshot(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    begin_reading(connection).await?;
    sqlx::query("select count(*) from sqlite_schema").fetch_one(connection).await.map(|_| ())
}

/// Commits what succeeded, rolls back what did not.
pub(super) async fn end<T>(connection: &mut SqliteConnection, work: Result<T, Stop>) -> Result<T, Stop> {
    let value = match work {
        Ok(value) => value,
        Err(stop) => return Err(undo(connection, stop).await),
    };
    match sqlx::query("commit").execute(&mut *connection).await {
        Ok(_) => Ok(value),
        Err(error) if fault::commit_changed_nothing(&error) => Err(undo(connection, error.into()).await),
        Err(error) => {
            // Best effort, to let the lock go; the outcome stays unknown whatever this says.
            let _ = rollback(connection).await;
            Err(Stop::Refused(CommitError::Unknown(error.into())))
        }
    }
}

/// The same for an epoch, with the points at which the crash checker kills.
pub(super) async fn end_epoch(connection: &mut SqliteConnection, work: Result<(), Stop>) -> Result<(), Stop> {
    let work = work.and_then(|()| Ok(failpoint::hit("ledger-commit-before")?));
    end(connection, work).await?;
    failpoint::hit("ledger-commit-after").map_err(|error| Stop::Refused(CommitError::Unknown(error.into())))
}

async fn undo(connection: &mut SqliteConnection, stop: Stop) -> Stop {
    match rollback(connection).await {
        Ok(()) => stop,
        // Open and uncommitted, the transaction goes with the connection; the reason is still the first error.
        Err(error) => Stop::Refused(CommitError::Unknown(error.into())),
    }
}

async fn rollback(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let rolled_back = sqlx::query("rollback").execute(connection).await.map(|_| ());
    match rolled_back {
        // SQLite itself rolls back after some errors, a full disk among them. Then there is nothing left to do.
        Err(error) if error.to_string().contains("no transaction is active") => Ok(()),
        other => other,
    }
}
