use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};

/// A configuration or an endpoint that cannot be. Change the named field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, allowed is {allowed}")]
pub struct ConfigError {
    /// The field, such as `weight`.
    pub field: &'static str,
    /// What was given.
    pub value: String,
    /// What may be given.
    pub allowed: String,
}

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

/// Why a call gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// It was not made.
    #[error(transparent)]
    NoEndpoint(#[from] NoEndpoint),
    /// It was made, and this is its own error.
    #[error(transparent)]
    Failed(E),
}

impl Classified for ConfigError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
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

impl<E: Classified> Classified for CallError<E> {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoEndpoint(refusal) => refusal.class(),
            Self::Failed(error) => error.class(),
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::NoEndpoint(_) => true,
            Self::Failed(error) => error.is_refusal(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoEndpoint(refusal) => refusal.retry_after,
            Self::Failed(error) => error.retry_after(),
        }
    }
}
