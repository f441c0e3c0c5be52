use std::path::{Path, PathBuf};
use std::sync::Arc;

use aqueduct_core::{PartitionId, Position, Record, RecordBuilder};
use bytes::Bytes;

use super::cutter::BYTE_ORDER_MARK;
use super::files::{Files, Names};
use super::framing::{Framing, without_line_end};
use super::{Chunk, ChunkContent, Decode, Decoded, Source, oversize, position};
use crate::error::{DecodeError, SourceError};

/// The field that holds the line, unless the caller says otherwise.
pub const LINE_FIELD: &str = "line";

/// Reads files of any lines: each is an item with one field, the text of the line without its end.
///
/// One file, or all that a pattern such as `logs/*.log` matches; names that end in `.gz` and `.zst` are
/// decompressed on the way. Lines of nothing but white space are not items. White space around other lines is
/// kept, a byte-order mark is not. A line that is not UTF-8 is not an item.
#[derive(Debug)]
pub struct Lines {
    files: Files,
    field: Arc<str>,
}

impl Lines {
    /// Reads the file at `path`, or all files that it matches, if there is none of that name.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { files: Files::new("lines", Framing::Lines, path.into()), field: LINE_FIELD.into() }
    }

    /// Names the field that holds the line. Default [`LINE_FIELD`].
    #[must_use]
    pub fn with_field(mut self, field: impl Into<Arc<str>>) -> Self {
        self.field = field.into();
        self
    }
}

super::file_options!(Lines, files);

impl Source for Lines {
    fn describe(&self) -> String {
        self.files.describe()
    }

    fn would_read(&self, path: &Path) -> bool {
        self.files.would_read(path)
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        self.files.list()
    }

    fn connect(&mut self) -> Result<(), SourceError> {
        self.files.connect()
    }

    fn open(
        &mut self,
        index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        self.files.open(index, id, position)
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        self.files.next(items_max)
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(LinesDecoder { field: Arc::clone(&self.field), names: self.files.names() })
    }

    fn size_hint(&self) -> Option<u64> {
        self.files.left()
    }

    fn reread(&mut self, partition: &str, offset: u64, bytes: u64) -> Result<Bytes, SourceError> {
        self.files.reread(partition, offset, bytes)
    }
}

#[derive(Debug)]
pub(super) struct LinesDecoder {
    pub(super) field: Arc<str>,
    pub(super) names: Arc<Names>,
}

impl LinesDecoder {
    fn record(&self, line: &[u8], number: u64) -> Result<Record, DecodeError> {
        let text = std::str::from_utf8(line).map_err(|error| DecodeError::NotUtf8 {
            line: number,
            column: None,
            at: error.valid_up_to() + 1,
        })?;
        let mut record = RecordBuilder::with_capacities(text.len() + self.field.len() + 8, 1);
        record.text(&self.field, text);
        Ok(record.finish())
    }
}

impl Decode for LinesDecoder {
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded> {
        let ChunkContent::Bytes { bytes, .. } = &chunk.content else { return oversize(chunk, &self.names) };
        let mut items = Vec::with_capacity(chunk.items);
        let (mut start, mut line) = (0, chunk.line);
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at + 1);
            if !Framing::Lines.is_blank(&bytes[start..end]) {
                let offset = chunk.offset + start as u64;
                let original = bytes.slice(start..start + without_line_end(&bytes[start..end]).len());
                let text = match original.strip_prefix(BYTE_ORDER_MARK) {
                    Some(text) if offset == 0 => text,
                    _ => &original,
                };
                let record = self.record(text, line);
                items.push(Decoded { offset, line, original, record });
            }
            start = end;
            line += 1;
        }
        self.names.place(chunk, &mut items);
        items
    }

    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError> {
        let line = without_line_end(original);
        self.record(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line), 1)
    }

    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position {
        position::of_chunk(chunk, offset, None)
    }
}
