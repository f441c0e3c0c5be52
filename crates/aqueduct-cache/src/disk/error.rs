use std::io;
use std::path::PathBuf;

use aqueduct_core::{Classified, ErrorClass};

/// Why a [`Disk`](crate::Disk) cannot be opened. Nothing has been changed in the folder. Damage is not among the
/// reasons: what is damaged is left out.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process, or another `Disk` of this one, has the folder open. Give each a folder of its own.
    #[error(
        "open the cache in {path}: it is in use{holder}; end that one, or give this one a folder of its own",
        path = path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// ` by process 4711` where that is known, or nothing.
        holder: String,
    },
    /// There are files in the folder and no cache. Give it an empty folder, or one that is not there yet.
    #[error(
        "open the cache in {path}: there are files in it that are not those of a cache; name an empty folder",
        path = path.display()
    )]
    NotACache {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made, read or written: see to its permissions.
    #[error("open the cache in {path}: this process cannot make, read or write it", path = path.display())]
    Folder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Classified for DiskError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::InUse { .. } => ErrorClass::Transient,
            Self::NotACache { .. } | Self::Folder { .. } => ErrorClass::Invalid,
        }
    }
}
