use std::error::Error;
use std::fmt;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};

pub use aqueduct_core::ConfigError;

use crate::Limit;

/// A call that failed for good, and why it was not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallError<E> {
    /// The error of the last attempt, untouched; `None` when it took too long and was dropped.
    pub error: Option<E>,
    /// How many attempts were made. One that was refused was not made.
    pub attempts: u32,
    /// Why there was no further one.
    pub ended: Ended,
    /// How long the other side asked to be left alone in the end, if it did.
    pub retry_after: Option<Duration>,
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The error is not one that goes away, or the request cannot be made twice.
    Final,
    /// A limiter or a breaker did not let the call pass. It was not made, and cost no budget.
    Refused,
    /// A limit is reached.
    Limit(Limit),
}

impl<E> CallError<E> {
    /// The error of something that had to be done before the call.
    #[cfg(feature = "tower")]
    pub(crate) fn before(error: E) -> Self {
        Self { error: Some(error), attempts: 0, ended: Ended::Final, retry_after: None }
    }
}

impl<E> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.attempts, &self.error) {
            (0, _) => write!(f, "make the call: {}", self.ended),
            (1, Some(_)) => write!(f, "call: {}", self.ended),
            (1, None) => write!(f, "call in time: {}", self.ended),
            (attempts, Some(_)) => write!(f, "call in {attempts} attempts: {}", self.ended),
            (attempts, None) => write!(f, "call in time in {attempts} attempts: {}", self.ended),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.as_ref().map(|error| error as _)
    }
}

impl<E: Classified> Classified for CallError<E> {
    /// The class of the last attempt's error; one that took too long has failed in passing.
    fn class(&self) -> ErrorClass {
        self.error.as_ref().map_or(ErrorClass::Transient, Classified::class)
    }

    fn is_refusal(&self) -> bool {
        self.ended == Ended::Refused
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Final => f.write_str("another attempt would not help"),
            Self::Refused => f.write_str("it was refused"),
            Self::Limit(limit) => limit.fmt(f),
        }
    }
}

/// A call that a [`Throttle`](crate::Throttle) did not let pass, because its turn comes too late. It is no failure of
/// the call, and spends no attempt and no budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("begin now: the rate is throttled; ask again in {retry_after:?}")]
pub struct Refusal {
    /// How long to wait before it makes sense to ask again.
    pub retry_after: Duration,
}

impl Classified for Refusal {
    fn class(&self) -> ErrorClass {
        ErrorClass::Overload
    }

    fn is_refusal(&self) -> bool {
        true
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(self.retry_after)
    }
}
