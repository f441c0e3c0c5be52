//! The exit codes: an interface for scripts, so they never change their meaning.

use std::process::ExitCode;

use aqueduct_stream::{RunError, SourceError};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything there was is done.
    Done,
    /// Stopped by an error that will come again.
    Failed,
    /// The command line is wrong.
    Usage,
    /// Done, with more dead letters than the pipeline allows.
    DeadLetters,
    /// There was nothing to do.
    Nothing,
    /// Stopped early by a signal or a limit, with everything committed; run again to continue.
    Early,
    /// The configuration is wrong.
    Config,
}

impl Exit {
    /// All of them, for the reference.
    pub(crate) const ALL: [Self; 7] =
        [Self::Done, Self::Failed, Self::Usage, Self::DeadLetters, Self::Nothing, Self::Early, Self::Config];

    /// The exit code of a run that fails like this.
    pub(crate) fn of_run(error: &RunError) -> Self {
        match error {
            RunError::Config(_)
            | RunError::Changed { .. }
            | RunError::NoCheckpoint { .. }
            | RunError::RollbackNeeded { .. }
            | RunError::Source(
                SourceError::Missing { .. }
                | SourceError::Folder { .. }
                | SourceError::Special { .. }
                | SourceError::NoMatch { .. }
                | SourceError::Pattern { .. }
                | SourceError::Config(_),
            ) => Self::Config,
            _ => Self::Failed,
        }
    }

    /// The number that scripts see. 75 and 78 are those of sysexits.h.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::DeadLetters => 3,
            Self::Nothing => 4,
            Self::Early => 75,
            Self::Config => 78,
        }
    }

    /// What it means, for the reference.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "stopped by an error that will come again; what was committed stays",
            Self::Usage => "the command line is wrong",
            Self::DeadLetters => {
                "done, with more dead letters than `run.allowed_dead_letter_ratio` (default 0)"
            }
            Self::Nothing => "nothing to do",
            Self::Early => {
                "stopped early by a signal or a limit with everything committed; run again to continue"
            }
            Self::Config => "the configuration is wrong",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
