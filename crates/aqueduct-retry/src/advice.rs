use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass, Verdict};

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It has failed, and may succeed now: call again.
    Again {
        /// How long the other side asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// This is the result, good or bad.
    Stop,
    /// A limiter or a breaker of ours did not let the call pass. It is no attempt, costs no budget, and is handed
    /// back at once: who refuses knows better than a schedule when to come back.
    Refused {
        /// How long to wait, as the refusal says.
        retry_after: Option<Duration>,
    },
}

impl Advice {
    /// Call again, after a wait of our own choosing.
    pub const AGAIN: Self = Self::Again { retry_after: None };

    /// What an error class says: again what is overloaded or failed in passing, and nothing else.
    #[must_use]
    pub fn of_class(class: ErrorClass) -> Self {
        if class.is_retryable() { Self::AGAIN } else { Self::Stop }
    }

    /// What an error says of itself: a refusal of ours is handed back, otherwise its class decides, and the wait that it
    /// asks for is kept.
    #[must_use]
    pub fn of_error<E: Classified>(error: &E) -> Self {
        let retry_after = error.retry_after();
        if error.is_refusal() {
            return Self::Refused { retry_after };
        }
        match Self::of_class(error.class()) {
            Self::Again { .. } => Self::Again { retry_after },
            other => other,
        }
    }

    /// What a result's error says of itself.
    #[must_use]
    pub fn of_result<T, E: Classified>(result: &Result<T, E>) -> Self {
        result.as_ref().map_or_else(Self::of_error, |_| Self::Stop)
    }
}

impl From<Verdict> for Advice {
    /// A failure again, and what says nothing about the other side not.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Failure { retry_after } => Self::Again { retry_after },
            Verdict::Success | Verdict::Ignore => Self::Stop,
        }
    }
}
