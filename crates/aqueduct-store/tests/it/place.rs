//! A place where a store keeps its data, so that one test runs against every backend.

use std::path::{Path, PathBuf};

use aqueduct_store::{MemoryStore, SqliteStore, Store, Value};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection, TypeInfo, ValueRef};
use tempfile::TempDir;

/// Where a store keeps its data. Dropping it removes them.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    /// Opens a store on what is there: a fresh one at first, afterwards what a restarted process finds.
    async fn open(&self) -> Box<dyn Store>;

    /// Reads a table, without the store, in the order of `item_id`: `item_id` and then these columns.
    async fn rows(&self, table: &str, columns: &[&str]) -> Vec<Vec<Value>>;
}

pub(crate) struct Memory(MemoryStore);

impl Memory {
    pub(crate) fn fresh() -> Self {
        Self(MemoryStore::new())
    }
}

#[async_trait]
impl Place for Memory {
    async fn open(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }

    async fn rows(&self, table: &str, columns: &[&str]) -> Vec<Vec<Value>> {
        let found = self.0.clone().table(table).await.expect("memory cannot fail");
        let there: Vec<String> = found.map(|found| found.columns).unwrap_or_default();
        let place =
            |column: &str| 1 + there.iter().position(|name| name == column).expect("the column is there");
        let pick = |row: Vec<Value>| {
            let others = columns.iter().map(|column| row[place(column)].clone());
            std::iter::once(row[0].clone()).chain(others).collect::<Vec<_>>()
        };
        let mut rows: Vec<Vec<Value>> = self.0.rows(table).into_iter().map(pick).collect();
        rows.sort_by_key(|row| text(&row[0]));
        rows
    }
}

pub(crate) struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub(crate) fn fresh() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }
}

#[async_trait]
impl Place for Sqlite {
    async fn open(&self) -> Box<dyn Store> {
        Box::new(SqliteStore::open(self.path()).await.expect("the store opens"))
    }

    async fn rows(&self, table: &str, columns: &[&str]) -> Vec<Vec<Value>> {
        let mut connection = connect(&self.path()).await;
        let quoted: Vec<String> =
            columns.iter().map(|name| format!(", \"{}\"", name.replace('"', "\"\""))).collect();
        let table = table.replace('"', "\"\"");
        let sql = format!("select item_id{} from \"{table}\" order by item_id", quoted.concat());
        let rows =
            sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("the table is there");
        let rows = rows.iter().map(|row| (0..=columns.len()).map(|at| value(row, at)).collect()).collect();
        connection.close().await.expect("the connection closes");
        rows
    }
}

/// Opens a database behind the store's back.
pub(crate) async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.expect("the database opens")
}

fn value(row: &SqliteRow, at: usize) -> Value {
    let raw = row.try_get_raw(at).expect("the column is there");
    let kind = if raw.is_null() { "NULL".to_owned() } else { raw.type_info().name().to_owned() };
    match kind.as_str() {
        "NULL" => Value::Null,
        "INTEGER" => Value::Integer(row.get_unchecked(at)),
        "REAL" => Value::Real(row.get_unchecked(at)),
        _ => Value::Text(row.get_unchecked(at)),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}
