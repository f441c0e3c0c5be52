//! Removes the oldest checkpoints and dead letters, without looking at those that stay.
//!
//! What retention needs to know is kept up to date by triggers: how many letters a pipeline has, and how many bytes.
//! They belong to the table, so every way in which a letter comes and goes is counted, and the table itself stays as it
//! was. An index by time gives the oldest letters.

use aqueduct_core::Timestamp;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::fault::Stop;
use super::{letters, number, transaction};
use crate::retention::{Removed, Retention, Surplus, cutoff};

/// How many of the oldest letters are looked at in one query.
const PAGE: i64 = 500;

/// Makes the table of totals, the index and the triggers where they are missing. Runs inside the caller's transaction.
///
/// # Complexity
///
/// Linear in the number of letters the first time, constant afterwards.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let there = sqlx::query(
        "select 1 from sqlite_schema where type = 'trigger' and name = 'aqueduct_letter_removed'",
    )
    .fetch_optional(&mut *connection)
    .await?;
    if there.is_some() {
        return Ok(());
    }
    let of = |row: &str| {
        format!(
            "(coalesce(length({row}.payload), 0) + length({row}.original) + length(cast({row}.reason as blob)))"
        )
    };
    let (new, old, bytes) = (of("new"), of("old"), letters::BYTES);
    // `insert or replace` takes the earlier letter away without a trigger of its own, so what comes in takes it off
    // the totals first. An `insert or ignore` in a trigger would follow the outer statement and replace, too.
    let sql = format!(
        "
create table if not exists aqueduct_retained (
    pipeline text primary key,
    letters integer not null,
    bytes integer not null,
    letters_removed integer not null default 0,
    checkpoints_removed integer not null default 0
) without rowid;
create index if not exists aqueduct_dead_letter_last on aqueduct_dead_letter (pipeline, last);
create trigger if not exists aqueduct_letter_comes before insert on aqueduct_dead_letter begin
    insert into aqueduct_retained (pipeline, letters, bytes) select new.pipeline, 0, 0
        where not exists (select 1 from aqueduct_retained where pipeline = new.pipeline);
    update aqueduct_retained set (letters, bytes) =
        (select aqueduct_retained.letters - count(*), aqueduct_retained.bytes - coalesce(sum({bytes}), 0)
         from aqueduct_dead_letter as known
         where known.pipeline = new.pipeline and known.item_id = new.item_id and known.stage = new.stage)
        where pipeline = new.pipeline;
end;
create trigger if not exists aqueduct_letter_came after insert on aqueduct_dead_letter begin
    update aqueduct_retained set letters = letters + 1, bytes = bytes + {new} where pipeline = new.pipeline;
end;
create trigger if not exists aqueduct_letter_changed after update on aqueduct_dead_letter begin
    update aqueduct_retained set bytes = bytes + {new} - {old} where pipeline = new.pipeline;
end;
create trigger if not exists aqueduct_letter_removed after delete on aqueduct_dead_letter begin
    update aqueduct_retained set letters = letters - 1, bytes = bytes - {old} where pipeline = old.pipeline;
end;
insert into aqueduct_retained (pipeline, letters, bytes)
    select pipeline, count(*), sum({bytes}) from aqueduct_dead_letter where true group by pipeline
    on conflict (pipeline) do update set letters = excluded.letters, bytes = excluded.bytes;
"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

pub(super) async fn retain(
    connection: &mut SqliteConnection,
    pipeline: &str,
    retention: &Retention,
    at: Timestamp,
) -> Result<Removed, Stop> {
    transaction::begin(connection).await?;
    let removed = enforce(connection, pipeline, retention, at).await;
    transaction::end(connection, removed.map_err(Stop::Sql)).await
}

/// Removes what is not kept. Runs inside the caller's transaction.
pub(super) async fn enforce(
    connection: &mut SqliteConnection,
    pipeline: &str,
    retention: &Retention,
    at: Timestamp,
) -> Result<Removed, sqlx::Error> {
    let checkpoints = remove_checkpoints(connection, pipeline, retention, at).await?;
    let dead_letters = if retention.limits_dead_letters() {
        remove_letters(connection, pipeline, retention, at).await?
    } else {
        0
    };
    let removed = Removed { checkpoints, dead_letters };
    if removed != Removed::default() {
        sqlx::query(
            "insert into aqueduct_retained (pipeline, letters, bytes, letters_removed, checkpoints_removed)
             values (?, 0, 0, ?, ?) on conflict (pipeline) do update set
                 letters_removed = letters_removed + excluded.letters_removed,
                 checkpoints_removed = checkpoints_removed + excluded.checkpoints_removed",
        )
        .bind(pipeline)
        .bind(number::signed(dead_letters)?)
        .bind(number::signed(checkpoints)?)
        .execute(connection)
        .await?;
    }
    Ok(removed)
}

async fn remove_checkpoints(
    connection: &mut SqliteConnection,
    pipeline: &str,
    retention: &Retention,
    at: Timestamp,
) -> Result<u64, sqlx::Error> {
    // An epoch records one checkpoint at most, so epochs order them.
    let removed = sqlx::query(
        "delete from aqueduct_checkpoint where pipeline = ?1
         and epoch <> (select max(epoch) from aqueduct_checkpoint where pipeline = ?1)
         and (at < ?3 or epoch not in
              (select epoch from aqueduct_checkpoint where pipeline = ?1 order by epoch desc limit ?2))",
    )
    .bind(pipeline)
    .bind(i64::try_from(retention.checkpoints).unwrap_or(i64::MAX))
    .bind(retention.checkpoint_age_max.map(|age| cutoff(at, age).0))
    .execute(connection)
    .await?;
    Ok(removed.rows_affected())
}

async fn remove_letters(
    connection: &mut SqliteConnection,
    pipeline: &str,
    retention: &Retention,
    at: Timestamp,
) -> Result<u64, sqlx::Error> {
    let found = sqlx::query("select letters, bytes from aqueduct_retained where pipeline = ?")
        .bind(pipeline)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else { return Ok(0) };
    let letters = number::unsigned(&found, "letters")?;
    let mut left = Surplus { retention, at, letters, bytes: number::unsigned(&found, "bytes")? };
    let oldest = format!(
        "select rowid, last, {} as bytes from aqueduct_dead_letter where pipeline = ? order by last, rowid limit {PAGE}",
        letters::BYTES
    );
    let mut removed = 0;
    while removed < Retention::LETTERS_REMOVED_MAX {
        let page =
            sqlx::query(AssertSqlSafe(oldest.clone())).bind(pipeline).fetch_all(&mut *connection).await?;
        let mut ids = Vec::new();
        for row in &page {
            if !left.takes(Timestamp(row.try_get("last")?), number::unsigned(row, "bytes")?) {
                break;
            }
            ids.push(row.try_get::<i64, _>("rowid")?);
        }
        letters::remove(connection, &ids).await?;
        removed += ids.len() as u64;
        if ids.len() < page.len() || page.is_empty() {
            break;
        }
    }
    Ok(removed)
}

pub(super) async fn removed(
    connection: &mut SqliteConnection,
    pipeline: &str,
) -> Result<Removed, sqlx::Error> {
    // A ledger of before is read without the table; opening it to write makes it.
    let there =
        sqlx::query("select 1 from sqlite_schema where type = 'table' and name = 'aqueduct_retained'")
            .fetch_optional(&mut *connection)
            .await?;
    if there.is_none() {
        return Ok(Removed::default());
    }
    let found =
        sqlx::query("select letters_removed, checkpoints_removed from aqueduct_retained where pipeline = ?")
            .bind(pipeline)
            .fetch_optional(connection)
            .await?;
    let read = |row| {
        Ok::<_, sqlx::Error>(Removed {
            checkpoints: number::unsigned(row, "checkpoints_removed")?,
            dead_letters: number::unsigned(row, "letters_removed")?,
        })
    };
    found.as_ref().map_or(Ok(Removed::default()), read)
}

/// Removes all rows of a pipeline from every table of the ledger.
pub(super) async fn forget(connection: &mut SqliteConnection, pipeline: &str) -> Result<(), Stop> {
    transaction::begin(connection).await?;
    let forgotten = forget_all(connection, pipeline).await;
    transaction::end(connection, forgotten.map_err(Stop::Sql)).await
}

async fn forget_all(connection: &mut SqliteConnection, pipeline: &str) -> Result<(), sqlx::Error> {
    // Found rather than listed, so that a table which joins the ledger later is not forgotten here. The totals go
    // last: the triggers of the letters write to them.
    let tables = sqlx::query(
        "select m.name as name from sqlite_schema as m join pragma_table_info(m.name) as c on c.name = 'pipeline'
         where m.type = 'table' and m.name like 'aqueduct\\_%' escape '\\'
         order by m.name = 'aqueduct_retained', m.name",
    )
    .fetch_all(&mut *connection)
    .await?;
    for table in &tables {
        let table: String = table.try_get("name")?;
        let sql = format!("delete from \"{table}\" where pipeline = ?");
        sqlx::query(AssertSqlSafe(sql)).bind(pipeline).execute(&mut *connection).await?;
    }
    Ok(())
}
