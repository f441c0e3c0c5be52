//! The two writes: the journal and the epoch.

use std::collections::BTreeMap;

use aqueduct_core::{Counts, Fence, Timestamp, failpoint};
use sqlx::SqliteConnection;

use super::fault::Stop;
use super::insert::{Cell, Insert};
use super::{number, read, retain, rows, seal, transaction};
use crate::contract::{Advance, Commit, FileMark, JournalEntry, RunOutcome, StateChange};
use crate::dead_letter::{DeadLetter, Original};
use crate::error::CommitError;
use crate::retention::Retention;
use crate::row::{Rows, Table};

/// Makes one epoch durable, in the order of decision 0001, in one transaction.
pub(super) async fn commit(connection: &mut SqliteConnection, commit: Commit) -> Result<(), Stop> {
    #[cfg(feature = "failpoints")]
    if failpoint::sabotaged("position-first") {
        return super::sabotage::position_first(connection, commit).await;
    } else if failpoint::sabotaged("position-after-unconditional") {
        return super::sabotage::position_after_unconditional(connection, commit).await;
    } else if failpoint::sabotaged("letter-removed-first") && !commit.resolved.is_empty() {
        return super::sabotage::letter_removed_first(connection, commit).await;
    }
    transaction::begin(connection).await?;
    let written = write(connection, commit).await;
    transaction::end_epoch(connection, written).await
}

pub(super) async fn write(connection: &mut SqliteConnection, commit: Commit) -> Result<(), Stop> {
    let (outputs, progress) = split(commit);
    failpoint::hit("ledger-begin")?;
    check_fence(connection, &progress.pipeline, progress.fence).await?;
    write_outputs(connection, &progress.pipeline, outputs).await?;
    write_files(connection, &progress.pipeline, &progress.files).await?;
    advance(connection, &progress).await?;
    failpoint::hit("ledger-position-after")?;
    count(connection, &progress).await
}

/// What an epoch brings into the world.
#[derive(Debug)]
pub(super) struct Outputs {
    tables: Vec<Table>,
    widen: bool,
    rows: Vec<Rows>,
    resolved: Vec<(String, String)>,
    dead_letters: Vec<DeadLetter>,
    state: Vec<StateChange>,
    consumed: Vec<String>,
}

/// How far an epoch comes.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) pipeline: String,
    pub(super) fence: Fence,
    at: Timestamp,
    pub(super) files: Vec<FileMark>,
    pub(super) advances: Vec<Advance>,
    counts: Counts,
    landed: u64,
    resolved: u64,
    checkpoint: Option<String>,
    retention: Retention,
}

pub(super) fn split(commit: Commit) -> (Outputs, Progress) {
    let Commit {
        pipeline,
        fence,
        at,
        tables,
        rows,
        dead_letters,
        resolved,
        state,
        consumed,
        files,
        advances,
        counts,
        landed,
        widen,
        checkpoint,
        retention,
    } = commit;
    let letters = resolved.len() as u64;
    (
        Outputs { tables, widen, rows, resolved, dead_letters, state, consumed },
        Progress {
            pipeline,
            fence,
            at,
            files,
            advances,
            counts,
            landed,
            resolved: letters,
            checkpoint,
            retention,
        },
    )
}

pub(super) async fn check_fence(
    connection: &mut SqliteConnection,
    pipeline: &str,
    ours: Fence,
) -> Result<(), Stop> {
    let row = sqlx::query("select fence from aqueduct_pipeline where pipeline = ?")
        .bind(pipeline)
        .fetch_optional(connection)
        .await?;
    let current = row.map(|row| number::unsigned(&row, "fence").map(Fence)).transpose()?;
    match current {
        Some(current) if current == ours => Ok(()),
        current => Err(CommitError::Fenced { ours, current: current.unwrap_or_default() }.into()),
    }
}

pub(super) async fn write_outputs(
    connection: &mut SqliteConnection,
    pipeline: &str,
    outputs: Outputs,
) -> Result<(), Stop> {
    for table in &outputs.tables {
        rows::create_or_adopt(connection, pipeline, table, outputs.widen).await?;
    }
    for rows in outputs.rows {
        rows::write(connection, rows).await?;
    }
    failpoint::hit("ledger-rows-after")?;
    resolve(connection, pipeline, &outputs.resolved).await?;
    let written = write_dead_letters(connection, pipeline, outputs.dead_letters).await;
    if !failpoint::sabotaged("dead-letter-error-swallowed") {
        written?;
    }
    change_state(connection, pipeline, outputs.state).await?;
    consume(connection, pipeline, &outputs.consumed).await
}

/// Removes the letters that a replay has worked on again, and the checkpoints from before it.
pub(super) async fn resolve(
    connection: &mut SqliteConnection,
    pipeline: &str,
    letters: &[(String, String)],
) -> Result<(), Stop> {
    if letters.is_empty() {
        return Ok(());
    }
    let letters = serde_json::to_string(letters).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "delete from aqueduct_dead_letter where pipeline = ?1 and (item_id, stage) in
         (select value ->> 0, value ->> 1 from json_each(?2))",
    )
    .bind(pipeline)
    .bind(letters)
    .execute(&mut *connection)
    .await?;
    sqlx::query("delete from aqueduct_checkpoint where pipeline = ?")
        .bind(pipeline)
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes dead letters. One of the same item and stage replaces the earlier one, so that an epoch that is
/// repeated at least once leaves one letter.
async fn write_dead_letters(
    connection: &mut SqliteConnection,
    pipeline: &str,
    letters: Vec<DeadLetter>,
) -> Result<(), Stop> {
    if letters.is_empty() {
        return Ok(());
    }
    failpoint::hit("dead-letter-write")?;
    let mut cells = Vec::with_capacity(letters.len() * 14);
    for letter in letters {
        let (original, offset, bytes, sha256) = match letter.original {
            Original::Whole(bytes) => (bytes, Cell::Null, Cell::Null, Cell::Null),
            Original::Cut { offset, bytes, sha256, head } => (
                head,
                Cell::Integer(number::signed(offset)?),
                Cell::Integer(number::signed(bytes)?),
                Cell::Blob(sha256.to_vec()),
            ),
        };
        cells.extend([
            Cell::Text(pipeline.to_owned()),
            Cell::Text(letter.item_id),
            Cell::Text(letter.stage),
            Cell::Text(letter.class.as_str().to_owned()),
            Cell::Text(letter.reason),
            Cell::Integer(letter.attempts.into()),
            Cell::Integer(letter.children.into()),
            Cell::Integer(letter.first.0),
            Cell::Integer(letter.last.0),
            letter.payload.map_or(Cell::Null, |payload| Cell::Blob(payload.into())),
            Cell::Blob(original.into()),
            offset,
            bytes,
            sha256,
        ]);
    }
    let insert = Insert {
        head:
            "insert or replace into aqueduct_dead_letter (pipeline, item_id, stage, class, reason, attempts, \
               children, first, last, payload, original, original_offset, original_bytes, original_sha256)"
                .to_owned(),
        tail: String::new(),
        width: 14,
    };
    Ok(insert.run(connection, cells.into_iter()).await?)
}

async fn change_state(
    connection: &mut SqliteConnection,
    pipeline: &str,
    changes: Vec<StateChange>,
) -> Result<(), Stop> {
    // Only the last change of a key counts; after this, order no longer matters.
    let last: BTreeMap<(String, Vec<u8>), Option<Vec<u8>>> =
        changes.into_iter().map(|change| ((change.stage, change.key), change.value)).collect();
    let mut cells = Vec::new();
    for ((stage, key), value) in last {
        match value {
            Some(value) => cells.extend([
                Cell::Text(pipeline.to_owned()),
                Cell::Text(stage),
                Cell::Blob(key),
                Cell::Blob(value),
            ]),
            None => {
                sqlx::query("delete from aqueduct_state where pipeline = ? and stage = ? and key = ?")
                    .bind(pipeline)
                    .bind(stage)
                    .bind(key)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    let insert = Insert {
        head: "insert or replace into aqueduct_state (pipeline, stage, key, value)".to_owned(),
        tail: String::new(),
        width: 4,
    };
    Ok(insert.run(connection, cells.into_iter()).await?)
}

/// Removes the journal entries of these items.
async fn consume(connection: &mut SqliteConnection, pipeline: &str, items: &[String]) -> Result<(), Stop> {
    if items.is_empty() {
        return Ok(());
    }
    let items = serde_json::to_string(items).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "delete from aqueduct_journal where pipeline = ? and item_id in (select value from json_each(?))",
    )
    .bind(pipeline)
    .bind(items)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn write_files(
    connection: &mut SqliteConnection,
    pipeline: &str,
    files: &[FileMark],
) -> Result<(), Stop> {
    for mark in files {
        sqlx::query(
            "insert into aqueduct_file (pipeline, sink, part, bytes, items) values (?, ?, ?, ?, ?)
             on conflict (pipeline, sink, part) do update set bytes = excluded.bytes, items = excluded.items",
        )
        .bind(pipeline)
        .bind(&mark.sink)
        .bind(&mark.part)
        .bind(number::signed(mark.bytes)?)
        .bind(number::signed(mark.items)?)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Moves every position, each only from the revision that it was read at.
async fn advance(connection: &mut SqliteConnection, progress: &Progress) -> Result<(), Stop> {
    for advance in &progress.advances {
        let moved = sqlx::query(
            "update aqueduct_partition set position = ?, next_item = ?, revision = revision + 1
             where pipeline = ? and id = ? and revision = ?",
        )
        .bind(advance.to.as_str())
        .bind(&advance.next_item)
        .bind(&progress.pipeline)
        .bind(advance.partition.0)
        .bind(number::signed(advance.from.0)?)
        .execute(&mut *connection)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(CommitError::Conflict { partition: advance.partition, expected: advance.from }.into());
        }
    }
    Ok(())
}

/// Adds the epoch to the totals, and records the checkpoint if one is due.
pub(super) async fn count(connection: &mut SqliteConnection, progress: &Progress) -> Result<(), Stop> {
    let counts = &progress.counts;
    sqlx::query(
        "update aqueduct_pipeline set epoch = epoch + 1, read = read + ?, spawned = spawned + ?,
         delivered = delivered + ?, dead_lettered = dead_lettered + ? - ?, skipped = skipped + ?,
         absorbed = absorbed + ?, dropped = dropped + ?, abandoned = abandoned + ?, in_flight = in_flight + ? - ?,
         last_seen = ? where pipeline = ?",
    )
    .bind(number::signed(counts.read)?)
    .bind(number::signed(counts.spawned)?)
    .bind(number::signed(counts.delivered)?)
    .bind(number::signed(counts.dead_lettered)?)
    .bind(number::signed(progress.resolved)?)
    .bind(number::signed(counts.skipped)?)
    .bind(number::signed(counts.absorbed)?)
    .bind(number::signed(counts.dropped)?)
    .bind(number::signed(counts.abandoned)?)
    .bind(number::signed(counts.in_flight)?)
    .bind(number::signed(progress.landed)?)
    .bind(progress.at.0)
    .bind(&progress.pipeline)
    .execute(&mut *connection)
    .await?;
    match &progress.checkpoint {
        Some(name) => record_checkpoint(connection, progress, name).await,
        None => Ok(()),
    }
}

async fn record_checkpoint(
    connection: &mut SqliteConnection,
    progress: &Progress,
    name: &str,
) -> Result<(), Stop> {
    let text = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    let positions = read::positions(connection, &progress.pipeline).await?;
    let positions = serde_json::to_string(&positions).map_err(text)?;
    let files = read::files(connection, &progress.pipeline).await?;
    let files = serde_json::to_string(&files).map_err(text)?;
    let recorded = sqlx::query(
        "insert or replace into aqueduct_checkpoint (pipeline, name, epoch, at, positions, files, read, spawned,
         delivered, dead_lettered, skipped, absorbed, dropped, abandoned, in_flight, configuration)
         select pipeline, ?, epoch, ?, ?, ?, read, spawned, delivered, dead_lettered, skipped, absorbed, dropped,
         abandoned, in_flight, configuration from aqueduct_pipeline where pipeline = ? returning *",
    )
    .bind(name)
    .bind(progress.at.0)
    .bind(positions)
    .bind(files)
    .bind(&progress.pipeline)
    .fetch_one(&mut *connection)
    .await?;
    seal::seal(connection, &progress.pipeline, name, &recorded).await?;
    retain::enforce(connection, &progress.pipeline, &progress.retention, progress.at).await?;
    Ok(())
}

/// Keeps entries until a commit consumes them.
pub(super) async fn journal(
    connection: &mut SqliteConnection,
    pipeline: &str,
    fence: Fence,
    entries: Vec<JournalEntry>,
) -> Result<(), Stop> {
    transaction::begin(connection).await?;
    let written = write_journal(connection, pipeline, fence, entries).await;
    transaction::end(connection, written).await
}

async fn write_journal(
    connection: &mut SqliteConnection,
    pipeline: &str,
    fence: Fence,
    entries: Vec<JournalEntry>,
) -> Result<(), Stop> {
    check_fence(connection, pipeline, fence).await?;
    let mut cells = Vec::with_capacity(entries.len() * 5);
    for entry in entries {
        cells.extend([
            Cell::Text(pipeline.to_owned()),
            Cell::Text(entry.item_id),
            Cell::Text(entry.stage),
            Cell::Integer(entry.call.into()),
            Cell::Blob(entry.value),
        ]);
    }
    let insert = Insert {
        head: "insert or replace into aqueduct_journal (pipeline, item_id, stage, call, value)".to_owned(),
        tail: String::new(),
        width: 5,
    };
    Ok(insert.run(connection, cells.into_iter()).await?)
}

/// Notes how a run ended.
pub(super) async fn finish(
    connection: &mut SqliteConnection,
    pipeline: &str,
    fence: Fence,
    outcome: RunOutcome,
    at: Timestamp,
) -> Result<(), Stop> {
    transaction::begin(connection).await?;
    let written = write_outcome(connection, pipeline, fence, outcome, at).await;
    transaction::end(connection, written).await
}

async fn write_outcome(
    connection: &mut SqliteConnection,
    pipeline: &str,
    fence: Fence,
    outcome: RunOutcome,
    at: Timestamp,
) -> Result<(), Stop> {
    check_fence(connection, pipeline, fence).await?;
    sqlx::query("update aqueduct_pipeline set outcome = ?, last_seen = ? where pipeline = ?")
        .bind(outcome.as_str())
        .bind(at.0)
        .bind(pipeline)
        .execute(connection)
        .await?;
    Ok(())
}
