//! A folder with a pipeline, and the binary run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The variables that change what the binary does; a test sets its own.
const VARIABLES: [&str; 15] = [
    "MAX_REQUESTS_PER_MINUTE",
    "CONNECTION_POOL_SIZE",
    "CONNECTION_POOL_MAX",
    "CIRCUIT_BREAKER_THRESHOLD",
    "CIRCUIT_BREAKER_TIMEOUT",
    "RETRY_MAX_ATTEMPTS",
    "GEMINI_API_KEY",
    "REDIS_URL",
    "OTEL_ENDPOINT",
    "BATCH_SIZE",
    "CHECKPOINT_INTERVAL",
    "MEMORY_CACHE_SIZE",
    "AQUEDUCT_MAX_WORKERS",
    "AQUEDUCT_BATCH_SIZE",
    "AQUEDUCT_CACHE_NODES",
];

/// From `in.jsonl` to one JSON lines file.
pub(crate) const TO_FILE: &str = r#"
name = "t"
[source]
type = "jsonl"
path = "in.jsonl"
[sink]
type = "jsonl"
path = "out.jsonl"
"#;

/// From `in.jsonl` to a table.
pub(crate) const TO_TABLE: &str = r#"
name = "t"
[source]
type = "jsonl"
path = "in.jsonl"
[sink]
type = "sqlite"
path = "out.db"
table = "items"
"#;

pub(crate) struct Folder(tempfile::TempDir);

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Call {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Demands an exit code and pieces of standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, pieces: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for piece in pieces {
            assert!(self.err.contains(piece), "{piece:?} is not in:\n{}", self.err);
        }
    }
}

impl Folder {
    /// A folder with `pipeline.toml` and `in.jsonl`.
    pub(crate) fn new(pipeline: &str, input: impl AsRef<[u8]>) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("pipeline.toml", pipeline);
        folder.write("in.jsonl", input);
        folder
    }

    /// A folder with nothing in it.
    pub(crate) fn bare() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.at(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    /// The binary, in this folder, without the variables that change it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_aqueduct"), arguments)
    }

    /// Any program, in this folder.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Call {
        Call::of(self.command(arguments).output().unwrap())
    }

    /// `run pipeline.toml` with these further arguments.
    pub(crate) fn run(&self, more: &[&str]) -> Call {
        self.call(&[&["run", "pipeline.toml"], more].concat())
    }

    /// The reasons of all dead letters.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let call = self.call(&["dlq", "ls", "-o", "jsonl"]);
        let letters = call.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        letters.map(|letter| letter["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// Asks a database of this folder for one text, as SQLite itself sees it.
    pub(crate) fn sql(&self, database: &str, statement: &'static str) -> String {
        use sqlx::Connection;
        let path = self.at(database);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            let rows =
                sqlx::query_scalar::<_, Option<String>>(statement).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows.into_iter().map(|row| row.unwrap_or_else(|| "null".to_owned())).collect::<Vec<_>>().join(",")
        })
    }
}

/// `{"n":0}` to `{"n":count-1}`.
pub(crate) fn numbers(count: u64) -> String {
    (0..count).map(|n| format!("{{\"n\":{n}}}\n")).collect()
}
