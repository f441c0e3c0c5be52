use std::path::PathBuf;

use aqueduct_core::{Classified, ErrorClass, Fence, PartitionId, Revision};

/// Whatever the backend itself said; kept as the source of the errors below.
pub type BackendError = Box<dyn std::error::Error + Send + Sync>;

/// A store that cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path is there and is not a SQLite database, or its pages are damaged.
    #[error(
        "{} is damaged or not a SQLite database; nothing was changed; restore it from a copy, or move it away to start over",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BackendError,
    },
    /// A newer Aqueduct wrote the ledger.
    #[error(
        "{} holds a ledger of format {found}; this aqueduct reads up to format {supported}; upgrade aqueduct",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this build knows.
        supported: u32,
    },
    /// The file, its folder or its disk cannot be written.
    #[error("{} cannot be written: the file, its folder or its disk is read-only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BackendError,
    },
    /// Another process holds the database.
    #[error("{} is locked by another process; stop that one first", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BackendError,
    },
    /// There is no such file, and it was opened for reading only.
    #[error("{} is not there", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("{} cannot be written: the disk is full; make room and run again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BackendError,
    },
    /// Anything else.
    #[error("{} cannot be opened", path.display())]
    Backend {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BackendError,
    },
}

impl Classified for OpenError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Damaged { .. } | Self::Newer { .. } | Self::ReadOnly { .. } | Self::Missing { .. } => {
                ErrorClass::Invalid
            }
            Self::Busy { .. } => ErrorClass::Transient,
            Self::Full { .. } | Self::Backend { .. } => ErrorClass::Permanent,
        }
    }
}

/// A claim that failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The database is damaged.
    #[error("{} is damaged; restore it from a copy, or move it away to start over", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BackendError,
    },
    /// Another process holds the database.
    #[error("the ledger is locked by another process; stop that one first")]
    Busy(#[source] BackendError),
    /// The disk is full.
    #[error("the disk is full; make room and run again")]
    Full(#[source] BackendError),
    /// The backend failed.
    #[error("the ledger cannot be claimed")]
    Backend(#[source] BackendError),
}

impl Classified for ClaimError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Damaged { .. } => ErrorClass::Invalid,
            Self::Busy(_) => ErrorClass::Transient,
            Self::Full(_) | Self::Backend(_) => ErrorClass::Permanent,
        }
    }
}

/// A commit or a journal write that failed. Nothing was changed, except where [`CommitError::Unknown`] says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A newer run of the pipeline has taken over. Stop; that run has everything.
    #[error("another run of the pipeline took over (fence {current}, ours was {ours})")]
    Fenced {
        /// The fence we hold.
        ours: Fence,
        /// The fence in the ledger.
        current: Fence,
    },
    /// The position was moved by somebody else, or this commit was made already. Stop and read again.
    #[error("partition {} is not at revision {expected} any more", partition.0)]
    Conflict {
        /// The partition.
        partition: PartitionId,
        /// The revision we built on.
        expected: Revision,
    },
    /// A row's key is in the table already, and the sink has no `key` to upsert by.
    #[error("table {table} already holds a row with this item's key")]
    DuplicateRow {
        /// The table.
        table: String,
        /// What the backend said.
        #[source]
        source: BackendError,
    },
    /// The table is there with other columns.
    #[error("table {table} has the columns {found}, but the sink writes {wanted}; choose another table name")]
    Columns {
        /// The table.
        table: String,
        /// The columns that it has.
        found: String,
        /// The columns that the sink writes.
        wanted: String,
    },
    /// The table is there, and nothing keeps the key that the sink upserts by unique.
    #[error("table {table} has no primary key or unique index on {column}, by which the sink replaces rows")]
    KeyNotUnique {
        /// The table.
        table: String,
        /// The key column.
        column: String,
    },
    /// A row has no value in the key column.
    #[error("item {item_id} has no value for {column}, by which table {table} replaces rows")]
    KeyMissing {
        /// The table.
        table: String,
        /// The key column.
        column: String,
        /// The item.
        item_id: String,
    },
    /// The table's name is one that the ledger keeps for itself.
    #[error("table {table} cannot be written: names that begin with aqueduct_ are the ledger's own")]
    ReservedTable {
        /// The table.
        table: String,
    },
    /// The database is damaged. Nothing of this epoch was written.
    #[error("{} is damaged; restore it from a copy, or move it away to start over", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BackendError,
    },
    /// The disk is full.
    #[error("the disk is full; nothing of this epoch was written; make room and run again")]
    Full(#[source] BackendError),
    /// The backend failed before the transaction was committed.
    #[error("the ledger cannot be written; nothing of this epoch was written")]
    Backend(#[source] BackendError),
    /// The transaction's own commit failed: it may or may not be durable. Stop, reopen, read.
    #[error("the ledger's commit failed and its outcome is unknown; run again, which reads what is true")]
    Unknown(#[source] BackendError),
}

impl Classified for CommitError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Fenced { .. } | Self::Conflict { .. } => ErrorClass::Cancelled,
            Self::DuplicateRow { .. }
            | Self::Columns { .. }
            | Self::KeyNotUnique { .. }
            | Self::KeyMissing { .. }
            | Self::ReservedTable { .. }
            | Self::Damaged { .. } => ErrorClass::Invalid,
            Self::Full(_) | Self::Backend(_) | Self::Unknown(_) => ErrorClass::Permanent,
        }
    }
}

/// A dead letter that cannot be edited. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is no such letter any more.
    #[error("the dead letter of item {item_id} at {stage} is gone: somebody purged or replayed it")]
    Gone {
        /// The item.
        item_id: String,
        /// The stage.
        stage: String,
    },
    /// Somebody changed the letter after it was read. Read it again.
    #[error(
        "the dead letter of item {item_id} at {stage} was changed by somebody else; look at it and edit it again"
    )]
    Changed {
        /// The item.
        item_id: String,
        /// The stage.
        stage: String,
    },
    /// The write failed.
    #[error(transparent)]
    Write(#[from] CommitError),
}

impl Classified for EditError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Gone { .. } => ErrorClass::Invalid,
            Self::Changed { .. } => ErrorClass::Cancelled,
            Self::Write(error) => error.class(),
        }
    }
}

/// A read that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The database is damaged.
    #[error("{} is damaged; restore it from a copy, or move it away to start over", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: BackendError,
    },
    /// The backend failed, or holds something that this build cannot read.
    #[error("the ledger cannot be read")]
    Backend(#[source] BackendError),
}

impl Classified for ReadError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Damaged { .. } => ErrorClass::Invalid,
            Self::Backend(_) => ErrorClass::Permanent,
        }
    }
}
