use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::level::LevelError;

/// Why Redis was of no use.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("the connection was lost")]
    Lost,
    #[error("the level is closed")]
    Closed,
    #[error("there is no tokio runtime to connect on")]
    NoRuntime,
    #[error("{bytes} bytes are too many, {max} are allowed")]
    TooLarge { bytes: usize, max: usize },
    #[error("edition {0} is too large, 2^62 is allowed")]
    TooLate(u64),
}

impl Failure {
    /// Whether it may be gone the next time, with nobody doing anything about it.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Redis(error) => is_away(error),
            Self::Silent(_) | Self::Lost | Self::Closed | Self::NoRuntime => true,
            Self::TooLarge { .. } | Self::TooLate(_) => false,
        }
    }

    /// Whether the server has said it, so that the connection is whole.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Redis(error) if is_answer(error))
    }

    pub(super) fn is_wrong_type(&self) -> bool {
        matches!(self, Self::Redis(error) if error.code() == Some("WRONGTYPE"))
    }

    /// Whether the server knows nothing of the protocol that has pushes.
    pub(super) fn is_old_server(&self) -> bool {
        let Self::Redis(error) = self else { return false };
        error.kind() == ErrorKind::RESP3NotSupported
            || error.code() == Some("NOPROTO")
            || (error.code() == Some("ERR")
                && error.detail().is_some_and(|text| text.contains("nknown command")))
    }
}

impl From<Failure> for LevelError {
    fn from(failure: Failure) -> Self {
        let level = super::NAME;
        match failure.is_away() {
            true => Self::Away { level, source: failure.into() },
            false => Self::Refused { level, source: failure.into() },
        }
    }
}

fn is_answer(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(_)
            | ErrorKind::Extension
            | ErrorKind::AuthenticationFailed
            | ErrorKind::RESP3NotSupported
    )
}

fn is_away(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => true,
        // A script of somebody else has run for too long.
        ErrorKind::Extension => error.code() == Some("BUSY"),
        // What cannot be understood was cut off, or did not come from Redis.
        ErrorKind::Io | ErrorKind::Parse => true,
        _ => false,
    }
}
