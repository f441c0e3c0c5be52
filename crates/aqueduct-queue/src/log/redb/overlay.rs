//! A file that is looked at as if it could be written: what is written stays in memory.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::failure::Failure;
use super::lock;

/// Reads a file, and keeps what is written to it in memory. redb can repair it, as far as it sees, and not a byte of it
/// changes. Takes as much memory as is written.
#[derive(Debug)]
pub(super) struct Overlay {
    file: FileBackend,
    written: Mutex<Written>,
    locks: Locks,
}

#[derive(Debug)]
struct Written {
    blocks: HashMap<u64, Box<[u8; BLOCK]>>,
    len: u64,
    /// What the file has beyond was cut off.
    file_len: u64,
}

/// Whether others are kept away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locks {
    /// As from any open database.
    Real,
    /// They are kept away by somebody else, or nothing was locked at all.
    Pretended,
}

/// Which of the two commits of a header is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The one that the header names.
    Primary,
    /// The one before.
    Secondary,
}

/// The page size of redb, in which it writes.
const BLOCK: usize = 4096;

/// Where the header's flags are, and which: which slot is the primary one, that the file was not closed well, and that
/// another process may read a commit that is not synced (redb, docs/design.md, "Super-header").
const FLAGS: usize = 9;
const PRIMARY: u8 = 1;
const RECOVERY: u8 = 2;
const UNFLUSHED: u8 = 8;

impl Overlay {
    /// Looks at a file that nobody else may have open meanwhile.
    pub(super) fn over(path: &Path) -> Result<Self, Failure> {
        Self::new(path, Locks::Real)
    }

    /// Looks at one of the two last commits of a file as if it had been closed well with it: redb reads it then without
    /// holding anything against checksums, and what can be read of a damaged tree is read. What is missing is zero.
    pub(super) fn over_slot(path: &Path, slot: Slot) -> Result<Self, Failure> {
        let overlay = Self::new(path, Locks::Pretended)?;
        let mut header = [0; BLOCK];
        overlay.read(0, &mut header)?;
        header[FLAGS] &= !(RECOVERY | UNFLUSHED);
        if slot == Slot::Secondary {
            header[FLAGS] ^= PRIMARY;
        }
        overlay.write(0, &header)?;
        Ok(overlay)
    }

    fn new(path: &Path, locks: Locks) -> Result<Self, Failure> {
        // To write is needed for the lock, and for nothing else.
        let file = OpenOptions::new().read(true).write(locks == Locks::Real).open(path)?;
        let len = file.metadata()?.len();
        let written = Mutex::new(Written { blocks: HashMap::new(), len, file_len: len });
        Ok(Self { file: FileBackend::new(file)?, written, locks })
    }

    fn block(&self, written: &Written, index: u64) -> io::Result<Box<[u8; BLOCK]>> {
        if let Some(block) = written.blocks.get(&index) {
            return Ok(block.clone());
        }
        let mut block = Box::new([0; BLOCK]);
        let start = index * BLOCK as u64;
        let there = usize::try_from(written.file_len.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK);
        if there > 0 {
            match self.file.read(start, &mut block[..there]) {
                // What cannot be read is nothing, so that the rest can. redb reads no more after a first error.
                Err(_) if self.locks == Locks::Pretended => block.fill(0),
                read => read?,
            }
        }
        Ok(block)
    }

    /// Calls `each` with the pieces of blocks that `offset..offset + len` is made of.
    fn pieces(
        offset: u64,
        len: usize,
        mut each: impl FnMut(u64, usize, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = usize::try_from(at % BLOCK as u64).unwrap_or(0);
            let piece = (BLOCK - within).min(len - done);
            each(at / BLOCK as u64, within, done..done + piece)?;
            done += piece;
        }
        Ok(())
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        lock(&self.written)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        let behind = offset.checked_add(out.len() as u64).is_none_or(|end| end > written.len);
        if behind && self.locks == Locks::Pretended {
            // As above: a page that was cut off.
            out.fill(0);
            return Ok(());
        }
        if behind {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it points behind its end"));
        }
        Self::pieces(offset, out.len(), |index, within, piece| {
            let len = piece.len();
            out[piece].copy_from_slice(&self.block(&written, index)?[within..within + len]);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        if len < written.len {
            // What comes back later is zero.
            written.blocks.retain(|index, _| *index * (BLOCK as u64) < len);
            written.file_len = written.file_len.min(len);
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        Self::pieces(offset, data.len(), |index, within, piece| {
            let mut block = self.block(&written, index)?;
            let len = piece.len();
            block[within..within + len].copy_from_slice(&data[piece]);
            written.blocks.insert(index, block);
            Ok(())
        })
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if self.locks == Locks::Pretended { Ok(true) } else { self.file.try_lock_range(start, end) }
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if self.locks == Locks::Pretended { Ok(true) } else { self.file.try_lock_shared_range(start, end) }
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if self.locks == Locks::Pretended { Ok(()) } else { self.file.lock_range(start, end) }
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if self.locks == Locks::Pretended { Ok(()) } else { self.file.lock_shared_range(start, end) }
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if self.locks == Locks::Pretended { Ok(()) } else { self.file.unlock_range(start, end) }
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if self.locks == Locks::Pretended { Ok(false) } else { self.file.query_lock_range(start, end) }
    }
}
