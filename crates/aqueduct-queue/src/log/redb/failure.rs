//! What can go wrong beneath the log, in the three ways that matter to it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::OpenError;

use super::record::Bad;

/// Why something with the file failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another process has it.
    InUse,
    /// It is something else, or of a later version.
    NotOurs(String),
    /// What is there is not what was written.
    Damaged(String),
    /// The system refused.
    System(String),
}

impl Failure {
    /// What it means to whoever opens `path`; `what` is what was tried.
    pub(super) fn opening(self, path: &Path, what: &'static str) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::InUse => OpenError::InUse { path },
            Self::NotOurs(found) => OpenError::NotOurs { path, found },
            Self::Damaged(what) => OpenError::Damaged { path, what },
            Self::System(cause) => OpenError::System { path, what, cause },
        }
    }

    /// Why, without the way.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::InUse => "another process has it",
            Self::NotOurs(text) | Self::Damaged(text) | Self::System(text) => text,
        }
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        use redb::Error as E;
        match error {
            E::DatabaseAlreadyOpen | E::LockProtocolMismatch => Self::InUse,
            E::UpgradeRequired(version) => Self::NotOurs(format!("version {version} of a redb database")),
            E::Io(error) => error.into(),
            E::Unsupported => Self::System("the file system does not support it".into()),
            // An earlier error of the system, or an end of the program's own making.
            E::PreviousIo | E::DatabaseClosed | E::LockPoisoned(_) => Self::System(error.to_string()),
            // Tables that are missing, of other types or out of order, and everything that redb finds by itself.
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A page behind the end of the file, or a header that is none.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            // The one that whoever reads it can end.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::System(format!("{error}; make room on its disk"))
            }
            _ => Self::System(error.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError);

/// Does what may meet a damaged page. redb trusts the pages of a file that was closed well, and panics at some of what
/// cannot be there; such a panic is a finding about the file and not the end of the thread.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What the work held is behind locks that take a poisoned one, or is dropped with it.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = (panic.downcast_ref::<String>().map(String::as_str))
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a word");
        Err(Failure::Damaged(format!("the database cannot go on: {text}")))
    })
}

/// A record that is not what was written.
pub(super) fn damaged(what: impl std::fmt::Display, bad: &Bad) -> Failure {
    Failure::Damaged(format!("{what}: {}", bad.0))
}
