//! The tables of results.

use std::collections::{BTreeMap, HashSet};

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, TypeInfo, ValueRef};

use super::tally::tally;
use super::{Finding, Values, results};
use crate::oracle::Expected;

/// Compares the table of one database with the results that must be there.
pub(super) async fn check(place: &str, database: &mut SqliteConnection, expected: &Expected) -> Vec<Finding> {
    let rows = sqlx::query("select item_id, id, project, passed, score from evidence order by item_id, id");
    let rows = match rows.fetch_all(database).await {
        Ok(rows) => rows,
        Err(error) => return vec![Finding::wrong(place, format!("the table cannot be read: {error}"))],
    };
    let mut findings = Vec::new();
    let mut found = Vec::with_capacity(rows.len());
    let mut item_ids = HashSet::new();
    for row in &rows {
        match read(row) {
            Ok((item_id, id, values)) => {
                if !item_ids.insert(item_id.clone()) {
                    findings.push(Finding::wrong(place, format!("item id {item_id} is there twice")));
                }
                found.push((id, values));
            }
            Err(error) => findings.push(Finding::wrong(place, format!("a row cannot be read: {error}"))),
        }
    }
    findings.extend(tally(place, &results(expected), &found));
    findings
}

/// Compares the item ids of two tables: it is by them that a repeated epoch overwrites itself in the second one.
pub(super) async fn check_same_ids(
    first: &mut SqliteConnection,
    place: &str,
    second: &mut SqliteConnection,
) -> Vec<Finding> {
    match (ids(first).await, ids(second).await) {
        (Ok(first), Ok(second)) => {
            let strangers = second.iter().filter(|(item_id, id)| first.get(*item_id) != Some(*id));
            let what =
                |(item_id, id)| format!("{id} has the item id {item_id}, which it has not beside the ledger");
            strangers.map(|stranger| Finding::wrong(place, what(stranger))).collect()
        }
        (Err(error), _) | (_, Err(error)) => {
            vec![Finding::wrong(place, format!("the item ids cannot be compared: {error}"))]
        }
    }
}

async fn ids(database: &mut SqliteConnection) -> Result<BTreeMap<String, String>, sqlx::Error> {
    let rows = sqlx::query("select item_id, id from evidence").fetch_all(database).await?;
    rows.iter().map(|row| Ok((row.try_get("item_id")?, row.try_get("id")?))).collect()
}

fn read(row: &SqliteRow) -> Result<(String, String, Values), sqlx::Error> {
    let project: Option<String> = row.try_get("project")?;
    let values = Values::new(project.as_deref(), row.try_get("passed")?, number(row, "score")?);
    Ok((row.try_get("item_id")?, row.try_get("id")?, values))
}

/// A double, or an integer where the double was whole.
fn number(row: &SqliteRow, column: &str) -> Result<Option<f64>, sqlx::Error> {
    let integer = {
        let raw = row.try_get_raw(column)?;
        !raw.is_null() && raw.type_info().name() == "INTEGER"
    };
    if integer {
        let whole: i64 = row.try_get(column)?;
        // Scores are below a hundred; any other number is wrong and stays wrong.
        return Ok(i32::try_from(whole).ok().map(f64::from));
    }
    row.try_get(column)
}
