//! What a database is and holds, for people who look after it.

use aqueduct_core::Timestamp;

/// One database with a ledger in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFacts {
    /// The format of the ledger; `None` when there is none.
    pub format: Option<u32>,
    /// SQLite's application id; that of a file which Aqueduct made reads `Aqdt`.
    pub application_id: i32,
    /// Bytes in a page.
    pub page_bytes: u64,
    /// Pages in the file.
    pub pages: u64,
    /// Pages that hold nothing, which a vacuum gives back.
    pub pages_free: u64,
    /// The pipelines of the ledger, by name.
    pub pipelines: Vec<PipelineFacts>,
    /// All tables, those of the ledger included, by name.
    pub tables: Vec<TableFacts>,
}

/// One pipeline of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineFacts {
    /// Its name.
    pub name: String,
    /// The number of its commits.
    pub epoch: u64,
    /// When it last committed or finished.
    pub last_seen: Timestamp,
    /// The partitions that it has read.
    pub partitions: u64,
    /// The output files that it has written.
    pub files: u64,
    /// The checkpoints that are kept.
    pub checkpoints: u64,
    /// The dead letters that are kept.
    pub dead_letters: u64,
    /// The bytes of their payloads, originals and reasons.
    pub dead_letter_bytes: u64,
    /// The keys of its stages' state.
    pub state_keys: u64,
    /// The bytes of those keys and their values.
    pub state_bytes: u64,
    /// The journal entries that no commit has consumed.
    pub journal_entries: u64,
    /// The bytes of their values.
    pub journal_bytes: u64,
}

/// One table of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// The bytes of its pages, indices included; `None` where this SQLite does not tell.
    pub bytes: Option<u64>,
}
