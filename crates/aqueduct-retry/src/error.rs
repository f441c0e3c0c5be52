use aqueduct_core::{Classified, ErrorClass};

/// A schedule that cannot be built. Change the named field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, allowed is {allowed}")]
pub struct ConfigError {
    /// The field of the builder or of its growth.
    pub field: &'static str,
    /// What was given.
    pub value: String,
    /// What may be given.
    pub allowed: String,
}

impl Classified for ConfigError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}
