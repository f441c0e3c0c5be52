use aqueduct_core::{Classified, ErrorClass};

/// A text that is not a CVSS vector of version 3.0 or 3.1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CvssError {
    /// The text does not start with `CVSS:3.0/` or `CVSS:3.1/`.
    #[error("a vector of CVSS version {version} is not scored, only 3.0 and 3.1 are")]
    Version {
        /// The version found, shortened when it is long.
        version: String,
    },
    /// The text does not start with `CVSS:`.
    #[error("{text:?} is not a CVSS vector; one looks like CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H")]
    NotAVector {
        /// The text, shortened when it is long.
        text: String,
    },
    /// A part between slashes is not `metric:value`.
    #[error("{part:?} is not a metric and its value, such as AV:N")]
    NotAMetric {
        /// The part, shortened when it is long.
        part: String,
    },
    /// Version 3 has no metric of this name.
    #[error("CVSS version 3 has no metric {metric:?}")]
    UnknownMetric {
        /// The name, shortened when it is long.
        metric: String,
    },
    /// The metric does not take this value.
    #[error("metric {metric} takes {allowed}, found {value:?}")]
    UnknownValue {
        /// The metric.
        metric: &'static str,
        /// The value, shortened when it is long.
        value: String,
        /// The values that the metric takes.
        allowed: String,
    },
    /// The metric stands twice.
    #[error("metric {metric} stands twice")]
    Duplicate {
        /// The metric.
        metric: &'static str,
    },
    /// A base metric is missing.
    #[error("base metric {metric} is missing")]
    Missing {
        /// The metric.
        metric: &'static str,
    },
}

impl Classified for CvssError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}
