//! Every error this crate can give.

mod config;
mod cvss;
mod expression;

pub use config::{ConfigError, ConfigErrors, Place};
pub use cvss::CvssError;
pub use expression::{EvaluationError, ExpressionError};

use aqueduct_core::ErrorClass;
use aqueduct_stream::StageError;

/// An expression that fails on an item fails on it again.
pub(crate) fn stage_error(what: &str, error: EvaluationError) -> StageError {
    StageError::new(ErrorClass::Permanent, what.to_owned()).with_source(error)
}
