//! A folder for one test, and numbers as items.

use std::path::PathBuf;

use aqueduct_batch::Batch;
use aqueduct_stream::JsonlSink;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    pub(crate) n: u64,
}

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A batch over the numbers below `count`, with its ledger here.
    pub(crate) fn numbers(&self, count: u64) -> Batch {
        Batch::named("test").items(move || (0..count).map(|n| Number { n })).dir(self.at("data"))
    }

    pub(crate) fn file(&self) -> JsonlSink {
        JsonlSink::new(self.at("out.jsonl"))
    }

    /// The numbers in the output, in its order.
    pub(crate) fn out(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.at("out.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Number>(line).unwrap().n).collect()
    }

    /// Changes the ledger behind everybody's back.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        use sqlx::Connection;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.at("data/ledger.db"));
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// An error and all its causes.
pub(crate) fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
