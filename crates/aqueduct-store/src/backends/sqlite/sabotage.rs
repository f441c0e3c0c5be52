//! Deliberate bugs, which the crash checker must catch: the commits that an unwary author would write.

use aqueduct_core::failpoint;
use sqlx::SqliteConnection;

use super::commit::{Progress, check_fence, count, resolve, split, write, write_files, write_outputs};
use super::fault::Stop;
use super::transaction;
use crate::contract::Commit;

/// Commits position, counts and file marks first, and the outputs in a transaction after it.
pub(super) async fn position_first(connection: &mut SqliteConnection, commit: Commit) -> Result<(), Stop> {
    let (outputs, progress) = split(commit);
    transaction::begin(connection).await?;
    let moved = move_on(connection, &progress, Marks::Written).await;
    transaction::end(connection, moved).await?;
    transaction::begin(connection).await?;
    let written = write_outputs(connection, &progress.pipeline, outputs).await;
    transaction::end_epoch(connection, written).await
}

/// Commits the outputs first, and the position after it, whatever it is by then.
pub(super) async fn position_after_unconditional(
    connection: &mut SqliteConnection,
    commit: Commit,
) -> Result<(), Stop> {
    let (outputs, progress) = split(commit);
    transaction::begin(connection).await?;
    let mut written = write_outputs(connection, &progress.pipeline, outputs).await;
    if written.is_ok() {
        written = write_files(connection, &progress.pipeline, &progress.files).await;
    }
    transaction::end(connection, written).await?;
    transaction::begin(connection).await?;
    let moved = move_on(connection, &progress, Marks::Known).await;
    transaction::end_epoch(connection, moved).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marks {
    Written,
    Known,
}

async fn move_on(connection: &mut SqliteConnection, progress: &Progress, marks: Marks) -> Result<(), Stop> {
    failpoint::hit("ledger-begin")?;
    check_fence(connection, &progress.pipeline, progress.fence).await?;
    if marks == Marks::Written {
        write_files(connection, &progress.pipeline, &progress.files).await?;
    }
    for advance in &progress.advances {
        sqlx::query("update aqueduct_partition set position = ?, revision = revision + 1 where pipeline = ? and id = ?")
            .bind(advance.to.as_str())
            .bind(&progress.pipeline)
            .bind(advance.partition.0)
            .execute(&mut *connection)
            .await?;
    }
    failpoint::hit("ledger-position-after")?;
    count(connection, progress).await
}

/// Removes the replayed letters in a transaction of its own, before what became of them is written.
pub(super) async fn letter_removed_first(
    connection: &mut SqliteConnection,
    mut commit: Commit,
) -> Result<(), Stop> {
    let letters = std::mem::take(&mut commit.resolved);
    transaction::begin(connection).await?;
    let removed = resolve(connection, &commit.pipeline, &letters).await;
    transaction::end(connection, removed).await?;
    failpoint::hit("ledger-commit-after")?;
    transaction::begin(connection).await?;
    let written = write(connection, commit).await;
    transaction::end_epoch(connection, written).await
}
