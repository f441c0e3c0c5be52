use std::path::{Path, PathBuf};
use std::sync::Arc;

use aqueduct_core::{PartitionId, Position, Record};
use bytes::Bytes;

use super::cutter::BYTE_ORDER_MARK;
use super::files::{Files, Names};
use super::framing::{Framing, without_line_end};
use super::{Chunk, ChunkContent, Decode, Decoded, Source, oversize, position};
use crate::error::{DecodeError, SourceError};

/// Reads files of JSON objects, one a line: one file, or all that a pattern such as `data/*.jsonl` matches.
///
/// Names that end in `.gz` and `.zst` are decompressed on the way. Blank lines are not items. A byte-order mark
/// and carriage returns at line ends are accepted. A last line without a line end is an item; should that line
/// grow later, the next run refuses to continue, because half of it was processed already.
#[derive(Debug)]
pub struct Jsonl(Files);

impl Jsonl {
    /// Reads the file at `path`, or all files that it matches, if there is none of that name.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(Files::new("jsonl", Framing::Lines, path.into()))
    }
}

super::file_options!(Jsonl, 0);

impl Source for Jsonl {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn would_read(&self, path: &Path) -> bool {
        self.0.would_read(path)
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        self.0.list()
    }

    fn connect(&mut self) -> Result<(), SourceError> {
        self.0.connect()
    }

    fn open(
        &mut self,
        index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        self.0.open(index, id, position)
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        self.0.next(items_max)
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(JsonlDecoder { names: self.0.names() })
    }

    fn size_hint(&self) -> Option<u64> {
        self.0.left()
    }

    fn reread(&mut self, partition: &str, offset: u64, bytes: u64) -> Result<Bytes, SourceError> {
        self.0.reread(partition, offset, bytes)
    }
}

#[derive(Debug, Default)]
pub(super) struct JsonlDecoder {
    pub(super) names: Arc<Names>,
}

impl Decode for JsonlDecoder {
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded> {
        let (bytes, unterminated) = match &chunk.content {
            ChunkContent::Bytes { bytes, unterminated } => (bytes, *unterminated),
            ChunkContent::Oversize { .. } => return oversize(chunk, &self.names),
        };
        let mut items = Vec::with_capacity(chunk.items);
        let (mut start, mut line) = (0, chunk.line);
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at + 1);
            if !Framing::Lines.is_blank(&bytes[start..end]) {
                let offset = chunk.offset + start as u64;
                let original = bytes.slice(start..start + without_line_end(&bytes[start..end]).len());
                let marked = offset == 0 && original.starts_with(BYTE_ORDER_MARK);
                let text = if marked { original.slice(BYTE_ORDER_MARK.len()..) } else { original.clone() };
                let record = Record::parse(text).map_err(|source| DecodeError::Json {
                    line,
                    cut_off: unterminated && end == bytes.len(),
                    source,
                });
                items.push(Decoded { offset, line, original, record });
            }
            start = end;
            line += 1;
        }
        self.names.place(chunk, &mut items);
        items
    }

    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError> {
        let text =
            original.strip_prefix(BYTE_ORDER_MARK).map_or(original.clone(), |text| original.slice_ref(text));
        Record::parse(text).map_err(|source| DecodeError::Json { line: 1, cut_off: false, source })
    }

    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position {
        position::of_chunk(chunk, offset, None)
    }
}
