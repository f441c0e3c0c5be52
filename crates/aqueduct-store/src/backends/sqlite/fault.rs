//! What an error of SQLite means to the caller.

use std::path::Path;

use aqueduct_core::failpoint::Injected;

use crate::error::{BackendError, ClaimError, CommitError, OpenError, ReadError};

/// The causes that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Busy,
    Damaged,
    Full,
    ReadOnly,
    CannotOpen,
    Other,
}

// Result codes, https://www.sqlite.org/rescode.html; the low byte of an extended code is the primary one.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;
/// The shared-memory file could not be made as long as it must be, which is how a full disk shows first.
const IOERR_SHMSIZE: i32 = 10 | (19 << 8);
/// A deferred foreign key of a table that a user made is not satisfied.
const CONSTRAINT_FOREIGNKEY: i32 = 19 | (3 << 8);

fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn cause(error: &sqlx::Error) -> Cause {
    let Some(code) = code(error) else { return Cause::Other };
    match code & 0xff {
        BUSY | LOCKED => Cause::Busy,
        CORRUPT | NOTADB => Cause::Damaged,
        FULL => Cause::Full,
        READONLY => Cause::ReadOnly,
        CANTOPEN => Cause::CannotOpen,
        _ if code == IOERR_SHMSIZE => Cause::Full,
        _ => Cause::Other,
    }
}

/// Tells whether a failed `COMMIT` is known to have changed nothing.
///
/// With a full disk no valid commit frame was written: it is the last frame of a transaction and carries the
/// checksum of all before it. A violated foreign key is found before anything is written. Any other error,
/// that of a sync above all, may come after the frame reached the disk.
pub(super) fn commit_changed_nothing(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(FULL | CONSTRAINT_FOREIGNKEY))
}

pub(super) fn open(path: &Path, error: sqlx::Error) -> OpenError {
    let cause = cause(&error);
    let (path, source): (_, BackendError) = (path.to_owned(), error.into());
    match cause {
        Cause::Busy => OpenError::Busy { path, source },
        Cause::Damaged => OpenError::Damaged { path, source },
        Cause::Full => OpenError::Full { path, source },
        // The file and its folder were looked at before: what is left is that they cannot be written.
        Cause::ReadOnly | Cause::CannotOpen => OpenError::ReadOnly { path, source },
        Cause::Other => OpenError::Backend { path, source },
    }
}

pub(super) fn claim(path: &Path, error: sqlx::Error) -> ClaimError {
    match cause(&error) {
        Cause::Busy => ClaimError::Busy(error.into()),
        Cause::Damaged => ClaimError::Damaged { path: path.to_owned(), source: error.into() },
        Cause::Full => ClaimError::Full(error.into()),
        Cause::ReadOnly | Cause::CannotOpen | Cause::Other => ClaimError::Backend(error.into()),
    }
}

pub(super) fn commit(path: &Path, error: sqlx::Error) -> CommitError {
    match cause(&error) {
        Cause::Damaged => CommitError::Damaged { path: path.to_owned(), source: error.into() },
        Cause::Full => CommitError::Full(error.into()),
        Cause::Busy | Cause::ReadOnly | Cause::CannotOpen | Cause::Other => {
            CommitError::Backend(error.into())
        }
    }
}

pub(super) fn read(path: &Path, error: sqlx::Error) -> ReadError {
    match cause(&error) {
        Cause::Damaged => ReadError::Damaged { path: path.to_owned(), source: error.into() },
        _ => ReadError::Backend(error.into()),
    }
}

/// Why a write stopped: SQLite said so, or the contract did.
#[derive(Debug)]
pub(super) enum Stop {
    Sql(sqlx::Error),
    Refused(CommitError),
}

impl Stop {
    pub(super) fn into_commit_error(self, path: &Path) -> CommitError {
        match self {
            Self::Sql(error) => commit(path, error),
            Self::Refused(error) => error,
        }
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Refused(error)
    }
}

impl From<Injected> for Stop {
    fn from(error: Injected) -> Self {
        Self::Refused(CommitError::Backend(error.into()))
    }
}
