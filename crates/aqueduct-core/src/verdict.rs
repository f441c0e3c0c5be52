use std::time::Duration;

/// What a caller says of a call that has ended: to a breaker, a limiter, a balancer, a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The other side is well.
    Success,
    /// The other side is not well.
    Failure {
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The call says nothing about the other side: it was given up, or was wrong by itself.
    Ignore,
}

impl Verdict {
    /// A failure without a wait that was asked for.
    pub const FAILURE: Self = Self::Failure { retry_after: None };

    /// What a result says of the other side where nobody says otherwise: an error is a failure.
    #[must_use]
    pub fn of_result<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Success } else { Self::FAILURE }
    }
}

/// Says what a result says of the other side. Functions of the result are judges.
pub trait Judge<T, E> {
    /// The verdict over a result.
    fn judge(&self, result: &Result<T, E>) -> Verdict;
}

impl<T, E, F> Judge<T, E> for F
where
    F: Fn(&Result<T, E>) -> Verdict,
{
    fn judge(&self, result: &Result<T, E>) -> Verdict {
        self(result)
    }
}

/// Takes every error for a failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultJudge;

impl<T, E> Judge<T, E> for ResultJudge {
    fn judge(&self, result: &Result<T, E>) -> Verdict {
        Verdict::of_result(result)
    }
}
