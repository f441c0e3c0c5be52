use aqueduct_core::{Classified, ErrorClass};

pub use aqueduct_core::ConfigError;

/// A family that cannot be registered. The registry is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The name breaks a rule of the text format or of this crate; choose another.
    #[error("metric name {name:?} is not allowed: {allowed}")]
    Name {
        /// The name that was given.
        name: &'static str,
        /// The rule that it breaks.
        allowed: &'static str,
    },
    /// A label name breaks a rule of the text format; choose another.
    #[error("label {label:?} of metric {metric} is not allowed: {allowed}")]
    Label {
        /// The family's name.
        metric: &'static str,
        /// The label name that was given.
        label: &'static str,
        /// The rule that it breaks.
        allowed: &'static str,
    },
    /// The scale of a histogram cannot be written; mend the named field.
    #[error("{field} of metric {metric} is {value}, allowed is {allowed}")]
    Scale {
        /// The family's name.
        metric: &'static str,
        /// The field of [`Scale`](crate::Scale).
        field: &'static str,
        /// What was given.
        value: String,
        /// What may be given.
        allowed: &'static str,
    },
    /// The name is taken by a family that differs; use its definition, or another name.
    #[error("metric {name} is registered with {field} {registered}, not {given}")]
    Conflict {
        /// The family's name.
        name: &'static str,
        /// What differs: kind, help, labels or scale.
        field: &'static str,
        /// What the registered family has.
        registered: String,
        /// What was given now.
        given: String,
    },
}

/// A series that cannot be had. The family is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// The family has another number of labels; give one value for each, in their order.
    #[error("metric {metric} has {expected} labels, and {given} values were given")]
    LabelCount {
        /// The family's name.
        metric: &'static str,
        /// The number of its labels.
        expected: usize,
        /// The number of values that were given.
        given: usize,
    },
    /// A value is so long that it can come from no closed set; use a short name for it.
    #[error("value of label {label:?} of metric {metric} has {bytes} bytes, allowed are {bytes_max}")]
    ValueLength {
        /// The family's name.
        metric: &'static str,
        /// The label's name.
        label: &'static str,
        /// The length of the value.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
}

/// What a registry refuses of a part that wants its metrics: only one that is shared with other software does, or a name
/// that is too long for a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// The family.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The series.
    #[error(transparent)]
    Series(#[from] SeriesError),
}

impl Classified for MetricsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Register(error) => error.class(),
            Self::Series(error) => error.class(),
        }
    }
}

impl Classified for RegisterError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

impl Classified for SeriesError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}
