//! Every error that this crate can give.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_retry::Ended;

pub use aqueduct_core::ConfigError;

use crate::report::RunReport;

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no tokio runtime here. Every pool keeps its deadlines in one, that for computing, too.
    #[error("make a pool outside of a tokio runtime")]
    NoRuntime,
    /// The system gives no further thread.
    #[error("start a thread of the pool")]
    Thread(#[source] std::io::Error),
}

/// Why a job was not taken. It was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The pool has as many jobs as it may. A refusal: there is room once one of them has ended.
    #[error("the pool is full: it has {jobs_max} jobs")]
    Full {
        /// The most jobs that it has.
        jobs_max: usize,
    },
    /// The job needs more memory than all jobs together may.
    #[error("the job needs {bytes} bytes, the pool has {bytes_max}")]
    TooLarge {
        /// What it needs.
        bytes: u64,
        /// What there is.
        bytes_max: u64,
    },
    /// The pool takes nothing more.
    #[error("the pool is drained")]
    Closed,
}

/// Why a job has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobError<E> {
    /// Its work failed, for the last time.
    Failed {
        /// The error of the last attempt, untouched.
        error: E,
        /// How many attempts there were.
        attempts: u32,
        /// Why there was no further one.
        ended: Ended,
    },
    /// Its work panicked. It is not tried again.
    Panicked {
        /// What it said.
        message: String,
        /// How many attempts there were.
        attempts: u32,
    },
    /// Its time was over.
    Late {
        /// How many attempts there were; 0 when it never had its turn.
        attempts: u32,
        /// Whether the work goes on all the same, on a place that was given up.
        abandoned: bool,
    },
    /// Somebody cancelled it, or the pool stopped.
    Cancelled {
        /// How many attempts there were; 0 when it never had its turn.
        attempts: u32,
        /// Whether the work goes on all the same, on a place that was given up.
        abandoned: bool,
    },
}

impl Classified for StartError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Config(error) => error.class(),
            Self::NoRuntime => ErrorClass::Invalid,
            Self::Thread(_) => ErrorClass::Transient,
        }
    }
}

impl Classified for SubmitError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Full { .. } => ErrorClass::Overload,
            Self::TooLarge { .. } => ErrorClass::Invalid,
            Self::Closed => ErrorClass::Cancelled,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

// ---- JobError ----

impl<E> JobError<E> {
    /// How many attempts there were.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Failed { attempts, .. }
            | Self::Panicked { attempts, .. }
            | Self::Late { attempts, .. }
            | Self::Cancelled { attempts, .. } => *attempts,
        }
    }
}

impl<E> fmt::Display for JobError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = |abandoned: &bool| if *abandoned { ", and does not return" } else { "" };
        match self {
            Self::Failed { attempts, ended, .. } => write!(f, "do the job in {attempts} attempts: {ended}"),
            Self::Panicked { message, .. } => write!(f, "do the job: it panicked: {message}"),
            Self::Late { abandoned, .. } => write!(f, "do the job in time{}", left(abandoned)),
            Self::Cancelled { abandoned, .. } => {
                write!(f, "do the job: it was cancelled{}", left(abandoned))
            }
        }
    }
}

impl<E: Error + 'static> Error for JobError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl<E: Classified> Classified for JobError<E> {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Failed { error, .. } => error.class(),
            // What panics does so again.
            Self::Panicked { .. } => ErrorClass::Permanent,
            Self::Late { .. } => ErrorClass::Transient,
            Self::Cancelled { .. } => ErrorClass::Cancelled,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Failed { error, .. } => error.retry_after(),
            _ => None,
        }
    }
}

/// Why a worker ended without being asked to.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// The store of the queue was closed under it. What it had not settled comes again when the store is opened.
    #[error("run the worker: its queue is closed")]
    Closed(Box<RunReport>),
}

impl RunError {
    /// What the run has done.
    #[must_use]
    pub fn report(&self) -> &RunReport {
        let Self::Closed(report) = self;
        report
    }
}

impl Classified for RunError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Cancelled
    }
}

/// Why a workload was not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The pool takes nothing more.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// Why an item did not come through its phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseError<E> {
    /// The phase in which it stopped.
    pub phase: Arc<str>,
    /// What came of its job there; with [`JobError::Cancelled`] and no attempts, the run ended before its turn, or the pool
    /// takes nothing more.
    pub error: JobError<E>,
}

impl<E> fmt::Display for PhaseError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "take the item through the phase {:?}", self.phase)
    }
}

impl<E: Error + 'static> Error for PhaseError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<E: Classified> Classified for PhaseError<E> {
    fn class(&self) -> ErrorClass {
        self.error.class()
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        self.error.retry_after()
    }
}

/// There is no phase of this name. Nothing was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPhase {
    /// The name.
    pub name: Box<str>,
    /// The phases that there are, in order.
    pub phases: Vec<Arc<str>>,
}

impl fmt::Display for UnknownPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "find the phase {:?} among {:?}", self.name, self.phases)
    }
}

impl Error for UnknownPhase {}

impl Classified for UnknownPhase {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

impl Classified for MapError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Config(error) => error.class(),
            Self::Submit(error) => error.class(),
        }
    }
}
