//! Where items come from.

mod csv;
mod cutter;
mod files;
mod framing;
mod generator;
mod input;
mod jsonl;
mod lines;
mod position;
mod stdin;

use std::path::Path;
use std::sync::Arc;

use aqueduct_core::{Clock, ItemId, PartitionId, Position, Record, ShutdownSignal};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::error::{DecodeError, SourceError};
use crate::guarantee::Guarantee;

pub use csv::{Csv, CsvFormat, CsvHeader, CsvType};
pub(crate) use csv::{Fields, check_names, escaped_key};
pub use cutter::LINE_BYTES_MAX;
pub(crate) use framing::{Framing, Search, without_line_end};
pub use generator::{Generator, GeneratorField};
pub use input::{EXPANDED_BYTES_MAX, EXPANDED_RATIO_MAX};
pub use jsonl::Jsonl;
pub use lines::{LINE_FIELD, Lines};
pub use stdin::{Stdin, StdinFormat};

/// Reads partitions in order and cuts them into chunks.
///
/// A source lives on a thread of its own and may block there. It does as little as possible: finding where
/// items end. Decoding is done by many workers at once, with the [`Decode`] that the source hands out.
pub trait Source: Send {
    /// What it reads, in words for messages: `jsonl data/in.jsonl`.
    fn describe(&self) -> String;

    /// What it reads, as far as a later run must read the same to go on. More of the same input is no change.
    fn identity(&self) -> String {
        self.describe()
    }

    /// The best that a route behind it can give, and why, in one sentence without a full stop. A source that can
    /// read the same input again gives exactly once.
    fn guarantee(&self) -> (Guarantee, String) {
        (Guarantee::ExactlyOnce, "it reads the same input again from any position".to_owned())
    }

    /// Whether the file at `path` is or would be among what it reads. A sink must not write such a file.
    fn would_read(&self, _path: &Path) -> bool {
        false
    }

    /// Called once before anything is read, with what a source needs that waits.
    fn start(&mut self, _context: &SourceContext) {}

    /// The names of its partitions, in the order in which they are read. A name says what is read and must not
    /// change between runs.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when the input is not there or is not what it should be.
    fn partitions(&mut self) -> Result<Vec<String>, SourceError>;

    /// Tries whether it could be read, without reading or changing anything. Unless it says otherwise, whether its
    /// partitions are there.
    ///
    /// # Errors
    ///
    /// [`SourceError`] as a run would give it.
    fn connect(&mut self) -> Result<(), SourceError> {
        self.partitions().map(drop)
    }

    /// Starts to read one partition behind `position`, or at its beginning.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when the partition cannot be read, or is not the one that the position was taken from.
    fn open(&mut self, index: usize, id: PartitionId, position: Option<&Position>)
    -> Result<(), SourceError>;

    /// Gives the next chunk with at most `items_max` items; `None` at the end of the partition.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when reading fails; what was given before stays valid.
    ///
    /// A source that waits for its input gives what it has rather than wait for more, and ends its wait with
    /// `None` when the run is asked to drain.
    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError>;

    /// The decoder for this source's chunks.
    fn decoder(&self) -> Arc<dyn Decode>;

    /// Who is told what is committed, where what was read must be let go of only then.
    fn acknowledges(&self) -> Option<Arc<dyn Acknowledge>> {
        None
    }

    /// Whether it can be read again from an earlier position, so that a run can go back to a checkpoint.
    fn goes_back(&self) -> bool {
        true
    }

    /// How much there is to read in all partitions of this run, where that is known, for progress. Asked again
    /// after each `open`, which may tell that less is left.
    fn size_hint(&self) -> Option<u64>;

    /// Reads an item once more that was too large to be kept, by its place. Used when its dead letter is replayed.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when it cannot be read, which is what a source that cannot go back says.
    fn reread(&mut self, partition: &str, offset: u64, _bytes: u64) -> Result<Bytes, SourceError> {
        Err(SourceError::NoReread { source_name: self.describe(), partition: partition.to_owned(), offset })
    }
}

/// Lets go of what is committed, at a place that keeps it until then, such as a queue. Called by the committer alone.
#[async_trait]
pub trait Acknowledge: Send + Sync {
    /// The ledger has everything up to this position of a partition.
    ///
    /// # Errors
    ///
    /// [`SourceError`] ends the run. What is committed stays, and the next run lets go of it.
    async fn committed(&self, partition: PartitionId, position: &Position) -> Result<(), SourceError>;

    /// Nothing more is committed: gives back what was read and is not. Called once, at the end of a run.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where that cannot be done.
    async fn close(&self) -> Result<(), SourceError>;
}

/// What a source that waits needs to know of its run.
#[derive(Clone, Debug)]
pub struct SourceContext {
    /// Where time comes from.
    pub clock: Clock,
    /// Raised when the run is asked to drain or stop, and when it has failed; a wait ends with it.
    pub shutdown: ShutdownSignal,
    /// Where a wait runs. The source's own thread may block on it.
    pub runtime: Handle,
}

/// A piece of one partition that holds whole items.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The partition.
    pub partition: PartitionId,
    /// Where the chunk begins in the partition.
    pub offset: u64,
    /// Where it ends, which is where the next item begins at the earliest.
    pub end: u64,
    /// The number of the first line, counted from 1.
    pub line: u64,
    /// How many items it holds. The source counts them by itself; the ledger holds it against the decoder.
    pub items: usize,
    /// How much it takes of the window.
    pub weight: usize,
    /// What it holds.
    pub content: ChunkContent,
}

/// What a chunk holds.
#[derive(Clone, Debug)]
pub enum ChunkContent {
    /// Bytes with whole items.
    Bytes {
        /// The bytes.
        bytes: Bytes,
        /// Whether the partition ends here without a line end.
        unterminated: bool,
    },
    /// One item that is too large to be carried, already read past.
    Oversize {
        /// Its length.
        bytes: u64,
        /// How many lines it takes.
        lines: u64,
        /// The SHA-256 of all of it.
        sha256: [u8; 32],
        /// Its first bytes.
        head: Bytes,
        /// The longest that is carried.
        limit: usize,
        /// The last bytes of it, with its line end.
        tail: Bytes,
        /// Whether the partition ends here without a line end.
        unterminated: bool,
    },
}

/// One item as the decoder found it.
#[derive(Debug)]
pub struct Decoded {
    /// Where it begins in the partition.
    pub offset: u64,
    /// Its line, counted from 1.
    pub line: u64,
    /// Its bytes, untouched; empty where the chunk is oversize.
    pub original: Bytes,
    /// The record, or why there is none.
    pub record: Result<Record, DecodeError>,
}

/// Turns chunks into records. Shared by all workers.
pub trait Decode: Send + Sync {
    /// Decodes all items of a chunk, in their order.
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded>;

    /// Decodes the bytes of one item alone, as [`Decoded::original`] gave them. Used when a dead letter is
    /// replayed.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as it was the first time.
    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError>;

    /// The position from which reading continues with the item that begins at `offset` of this chunk; the
    /// chunk's end for `None`.
    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position;

    /// The id of the item that begins at `offset`.
    fn item_id(&self, partition: PartitionId, offset: u64) -> ItemId {
        ItemId::new(aqueduct_core::SourceId(0), partition, offset)
    }
}

/// The one item of an oversize chunk.
fn oversize(chunk: &Chunk, names: &files::Names) -> Vec<Decoded> {
    let ChunkContent::Oversize { bytes, limit, .. } = &chunk.content else { return Vec::new() };
    let error = DecodeError::Oversize { line: chunk.line, bytes: *bytes, limit: *limit };
    let mut items =
        vec![Decoded { offset: chunk.offset, line: chunk.line, original: Bytes::new(), record: Err(error) }];
    names.place(chunk, &mut items);
    items
}

/// The options that every source of files has; `$files` is the field with its [`files::Files`].
macro_rules! file_options {
    ($source:ident, $files:tt) => {
        impl $source {
            /// Names the partition in the ledger; the path as it was given, unless this is called. A pipeline
            /// file gives the path relative to itself, so that the folder can be moved. Of a pattern it must be
            /// the end of the path: what stands in front of it is left out of the names of the files.
            #[must_use]
            pub fn named(mut self, name: impl Into<String>) -> Self {
                self.$files.set_name(name.into());
                self
            }

            /// Sets the longest line or row that is carried, in bytes; a longer one becomes a dead letter.
            /// Default [`LINE_BYTES_MAX`](crate::LINE_BYTES_MAX).
            #[must_use]
            pub fn with_line_bytes_max(mut self, bytes: usize) -> Self {
                self.$files.set_line_bytes_max(bytes);
                self
            }

            /// Sets the most bytes that one compressed file may become; more is an error. Default
            /// [`EXPANDED_BYTES_MAX`](crate::EXPANDED_BYTES_MAX).
            #[must_use]
            pub fn with_expanded_bytes_max(mut self, bytes: u64) -> Self {
                self.$files.limits_mut().bytes_max = bytes;
                self
            }

            /// Sets how many times larger than itself a compressed file may become, counted from 64 MiB on; more
            /// is an error. Default [`EXPANDED_RATIO_MAX`](crate::EXPANDED_RATIO_MAX).
            #[must_use]
            pub fn with_expanded_ratio_max(mut self, ratio: u64) -> Self {
                self.$files.limits_mut().ratio_max = ratio.max(1);
                self
            }
        }
    };
}
use file_options;
