use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};

pub use aqueduct_core::ConfigError;

/// What a limit does not give now. Nothing was used, and it is no failure of whatever wanted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.in_words())]
pub struct Denied {
    /// How long to wait before the same would be given, if nobody else takes it. `None`: never, or it is not known.
    pub retry_after: Option<Duration>,
    /// Why.
    pub reason: Reason,
}

/// Why a limit does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is used up.
    Limit,
    /// More was asked for at once than it ever gives.
    TooLarge,
    /// It would have been longer to wait than was allowed.
    Wait,
    /// It cannot promise anything: a sliding window of counts does not know what it will hold.
    NoReservation,
    /// What counts cannot be asked, and the limit was made to give nothing then.
    Unavailable,
}

impl Reason {
    /// The name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::TooLarge => "too_large",
            Self::Wait => "wait",
            Self::NoReservation => "no_reservation",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Denied {
    pub(crate) const TOO_LARGE: Self = Self { retry_after: None, reason: Reason::TooLarge };

    #[inline]
    pub(crate) fn after_nanos(nanos: u64) -> Self {
        Self { retry_after: Some(Duration::from_nanos(nanos)), reason: Reason::Limit }
    }

    fn in_words(self) -> String {
        let what = match self.reason {
            Reason::Limit => "the limit is reached",
            Reason::TooLarge => "more was asked for at once than the limit ever gives",
            Reason::Wait => "the limit is reached, and the wait would be longer than allowed",
            Reason::NoReservation => "a sliding window of counts takes no reservations; wait and ask",
            Reason::Unavailable => "the limit cannot be asked",
        };
        match self.retry_after {
            Some(wait) => format!("{what}; ask again in {wait:?}"),
            None => what.to_owned(),
        }
    }
}

impl Classified for Denied {
    fn class(&self) -> ErrorClass {
        match self.reason {
            Reason::TooLarge | Reason::NoReservation => ErrorClass::Invalid,
            Reason::Limit | Reason::Wait | Reason::Unavailable => ErrorClass::Overload,
        }
    }

    fn is_refusal(&self) -> bool {
        true
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Why Redis did not answer.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreFailure {
    /// It cannot be reached, or the connection was lost.
    #[error("redis cannot be reached")]
    Unreachable,
    /// It took longer than it may.
    #[error("redis did not answer in time")]
    TimedOut,
    /// It is a replica, and only its primary may be written.
    #[error("redis is a replica; use the address of its primary")]
    ReadOnly,
    /// It has no memory left.
    #[error("redis is out of memory; raise maxmemory, or let it evict")]
    Full,
    /// There is something else under the key.
    #[error("the key holds something that is no bucket; use another prefix")]
    WrongType,
    /// The user may not do this, or the password is wrong or missing.
    #[error(
        "redis refuses the user; look at the name, the password and the commands eval, evalsha, get, set, del and time"
    )]
    Forbidden,
    /// Anything else.
    #[error("redis answered with an error")]
    Other,
}

#[cfg(feature = "redis")]
impl StoreFailure {
    /// The name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::WrongType => "wrong_type",
            Self::Forbidden => "forbidden",
            Self::Other => "other",
        }
    }

    pub(crate) const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::TimedOut,
        Self::ReadOnly,
        Self::Full,
        Self::WrongType,
        Self::Forbidden,
        Self::Other,
    ];
}

#[cfg(feature = "redis")]
impl Classified for StoreFailure {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable | Self::TimedOut | Self::Other => ErrorClass::Transient,
            Self::Full => ErrorClass::Overload,
            Self::ReadOnly | Self::WrongType | Self::Forbidden => ErrorClass::Invalid,
        }
    }
}

/// What came of a call behind a limit.
pub type CallError<E> = aqueduct_core::CallError<Denied, E>;
