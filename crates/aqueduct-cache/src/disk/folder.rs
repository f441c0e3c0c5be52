use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::DiskError;

/// The folder of a cache, held by one process until it is dropped. The system lets go of it when the process dies.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    lock: File,
}

/// What says that a folder is a cache: backups leave such a folder out (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";

const TAG_TEXT: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
    # This folder is a cache of Aqueduct. It may be deleted while no process uses it.\n";

const LOCK: &str = "lock";

impl Folder {
    /// Makes the folder if it is not there, and takes it.
    pub(super) fn take(path: &Path) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Folder { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let tag = path.join(TAG);
        let lock = path.join(LOCK);
        if !is_there(&tag).map_err(failed)? && !is_empty_but_for_lock(path).map_err(failed)? {
            return Err(DiskError::NotACache { path: path.to_owned() });
        }
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock)
            .map_err(|source| DiskError::Folder { path: lock, source })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if !is_there(&tag).map_err(failed)? {
            std::fs::write(&tag, TAG_TEXT).map_err(|source| DiskError::Folder { path: tag, source })?;
        }
        // The process id is for the message above; a full disk must not stop a cache here.
        let _ = lock.set_len(0);
        let _ = lock.seek(SeekFrom::Start(0));
        let _ = write!(lock, "{}", std::process::id());
        Ok(Self { path: path.to_owned(), lock })
    }
}

impl Drop for Folder {
    /// Lets go at once. Closing would do it too, but not while a program that was just started still has the file open,
    /// between its fork and its start.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

fn in_use(path: &Path, lock: &mut File) -> DiskError {
    let mut holder = String::new();
    // Who it is helps, but is not needed. A number is short; the file may be damaged.
    let _ = lock.take(20).read_to_string(&mut holder);
    let holder = holder.parse::<u32>().map_or(String::new(), |holder| format!(" by process {holder}"));
    DiskError::InUse { path: path.to_owned(), holder }
}

fn is_there(path: &Path) -> io::Result<bool> {
    path.try_exists()
}

/// A lock alone is what a process leaves that dies between the lock and the tag.
fn is_empty_but_for_lock(path: &Path) -> io::Result<bool> {
    for file in std::fs::read_dir(path)? {
        if file?.file_name() != LOCK {
            return Ok(false);
        }
    }
    Ok(true)
}
