//! The tables of results.

use std::collections::{BTreeMap, HashSet};

use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Row, SqliteConnection, TypeInfo, ValueRef};

use super::{Finding, compare, has_fields};
use crate::oracle::{Entry, Holding, Type, Value};

/// The column that Aqueduct adds.
const ITEM_ID: &str = "item_id";

/// Compares the table of one database with the results that must be there.
pub(super) async fn check(place: &str, database: &mut SqliteConnection, holding: &Holding) -> Vec<Finding> {
    let rows = sqlx::query("select * from evidence order by item_id, id");
    let rows = match rows.fetch_all(database).await {
        Ok(rows) => rows,
        Err(error) => return vec![Finding::wrong(place, format!("the table cannot be read: {error}"))],
    };
    let mut findings = Vec::new();
    let mut found = Vec::with_capacity(rows.len());
    let mut item_ids = HashSet::new();
    for row in &rows {
        let names = row.columns().iter().map(Column::name).filter(|name| *name != ITEM_ID);
        if !has_fields(holding, names) {
            findings.push(Finding::wrong(place, "its columns are not those of the results"));
            break;
        }
        match read(row, holding) {
            Ok((item_id, entry)) => {
                if !item_ids.insert(item_id.clone()) {
                    findings.push(Finding::wrong(place, format!("item id {item_id} is there twice")));
                }
                found.push(entry);
            }
            Err(error) => findings.push(Finding::wrong(place, format!("a row cannot be read: {error}"))),
        }
    }
    findings.extend(compare(holding, &found));
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

fn read(row: &SqliteRow, holding: &Holding) -> Result<(String, Entry), sqlx::Error> {
    let values = holding.fields.iter().map(|(name, what)| value(row, name, *what));
    Ok((row.try_get(ITEM_ID)?, Entry(values.collect::<Result<_, _>>()?)))
}

fn value(row: &SqliteRow, column: &str, what: Type) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    let kind = if raw.is_null() { "NULL".to_owned() } else { raw.type_info().name().to_owned() };
    Ok(match (what, kind.as_str()) {
        (Type::Text, "TEXT") => Value::Text(row.try_get(column)?),
        (Type::Integer, "INTEGER") => Value::Integer(row.try_get(column)?),
        (Type::Number, "REAL") => Value::Number(row.try_get(column)?),
        // A double that was whole.
        (Type::Number, "INTEGER") => {
            let whole: i64 = row.try_get(column)?;
            i32::try_from(whole)
                .map_or_else(|_| Value::Other(whole.to_string()), |whole| Value::Number(whole.into()))
        }
        _ => Value::Other(kind),
    })
}
