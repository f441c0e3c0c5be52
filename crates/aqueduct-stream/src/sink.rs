//! Where results go.

mod csv;
mod jsonl;
mod parts;
mod stdout;
pub(crate) mod table;

use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_core::{Item, ItemId, Record};
use aqueduct_store::{FileMark, Rows};

use crate::error::{SinkError, StageError};
use crate::guarantee::Guarantee;

pub use csv::CsvSink;
pub use jsonl::JsonlSink;
pub use stdout::StdoutSink;
pub use table::SqliteSink;

/// Takes results outside of the ledger's database: a file, standard output.
///
/// The engine calls it from one thread at a time, in the order: `reserve` and `open` once; then for each epoch `append` for each batch,
/// `seal`, and `committed` when the ledger has the epoch.
pub trait Sink: Send {
    /// What it is, in words: `jsonl alerts`.
    fn describe(&self) -> String;

    /// What it gives, and why, in one sentence without a full stop.
    fn guarantee(&self) -> (Guarantee, String);

    /// A file that it writes, or would: the first of several. A source must not read it.
    fn writes(&self) -> Option<PathBuf> {
        None
    }

    /// What turns items into what is written; shared by all workers.
    fn encoder(&self) -> Arc<dyn Encode>;

    /// Tries whether it could be written, without changing anything. Unless it says otherwise, it could.
    ///
    /// # Errors
    ///
    /// [`SinkError`] as a run would give it.
    fn connect(&self, _opening: &Opening<'_>) -> Result<(), SinkError> {
        Ok(())
    }

    /// Takes what it writes to for this process alone, as far as it is there yet. Called before the pipeline is
    /// claimed: a fence keeps an older run out of a database, but not out of a file.
    ///
    /// # Errors
    ///
    /// [`SinkError::InUse`] when another run has it.
    fn reserve(&mut self, _sink: &str) -> Result<(), SinkError> {
        Ok(())
    }

    /// Makes what is there agree with what the ledger has committed: cuts off what is nobody's, refuses what
    /// it does not know. Gives the marks that must be in the ledger before the first byte is written.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; nothing was lost.
    fn open(&mut self, opening: &Opening<'_>) -> Result<Vec<FileMark>, SinkError>;

    /// Whether it knows its columns, if it has any. Until then its encoder gives [`Encoded::Unshaped`], and batches
    /// go through one at a time.
    fn is_shaped(&self) -> bool {
        true
    }

    /// Takes its columns from the first batch that has items for it. From then on its encoder gives bytes.
    ///
    /// # Errors
    ///
    /// [`SinkError::Table`] when those cannot be its columns.
    fn shape(&self, _records: &[(ItemId, Record)]) -> Result<(), SinkError> {
        Ok(())
    }

    /// Writes what a worker encoded. Need not be durable yet.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; the run stops.
    fn append(&mut self, encoded: &[u8], items: u64) -> Result<(), SinkError>;

    /// Makes everything that was appended durable, and gives the marks to commit.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; the run stops, and a failed sync is never tried again.
    fn seal(&mut self) -> Result<Vec<FileMark>, SinkError>;

    /// The ledger has the epoch.
    ///
    /// # Errors
    ///
    /// [`SinkError`] when something derived, such as a manifest, cannot be written.
    fn committed(&mut self) -> Result<(), SinkError>;
}

/// What a sink is opened with.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The sink's name.
    pub sink: &'a str,
    /// What is committed.
    pub marks: &'a [FileMark],
    /// Whether what is beyond the marks must go. At least once keeps it.
    pub guarantee: Guarantee,
}

/// Turns items into what a sink takes. Shared by all workers.
pub trait Encode: Send + Sync {
    /// Starts the results of one batch.
    fn start(&self) -> Encoded;

    /// Adds one item.
    ///
    /// # Errors
    ///
    /// [`StageError`] when the item cannot go into this sink; `encoded` is then as it was.
    fn encode(&self, item: &Item, encoded: &mut Encoded) -> Result<(), StageError>;
}

/// What the items of one batch became for one sink.
#[derive(Debug)]
pub enum Encoded {
    /// Bytes to append.
    Bytes {
        /// The bytes.
        bytes: Vec<u8>,
        /// How many items they are.
        items: u64,
    },
    /// Rows to insert.
    Rows(Rows),
    /// Items whose table or file has no columns yet; the committer takes the columns from the first of them.
    Unshaped(Vec<(ItemId, Record)>),
}

impl Encoded {
    /// How many items are in it.
    #[must_use]
    pub fn items(&self) -> u64 {
        match self {
            Self::Bytes { items, .. } => *items,
            Self::Rows(rows) => rows.len() as u64,
            Self::Unshaped(records) => records.len() as u64,
        }
    }
}
