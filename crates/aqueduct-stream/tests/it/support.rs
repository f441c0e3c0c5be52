//! A folder for one test, and what the tests look at.

use std::path::{Path, PathBuf};

use aqueduct_stream::{Jsonl, JsonlSink, Pipeline, SqliteSink};
use sqlx::{Connection, Row};

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.at(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    /// `in.jsonl` with items `{"n":0}` to `{"n":count-1}`.
    pub(crate) fn write_numbers(&self, count: u64) {
        let lines: String = (0..count).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        self.write("in.jsonl", lines);
    }

    /// A pipeline from `in.jsonl` whose data folder is here.
    pub(crate) fn pipeline(&self) -> Pipeline {
        Pipeline::named("test")
            .source(Jsonl::new(self.at("in.jsonl")).named("in.jsonl"))
            .data_dir(self.at("data"))
    }

    pub(crate) fn file_sink(&self) -> JsonlSink {
        JsonlSink::new(self.at("out.jsonl"))
    }

    pub(crate) fn table_sink(&self) -> SqliteSink {
        SqliteSink::new(self.at("out.db"), "items")
    }

    /// All rows of a query, each as the debug text of its columns as texts.
    pub(crate) async fn query(&self, database: &str, sql: &'static str) -> Vec<Vec<Option<String>>> {
        query(&self.at(database), sql).await
    }

    /// Reason and original of each dead letter in the ledger of the data folder.
    pub(crate) async fn letters(&self) -> Vec<(String, String)> {
        use aqueduct_store::{DeadLetterFilter, Original, SqliteStore, Store};
        let mut store = SqliteStore::open_read_only(&self.at("data/ledger.db")).await.unwrap();
        let letters = store.dead_letters("test", DeadLetterFilter::default()).await.unwrap();
        letters
            .into_iter()
            .map(|letter| {
                let original = match letter.original {
                    Original::Whole(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Original::Cut { bytes, .. } => format!("<{bytes} bytes>"),
                };
                (letter.reason, original)
            })
            .collect()
    }
}

pub(crate) async fn query(path: &Path, sql: &'static str) -> Vec<Vec<Option<String>>> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    rows.iter()
        .map(|row| (0..row.len()).map(|at| row.get_unchecked::<Option<String>, _>(at)).collect())
        .collect()
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
