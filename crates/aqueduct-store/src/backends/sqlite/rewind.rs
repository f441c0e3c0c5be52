//! Takes a pipeline back to a checkpoint.

use std::collections::BTreeMap;

use aqueduct_core::{Fence, ItemId, PartitionId, SourceId};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::commit::{check_fence, write_files};
use super::fault::Stop;
use super::{number, read, rows, transaction};
use crate::contract::{CheckpointPosition, FileMark, Rewind};
use crate::row::ITEM_ID;

pub(super) async fn rewind(
    connection: &mut SqliteConnection,
    pipeline: &str,
    fence: Fence,
    rewind: Rewind,
) -> Result<(), Stop> {
    transaction::begin(connection).await?;
    let written = write(connection, pipeline, fence, rewind).await;
    transaction::end_epoch(connection, written).await
}

async fn write(
    connection: &mut SqliteConnection,
    pipeline: &str,
    fence: Fence,
    rewind: Rewind,
) -> Result<(), Stop> {
    check_fence(connection, pipeline, fence).await?;
    let Rewind { checkpoint, tables, state_after, at } = rewind;
    for (from, to) in move_back(connection, pipeline, &checkpoint.positions).await? {
        sqlx::query("delete from aqueduct_dead_letter where pipeline = ? and item_id >= ? and item_id < ?")
            .bind(pipeline)
            .bind(&from)
            .bind(&to)
            .execute(&mut *connection)
            .await?;
        for table in &tables {
            delete_rows(connection, table, &from, &to).await?;
        }
    }
    let marks = shortened(connection, pipeline, checkpoint.files).await?;
    write_files(connection, pipeline, &marks).await?;
    sqlx::query("delete from aqueduct_state where pipeline = ? and key > ?")
        .bind(pipeline)
        .bind(state_after)
        .execute(&mut *connection)
        .await?;
    sqlx::query("delete from aqueduct_checkpoint where pipeline = ? and epoch > ?")
        .bind(pipeline)
        .bind(number::signed(checkpoint.epoch)?)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "update aqueduct_pipeline set epoch = epoch + 1, last_seen = ?1, (read, spawned, delivered, dead_lettered,
         skipped, absorbed, dropped, abandoned, in_flight) = (select read, spawned, delivered, dead_lettered, skipped,
         absorbed, dropped, abandoned, in_flight from aqueduct_checkpoint where pipeline = ?2 and name = ?3)
         where pipeline = ?2",
    )
    .bind(at.0)
    .bind(pipeline)
    .bind(&checkpoint.name)
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets every position to what it was; gives for each partition the ids that lie behind it: from the first, up to
/// and without the second.
async fn move_back(
    connection: &mut SqliteConnection,
    pipeline: &str,
    positions: &[CheckpointPosition],
) -> Result<Vec<(String, String)>, Stop> {
    let then: BTreeMap<u32, &CheckpointPosition> =
        positions.iter().map(|then| (then.partition, then)).collect();
    let known = sqlx::query("select id from aqueduct_partition where pipeline = ? order by id")
        .bind(pipeline)
        .fetch_all(&mut *connection)
        .await?;
    let mut ranges = Vec::with_capacity(known.len());
    for row in known {
        let id: u32 = number::narrow(&row, "id")?;
        let then = then.get(&id);
        sqlx::query(
            "update aqueduct_partition set position = ?, next_item = ?, revision = revision + 1
             where pipeline = ? and id = ?",
        )
        .bind(then.map(|then| then.position.as_str()))
        .bind(then.map_or("", |then| then.next_item.as_str()))
        .bind(pipeline)
        .bind(id)
        .execute(&mut *connection)
        .await?;
        let first = |id: u32| ItemId::new(SourceId(0), PartitionId(id), 0).to_string();
        ranges.push((then.map_or_else(|| first(id), |then| then.next_item.clone()), first(id + 1)));
    }
    Ok(ranges)
}

/// Removes the rows of items in this range of ids.
async fn delete_rows(
    connection: &mut SqliteConnection,
    table: &str,
    from: &str,
    to: &str,
) -> Result<(), Stop> {
    let delete = format!("delete from {} where {ITEM_ID} >= ? and {ITEM_ID} < ?", rows::quoted(table));
    sqlx::query(AssertSqlSafe(delete)).bind(from).bind(to).execute(connection).await?;
    Ok(())
}

/// The marks of the checkpoint, and a length of 0 for every file that came later.
async fn shortened(
    connection: &mut SqliteConnection,
    pipeline: &str,
    mut then: Vec<FileMark>,
) -> Result<Vec<FileMark>, Stop> {
    for now in read::files(connection, pipeline).await? {
        if !then.iter().any(|mark| mark.sink == now.sink && mark.part == now.part) {
            then.push(FileMark { bytes: 0, items: 0, ..now });
        }
    }
    Ok(then)
}
