//! The bytes of one file, as they are or decompressed on the way.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::cutter::{BLOCK_BYTES, Fed, Feed};
use crate::error::SourceError;

/// The most bytes that one compressed file may become, unless the caller says otherwise: more than a disk of a
/// small machine, so that who needs more says so.
pub const EXPANDED_BYTES_MAX: u64 = 64 << 30;

/// How many times larger than itself a compressed file may become, unless the caller says otherwise. Logs reach
/// 10 to 50; gzip ends at 1,032, which is what a bomb of zeros has.
pub const EXPANDED_RATIO_MAX: u64 = 200;

/// Below this much output nobody is hurt, and a small file of one repeated line has any ratio.
const RATIO_FREE_BYTES: u64 = 64 * 1024 * 1024;

/// Least room for a block, so that a file that grows while it is read is not read in crumbs.
const ROOM_BYTES_MIN: u64 = 4096;

/// What a compressed file may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpansionLimits {
    pub(crate) bytes_max: u64,
    pub(crate) ratio_max: u64,
}

impl Default for ExpansionLimits {
    fn default() -> Self {
        Self { bytes_max: EXPANDED_BYTES_MAX, ratio_max: EXPANDED_RATIO_MAX }
    }
}

/// How a file is compressed, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    pub(crate) fn of(path: &Path) -> Self {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// One open file.
pub(crate) struct Input {
    path: PathBuf,
    packing: Packing,
    limits: ExpansionLimits,
    bytes: Bytes,
    /// How many bytes of content have come out.
    offset: u64,
    /// What went wrong behind bytes that are still good; told at the next read.
    failed: Option<io::Error>,
}

enum Bytes {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<Counted>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Counted>>>),
}

/// A file that counts what was read of it.
struct Counted {
    file: File,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl Input {
    /// Opens a file at its beginning.
    pub(crate) fn open(path: &Path, limits: ExpansionLimits) -> Result<Self, SourceError> {
        let io = |error| io_error(path, error);
        let file = File::open(path).map_err(io)?;
        let packing = Packing::of(path);
        let counted = |file| BufReader::with_capacity(64 * 1024, Counted { file, bytes: 0 });
        let bytes = match packing {
            Packing::None => Bytes::Plain(file),
            Packing::Gzip => Bytes::Gzip(Box::new(MultiGzDecoder::new(counted(file)))),
            // Frames that ask for more than 128 MiB of window are refused by zstd itself, which bounds memory.
            Packing::Zstd => {
                Bytes::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(counted(file)).map_err(io)?))
            }
        };
        Ok(Self { path: path.to_owned(), packing, limits, bytes, offset: 0, failed: None })
    }

    /// Moves forward to `offset`. Gives whether there is that much; compressed bytes come out and are dropped.
    pub(crate) fn skip_to(&mut self, offset: u64) -> Result<bool, SourceError> {
        if let Bytes::Plain(file) = &mut self.bytes {
            let io = |error| io_error(&self.path, error);
            if file.metadata().map_err(io)?.len() < offset {
                return Ok(false);
            }
            self.offset = file.seek(SeekFrom::Start(offset)).map_err(io)?;
            return Ok(true);
        }
        let mut dropped = Vec::new();
        while self.offset < offset {
            dropped.clear();
            let most = (offset - self.offset).min(BLOCK_BYTES as u64);
            if self.take(&mut dropped, most)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Appends up to `most` bytes, fewer only at the end.
    pub(crate) fn take(&mut self, block: &mut Vec<u8>, most: u64) -> Result<u64, SourceError> {
        if let Some(error) = self.failed.take() {
            return Err(self.explained(error));
        }
        self.check_limits()?;
        let before = block.len();
        let read = match &mut self.bytes {
            // `take` and `read_to_end` fill spare capacity without clearing it first.
            Bytes::Plain(file) => file.take(most).read_to_end(block),
            Bytes::Gzip(decoder) => decoder.take(most).read_to_end(block),
            Bytes::Zstd(decoder) => decoder.take(most).read_to_end(block),
        };
        let count = (block.len() - before) as u64;
        self.offset += count;
        match read {
            Err(error) if count == 0 => Err(self.explained(error)),
            Err(error) => {
                self.failed = Some(error);
                Ok(count)
            }
            Ok(_) => Ok(count),
        }
    }

    /// How many bytes of the file itself a decoder has taken in.
    fn packed_bytes(&self) -> u64 {
        match &self.bytes {
            Bytes::Plain(_) => self.offset,
            Bytes::Gzip(decoder) => decoder.get_ref().get_ref().bytes,
            Bytes::Zstd(decoder) => decoder.get_ref().get_ref().bytes,
        }
    }

    fn check_limits(&self) -> Result<(), SourceError> {
        if self.packing == Packing::None {
            return Ok(());
        }
        let packed = self.packed_bytes();
        let beyond = |key, limit| {
            let (path, bytes) = (self.path.clone(), self.offset);
            Err(SourceError::Expansion { path, packed, bytes, key, limit })
        };
        if self.offset > self.limits.bytes_max {
            return beyond("expanded_bytes_max", self.limits.bytes_max);
        }
        if self.offset > RATIO_FREE_BYTES && self.offset / self.limits.ratio_max.max(1) > packed {
            return beyond("expanded_ratio_max", self.limits.ratio_max);
        }
        Ok(())
    }

    /// An error of the system is one of reading; any other is one of the content.
    fn explained(&self, error: io::Error) -> SourceError {
        if self.packing == Packing::None || error.raw_os_error().is_some() {
            return io_error(&self.path, error);
        }
        let how = match error.kind() {
            io::ErrorKind::UnexpectedEof => "is cut off",
            _ => "is damaged",
        };
        SourceError::Packed {
            path: self.path.clone(),
            packing: self.packing.as_str(),
            how,
            offset: self.offset,
            source: error,
        }
    }
}

impl Feed for Input {
    fn read(&mut self, block: &mut Vec<u8>) -> Result<Fed, SourceError> {
        let most = BLOCK_BYTES as u64;
        let room = match &self.bytes {
            Bytes::Plain(file) if block.is_empty() => {
                let size = file.metadata().map_err(|error| io_error(&self.path, error))?.len();
                size.saturating_sub(self.offset).clamp(ROOM_BYTES_MIN, most)
            }
            _ => most,
        };
        block.reserve(usize::try_from(room).unwrap_or(BLOCK_BYTES));
        let count = self.take(block, most)?;
        // A small file leaves room behind; what is in flight must not hold more than the window counts.
        if block.capacity() > 2 * block.len() {
            block.shrink_to_fit();
        }
        Ok(if count < most && self.failed.is_none() { Fed::End } else { Fed::Bytes })
    }
}

pub(crate) fn io_error(path: &Path, source: io::Error) -> SourceError {
    SourceError::Io { path: path.to_owned(), source }
}
