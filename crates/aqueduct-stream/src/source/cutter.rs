//! Cuts a stream of bytes into chunks of whole records.

use aqueduct_core::PartitionId;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::framing::{Framing, Search, line_ends, without_line_end};
use super::position::TAIL_BYTES;
use super::{Chunk, ChunkContent};
use crate::error::SourceError;

/// How much is read at once: large enough that a system call costs nothing a byte, small enough that a block
/// and what is made of it stay in a core's cache.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// The longest line that is carried, unless the caller says otherwise.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// How much of an oversize line is kept.
const HEAD_BYTES: usize = 64 * 1024;

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What bytes come from.
pub(super) trait Feed: Send {
    /// Appends what comes next to `block`, at least one byte unless it is the end. An error comes only when
    /// nothing was appended.
    fn read(&mut self, block: &mut Vec<u8>) -> Result<Fed, SourceError>;
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// There are more bytes.
    Bytes,
    /// What was appended, if anything, is the last.
    End,
    /// Nothing, because the run is asked to drain.
    Asked,
}

/// Where a partition is read from, and how it is cut.
pub(super) struct Cutting {
    pub(super) partition: PartitionId,
    pub(super) framing: Framing,
    /// The longest record that is carried, without its line end.
    pub(super) limit: usize,
    /// Where the feed begins.
    pub(super) offset: u64,
    /// The number of the line there.
    pub(super) line: u64,
    /// Whether a byte-order mark in front is dropped.
    pub(super) drops_mark: bool,
}

/// Cuts one partition. What it gives depends on the bytes alone, not on the pieces in which they come.
///
/// A record that is too long ends at the first line end at or behind the limit, between quotes or not: a quote
/// that is never closed costs one record of bounded length and not the rest of the input.
pub(super) struct Cutter {
    feed: Box<dyn Feed>,
    cutting: Cutting,
    /// What was read and not given out; it begins at `cutting.offset`, where a record begins.
    block: Bytes,
    search: Search,
    end: bool,
}

impl std::fmt::Debug for Cutter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cutter").field("offset", &self.cutting.offset).finish_non_exhaustive()
    }
}

impl Cutter {
    /// Cuts what `feed` gives. `leftover` is what was read of it already.
    pub(super) fn new(feed: Box<dyn Feed>, cutting: Cutting, leftover: Vec<u8>) -> Self {
        Self { feed, cutting, block: leftover.into(), search: Search::default(), end: false }
    }

    /// Gives the next chunk; `None` at the end, or when the feed gives nothing because the run drains.
    pub(super) fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        loop {
            if !self.may_be_mark()
                && let Some(chunk) = self.cut(items_max)
            {
                return Ok(Some(chunk));
            }
            if self.end {
                return Ok(None);
            }
            // With a line end of two bytes behind it, a record as long as the limit is not too long; and between
            // quotes a line end may turn out to be the record's own, if the input ends there.
            if self.block.len() > self.cutting.limit + 2 {
                return self.read_past();
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Drops a byte-order mark in front. Tells whether what is there may still become one.
    fn may_be_mark(&mut self) -> bool {
        if !self.cutting.drops_mark {
            return false;
        }
        let length = self.block.len().min(BYTE_ORDER_MARK.len());
        let begins = BYTE_ORDER_MARK.starts_with(&self.block[..length]);
        if begins && length == BYTE_ORDER_MARK.len() {
            let _ = self.block.split_to(length);
            self.advance(length as u64, 0);
        } else if begins && !self.end {
            return true;
        }
        self.cutting.drops_mark = false;
        false
    }

    /// Takes the first record off, blank ones before it left out: its bytes without line end, and its line.
    /// `None` when there is none.
    pub(super) fn first_record(&mut self) -> Result<Option<(Chunk, Bytes)>, SourceError> {
        while let Some(chunk) = self.next(1)? {
            match &chunk.content {
                ChunkContent::Bytes { bytes, .. } if chunk.items == 1 => {
                    let mut record = bytes.clone();
                    let mut search = Search::default();
                    // Blank records come first, then the one that was asked for.
                    while let Some(end) = self.cutting.framing.record_end(&record, &mut search) {
                        if !self.cutting.framing.is_blank(&record[..end]) {
                            break;
                        }
                        let _ = record.split_to(end);
                    }
                    let length = without_line_end(&record).len();
                    return Ok(Some((chunk, record.slice(..length))));
                }
                ChunkContent::Oversize { .. } => return Ok(Some((chunk, Bytes::new()))),
                ChunkContent::Bytes { .. } => {}
            }
        }
        Ok(None)
    }

    /// Takes whole records off the block, up to `items_max` items; one that is too long is a chunk of its own.
    fn cut(&mut self, items_max: usize) -> Option<Chunk> {
        let Cutting { framing, limit, .. } = self.cutting;
        let (mut items, mut lines, mut end) = (0, 0, 0);
        let mut unterminated = false;
        while items < items_max && end < self.block.len() {
            let rest = &self.block[end..];
            let length = match framing.record_end(rest, &mut self.search) {
                Some(length) => length,
                None if self.end => {
                    self.search = Search::default();
                    unterminated = rest.last() != Some(&b'\n');
                    rest.len()
                }
                None => break,
            };
            let record = &rest[..length];
            if without_line_end(record).len() > limit {
                // It is found again when the records in front of it are given.
                if end == 0 {
                    return self.oversize_in_block(length);
                }
                break;
            }
            lines += framing.lines(record);
            items += usize::from(!framing.is_blank(record));
            end += length;
        }
        if end == 0 {
            return None;
        }
        let bytes = self.block.split_to(end);
        let unterminated = unterminated && self.block.is_empty();
        let Cutting { partition, offset, line, .. } = self.cutting;
        self.advance(end as u64, lines);
        Some(Chunk {
            partition,
            offset,
            end: offset + end as u64,
            line,
            items,
            weight: end,
            content: ChunkContent::Bytes { bytes, unterminated },
        })
    }

    fn advance(&mut self, bytes: u64, lines: u64) {
        self.cutting.offset += bytes;
        self.cutting.line += lines;
    }

    /// Reads on behind the record whose end is not in the block yet. Gives whether there was anything, or the
    /// end.
    fn fill(&mut self) -> Result<bool, SourceError> {
        // What nobody else holds is not copied, so a long record is not copied once a block.
        let mut block = Vec::from(std::mem::take(&mut self.block));
        let fed = self.feed.read(&mut block)?;
        self.block = block.into();
        self.end = fed == Fed::End;
        Ok(fed != Fed::Asked)
    }

    /// A record in the block that is too long: up to the first line end at or behind the limit.
    fn oversize_in_block(&mut self, record: usize) -> Option<Chunk> {
        let limit = self.cutting.limit;
        let length = memchr::memchr(b'\n', &self.block[limit..record]).map_or(record, |at| limit + at + 1);
        let record = self.block.split_to(length);
        let mut past = Past::new(&record);
        past.unterminated = record.last() != Some(&b'\n');
        Some(self.oversize(past))
    }

    /// Reads to the end of a record that is too long, keeping its head and its digest (line end included) alone.
    fn read_past(&mut self) -> Result<Option<Chunk>, SourceError> {
        let limit = self.cutting.limit;
        self.search = Search::default();
        let mut block = std::mem::take(&mut self.block);
        if let Some(at) = memchr::memchr(b'\n', &block[limit..]) {
            let record = block.split_to(limit + at + 1);
            self.block = block;
            return Ok(Some(self.oversize(Past::new(&record))));
        }
        let mut past = Past::new(&block);
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        loop {
            block.clear();
            if !self.end {
                match self.feed.read(&mut block)? {
                    // The run drains: the record was not given, so nothing of it counts as read.
                    Fed::Asked => return Ok(None),
                    Fed::Bytes => {}
                    Fed::End => self.end = true,
                }
            }
            let line_end = memchr::memchr(b'\n', &block);
            let rest = block.split_off(line_end.map_or(block.len(), |at| at + 1));
            past.add(&block);
            if line_end.is_some() || self.end {
                past.unterminated = line_end.is_none();
                self.block = rest.into();
                return Ok(Some(self.oversize(past)));
            }
        }
    }

    fn oversize(&mut self, past: Past) -> Chunk {
        let Cutting { partition, offset, line, limit, .. } = self.cutting;
        let lines = past.lines.max(1);
        self.advance(past.bytes, lines);
        Chunk {
            partition,
            offset,
            end: offset + past.bytes,
            line,
            items: 1,
            weight: HEAD_BYTES,
            content: ChunkContent::Oversize {
                bytes: past.bytes,
                lines,
                sha256: past.hash.finalize().into(),
                head: past.head,
                limit,
                tail: past.tail.into(),
                unterminated: past.unterminated,
            },
        }
    }
}

/// What is kept of a record that is read past.
struct Past {
    hash: Sha256,
    bytes: u64,
    lines: u64,
    head: Bytes,
    tail: Vec<u8>,
    unterminated: bool,
}

impl Past {
    fn new(start: &[u8]) -> Self {
        let head = Bytes::copy_from_slice(&start[..start.len().min(HEAD_BYTES)]);
        let mut past =
            Self { hash: Sha256::new(), bytes: 0, lines: 0, head, tail: Vec::new(), unterminated: false };
        past.add(start);
        past
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.lines += line_ends(bytes);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
    }
}
