//! The ledger's own tables: made once, checked at every start.
//!
//! People and the crash checker read these tables with plain SQL, so they are named and typed for reading:
//! times are milliseconds since 1970, payloads are blobs of JSON text (`cast(payload as text)`).

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::number;

/// The newest format that this build reads and the one that it writes.
pub(super) const FORMAT: u32 = 3;

/// Marks a database file that Aqueduct made ("Aqdt"), for `file` and its like.
const APPLICATION_ID: i32 = 0x4171_6474;

/// What stands in a ledger of this format. `WITHOUT ROWID` keeps each row in its key's order, in one tree.
const TABLES: &str = "
create table aqueduct_meta (
    key text primary key,
    value
) without rowid;
create table aqueduct_pipeline (
    pipeline text primary key,
    fence integer not null,
    generation integer not null,
    configuration text not null,
    epoch integer not null,
    read integer not null default 0,
    spawned integer not null default 0,
    delivered integer not null default 0,
    dead_lettered integer not null default 0,
    skipped integer not null default 0,
    absorbed integer not null default 0,
    dropped integer not null default 0,
    abandoned integer not null default 0,
    in_flight integer not null default 0,
    started integer not null,
    last_seen integer not null,
    outcome text
) without rowid;
create table aqueduct_partition (
    pipeline text not null,
    id integer not null,
    name text not null,
    position text,
    next_item text not null default '',
    revision integer not null,
    primary key (pipeline, id),
    unique (pipeline, name)
) without rowid;
create table aqueduct_file (
    pipeline text not null,
    sink text not null,
    part text not null,
    bytes integer not null,
    items integer not null,
    primary key (pipeline, sink, part)
) without rowid;
create table aqueduct_table (
    pipeline text not null,
    name text not null,
    columns text not null,
    conflict text not null,
    key text,
    primary key (pipeline, name)
) without rowid;
create table aqueduct_dead_letter (
    pipeline text not null,
    item_id text not null,
    stage text not null,
    class text not null,
    reason text not null,
    attempts integer not null,
    children integer not null default 0,
    first integer not null,
    last integer not null,
    payload blob,
    original blob not null,
    original_offset integer,
    original_bytes integer,
    original_sha256 blob,
    primary key (pipeline, item_id, stage)
);
create table aqueduct_state (
    pipeline text not null,
    stage text not null,
    key blob not null,
    value blob not null,
    primary key (pipeline, stage, key)
) without rowid;
create table aqueduct_journal (
    pipeline text not null,
    item_id text not null,
    stage text not null,
    call integer not null,
    value blob not null,
    primary key (pipeline, item_id, stage, call)
) without rowid;
create table aqueduct_checkpoint (
    pipeline text not null,
    name text not null,
    epoch integer not null,
    at integer not null,
    positions text not null,
    files text not null,
    read integer not null,
    spawned integer not null,
    delivered integer not null,
    dead_lettered integer not null,
    skipped integer not null,
    absorbed integer not null,
    dropped integer not null,
    abandoned integer not null,
    in_flight integer not null,
    configuration text not null default '',
    checksum integer,
    primary key (pipeline, name)
) without rowid;
";

/// The tables whose pages are checked at every start: those whose size does not grow with the input's.
/// A damaged page elsewhere is found when it is read.
const CHECKED: [&str; 6] = [
    "aqueduct_meta",
    "aqueduct_pipeline",
    "aqueduct_partition",
    "aqueduct_file",
    "aqueduct_table",
    "aqueduct_checkpoint",
];

/// What a database says about its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is no ledger.
    Nothing,
    /// There is one of this format.
    Format(u32),
}

/// What turns a ledger of format 1 into one of format 2. Its checkpoints do not say which items lie behind them,
/// so nobody can go back to them.
const FROM_1: &str = "
alter table aqueduct_partition add column next_item text not null default '';
alter table aqueduct_dead_letter add column children integer not null default 0;
alter table aqueduct_checkpoint add column files text not null default '[]';
delete from aqueduct_checkpoint;
";

/// What turns a ledger of format 2 into one of format 3. Its checkpoints have no checksum and are taken as they are.
const FROM_2: &str = "
alter table aqueduct_checkpoint add column configuration text not null default '';
alter table aqueduct_checkpoint add column checksum integer;
update aqueduct_meta set value = 3 where key = 'format';
";

/// Brings an older ledger to this format. Runs inside the caller's transaction.
pub(super) async fn upgrade(connection: &mut SqliteConnection, found: u32) -> Result<(), sqlx::Error> {
    if found == 1 {
        sqlx::raw_sql(FROM_1).execute(&mut *connection).await?;
    }
    if found <= 2 {
        sqlx::raw_sql(FROM_2).execute(connection).await?;
    }
    Ok(())
}

/// Reads which format of ledger is there, if any.
pub(super) async fn format(connection: &mut SqliteConnection) -> Result<Found, sqlx::Error> {
    let there = sqlx::query("select 1 from sqlite_schema where type = 'table' and name = 'aqueduct_meta'")
        .fetch_optional(&mut *connection)
        .await?;
    if there.is_none() {
        return Ok(Found::Nothing);
    }
    let row = sqlx::query("select value from aqueduct_meta where key = 'format'")
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        Some(row) => Ok(Found::Format(number::narrow(&row, "value")?)),
        None => Ok(Found::Nothing),
    }
}

/// Looks for damage in the ledger's own small tables; gives what SQLite found, or nothing.
///
/// # Complexity
///
/// Linear in the number of partitions, files and checkpoints, not in the number of rows or dead letters.
pub(super) async fn damage(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    for table in CHECKED {
        let pragma = format!("pragma quick_check({table})");
        let first = sqlx::query(AssertSqlSafe(pragma)).fetch_one(&mut *connection).await?;
        let said: String = first.try_get(0)?;
        if said != "ok" {
            return Ok(Some(said));
        }
    }
    Ok(None)
}

/// Makes the ledger's tables. Runs inside the caller's transaction.
pub(super) async fn create(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let ours =
        sqlx::query("select count(*) = 0 as empty from sqlite_schema").fetch_one(&mut *connection).await?;
    let id = sqlx::query("pragma application_id").fetch_one(&mut *connection).await?;
    if ours.try_get::<bool, _>(0)? && id.try_get::<i32, _>(0)? == 0 {
        let pragma = format!("pragma application_id = {APPLICATION_ID}");
        sqlx::raw_sql(AssertSqlSafe(pragma)).execute(&mut *connection).await?;
    }
    sqlx::raw_sql(TABLES).execute(&mut *connection).await?;
    sqlx::query("insert into aqueduct_meta (key, value) values ('application', 'aqueduct'), ('format', ?)")
        .bind(i64::from(FORMAT))
        .execute(&mut *connection)
        .await?;
    Ok(())
}
