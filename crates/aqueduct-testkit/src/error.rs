use std::io;
use std::path::PathBuf;

use aqueduct_core::{Classified, ErrorClass};

use crate::point::PointError;

/// Why a campaign could not be run. A fault that it found is not an error but a part of its report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrashError {
    /// A file or folder of the campaign cannot be written or read.
    #[error("{} cannot be used", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program cannot be started.
    #[error("{program} cannot be started; {hint}")]
    Start {
        /// The program.
        program: String,
        /// What may help.
        hint: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An undisturbed run does not work, so that kills would prove nothing.
    #[error("an undisturbed {kind} run is not right: {what}")]
    Undisturbed {
        /// The kind of workload.
        kind: &'static str,
        /// What it did instead.
        what: String,
    },
    /// The binary passes none of its fail points.
    #[error("{} passes no fail point; build it with --features failpoints", path.display())]
    NoFailPoints {
        /// The binary.
        path: PathBuf,
    },
    /// A point cannot be read.
    #[error("the point cannot be read")]
    Point(#[source] PointError),
}

impl Classified for CrashError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Folder { .. } | Self::Start { .. } => ErrorClass::Permanent,
            Self::Undisturbed { .. } => ErrorClass::Internal,
            Self::NoFailPoints { .. } | Self::Point(_) => ErrorClass::Invalid,
        }
    }
}
