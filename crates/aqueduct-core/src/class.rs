use std::fmt;
use std::time::Duration;

/// Says what to do about an error, whatever crate it comes from.
///
/// Retry, breaker and metrics decide on the class and never on the text or the type of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The input or the configuration is wrong; the same call fails again until somebody changes it.
    Invalid,
    /// The other side is busy or a limit is reached; the same call succeeds later, and waiting is not a failure.
    Overload,
    /// Something passing went wrong (a connection, a time-out); the same call may succeed now.
    Transient,
    /// The other side answered, and the answer is no; the same call fails again.
    Permanent,
    /// The caller gave up; nobody is waiting for the answer.
    Cancelled,
    /// Aqueduct itself is wrong; please report it.
    Internal,
}

impl ErrorClass {
    /// Tells whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Overload | Self::Transient)
    }

    /// Gives the name used in configuration, metrics and dead letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Overload => "overload",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that knows its [`ErrorClass`]. Every public error of Aqueduct implements it.
pub trait Classified {
    /// Gives the class of this error.
    fn class(&self) -> ErrorClass;

    /// Tells whether a limit, a breaker or a balancer of ours did not let something be done. Then nothing was done: it is
    /// no attempt, spends no budget, and says nothing about the other side.
    fn is_refusal(&self) -> bool {
        false
    }

    /// Gives how long to wait before it makes sense to try again, where that is known.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}
