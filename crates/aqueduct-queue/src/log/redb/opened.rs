//! A database that may yet be refused, and is left alone then.

use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, Database, ReadTransaction, ReadableDatabase, StorageBackend};

use super::failure::{Failure, caught};

/// A database of which it is not known whether it is sound. Dropped, it is refused: redb writes a last commit when a
/// database is dropped, and in a damaged file that could be over something that is needed.
#[derive(Debug)]
pub(super) struct Opened {
    database: Option<Database>,
    refused: Arc<AtomicBool>,
}

impl Opened {
    /// Nothing that this database does is refused.
    pub(super) fn of(database: Database) -> Self {
        Self { database: Some(database), refused: Arc::default() }
    }

    /// Opens a file as `open` says.
    pub(super) fn file(
        path: &Path,
        open: impl FnOnce(Guarded) -> Result<Database, Failure>,
    ) -> Result<Self, Failure> {
        let refused = Arc::new(AtomicBool::new(false));
        let file = FileBackend::new(OpenOptions::new().read(true).write(true).open(path)?)?;
        let database = open(Guarded { file, refused: Arc::clone(&refused) })?;
        Ok(Self { database: Some(database), refused })
    }

    /// Looks at it, or changes it.
    pub(super) fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Database) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let database = self.database.as_mut().ok_or_else(|| Failure::System("the file is closed".into()))?;
        caught(|| work(database))
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Failure> {
        match &self.database {
            Some(database) => Ok(database.begin_read()?),
            None => Err(Failure::System("the file is closed".into())),
        }
    }

    /// It is sound.
    pub(super) fn accept(mut self) -> Option<Database> {
        self.database.take()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(database) = self.database.take() {
            // Read by whoever writes to the file, which is this thread.
            self.refused.store(true, Ordering::Relaxed);
            // What redb says to its own end does not matter any more.
            let _ = caught(|| {
                drop(database);
                Ok(())
            });
        }
    }
}

/// A file that takes nothing more once it is refused.
#[derive(Debug)]
pub(super) struct Guarded {
    file: FileBackend,
    refused: Arc<AtomicBool>,
}

impl Guarded {
    fn check(&self) -> io::Result<()> {
        match self.refused.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the file was refused")),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Guarded {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// A damaged page can lead behind the end. redb reads nothing at all after one error of the file, so that one message
    /// would take all others with it; a page of zeroes is damage to that one alone.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.file.read(offset, out) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                out.fill(0);
                Ok(())
            }
            read => read,
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
