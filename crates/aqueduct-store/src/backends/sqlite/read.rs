//! Reads the ledger back.

use aqueduct_core::{Counts, ErrorClass, Fence, PartitionId, Position, Revision, Timestamp};
use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{number, rows, schema, seal, transaction};
use crate::contract::{
    Checkpoint, CheckpointPosition, FileMark, JournalEntry, Ledger, PartitionState, RunOutcome, RunState,
};
use crate::dead_letter::{DeadLetter, Original};

/// Reads the ledger as it is at one moment, beside whoever writes.
pub(super) async fn ledger_snapshot(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<Option<Ledger>, sqlx::Error> {
    transaction::begin_reading(connection).await?;
    let read = ledger(connection, pipeline).await;
    // Ends a transaction that wrote nothing; if it fails, so does the next begin, which says so.
    let ended = sqlx::query("commit").execute(connection).await;
    let read = read?;
    ended?;
    Ok(read)
}

/// Reads the ledger inside the caller's transaction.
pub(super) async fn ledger(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<Option<Ledger>, sqlx::Error> {
    if is_missing(connection).await? {
        return Ok(None);
    }
    let found = sqlx::query("select * from aqueduct_pipeline where pipeline = ?")
        .bind(pipeline)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else { return Ok(None) };
    let tables = sqlx::query("select * from aqueduct_table where pipeline = ? order by name")
        .bind(pipeline)
        .fetch_all(&mut *connection)
        .await?;
    Ok(Some(Ledger {
        pipeline: pipeline.to_owned(),
        fence: Fence(number::unsigned(&found, "fence")?),
        generation: number::unsigned(&found, "generation")?,
        configuration: found.try_get("configuration")?,
        epoch: number::unsigned(&found, "epoch")?,
        partitions: partitions(connection, pipeline).await?,
        files: files(connection, pipeline).await?,
        tables: tables.iter().map(rows::remembered).collect::<Result<_, _>>()?,
        counts: counts(&found)?,
        run: run(&found)?,
    }))
}

pub(super) async fn dead_letter_count(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<u64, sqlx::Error> {
    if is_missing(connection).await? {
        return Ok(0);
    }
    let row = sqlx::query("select count(*) as count from aqueduct_dead_letter where pipeline = ?")
        .bind(pipeline)
        .fetch_one(connection)
        .await?;
    number::unsigned(&row, "count")
}

pub(super) async fn checkpoints(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<Vec<Checkpoint>, sqlx::Error> {
    if is_missing(connection).await? {
        return Ok(Vec::new());
    }
    let found = sqlx::query("select * from aqueduct_checkpoint where pipeline = ? order by epoch")
        .bind(pipeline)
        .fetch_all(connection)
        .await?;
    found.iter().map(checkpoint).collect()
}

pub(super) async fn state(
    connection: &mut SqliteConnection,
    pipeline: &str,
    stage: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, sqlx::Error> {
    if is_missing(connection).await? {
        return Ok(Vec::new());
    }
    let found = sqlx::query(
        "select key, value from aqueduct_state
         where pipeline = ?1 and stage = ?2 and (?3 is null or key > ?3) order by key limit ?4",
    )
    .bind(pipeline)
    .bind(stage)
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    found.iter().map(|row| Ok((row.try_get("key")?, row.try_get("value")?))).collect()
}

pub(super) async fn journalled(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<Vec<JournalEntry>, sqlx::Error> {
    if is_missing(connection).await? {
        return Ok(Vec::new());
    }
    let found =
        sqlx::query("select * from aqueduct_journal where pipeline = ? order by stage, item_id, call")
            .bind(pipeline)
            .fetch_all(connection)
            .await?;
    found
        .iter()
        .map(|row| {
            Ok(JournalEntry {
                stage: row.try_get("stage")?,
                item_id: row.try_get("item_id")?,
                call: number::narrow(row, "call")?,
                value: row.try_get("value")?,
            })
        })
        .collect()
}

/// Reads every position that was ever committed, by partition number.
pub(super) async fn positions(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<Vec<CheckpointPosition>, sqlx::Error> {
    let found = sqlx::query(
        "select id, position, next_item from aqueduct_partition
         where pipeline = ? and position is not null order by id",
    )
    .bind(pipeline)
    .fetch_all(connection)
    .await?;
    found
        .iter()
        .map(|row| {
            Ok(CheckpointPosition {
                partition: number::narrow(row, "id")?,
                position: Position::new(row.try_get::<String, _>("position")?),
                next_item: row.try_get("next_item")?,
            })
        })
        .collect()
}

/// Reads every committed file, by sink and part.
pub(super) async fn files(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<Vec<FileMark>, sqlx::Error> {
    let found = sqlx::query("select * from aqueduct_file where pipeline = ? order by sink, part")
        .bind(pipeline)
        .fetch_all(connection)
        .await?;
    found.iter().map(file).collect()
}

/// Tells whether the database has no ledger, as one has that a reader opens before the first run.
pub(super) async fn is_missing(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    Ok(schema::format(connection).await? == schema::Found::Nothing)
}

async fn partitions(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<Vec<PartitionState>, sqlx::Error> {
    let found = sqlx::query("select * from aqueduct_partition where pipeline = ? order by id")
        .bind(pipeline)
        .fetch_all(connection)
        .await?;
    found
        .iter()
        .map(|row| {
            Ok(PartitionState {
                id: PartitionId(number::narrow(row, "id")?),
                name: row.try_get("name")?,
                position: row.try_get::<Option<String>, _>("position")?.map(Position::new),
                revision: Revision(number::unsigned(row, "revision")?),
            })
        })
        .collect()
}

fn file(row: &SqliteRow) -> Result<FileMark, sqlx::Error> {
    Ok(FileMark {
        sink: row.try_get("sink")?,
        part: row.try_get("part")?,
        bytes: number::unsigned(row, "bytes")?,
        items: number::unsigned(row, "items")?,
    })
}

fn counts(row: &SqliteRow) -> Result<Counts, sqlx::Error> {
    Ok(Counts {
        read: number::unsigned(row, "read")?,
        spawned: number::unsigned(row, "spawned")?,
        delivered: number::unsigned(row, "delivered")?,
        dead_lettered: number::unsigned(row, "dead_lettered")?,
        skipped: number::unsigned(row, "skipped")?,
        absorbed: number::unsigned(row, "absorbed")?,
        dropped: number::unsigned(row, "dropped")?,
        abandoned: number::unsigned(row, "abandoned")?,
        in_flight: number::unsigned(row, "in_flight")?,
    })
}

fn run(row: &SqliteRow) -> Result<RunState, sqlx::Error> {
    let outcome = match row.try_get::<Option<String>, _>("outcome")? {
        None => None,
        Some(text) => Some(outcome(&text)?),
    };
    Ok(RunState {
        started: Timestamp(row.try_get("started")?),
        last_seen: Timestamp(row.try_get("last_seen")?),
        outcome,
    })
}

fn outcome(text: &str) -> Result<RunOutcome, sqlx::Error> {
    let known = [RunOutcome::Done, RunOutcome::Stopped, RunOutcome::Failed];
    let known = known.into_iter().find(|outcome| outcome.as_str() == text);
    known.ok_or_else(|| number::unreadable("outcome", format!("{text} is not an outcome of a run")))
}

/// Reads a checkpoint, a damaged one as far as it goes: the others are needed all the more then.
fn checkpoint(row: &SqliteRow) -> Result<Checkpoint, sqlx::Error> {
    let name = row.try_get("name")?;
    let epoch = number::unsigned(row, "epoch")?;
    let content = match seal::damage(row) {
        Some(damage) => Err(damage),
        None => content(row).map_err(|error| error.to_string()),
    };
    let (found, damage) = match content {
        Ok(found) => (found, None),
        Err(damage) => (Content::default(), Some(damage)),
    };
    let Content { at, positions, files, counts, configuration } = found;
    Ok(Checkpoint { name, epoch, at, positions, files, counts, configuration, damage })
}

/// What a checkpoint says.
#[derive(Default)]
struct Content {
    at: Timestamp,
    positions: Vec<CheckpointPosition>,
    files: Vec<FileMark>,
    counts: Counts,
    configuration: String,
}

fn content(row: &SqliteRow) -> Result<Content, sqlx::Error> {
    Ok(Content {
        at: Timestamp(row.try_get("at")?),
        positions: document(row, "positions")?,
        files: document(row, "files")?,
        counts: counts(row)?,
        configuration: match row.try_get("configuration") {
            Err(sqlx::Error::ColumnNotFound(_)) => String::new(),
            found => found?,
        },
    })
}

/// Reads a column that holds JSON.
fn document<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| number::unreadable(column, error))
}

pub(super) fn dead_letter(row: &SqliteRow) -> Result<DeadLetter, sqlx::Error> {
    let head: Bytes = row.try_get::<Vec<u8>, _>("original")?.into();
    let original = match row.try_get::<Option<Vec<u8>>, _>("original_sha256")? {
        None => Original::Whole(head),
        Some(sha256) => Original::Cut {
            offset: number::unsigned(row, "original_offset")?,
            bytes: number::unsigned(row, "original_bytes")?,
            sha256: sha256
                .try_into()
                .map_err(|_| number::unreadable("original_sha256", "it is not 32 bytes long"))?,
            head,
        },
    };
    Ok(DeadLetter {
        item_id: row.try_get("item_id")?,
        stage: row.try_get("stage")?,
        class: class(&row.try_get::<String, _>("class")?)?,
        reason: row.try_get("reason")?,
        attempts: number::narrow(row, "attempts")?,
        children: number::narrow(row, "children")?,
        first: Timestamp(row.try_get("first")?),
        last: Timestamp(row.try_get("last")?),
        payload: row.try_get::<Option<Vec<u8>>, _>("payload")?.map(Bytes::from),
        original,
    })
}

fn class(text: &str) -> Result<ErrorClass, sqlx::Error> {
    const CLASSES: [ErrorClass; 6] = [
        ErrorClass::Invalid,
        ErrorClass::Overload,
        ErrorClass::Transient,
        ErrorClass::Permanent,
        ErrorClass::Cancelled,
        ErrorClass::Internal,
    ];
    let known = CLASSES.into_iter().find(|class| class.as_str() == text);
    known.ok_or_else(|| number::unreadable("class", format!("{text} is not an error class")))
}
