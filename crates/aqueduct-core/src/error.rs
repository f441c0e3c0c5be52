use std::fmt;
use std::time::Duration;

use crate::{Classified, ErrorClass};

/// Something that cannot be as it was written. Change the named field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, allowed is {allowed}")]
pub struct ConfigError {
    /// The field of the configuration.
    pub field: &'static str,
    /// What was given.
    pub value: String,
    /// What may be given.
    pub allowed: String,
}

impl ConfigError {
    /// What was given for a field, and what may be.
    #[must_use]
    pub fn new(field: &'static str, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { field, value: value.to_string(), allowed: allowed.into() }
    }

    /// Checks that a value lies between two others or is one of them. What is no number lies nowhere.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the range.
    ///
    /// # Example
    ///
    /// ```
    /// use aqueduct_core::ConfigError;
    ///
    /// let error = ConfigError::check("ratio", f64::NAN, 0.0, 1.0).unwrap_err();
    /// assert_eq!(error.to_string(), "ratio is NaN, allowed is 0.0 to 1.0");
    /// ```
    pub fn check<T: PartialOrd + fmt::Debug>(
        field: &'static str,
        value: T,
        min: T,
        max: T,
    ) -> Result<(), Self> {
        if value >= min && value <= max {
            return Ok(());
        }
        Err(Self::new(field, format_args!("{value:?}"), format!("{min:?} to {max:?}")))
    }
}

impl Classified for ConfigError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

/// What came of a call behind something that may refuse it: a limiter, a breaker, a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<R, E> {
    /// It was not made, for this reason.
    #[error(transparent)]
    Refused(R),
    /// It was made, and this is its own error.
    #[error("the call failed")]
    Failed(#[source] E),
}

impl<R, E> From<R> for CallError<R, E> {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal)
    }
}

impl<R: Classified, E: Classified> Classified for CallError<R, E> {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Refused(refusal) => refusal.class(),
            Self::Failed(error) => error.class(),
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_refusal(),
            Self::Failed(error) => error.is_refusal(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after(),
            Self::Failed(error) => error.retry_after(),
        }
    }
}
