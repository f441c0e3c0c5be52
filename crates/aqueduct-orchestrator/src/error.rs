//! Every error this crate can give.

mod config;
mod cvss;
mod expression;

pub use config::{ConfigError, ConfigErrors, Place};
pub use cvss::CvssError;
pub use expression::{EvaluationError, ExpressionError};
