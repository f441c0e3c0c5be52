use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};

pub use aqueduct_core::ConfigError;

/// Nothing may be chosen now: there are no endpoints, or each is drained, not well, or asked to be left alone. It is no
/// failure of a call: no call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no endpoint may be chosen")]
pub struct NoEndpoint {
    /// How long to wait before it makes sense to ask again, where one of them comes back by itself.
    pub retry_after: Option<Duration>,
}

/// A change of an endpoint that was not made; everything stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no endpoint of this name, or no longer.
    #[error("there is no endpoint of this name")]
    Unknown,
    /// The change is not allowed.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Classified for NoEndpoint {
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

impl Classified for ChangeError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

/// What came of a call to an endpoint that was chosen.
pub type CallError<E> = aqueduct_core::CallError<NoEndpoint, E>;
