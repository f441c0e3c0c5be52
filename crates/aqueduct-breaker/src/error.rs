use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};

pub use aqueduct_core::ConfigError;

/// A call that was not made. It is no failure of the call: it spends no attempt and no budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.in_words())]
pub struct Refusal {
    /// How long to wait before it makes sense to ask again, where that is known.
    pub retry_after: Option<Duration>,
    pub(crate) why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Open,
    HalfOpen,
    Forced,
    Shed,
}

impl Refusal {
    pub(crate) fn new(why: Why, retry_after: Option<Duration>) -> Self {
        Self { retry_after, why }
    }

    /// The circuit was open a moment ago, and may be asked again at once.
    #[cfg(feature = "tower")]
    pub(crate) fn just_over() -> Self {
        Self::new(Why::Open, Some(Duration::ZERO))
    }

    fn in_words(self) -> String {
        match (self.why, self.retry_after) {
            (Why::Open, Some(wait)) => format!("the circuit is open; ask again in {wait:?}"),
            (Why::Open, None) => "the circuit is open".to_owned(),
            (Why::HalfOpen, _) => "the circuit is half-open, and all its probes are under way".to_owned(),
            (Why::Shed, _) => {
                "too many calls have failed, and this one is among the share that is turned away".to_owned()
            }
            (Why::Forced, _) => "the circuit is held open by hand".to_owned(),
        }
    }
}

impl Classified for Refusal {
    fn class(&self) -> ErrorClass {
        ErrorClass::Overload
    }

    fn is_refusal(&self) -> bool {
        true
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// What came of a call through a breaker.
pub type CallError<E> = aqueduct_core::CallError<Refusal, E>;
