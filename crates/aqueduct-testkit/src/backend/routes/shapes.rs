use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};
use hyper::StatusCode;
use hyper::header::CONTENT_ENCODING;

use super::Asked;
use super::query::Query;
use crate::backend::answer::{Answer, BYTES, Content};

/// More than any client should take, and little enough that lengths cannot overflow.
const BYTES_MAX: u64 = 1 << 40;
const PIECE_BYTES: usize = 64 << 10;

/// So many bytes `a`, in the memory of a piece.
pub(super) fn big(bytes: &str) -> Answer {
    let Some(bytes) = bytes.parse::<u64>().ok().filter(|bytes| *bytes <= BYTES_MAX) else {
        return Answer::invalid("a size is a number of bytes up to 1 TiB");
    };
    let piece = Bytes::from(vec![b'a'; PIECE_BYTES]);
    let times = bytes / PIECE_BYTES as u64;
    let rest = usize::try_from(bytes % PIECE_BYTES as u64).unwrap_or(0);
    let tail = piece.slice(..rest);
    Answer::new(StatusCode::OK, BYTES, Content::Repeated { head: Bytes::new(), piece, times, tail })
}

/// What comes out of a piece of a bomb: zeros.
const BLOCK_BYTES: usize = 1 << 20;
const BOMB_DEFAULT: u64 = 1 << 30;
/// The checksum of a bomb is put together block by block, for some microseconds each.
const BOMB_MAX: u64 = 16 << 30;

/// So many zeros as one gzip member of about a thousandth of that.
pub(super) fn bomb(asked: &Asked<'_>) -> Answer {
    let bytes = match Query::of(asked.query).number("bytes", BOMB_DEFAULT, BOMB_MAX) {
        Ok(bytes) => bytes,
        Err(message) => return Answer::invalid(&message),
    };
    let blocks = bytes.div_ceil(BLOCK_BYTES as u64).max(1);
    match gzip_of_zeros(blocks) {
        Some(content) => Answer::new(StatusCode::OK, BYTES, content).with(CONTENT_ENCODING, "gzip"),
        None => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the bomb cannot be made"),
    }
}

/// RFC 1952: the head; deflate; the checksum and the length. A block that is flushed in full needs nothing that came before
/// it, so one that was compressed once may come any number of times (RFC 1951, section 3.2).
fn gzip_of_zeros(blocks: u64) -> Option<Content> {
    const HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    /// An empty last block of fixed codes.
    const LAST: &[u8] = &[3, 0];
    let zeros = vec![0; BLOCK_BYTES];
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&zeros, &mut piece, FlushCompress::Full).ok()?;
    if compress.total_in() != BLOCK_BYTES as u64 || piece.len() == piece.capacity() {
        return None;
    }
    let mut one = Crc::new();
    one.update(&zeros);
    let mut sum = Crc::new();
    for _ in 0..blocks {
        sum.combine(&one);
    }
    // The length is kept modulo 2^32.
    let length = u32::try_from((blocks * BLOCK_BYTES as u64) & u64::from(u32::MAX)).unwrap_or(0);
    let tail = [LAST, &sum.sum().to_le_bytes(), &length.to_le_bytes()].concat();
    Some(Content::Repeated {
        head: Bytes::from_static(HEAD),
        piece: piece.into(),
        times: blocks,
        tail: tail.into(),
    })
}
