//! The table of results.

use std::collections::HashSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, TypeInfo, ValueRef};

use super::tally::tally;
use super::{Finding, Values, results};
use crate::oracle::Expected;

const PLACE: &str = "results.db";

pub(super) async fn check(database: &mut SqliteConnection, expected: &Expected) -> Vec<Finding> {
    let rows = sqlx::query("select item_id, id, project, passed, score from evidence order by item_id, id");
    let rows = match rows.fetch_all(database).await {
        Ok(rows) => rows,
        Err(error) => return vec![Finding::wrong(PLACE, format!("the table cannot be read: {error}"))],
    };
    let mut findings = Vec::new();
    let mut found = Vec::with_capacity(rows.len());
    let mut item_ids = HashSet::new();
    for row in &rows {
        match read(row) {
            Ok((item_id, id, values)) => {
                if !item_ids.insert(item_id.clone()) {
                    findings.push(Finding::wrong(PLACE, format!("item id {item_id} is there twice")));
                }
                found.push((id, values));
            }
            Err(error) => findings.push(Finding::wrong(PLACE, format!("a row cannot be read: {error}"))),
        }
    }
    findings.extend(tally(PLACE, &results(expected), &found));
    findings
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
