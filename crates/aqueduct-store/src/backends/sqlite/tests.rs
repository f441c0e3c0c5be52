use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aqueduct_core::{Fence, Timestamp};
use sqlx::Row;

use super::SqliteStore;
use crate::contract::{Claim, Commit, Store};
use crate::error::CommitError;
use crate::row::{Column, Conflict, Rows, Table, Value};

struct Opened {
    store: SqliteStore,
    fence: Fence,
    _folder: tempfile::TempDir,
}

async fn opened() -> Opened {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut store = SqliteStore::open(folder.path().join("ledger.db")).await.expect("the store opens");
    let claim = Claim { pipeline: "evidence".to_owned(), ..Claim::default() };
    let fence = store.claim(claim).await.expect("the claim succeeds").fence;
    Opened { store, fence, _folder: folder }
}

/// An epoch of one row of a megabyte.
fn epoch(fence: Fence, item_id: &str) -> Commit {
    let columns = vec![Column { name: "value".to_owned() }];
    let table = Table { name: "results".to_owned(), columns, conflict: Conflict::Refuse };
    let mut rows = Rows::new(Arc::new(table.clone()));
    rows.push(item_id.to_owned(), [Value::Text("x".repeat(1 << 20))]);
    Commit { tables: vec![table], rows: vec![rows], ..Commit::new("evidence", fence, Timestamp(0)) }
}

async fn pragma(store: &mut SqliteStore, sql: &'static str) -> String {
    let row = sqlx::query(sql).fetch_one(&mut store.connection).await.expect("the pragma runs");
    row.try_get::<String, _>(0)
        .or_else(|_| row.try_get::<i64, _>(0).map(|number| number.to_string()))
        .expect("a value")
}

#[tokio::test]
async fn every_writer_syncs_its_log() {
    let mut opened = opened().await;
    assert_eq!(pragma(&mut opened.store, "pragma journal_mode").await, "wal");
    // 2 is FULL.
    assert_eq!(pragma(&mut opened.store, "pragma synchronous").await, "2");
    assert_eq!(pragma(&mut opened.store, "pragma foreign_keys").await, "1");
    assert_eq!(pragma(&mut opened.store, "pragma trusted_schema").await, "0");
}

#[test]
fn a_path_is_a_path_whatever_it_looks_like() {
    for name in [":memory:", "file:ledger.db?mode=memory", ""] {
        assert_eq!(super::open::options(Path::new(name)).get_filename(), Path::new(".").join(name));
    }
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_is_told_by_name() {
    let Opened { mut store, fence, _folder } = opened().await;
    store.commit(epoch(fence, "i1")).await.expect("the commit succeeds");
    pragma(&mut store, "pragma max_page_count = 1").await;
    let error = store.commit(epoch(fence, "i2")).await.expect_err("the disk is full");
    assert!(matches!(error, CommitError::Full(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the disk is full; nothing of this epoch was written; make room and run again"
    );
    assert_eq!(store.ledger("evidence").await.expect("readable").expect("claimed").epoch, 1);

    pragma(&mut store, "pragma max_page_count = 1000000").await;
    store.commit(epoch(fence, "i2")).await.expect("there is room again");
}

#[tokio::test]
async fn a_commit_that_fails_at_the_last_moment_is_unknown_and_the_last() {
    let Opened { mut store, fence, _folder } = opened().await;
    store.connection.lock_handle().await.expect("the worker lives").set_commit_hook(|| false);
    let error = store.commit(epoch(fence, "i1")).await.expect_err("the hook refuses");
    assert!(matches!(error, CommitError::Unknown(_)), "{error:?}");

    store.connection.lock_handle().await.expect("the worker lives").remove_commit_hook();
    let error = store.commit(epoch(fence, "i1")).await.expect_err("nobody knows what is there");
    assert!(matches!(error, CommitError::Backend(_)), "{error:?}");
    let error = store.claim(Claim::default()).await.expect_err("nobody knows what is there");
    assert!(
        std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("open the database again"))
    );
}

#[tokio::test]
async fn a_dropped_commit_is_the_last() {
    let Opened { mut store, fence, _folder } = opened().await;
    {
        let mut commit = store.commit(epoch(fence, "i1"));
        let polled = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending), "SQLite works on another thread");
    }
    let error = store.commit(epoch(fence, "i1")).await.expect_err("nobody knows what is there");
    assert!(matches!(error, CommitError::Backend(_)), "{error:?}");
}
