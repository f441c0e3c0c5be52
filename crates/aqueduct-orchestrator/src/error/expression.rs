use std::fmt;

use aqueduct_core::{Classified, ErrorClass};

use super::CvssError;
use crate::expression::Type;

/// An expression that does not compile.
///
/// It knows the place in the source; a pipeline file maps it to its own line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    offset: usize,
    message: String,
}

impl ExpressionError {
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }

    /// Where in the source the fault stands, in bytes from its start. At most the length of the source.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong, and what would be right.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExpressionError {}

impl Classified for ExpressionError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

/// An expression that failed on one item.
///
/// Its class is permanent: the same expression fails on the same item again. The stage's rule decides what
/// becomes of the item.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// The item, or an object in it, has no field of this name. `has(...)` asks first.
    #[error("{parent} has no field {field:?}{}", MissingHint(.suggestion.as_deref(), .fields, *.fields_count))]
    MissingField {
        /// The path of the object that was asked, such as `item` or `item.package`.
        parent: String,
        /// The name that was asked for.
        field: String,
        /// The field that was probably meant.
        suggestion: Option<String>,
        /// The fields that are there, the first few of them.
        fields: Vec<String>,
        /// How many fields are there in all.
        fields_count: usize,
    },
    /// The list is shorter than the index asks.
    #[error("{path} has {length} elements and no index {index} (the first is 0)")]
    OutOfBounds {
        /// The path of the list.
        path: String,
        /// The index that was asked for.
        index: i64,
        /// How many elements the list has.
        length: usize,
    },
    /// A value is of a type that the operation does not take.
    #[error("`{expression}` takes {expected}, found {found}")]
    TypeClash {
        /// The part of the expression that failed, shortened when it is long.
        expression: String,
        /// What the operation takes.
        expected: &'static str,
        /// What the item gave.
        found: String,
    },
    /// An integer result does not fit 64 bits. `double(...)` around an operand avoids it at the price of digits.
    #[error("`{expression}` is beyond the range of 64-bit integers")]
    Overflow {
        /// The part of the expression that failed.
        expression: String,
    },
    /// A division by zero, of integers or of doubles.
    #[error("`{expression}` divides by zero")]
    DivisionByZero {
        /// The part of the expression that failed.
        expression: String,
    },
    /// A text or a double that `int(...)` or `double(...)` cannot read.
    #[error("`{expression}` cannot convert {value}")]
    Conversion {
        /// The part of the expression that failed.
        expression: String,
        /// The value, shortened when it is long.
        value: String,
    },
    /// `cvss(...)` was given a text that is not a vector.
    #[error("`{expression}` was given no valid vector")]
    Cvss {
        /// The part of the expression that failed.
        expression: String,
        /// What is wrong with the vector.
        #[source]
        source: CvssError,
    },
    /// The condition of a filter or an alert gave something else than true or false.
    #[error("the condition gave {}, and must give true or false", .found.described())]
    NotBool {
        /// What it gave.
        found: Type,
    },
    /// The result is infinite or not a number, which JSON cannot hold.
    #[error("the result is {value}, which JSON cannot hold")]
    NotFinite {
        /// The result.
        value: f64,
    },
    /// The interpreter gave up on a part of CEL outside the fast evaluator.
    #[error("{message}")]
    Interpreter {
        /// What the interpreter says.
        message: String,
    },
}

impl Classified for EvaluationError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

/// `; did you mean "passed"? it has id, project and 3 more`
struct MissingHint<'a>(Option<&'a str>, &'a [String], usize);

impl fmt::Display for MissingHint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(suggestion, fields, count) = self;
        match suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion:?}? it has ")?,
            None => f.write_str("; it has ")?,
        }
        if fields.is_empty() {
            return f.write_str("no fields");
        }
        f.write_str(&fields.join(", "))?;
        match count - fields.len().min(*count) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
