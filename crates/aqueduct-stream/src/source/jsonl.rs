use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_core::{PartitionId, Position, Record};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Chunk, ChunkContent, Decode, Decoded, Source};
use crate::error::{DecodeError, SourceError};

/// How much is read at once: large enough that a system call costs nothing a byte, small enough that a block
/// and what is made of it stay in a core's cache.
const BLOCK_BYTES: usize = 256 * 1024;

/// The longest line that is carried, unless the caller says otherwise.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// How much of an oversize line is kept.
const HEAD_BYTES: usize = 64 * 1024;

/// How many bytes before a position are remembered (as a digest) to tell a grown file from a replaced one.
const TAIL_BYTES: usize = 256;

/// The version of the position's text.
const POSITION_FORMAT: u32 = 1;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a file of JSON objects, one a line.
///
/// Blank lines are not items. A byte-order mark and carriage returns at line ends are accepted. A last line
/// without a line end is an item; should that line grow later, the next run refuses to continue, because half
/// of it was processed already.
#[derive(Debug)]
pub struct Jsonl {
    path: PathBuf,
    name: String,
    line_bytes_max: usize,
    size: Option<u64>,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    file: File,
    partition: PartitionId,
    /// Whole lines that were read and not yet given out.
    ready: Bytes,
    /// The start of a line whose end was not read yet.
    partial: Vec<u8>,
    /// Where `ready` begins.
    offset: u64,
    line: u64,
    end_of_file: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct JsonlPosition {
    format: u32,
    offset: u64,
    line: u64,
    tail: String,
    unterminated: bool,
}

impl Jsonl {
    /// Reads the file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.display().to_string();
        Self { path, name, line_bytes_max: LINE_BYTES_MAX, size: None, reading: None }
    }

    /// Names the partition in the ledger; the path as it was given, unless this is called. A pipeline file
    /// gives the path relative to itself, so that the folder can be moved.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the longest line that is carried, in bytes; a longer one becomes a dead letter. Default
    /// [`LINE_BYTES_MAX`].
    #[must_use]
    pub fn with_line_bytes_max(mut self, bytes: usize) -> Self {
        self.line_bytes_max = bytes.max(1);
        self
    }

    fn io(&self, source: io::Error) -> SourceError {
        SourceError::Io { path: self.path.clone(), source }
    }
}

impl Source for Jsonl {
    fn describe(&self) -> String {
        format!("jsonl {}", self.name)
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SourceError::Missing { path: self.path.clone() });
            }
            Err(error) => return Err(self.io(error)),
        };
        if metadata.is_dir() {
            return Err(SourceError::Folder { path: self.path.clone() });
        }
        self.size = Some(metadata.len());
        Ok(vec![self.name.clone()])
    }

    fn connect(&mut self) -> Result<(), SourceError> {
        self.partitions()?;
        File::open(&self.path).map(drop).map_err(|error| self.io(error))
    }

    fn open(
        &mut self,
        _index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        let mut file = File::open(&self.path).map_err(|error| self.io(error))?;
        let (mut offset, mut line) = (0, 1);
        if let Some(position) = position {
            let read = JsonlPosition::read(position)?;
            offset = read.offset;
            line = read.line;
            if let Some(skipped) = self.check_same(&mut file, &read)? {
                offset += skipped;
                line += 1;
            }
            file.seek(SeekFrom::Start(offset)).map_err(|error| self.io(error))?;
        }
        if let (Some(size), Some(_)) = (self.size, position) {
            self.size = Some(size.saturating_sub(offset));
        }
        self.reading = Some(Reading {
            file,
            partition: id,
            ready: Bytes::new(),
            partial: Vec::new(),
            offset,
            line,
            end_of_file: false,
        });
        Ok(())
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        let limit = self.line_bytes_max;
        let Some(reading) = self.reading.as_mut() else { return Ok(None) };
        match reading.next(items_max, limit) {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(self.io(error)),
        }
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(JsonlDecoder)
    }

    fn size_hint(&self) -> Option<u64> {
        self.size
    }

    fn reread(&mut self, partition: &str, offset: u64, bytes: u64) -> Result<Bytes, SourceError> {
        if partition != self.name {
            return Err(SourceError::NoReread {
                source_name: self.describe(),
                partition: partition.to_owned(),
                offset,
            });
        }
        let mut file = File::open(&self.path).map_err(|error| self.io(error))?;
        file.seek(SeekFrom::Start(offset)).map_err(|error| self.io(error))?;
        let mut item = Vec::new();
        file.take(bytes).read_to_end(&mut item).map_err(|error| self.io(error))?;
        Ok(item.into())
    }
}

impl Jsonl {
    /// Checks that the file still begins with what was read. Gives the length of the line end that somebody
    /// added behind a last line that had none.
    fn check_same(&self, file: &mut File, read: &JsonlPosition) -> Result<Option<u64>, SourceError> {
        let changed =
            |how: &'static str| SourceError::Changed { path: self.path.clone(), how, bytes: read.offset };
        let size = file.metadata().map_err(|error| self.io(error))?.len();
        if size < read.offset {
            return Err(changed("it is shorter now"));
        }
        // The digest says how many bytes it covers: a position taken inside a chunk may remember fewer.
        let remembered = read.tail.split(':').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        let tail_bytes = remembered.min(read.offset);
        let mut tail = Vec::with_capacity(TAIL_BYTES);
        file.seek(SeekFrom::Start(read.offset - tail_bytes)).map_err(|error| self.io(error))?;
        file.take(tail_bytes).read_to_end(&mut tail).map_err(|error| self.io(error))?;
        if digest(&tail) != read.tail {
            return Err(changed("what stands in front of that place is different now"));
        }
        if !read.unterminated || size == read.offset {
            return Ok(None);
        }
        let mut next = [0_u8; 2];
        let count = file.read(&mut next).map_err(|error| self.io(error))?;
        match &next[..count] {
            [b'\n', ..] => Ok(Some(1)),
            [b'\r', b'\n'] => Ok(Some(2)),
            _ => Err(changed("its last line had no line end and has grown")),
        }
    }
}

impl Reading {
    fn next(&mut self, items_max: usize, limit: usize) -> io::Result<Option<Chunk>> {
        loop {
            if !self.ready.is_empty() {
                return Ok(Some(self.cut(items_max, limit)));
            }
            if self.end_of_file {
                return Ok(None);
            }
            if let Some(oversize) = self.fill(limit)? {
                return Ok(Some(oversize));
            }
        }
    }

    /// Takes whole lines off `ready`, up to `items_max` items; a line that is too long is a chunk of its own.
    fn cut(&mut self, items_max: usize, limit: usize) -> Chunk {
        let mut items = 0;
        let mut lines = 0;
        let mut end = 0;
        let unterminated = (self.ready.last() != Some(&b'\n')).then_some(self.ready.len());
        let line_ends = memchr::memchr_iter(b'\n', &self.ready).map(|at| at + 1).chain(unterminated);
        for line_end in line_ends {
            let line = &self.ready[end..line_end];
            if without_line_end(line).len() > limit {
                if end == 0 {
                    return self.oversize_in_ready(line_end, limit);
                }
                break;
            }
            lines += 1;
            items += usize::from(!is_blank(line));
            end = line_end;
            if items == items_max {
                break;
            }
        }
        let bytes = self.ready.split_to(end);
        let unterminated = bytes.last().is_some_and(|last| *last != b'\n');
        let chunk = Chunk {
            partition: self.partition,
            offset: self.offset,
            end: self.offset + end as u64,
            line: self.line,
            items,
            weight: bytes.len(),
            content: ChunkContent::Bytes { bytes, unterminated },
        };
        self.offset += end as u64;
        self.line += lines;
        chunk
    }

    /// Reads until there is at least one whole line, or the end. An oversize line is read past and given.
    fn fill(&mut self, limit: usize) -> io::Result<Option<Chunk>> {
        let mut block = std::mem::take(&mut self.partial);
        loop {
            let searched = block.len();
            block.reserve(BLOCK_BYTES);
            // `take` and `read_to_end` fill spare capacity without clearing it first.
            let count = (&mut self.file).take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
            if count == 0 {
                self.end_of_file = true;
                self.ready = block.into();
                return Ok(None);
            }
            if let Some(last) = memchr::memrchr(b'\n', &block[searched..]).map(|at| searched + at) {
                self.partial = block.split_off(last + 1);
                self.ready = block.into();
                return Ok(None);
            }
            if block.len() > limit {
                return self.read_past(&block, limit).map(Some);
            }
        }
    }

    fn oversize_in_ready(&mut self, end: usize, limit: usize) -> Chunk {
        let line = self.ready.split_to(end);
        let mut hash = Sha256::new();
        hash.update(&line);
        let unterminated = line.last() != Some(&b'\n');
        self.oversize(hash, line.len() as u64, &line, &line, limit, unterminated)
    }

    /// Reads to the end of a line that is too long, keeping its head and its digest (line end included) alone.
    fn read_past(&mut self, start: &[u8], limit: usize) -> io::Result<Chunk> {
        let mut hash = Sha256::new();
        hash.update(start);
        let mut bytes = start.len() as u64;
        let mut tail = start[start.len().saturating_sub(TAIL_BYTES)..].to_vec();
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        loop {
            block.clear();
            let count = (&mut self.file).take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
            if count == 0 {
                self.end_of_file = true;
                return Ok(self.oversize(hash, bytes, start, &tail, limit, true));
            }
            let line_end = memchr::memchr(b'\n', &block);
            let (line, rest) = block.split_at(line_end.map_or(block.len(), |at| at + 1));
            hash.update(line);
            bytes += line.len() as u64;
            tail.extend_from_slice(&line[line.len().saturating_sub(TAIL_BYTES)..]);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
            if line_end.is_some() {
                // What follows is read again: blocks begin at line starts, and this happens once an oversize line.
                self.file.seek(SeekFrom::Current(-i64::try_from(rest.len()).unwrap_or(0)))?;
                return Ok(self.oversize(hash, bytes, start, &tail, limit, false));
            }
        }
    }

    fn oversize(
        &mut self,
        hash: Sha256,
        bytes: u64,
        head: &[u8],
        tail: &[u8],
        limit: usize,
        unterminated: bool,
    ) -> Chunk {
        let chunk = Chunk {
            partition: self.partition,
            offset: self.offset,
            end: self.offset + bytes,
            line: self.line,
            items: 1,
            weight: HEAD_BYTES,
            content: ChunkContent::Oversize {
                bytes,
                sha256: hash.finalize().into(),
                head: Bytes::copy_from_slice(&head[..head.len().min(HEAD_BYTES)]),
                limit,
                tail: Bytes::copy_from_slice(&tail[tail.len().saturating_sub(TAIL_BYTES)..]),
                unterminated,
            },
        };
        self.offset += bytes;
        self.line += 1;
        chunk
    }
}

#[derive(Debug)]
struct JsonlDecoder;

impl Decode for JsonlDecoder {
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded> {
        let (bytes, unterminated) = match &chunk.content {
            ChunkContent::Bytes { bytes, unterminated } => (bytes, *unterminated),
            ChunkContent::Oversize { bytes, limit, .. } => {
                let error = DecodeError::Oversize { line: chunk.line, bytes: *bytes, limit: *limit };
                return vec![Decoded {
                    offset: chunk.offset,
                    line: chunk.line,
                    original: Bytes::new(),
                    record: Err(error),
                }];
            }
        };
        let mut items = Vec::with_capacity(chunk.items);
        let (mut start, mut line) = (0, chunk.line);
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at + 1);
            if !is_blank(&bytes[start..end]) {
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
        items
    }

    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError> {
        let text =
            original.strip_prefix(BYTE_ORDER_MARK).map_or(original.clone(), |text| original.slice_ref(text));
        Record::parse(text).map_err(|source| DecodeError::Json { line: 1, cut_off: false, source })
    }

    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position {
        let (bytes, length, unterminated) = match &chunk.content {
            ChunkContent::Bytes { bytes, unterminated } => (bytes, bytes.len() as u64, *unterminated),
            ChunkContent::Oversize { tail, bytes, unterminated, .. } => (tail, *bytes, *unterminated),
        };
        let offset = offset.unwrap_or(chunk.offset + length);
        let taken = offset - chunk.offset;
        // The digest covers bytes of this chunk alone: the source checks exactly as many as were remembered.
        let end = if taken == length { bytes.len() } else { usize::try_from(taken).unwrap_or(bytes.len()) };
        let in_chunk = &bytes[..end];
        let lines = match &chunk.content {
            ChunkContent::Bytes { .. } => memchr::memchr_iter(b'\n', in_chunk).count() as u64,
            ChunkContent::Oversize { .. } => u64::from(taken == length),
        };
        JsonlPosition {
            format: POSITION_FORMAT,
            offset,
            line: chunk.line + lines,
            tail: digest(&in_chunk[in_chunk.len().saturating_sub(TAIL_BYTES)..]),
            unterminated: unterminated && taken == length,
        }
        .write()
    }
}

impl JsonlPosition {
    fn read(position: &Position) -> Result<Self, SourceError> {
        let unreadable = || SourceError::Position { text: position.as_str().chars().take(200).collect() };
        let read: Self = serde_json::from_str(position.as_str()).map_err(|_| unreadable())?;
        if read.format == POSITION_FORMAT { Ok(read) } else { Err(unreadable()) }
    }

    fn write(&self) -> Position {
        Position::new(serde_json::to_string(self).expect("a struct of numbers and texts is always JSON"))
    }
}

/// How many bytes, and the first half of their SHA-256: enough against accidents, which is all it is for.
fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let mut text = format!("{}:", bytes.len());
    for byte in &hash[..16] {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
