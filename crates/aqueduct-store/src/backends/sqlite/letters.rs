//! Dead letters by filter: pages, totals, and the two changes that people make.

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::fault::Stop;
use super::{number, read, transaction};
use crate::dead_letter::{DeadLetter, DeadLetterEdit, DeadLetterFilter, DeadLetterTotal, Purged};

/// What a letter holds, as [`DeadLetter::bytes`] counts it.
pub(super) const BYTES: &str =
    "(coalesce(length(payload), 0) + length(original) + length(cast(reason as blob)))";

pub(super) async fn page(
    connection: &mut SqliteConnection,
    pipeline: &str,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetter>, sqlx::Error> {
    if read::is_missing(connection).await? {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::new("select * from aqueduct_dead_letter");
    of_page(&mut query, pipeline, filter)?;
    let letters = query.build().fetch_all(connection).await?;
    letters.iter().map(read::dead_letter).collect()
}

pub(super) async fn total(
    connection: &mut SqliteConnection,
    pipeline: &str,
    filter: &DeadLetterFilter,
) -> Result<DeadLetterTotal, sqlx::Error> {
    if read::is_missing(connection).await? {
        return Ok(DeadLetterTotal::default());
    }
    let mut query = QueryBuilder::new("select count(*) as letters, coalesce(sum");
    query.push(BYTES).push(", 0) as bytes from aqueduct_dead_letter");
    admitted(&mut query, pipeline, filter)?;
    let row = query.build().fetch_one(connection).await?;
    Ok(DeadLetterTotal {
        letters: number::unsigned(&row, "letters")?,
        bytes: number::unsigned(&row, "bytes")?,
    })
}

/// What became of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edited {
    Done,
    Changed,
    Gone,
}

pub(super) async fn edit(
    connection: &mut SqliteConnection,
    pipeline: &str,
    edit: &DeadLetterEdit,
) -> Result<Edited, Stop> {
    transaction::begin(connection).await?;
    let edited = write_edit(connection, pipeline, edit).await;
    transaction::end(connection, edited.map_err(Stop::Sql)).await
}

async fn write_edit(
    connection: &mut SqliteConnection,
    pipeline: &str,
    edit: &DeadLetterEdit,
) -> Result<Edited, sqlx::Error> {
    let DeadLetterEdit { read, payload } = edit;
    let of_letter = "select * from aqueduct_dead_letter where pipeline = ? and item_id = ? and stage = ?";
    let found = sqlx::query(of_letter)
        .bind(pipeline)
        .bind(&read.item_id)
        .bind(&read.stage)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else { return Ok(Edited::Gone) };
    if read::dead_letter(&found)? != *read {
        return Ok(Edited::Changed);
    }
    sqlx::query(
        "update aqueduct_dead_letter set payload = ? where pipeline = ? and item_id = ? and stage = ?",
    )
    .bind(&payload[..])
    .bind(pipeline)
    .bind(&read.item_id)
    .bind(&read.stage)
    .execute(connection)
    .await?;
    Ok(Edited::Done)
}

pub(super) async fn purge(
    connection: &mut SqliteConnection,
    pipeline: &str,
    filter: &DeadLetterFilter,
) -> Result<Purged, Stop> {
    transaction::begin(connection).await?;
    let purged = remove_page(connection, pipeline, filter).await;
    transaction::end(connection, purged.map_err(Stop::Sql)).await
}

async fn remove_page(
    connection: &mut SqliteConnection,
    pipeline: &str,
    filter: &DeadLetterFilter,
) -> Result<Purged, sqlx::Error> {
    let mut query = QueryBuilder::new("select rowid, item_id, stage from aqueduct_dead_letter");
    of_page(&mut query, pipeline, filter)?;
    let page = query.build().fetch_all(&mut *connection).await?;
    let ids: Vec<i64> = page.iter().map(|row| row.try_get("rowid")).collect::<Result<_, _>>()?;
    remove(connection, &ids).await?;
    let last = page.last().map(|row| Ok::<_, sqlx::Error>((row.try_get("item_id")?, row.try_get("stage")?)));
    Ok(Purged { letters: ids.len() as u64, last: last.transpose()? })
}

/// Removes letters by the number of their row. Runs inside the caller's transaction.
pub(super) async fn remove(connection: &mut SqliteConnection, ids: &[i64]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids = serde_json::to_string(ids).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query("delete from aqueduct_dead_letter where rowid in (select value from json_each(?))")
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// Adds the conditions of a filter, its page, order and limit.
fn of_page(
    query: &mut QueryBuilder<Sqlite>,
    pipeline: &str,
    filter: &DeadLetterFilter,
) -> Result<(), sqlx::Error> {
    admitted(query, pipeline, filter)?;
    if let Some((item_id, stage)) = &filter.after {
        query.push(" and (item_id, stage) > (").push_bind(item_id.clone());
        query.push(", ").push_bind(stage.clone()).push(")");
    }
    query.push(" order by item_id, stage limit ");
    query.push_bind(i64::try_from(filter.limit_or_default()).unwrap_or(i64::MAX));
    Ok(())
}

/// Adds the conditions of a filter. A missing one is left out, so that SQLite sees which index helps.
fn admitted(
    query: &mut QueryBuilder<Sqlite>,
    pipeline: &str,
    filter: &DeadLetterFilter,
) -> Result<(), sqlx::Error> {
    let DeadLetterFilter { stage, class, reason, since, until, items, after: _, limit: _ } = filter;
    query.push(" where pipeline = ").push_bind(pipeline.to_owned());
    if let Some(stage) = stage {
        query.push(" and stage = ").push_bind(stage.clone());
    }
    if let Some(class) = class {
        query.push(" and class = ").push_bind(class.as_str());
    }
    if let Some(reason) = reason {
        // SQLite's lower() knows ASCII only, as the filter says.
        query.push(" and instr(lower(reason), ").push_bind(reason.to_ascii_lowercase()).push(") > 0");
    }
    if let Some(since) = since {
        query.push(" and last >= ").push_bind(since.0);
    }
    if let Some(until) = until {
        query.push(" and last < ").push_bind(until.0);
    }
    if !items.is_empty() {
        let items = serde_json::to_string(items).map_err(|error| sqlx::Error::Encode(error.into()))?;
        query.push(" and item_id in (select value from json_each(").push_bind(items).push("))");
    }
    Ok(())
}
