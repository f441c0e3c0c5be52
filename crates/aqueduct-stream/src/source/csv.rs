mod columns;
mod fields;
mod format;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aqueduct_core::{PartitionId, Position, Record};
use bytes::Bytes;

use self::columns::Columns;
use super::cutter::Cutter;
use super::files::{Files, Manner, Names};
use super::framing::{Framing, Search, line_ends, without_line_end};
use super::position::{self, FilePosition};
use super::{Chunk, ChunkContent, Decode, Decoded, Source, oversize};
use crate::error::{DecodeError, SourceError};

pub(crate) use columns::escaped as escaped_key;
pub(crate) use fields::Fields;
pub(crate) use format::check_names;
pub use format::{CsvFormat, CsvHeader, CsvType};

/// Reads files of rows with separated fields: one file, or all that a pattern such as `data/*.csv` matches.
///
/// Rows and quotes are those of RFC 4180, read generously: a line may end in a line feed alone, a quote inside of
/// a field that does not begin with one is part of it, and what follows a closing quote belongs to the field.
/// Empty lines are no rows, and a byte-order mark is dropped. Each file has a header of its own, so files may
/// have their columns in different orders. A row becomes a record with the columns in their order.
///
/// A row with too few or too many fields, a field that is not of its type, a quote that is never closed and a
/// row that is not UTF-8 are not items. A row that is longer than the limit ends at the first line end behind
/// it: a quote that is never closed costs as much as the limit, and not the rest of the file.
///
/// Names that end in `.gz` and `.zst` are decompressed on the way.
#[derive(Debug)]
pub struct Csv {
    files: Files,
    rows: Arc<Rows>,
}

/// What the source and its decoder share. The reader adds to it, workers look into it.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) format: CsvFormat,
    /// The columns of each partition that was opened.
    opened: RwLock<HashMap<PartitionId, Arc<Columns>>>,
    /// All different columns that were seen.
    known: RwLock<Vec<Arc<Columns>>>,
    /// The files whose headers can be read when a row comes without its file.
    files: OnceLock<(Manner, Vec<PathBuf>)>,
}

impl Rows {
    pub(super) fn new(format: CsvFormat) -> Self {
        Self { format, ..Self::default() }
    }

    /// Reads the header at the beginning of a partition, and tells its digest.
    pub(super) fn begin(
        &self,
        file: &str,
        id: PartitionId,
        cutter: &mut Cutter,
    ) -> Result<Option<String>, SourceError> {
        let Some(columns) = Columns::begin(&self.format, file, cutter)? else { return Ok(None) };
        let columns = self.learn(columns);
        let header = columns.header.clone();
        self.opened.write().unwrap_or_else(PoisonError::into_inner).insert(id, columns);
        Ok(header)
    }

    /// Most files of one source have the same columns, and there may be thousands.
    fn learn(&self, columns: Columns) -> Arc<Columns> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.iter().find(|known| ***known == columns) {
            return Arc::clone(same);
        }
        known.push(Arc::new(columns));
        Arc::clone(&known[known.len() - 1])
    }

    fn columns(&self, partition: PartitionId) -> Option<Arc<Columns>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned()
    }

    /// The columns that a row of an unknown file has, if there is but one possibility.
    fn columns_of(&self, row: &[u8]) -> Option<Arc<Columns>> {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.read_headers();
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let same = |first: &Arc<Columns>, all: &[&Arc<Columns>]| {
            all.iter().all(|other| other.same_records(first)).then(|| Arc::clone(first))
        };
        let fitting: Vec<&Arc<Columns>> = known.iter().filter(|columns| columns.fit(row)).collect();
        match fitting.first() {
            Some(first) => same(first, &fitting),
            // What fits nowhere fails again, and in the same words if there is one way to read it.
            None => same(known.first()?, &known.iter().collect::<Vec<_>>()),
        }
    }

    /// Learns the columns of all files. One whose header cannot be read has no rows that could be asked for.
    fn read_headers(&self) {
        let Some((manner, files)) = self.files.get() else { return };
        for path in files {
            let file = path.display().to_string();
            let columns = manner
                .begin(path, PartitionId::default())
                .and_then(|mut cutter| Columns::begin(&self.format, &file, &mut cutter));
            if let Ok(Some(columns)) = columns {
                self.learn(columns);
            }
        }
    }
}

impl Csv {
    /// Reads the file at `path`, or all files that it matches, if there is none of that name.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let rows = Arc::new(Rows::default());
        Self { files: Files::new("csv", rows.format.framing(), path.into()), rows }
    }

    /// Sets how rows are read. Default [`CsvFormat::new`].
    #[must_use]
    pub fn with_format(mut self, format: CsvFormat) -> Self {
        self.files.set_framing(format.framing());
        self.rows = Arc::new(Rows::new(format));
        self
    }
}

super::file_options!(Csv, files);

impl Source for Csv {
    fn describe(&self) -> String {
        self.files.describe()
    }

    fn would_read(&self, path: &Path) -> bool {
        self.files.would_read(path)
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        self.rows.format.check()?;
        let partitions = self.files.list()?;
        // A source lists its files once a run.
        let _ = self.rows.files.set(self.files.listing());
        Ok(partitions)
    }

    fn connect(&mut self) -> Result<(), SourceError> {
        self.rows.format.check()?;
        self.files.connect()
    }

    fn open(
        &mut self,
        index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        let read = position.map(FilePosition::read).transpose()?;
        let mut cutter = self.files.begin(index, id)?;
        let header = self.rows.begin(self.files.name_of(index), id, &mut cutter)?;
        if let Some(read) = &read {
            if read.header.is_some() && read.header != header {
                let path = self.files.path_of(index).to_owned();
                let how = "its header is different now";
                return Err(SourceError::Changed { path, how, bytes: read.offset });
            }
            cutter = self.files.resume(index, id, read)?;
        }
        self.files.reads(index, id, cutter, read.as_ref());
        Ok(())
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        self.files.next(items_max)
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(CsvDecoder { rows: Arc::clone(&self.rows), names: self.files.names() })
    }

    fn size_hint(&self) -> Option<u64> {
        self.files.left()
    }

    fn reread(&mut self, partition: &str, offset: u64, bytes: u64) -> Result<Bytes, SourceError> {
        self.files.reread(partition, offset, bytes)
    }
}

#[derive(Debug)]
pub(super) struct CsvDecoder {
    pub(super) rows: Arc<Rows>,
    pub(super) names: Arc<Names>,
}

impl Decode for CsvDecoder {
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded> {
        let ChunkContent::Bytes { bytes, .. } = &chunk.content else { return oversize(chunk, &self.names) };
        let columns = self.rows.columns(chunk.partition);
        let framing = self.rows.format.framing();
        let mut items = Vec::with_capacity(chunk.items);
        let (mut start, mut line) = (0, chunk.line);
        while start < bytes.len() {
            let rest = &bytes[start..];
            let length = framing.record_end(rest, &mut Search::default()).unwrap_or(rest.len());
            let row = without_line_end(&rest[..length]);
            if !row.is_empty() {
                let record = match &columns {
                    Some(columns) => columns.record(row, line),
                    None => Err(DecodeError::Columns),
                };
                let original = bytes.slice(start..start + row.len());
                items.push(Decoded { offset: chunk.offset + start as u64, line, original, record });
            }
            line += match framing {
                Framing::Quoted { .. } if memchr::memchr(b'\n', row).is_some() => line_ends(&rest[..length]),
                _ => 1,
            };
            start += length;
        }
        self.names.place(chunk, &mut items);
        items
    }

    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError> {
        let row = without_line_end(original);
        self.rows.columns_of(row).ok_or(DecodeError::Columns)?.record(row, 1)
    }

    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position {
        let header = self.rows.columns(chunk.partition).and_then(|columns| columns.header.clone());
        position::of_chunk(chunk, offset, header)
    }
}
