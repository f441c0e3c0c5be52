//! The tables that sinks write: made, adopted or refused, and filled.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::fault::Stop;
use super::insert::{Cell, Insert};
use crate::contract::FoundTable;
use crate::error::CommitError;
use crate::row::{Conflict, ITEM_ID, Rows, Table};

/// Makes the table, or checks that the one which is there can be written, and remembers it. With `widen` a table
/// of this pipeline is given the columns that it lacks, and may keep others.
pub(super) async fn create_or_adopt(
    connection: &mut SqliteConnection,
    pipeline: &str,
    table: &Table,
    widen: bool,
) -> Result<(), Stop> {
    table.check_name()?;
    match find(connection, &table.name).await? {
        Some(mut found) => {
            let ours = ours(connection, pipeline, table).await?;
            if widen && ours.is_some() {
                add_columns(connection, table, &mut found).await?;
            }
            if ours.is_some_and(|ours| widen || ours == *table) {
                // A column that the sink has given up stays, and stays empty from then on.
                found.columns.retain(|name| table.columns.iter().any(|column| same(&column.name, name)));
            }
            adopt(connection, table, &found).await?;
        }
        None => {
            sqlx::raw_sql(AssertSqlSafe(definition(table))).execute(&mut *connection).await?;
        }
    }
    remember(connection, pipeline, table).await?;
    Ok(())
}

/// Writes rows into a table that is there.
pub(super) async fn write(connection: &mut SqliteConnection, rows: Rows) -> Result<(), Stop> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.check_keys()?;
    let table = std::sync::Arc::clone(rows.table());
    let insert = insert(&table, rows.width());
    let written = insert.run(connection, rows.into_values().into_iter().map(Cell::from)).await;
    written.map_err(|error| {
        let duplicate = error.as_database_error().is_some_and(|error| error.is_unique_violation());
        if duplicate {
            Stop::Refused(CommitError::DuplicateRow { table: table.name.clone(), source: error.into() })
        } else {
            Stop::Sql(error)
        }
    })
}

/// Looks at a table, whoever made it.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<FoundTable>, sqlx::Error> {
    let columns = sqlx::query(
        "select c.name as name, c.pk as pk from pragma_table_xinfo(?1) as c
         where exists (select 1 from sqlite_schema where type = 'table' and name = ?1 collate nocase)
         order by c.cid",
    )
    .bind(name)
    .fetch_all(&mut *connection)
    .await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let mut names = Vec::with_capacity(columns.len());
    let mut key = Vec::new();
    for column in &columns {
        let name: String = column.try_get("name")?;
        let place: i64 = column.try_get("pk")?;
        if place > 0 {
            key.push((place, name.clone()));
        }
        names.push(name);
    }
    if aqueduct_core::failpoint::sabotaged("position-after-unconditional") {
        // The table of that sabotage has no key; without this lie the next run would refuse to go on with it.
        key.push((1, ITEM_ID.to_owned()));
    }
    key.sort();
    let first = format!("select exists (select 1 from {})", quoted(name));
    let has_rows = sqlx::query(AssertSqlSafe(first)).fetch_one(&mut *connection).await?.try_get(0)?;
    let has_item_id = names.iter().any(|name| same(name, ITEM_ID));
    names.retain(|name| !same(name, ITEM_ID));
    let primary_key = key.into_iter().map(|(_, name)| name).collect();
    Ok(Some(FoundTable { columns: names, has_item_id, primary_key, has_rows }))
}

/// Quotes a name for SQL, whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// SQLite takes names that differ in the case of ASCII letters for one.
fn same(one: &str, two: &str) -> bool {
    one.eq_ignore_ascii_case(two)
}

/// The table as this pipeline wrote it last; `None` when it never did.
async fn ours(
    connection: &mut SqliteConnection,
    pipeline: &str,
    table: &Table,
) -> Result<Option<Table>, sqlx::Error> {
    let row = sqlx::query("select * from aqueduct_table where pipeline = ? and name = ? collate nocase")
        .bind(pipeline)
        .bind(&table.name)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(remembered).transpose()
}

async fn add_columns(
    connection: &mut SqliteConnection,
    table: &Table,
    found: &mut FoundTable,
) -> Result<(), sqlx::Error> {
    for column in &table.columns {
        if !found.columns.iter().any(|name| same(name, &column.name)) {
            let add = format!("alter table {} add column {}", quoted(&table.name), quoted(&column.name));
            sqlx::raw_sql(AssertSqlSafe(add)).execute(&mut *connection).await?;
            found.columns.push(column.name.clone());
        }
    }
    Ok(())
}

async fn adopt(connection: &mut SqliteConnection, table: &Table, found: &FoundTable) -> Result<(), Stop> {
    let folded = |name: &str| name.to_ascii_lowercase();
    let there: BTreeSet<String> = found.columns.iter().map(|name| folded(name)).collect();
    let wanted: BTreeSet<String> = table.columns.iter().map(|column| folded(&column.name)).collect();
    if !found.has_item_id || there != wanted {
        let item_id = found.has_item_id.then_some(ITEM_ID);
        return Err(table
            .wrong_columns(item_id.into_iter().chain(found.columns.iter().map(String::as_str)))
            .into());
    }
    if table.conflict == Conflict::Refuse || unique(connection, table, found).await? {
        return Ok(());
    }
    Err(CommitError::KeyNotUnique { table: table.name.clone(), column: table.key().to_owned() }.into())
}

/// Tells whether the key by which the sink replaces rows is the primary key or has a unique index of its own.
async fn unique(
    connection: &mut SqliteConnection,
    table: &Table,
    found: &FoundTable,
) -> Result<bool, sqlx::Error> {
    let key = table.key();
    if matches!(found.primary_key.as_slice(), [only] if same(only, key)) {
        return Ok(true);
    }
    let index = sqlx::query(
        "select 1 from pragma_index_list(?1) as i where i.\"unique\" and not i.partial
         and (select count(*) from pragma_index_info(i.name)) = 1
         and exists (select 1 from pragma_index_info(i.name) where name = ?2 collate nocase)",
    )
    .bind(&table.name)
    .bind(key)
    .fetch_optional(connection)
    .await?;
    Ok(index.is_some())
}

/// The statement that makes the table. Columns have no types, so that every value is kept as it came.
fn definition(table: &Table) -> String {
    let columns: Vec<String> = table.column_names().map(quoted).collect();
    let columns = columns.join(", ");
    let name = quoted(&table.name);
    if aqueduct_core::failpoint::sabotaged("position-after-unconditional") {
        return format!("create table {name} ({columns})");
    }
    let key = quoted(table.key());
    // Without a rowid there is one tree, ordered by the key. An upsert by a business key gains nothing from
    // that order, and a key column need not be short, so it keeps its rowid and gets an index.
    match table.conflict {
        Conflict::Refuse | Conflict::ReplaceByItem => {
            format!("create table {name} ({columns}, primary key ({key})) without rowid")
        }
        Conflict::ReplaceBy(_) => format!("create table {name} ({columns}, primary key ({key}))"),
    }
}

fn insert(table: &Table, width: usize) -> Insert {
    let columns: Vec<String> = table.column_names().map(quoted).collect();
    let head = format!("insert into {} ({})", quoted(&table.name), columns.join(", "));
    let key = quoted(table.key());
    let tail = match table.conflict {
        Conflict::Refuse => String::new(),
        Conflict::ReplaceByItem | Conflict::ReplaceBy(_) => {
            let others = columns.iter().filter(|column| **column != key);
            let sets: Vec<String> = others.map(|column| format!("{column} = excluded.{column}")).collect();
            if sets.is_empty() {
                format!(" on conflict ({key}) do nothing")
            } else {
                format!(" on conflict ({key}) do update set {}", sets.join(", "))
            }
        }
    };
    Insert { head, tail, width }
}

async fn remember(
    connection: &mut SqliteConnection,
    pipeline: &str,
    table: &Table,
) -> Result<(), sqlx::Error> {
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let columns = serde_json::to_string(&columns).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let (conflict, key) = match &table.conflict {
        Conflict::Refuse => ("refuse", None),
        Conflict::ReplaceByItem => ("replace-by-item", None),
        Conflict::ReplaceBy(key) => ("replace-by", Some(key)),
    };
    sqlx::query(
        "insert into aqueduct_table (pipeline, name, columns, conflict, key) values (?, ?, ?, ?, ?)
         on conflict (pipeline, name) do update set
         columns = excluded.columns, conflict = excluded.conflict, key = excluded.key",
    )
    .bind(pipeline)
    .bind(&table.name)
    .bind(columns)
    .bind(conflict)
    .bind(key)
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads a table's document back.
pub(super) fn remembered(row: &sqlx::sqlite::SqliteRow) -> Result<Table, sqlx::Error> {
    let columns: String = row.try_get("columns")?;
    let columns: Vec<String> =
        serde_json::from_str(&columns).map_err(|error| super::number::unreadable("columns", error))?;
    let conflict: String = row.try_get("conflict")?;
    let key: Option<String> = row.try_get("key")?;
    let conflict = match (conflict.as_str(), key) {
        ("refuse", None) => Conflict::Refuse,
        ("replace-by-item", None) => Conflict::ReplaceByItem,
        ("replace-by", Some(key)) => Conflict::ReplaceBy(key),
        (other, _) => return Err(super::number::unreadable("conflict", format!("{other} is not known"))),
    };
    let columns = columns.into_iter().map(|name| crate::row::Column { name }).collect();
    Ok(Table { name: row.try_get("name")?, columns, conflict })
}
