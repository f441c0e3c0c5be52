//! What only a SQLite database has: pages, indices, and an integrity of its own.

use aqueduct_core::Timestamp;
use sqlx::sqlite::{SqliteColumn, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Row, SqliteConnection, TypeInfo, ValueRef};

use super::{SqliteStore, fault, letters, number, retain, schema, transaction};
use crate::error::{CommitError, ReadError};
use crate::facts::{PipelineFacts, StoreFacts, TableFacts};
use crate::retention::{Removed, Retention};
use crate::row::{ITEM_ID, Value};

impl SqliteStore {
    /// Checks every page, row and index, and gives what is wrong; nothing when all is well.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the check itself cannot be made.
    ///
    /// # Complexity
    ///
    /// Reads the whole file.
    pub async fn integrity(&mut self) -> Result<Vec<String>, ReadError> {
        let found = integrity(&mut self.connection).await;
        found.map_err(|error| fault::read(&self.path, error))
    }

    /// Tells what the database is and holds.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    ///
    /// # Complexity
    ///
    /// Counts the rows of every table.
    pub async fn facts(&mut self) -> Result<StoreFacts, ReadError> {
        let found = facts(&mut self.connection).await;
        found.map_err(|error| fault::read(&self.path, error))
    }

    /// Tells what [`retain`](crate::Store::retain) would remove, when it is called until nothing is left to remove.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; nothing is removed in any case.
    pub async fn surplus(
        &mut self,
        pipeline: &str,
        retention: &Retention,
        at: Timestamp,
    ) -> Result<Removed, CommitError> {
        let found = surplus(&mut self.connection, pipeline, retention, at).await;
        found.map_err(|error| fault::commit(&self.path, error))
    }

    /// The other pipelines of this ledger that write a table.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn other_writers(&mut self, table: &str, pipeline: &str) -> Result<Vec<String>, ReadError> {
        let found = sqlx::query(
            "select pipeline from aqueduct_table where name = ? collate nocase and pipeline <> ? order by pipeline",
        )
        .bind(table)
        .bind(pipeline)
        .fetch_all(&mut self.connection)
        .await;
        let found = found.and_then(|rows| rows.iter().map(|row| row.try_get("pipeline")).collect());
        found.map_err(|error| fault::read(&self.path, error))
    }

    /// Removes a table with all its rows; one that is not there is no error. The ledger's own are refused.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; the table stays.
    pub async fn drop_table(&mut self, table: &str) -> Result<(), CommitError> {
        if table.to_ascii_lowercase().starts_with("aqueduct_") {
            return Err(CommitError::ReservedTable { table: table.to_owned() });
        }
        let sql = format!("drop table if exists \"{}\"", table.replace('"', "\"\""));
        let dropped = sqlx::query(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        dropped.map(|_| ()).map_err(|error| fault::commit(&self.path, error))
    }

    /// Writes the database anew without its free pages. Needs as much room again while it works.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; the database is as it was.
    pub async fn vacuum(&mut self) -> Result<(), CommitError> {
        let done = sqlx::query("vacuum").execute(&mut self.connection).await;
        done.map(|_| ()).map_err(|error| fault::commit(&self.path, error))
    }
}

async fn integrity(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query("pragma integrity_check").fetch_all(&mut *connection).await?;
    let mut found: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    found.retain(|said| said != "ok");
    Ok(found)
}

async fn surplus(
    connection: &mut SqliteConnection,
    pipeline: &str,
    retention: &Retention,
    at: Timestamp,
) -> Result<Removed, sqlx::Error> {
    // Removed for real and taken back, so that the answer is what would happen and not what somebody thinks.
    transaction::begin(connection).await?;
    let mut total = Removed::default();
    let found = loop {
        match retain::enforce(connection, pipeline, retention, at).await {
            Ok(removed) if removed == Removed::default() => break Ok(total),
            Ok(removed) => total += removed,
            Err(error) => break Err(error),
        }
    };
    sqlx::query("rollback").execute(connection).await?;
    found
}

async fn facts(connection: &mut SqliteConnection) -> Result<StoreFacts, sqlx::Error> {
    let format = match schema::format(connection).await? {
        schema::Found::Nothing => None,
        schema::Found::Format(format) => Some(format),
    };
    let pipelines = if format.is_some() { pipelines(connection).await? } else { Vec::new() };
    Ok(StoreFacts {
        format,
        application_id: pragma(connection, "pragma application_id").await?,
        page_bytes: pragma(connection, "pragma page_size").await?,
        pages: pragma(connection, "pragma page_count").await?,
        pages_free: pragma(connection, "pragma freelist_count").await?,
        pipelines,
        tables: tables(connection).await?,
    })
}

async fn pragma<T>(connection: &mut SqliteConnection, sql: &'static str) -> Result<T, sqlx::Error>
where
    T: TryFrom<i64>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let number: i64 = sqlx::query(sql).fetch_one(connection).await?.try_get(0)?;
    T::try_from(number).map_err(|error| number::unreadable(sql, error))
}

async fn pipelines(connection: &mut SqliteConnection) -> Result<Vec<PipelineFacts>, sqlx::Error> {
    let bytes = letters::BYTES;
    let of = |what: &str, table: &str| {
        format!("(select {what} from aqueduct_{table} as t where t.pipeline = p.pipeline)")
    };
    let sql = format!(
        "select p.pipeline as name, epoch, last_seen, {} as partitions, {} as files, {} as checkpoints,
         {} as letters, {} as letter_bytes, {} as state_keys, {} as state_bytes, {} as entries, {} as entry_bytes
         from aqueduct_pipeline as p order by p.pipeline",
        of("count(*)", "partition"),
        of("count(*)", "file"),
        of("count(*)", "checkpoint"),
        of("count(*)", "dead_letter"),
        of(&format!("coalesce(sum({bytes}), 0)"), "dead_letter"),
        of("count(*)", "state"),
        of("coalesce(sum(length(key) + length(value)), 0)", "state"),
        of("count(*)", "journal"),
        of("coalesce(sum(length(value)), 0)", "journal"),
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let read = |row| {
        let count = |column| number::unsigned(row, column);
        Ok(PipelineFacts {
            name: row.try_get("name")?,
            epoch: count("epoch")?,
            last_seen: Timestamp(row.try_get("last_seen")?),
            partitions: count("partitions")?,
            files: count("files")?,
            checkpoints: count("checkpoints")?,
            dead_letters: count("letters")?,
            dead_letter_bytes: count("letter_bytes")?,
            state_keys: count("state_keys")?,
            state_bytes: count("state_bytes")?,
            journal_entries: count("entries")?,
            journal_bytes: count("entry_bytes")?,
        })
    };
    rows.iter().map(read).collect()
}

async fn tables(connection: &mut SqliteConnection) -> Result<Vec<TableFacts>, sqlx::Error> {
    let names = sqlx::query(
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut tables = Vec::with_capacity(names.len());
    for row in &names {
        let name: String = row.try_get("name")?;
        let sql = format!("select count(*) as rows from \"{}\"", name.replace('"', "\"\""));
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
        // An SQLite without this table is still one.
        let bytes = sqlx::query(
            "select coalesce(sum(pgsize), 0) as bytes from dbstat where aggregate = true
             and name in (select name from sqlite_schema where tbl_name = ?)",
        )
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| number::unsigned(&row, "bytes"))
        .ok();
        tables.push(TableFacts { name, rows: number::unsigned(&rows, "rows")?, bytes });
    }
    Ok(tables)
}

impl SqliteStore {
    /// Reads the rows of a table in the order of their item ids, each as its columns without `item_id`; nothing when
    /// there is no such table. For small tables: it reads all of them.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn rows(&mut self, table: &str) -> Result<Vec<Vec<(String, Value)>>, ReadError> {
        let found = rows(&mut self.connection, table).await;
        found.map_err(|error| fault::read(&self.path, error))
    }
}

async fn rows(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<Vec<Vec<(String, Value)>>, sqlx::Error> {
    if super::rows::find(connection, table).await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!("select * from \"{}\" order by item_id", table.replace('"', "\"\""));
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let cell = |row: &SqliteRow, column: &SqliteColumn| {
        let raw = row.try_get_raw(column.ordinal())?;
        let kind = if raw.is_null() { "NULL".to_owned() } else { raw.type_info().name().to_owned() };
        Ok((
            column.name().to_owned(),
            match kind.as_str() {
                "NULL" => Value::Null,
                "INTEGER" => Value::Integer(row.try_get_unchecked(column.ordinal())?),
                "REAL" => Value::Real(row.try_get_unchecked(column.ordinal())?),
                _ => Value::Text(row.try_get_unchecked(column.ordinal())?),
            },
        ))
    };
    rows.iter()
        .map(|row| {
            let columns = row.columns().iter().filter(|column| column.name() != ITEM_ID);
            columns.map(|column| cell(row, column)).collect()
        })
        .collect()
}
