use std::error::Error;
use std::fmt;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};

pub use aqueduct_core::ConfigError;

/// What came of a call through the block when it is no answer.
#[derive(Debug)]
pub enum PolicyError<E> {
    /// A layer of ours did not let it pass. It is no failure: wait as long as it says, and call again.
    Refused(Refusal),
    /// The last attempt failed, and there is no further one.
    Failed {
        /// How many attempts were sent, hedges among them.
        attempts: u32,
        /// The error of the last one, untouched.
        source: E,
    },
    /// The last attempt took longer than an attempt may, and there is no further one.
    TimedOut {
        /// How many attempts were sent.
        attempts: u32,
    },
    /// The deadline of the call is over, or comes before the next attempt could begin. What was under way is dropped.
    Deadline {
        /// How many attempts were sent.
        attempts: u32,
        /// The error of the last attempt that ended with one.
        last: Option<E>,
    },
}

/// A call, or its next attempt, that was not made. Nothing was used for it: no token, no budget, no attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.in_words())]
pub struct Refusal {
    /// Which layer refused.
    pub by: RefusedBy,
    /// How long to wait before it makes sense to call again, where that is known.
    pub retry_after: Option<Duration>,
    /// How many attempts of this call were sent before, and failed.
    pub attempts: u32,
}

/// The layer that refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// As many calls wait for their turn as may.
    Concurrency,
    /// The circuit of the key is open.
    Circuit,
    /// The rate limit gives its token only after the deadline.
    RateLimit,
    /// The call costs more tokens than the limit ever gives at once. It never passes: make it cheaper, or raise the burst.
    TooLarge,
    /// No endpoint may be chosen.
    Endpoint,
    /// The service itself did not let it pass, as where a pool of connections is full.
    Service,
}

impl RefusedBy {
    /// The name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Circuit => "circuit",
            Self::RateLimit => "rate_limit",
            Self::TooLarge => "too_large",
            Self::Endpoint => "endpoint",
            Self::Service => "service",
        }
    }
}

impl Refusal {
    /// How many attempts of this call were sent before, and failed.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn new(by: RefusedBy, retry_after: Option<Duration>) -> Self {
        Self { by, retry_after, attempts: 0 }
    }

    fn in_words(self) -> String {
        let what = match self.by {
            RefusedBy::Concurrency => "as many calls wait as may",
            RefusedBy::Circuit => "the circuit is open",
            RefusedBy::RateLimit => "the rate limit would make it wait too long",
            RefusedBy::TooLarge => "it costs more than the rate limit ever gives at once",
            RefusedBy::Endpoint => "no endpoint may be chosen",
            RefusedBy::Service => "the service did not let it pass",
        };
        match self.retry_after {
            Some(wait) => format!("{what}; call again in {wait:?}"),
            None => what.to_owned(),
        }
    }
}

impl Classified for Refusal {
    fn class(&self) -> ErrorClass {
        match self.by {
            RefusedBy::TooLarge => ErrorClass::Invalid,
            _ => ErrorClass::Overload,
        }
    }

    fn is_refusal(&self) -> bool {
        true
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

// ---- PolicyError ----

impl<E> PolicyError<E> {
    /// How many attempts were sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Refused(refusal) => refusal.attempts,
            Self::Failed { attempts, .. } | Self::TimedOut { attempts } | Self::Deadline { attempts, .. } => {
                *attempts
            }
        }
    }
}

impl<E> fmt::Display for PolicyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "make the call: {refusal}"),
            Self::Failed { attempts: 1, .. } => f.write_str("call"),
            Self::Failed { attempts, .. } => write!(f, "call in {attempts} attempts"),
            Self::TimedOut { attempts } => {
                write!(f, "get an answer in the time of an attempt, {attempts} sent")
            }
            Self::Deadline { attempts, .. } => write!(f, "get an answer by the deadline, {attempts} sent"),
        }
    }
}

impl<E: Error + 'static> Error for PolicyError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { source, .. } | Self::Deadline { last: Some(source), .. } => Some(source),
            Self::Refused(_) | Self::TimedOut { .. } | Self::Deadline { last: None, .. } => None,
        }
    }
}

impl<E: Classified> Classified for PolicyError<E> {
    /// That of the error, or of the refusal; what took too long has failed in passing.
    fn class(&self) -> ErrorClass {
        match self {
            Self::Refused(refusal) => refusal.class(),
            Self::Failed { source, .. } => source.class(),
            Self::TimedOut { .. } | Self::Deadline { .. } => ErrorClass::Transient,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Failed { source, .. } | Self::Deadline { last: Some(source), .. } => source.retry_after(),
            Self::TimedOut { .. } | Self::Deadline { last: None, .. } => None,
        }
    }
}

// ---- Attempt ----

/// What came of one attempt when it is no answer.
#[derive(Debug)]
pub(crate) enum AttemptError<E> {
    /// It was not sent.
    Refused(Refusal),
    /// It took too long and was dropped.
    TimedOut,
    Failed(E),
}

impl<E: Classified> AttemptError<E> {
    /// What the error of a service is to us: a failed attempt, or a refusal of something of ours within the service.
    pub(crate) fn of(error: E) -> Self {
        if error.is_refusal() {
            return Self::Refused(Refusal::new(RefusedBy::Service, error.retry_after()));
        }
        Self::Failed(error)
    }
}

impl<E: Classified> Classified for AttemptError<E> {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Refused(refusal) => refusal.class(),
            Self::TimedOut => ErrorClass::Transient,
            Self::Failed(error) => error.class(),
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::TimedOut => None,
            Self::Failed(error) => error.retry_after(),
        }
    }
}
