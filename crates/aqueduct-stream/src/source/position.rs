//! How far a file was read, as a text for the ledger.

use aqueduct_core::Position;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::framing::line_ends;
use super::{Chunk, ChunkContent};
use crate::error::SourceError;

/// How many bytes before a position are remembered (as a digest) to tell a grown file from a replaced one.
pub(super) const TAIL_BYTES: usize = 256;

/// The version of the position's text.
const FORMAT: u32 = 1;

/// The place behind the last item that was taken. Offsets count the bytes of the content: of a compressed file
/// those that come out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FilePosition {
    format: u32,
    pub(super) offset: u64,
    pub(super) line: u64,
    /// The digest of the bytes in front of it.
    pub(super) tail: String,
    /// Whether it is behind a last record that had no line end.
    pub(super) unterminated: bool,
    /// The digest of the header, in formats that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) header: Option<String>,
}

impl FilePosition {
    /// Reads the ledger's text.
    pub(super) fn read(position: &Position) -> Result<Self, SourceError> {
        let unreadable = || SourceError::Position { text: position.as_str().chars().take(200).collect() };
        let read: Self = serde_json::from_str(position.as_str()).map_err(|_| unreadable())?;
        if read.format == FORMAT { Ok(read) } else { Err(unreadable()) }
    }

    fn write(&self) -> Position {
        Position::new(serde_json::to_string(self).expect("a struct of numbers and texts is always JSON"))
    }

    /// How many bytes in front of the place the digest covers: one taken inside a chunk may cover fewer than
    /// [`TAIL_BYTES`].
    pub(super) fn tail_bytes(&self) -> u64 {
        let covered = self.tail.split(':').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        covered.min(self.offset).min(TAIL_BYTES as u64)
    }
}

/// The position from which reading continues with the item at `offset` of this chunk; its end for `None`.
pub(super) fn of_chunk(chunk: &Chunk, offset: Option<u64>, header: Option<String>) -> Position {
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
        ChunkContent::Bytes { .. } => line_ends(in_chunk),
        ChunkContent::Oversize { lines, .. } if taken == length => *lines,
        ChunkContent::Oversize { .. } => 0,
    };
    FilePosition {
        format: FORMAT,
        offset,
        line: chunk.line + lines,
        tail: digest(&in_chunk[in_chunk.len().saturating_sub(TAIL_BYTES)..]),
        unterminated: unterminated && taken == length,
        header,
    }
    .write()
}

/// How many bytes, and the first half of their SHA-256: enough against accidents, which is all it is for.
pub(super) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let mut text = format!("{}:", bytes.len());
    for byte in &hash[..16] {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
