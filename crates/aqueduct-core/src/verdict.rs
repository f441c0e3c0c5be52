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
}
