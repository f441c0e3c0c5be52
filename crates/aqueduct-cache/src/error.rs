use std::error::Error;
use std::sync::Arc;

pub use aqueduct_core::ConfigError;

/// A value could not be loaded. All who waited for it get the same error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("load a value for the cache")]
pub struct LoadError {
    source: Arc<dyn Error + Send + Sync>,
}

impl LoadError {
    pub(crate) fn new(source: Box<dyn Error + Send + Sync>) -> Self {
        Self { source: source.into() }
    }

    /// Gives what the loader said.
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }
}

/// A pattern that is neither a key nor the beginning of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use the pattern {pattern:?}: it may have one * and that at its end, as in \"aeo:*\"")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
}
