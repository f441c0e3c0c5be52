//! A failure while `&&` and `||` may still absorb it: cheap to make, and a message only when it gets out.

use std::borrow::Cow;

use aqueduct_core::Record;
use aqueduct_core::json::Kind;

use super::evaluate::members;
use super::program::{Field, Node, Step};
use super::value::{Type, Value};
use crate::error::{CvssError, EvaluationError};
use crate::suggest;

/// What went wrong at which node.
#[derive(Debug)]
pub(super) enum Fault<'a> {
    /// Nothing stands `steps` steps behind the top-level field; 0 is the field itself.
    Missing { field: &'a Field, steps: usize },
    /// Step number `steps` was taken on a value that has no such steps.
    NotThere { field: &'a Field, steps: usize, found: Type },
    /// An operation met a type that it does not take.
    Clash { node: &'a Node, expected: &'static str, found: (Type, Option<Type>) },
    /// An integer left the range of 64 bits.
    Overflow(&'a Node),
    /// A division by zero.
    DivisionByZero(&'a Node),
    /// A value that a conversion cannot read.
    Conversion(&'a Node, Value<'a>),
    /// A vector that cannot be scored.
    Cvss(&'a Node, Box<CvssError>),
}

impl Fault<'_> {
    /// Writes the message.
    #[cold]
    pub(super) fn explain(self, record: &Record) -> EvaluationError {
        match self {
            Self::Missing { field, steps } => missing(field, steps, record),
            Self::NotThere { field, steps, found } => EvaluationError::TypeClash {
                expression: field.path(steps),
                expected: match field.steps.get(steps.saturating_sub(1)) {
                    Some(Step::Index(_)) => "a list",
                    _ => "an object",
                },
                found: format!("{}, which is {}", field.path(steps.saturating_sub(1)), found.described()),
            },
            Self::Clash { node, expected, found: (first, second) } => EvaluationError::TypeClash {
                expression: shown(node),
                expected,
                found: match second {
                    Some(second) => format!("{} and {}", first.described(), second.described()),
                    None => first.described().to_owned(),
                },
            },
            Self::Overflow(node) => EvaluationError::Overflow { expression: shown(node) },
            Self::DivisionByZero(node) => EvaluationError::DivisionByZero { expression: shown(node) },
            Self::Conversion(node, value) => EvaluationError::Conversion {
                expression: shown(node),
                value: match value {
                    Value::Text(text) => format!("the text {:?}", shortened(&text)),
                    Value::Double(value) => format!("the double {value}"),
                    other => other.value_type().described().to_owned(),
                },
            },
            Self::Cvss(node, source) => EvaluationError::Cvss { expression: shown(node), source: *source },
        }
    }
}

fn missing(field: &Field, steps: usize, record: &Record) -> EvaluationError {
    let Some(last) = steps.checked_sub(1) else {
        return missing_top_level(&field.name, record);
    };
    let parent = parent_of(field, last, record);
    match (&field.steps[last], parent) {
        (Step::Index(index), parent) => EvaluationError::OutOfBounds {
            path: field.path(last),
            index: *index,
            length: parent.map_or(0, |list| list.entries().count()),
        },
        (Step::Key(key), parent) => {
            let names: Vec<Cow<'_, str>> =
                parent.map_or_else(Vec::new, |object| members(object).into_keys().collect());
            missing_field(field.path(last), key, &names)
        }
    }
}

fn parent_of<'a>(
    field: &Field,
    steps: usize,
    record: &'a Record,
) -> Option<aqueduct_core::json::RawJson<'a>> {
    let mut value = record.get(&field.name)?;
    for step in &field.steps[..steps] {
        value = match (step, value.kind()) {
            (Step::Key(key), Kind::Object) => value.get(key)?,
            (Step::Index(index), _) => value.index(usize::try_from(*index).ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// The record lacks `name`.
pub(super) fn missing_top_level(name: &str, record: &Record) -> EvaluationError {
    let names: Vec<Cow<'_, str>> = record.fields().map(|(key, _)| Cow::Borrowed(key)).collect();
    missing_field("item".to_owned(), name, &names)
}

fn missing_field(parent: String, field: &str, names: &[Cow<'_, str>]) -> EvaluationError {
    /// Enough to recognise the item by, and short enough for a log line.
    const FIELDS_SHOWN: usize = 12;
    EvaluationError::MissingField {
        parent,
        field: shortened(field).into_owned(),
        suggestion: suggest::nearest(field, names.iter().map(|name| &**name)).map(str::to_owned),
        fields: names.iter().take(FIELDS_SHOWN).map(|name| shortened(name).into_owned()).collect(),
        fields_count: names.len(),
    }
}

/// A node for a message; long ones are cut.
fn shown(node: &Node) -> String {
    shortened(&node.to_string()).into_owned()
}

/// At most 80 letters of a text.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const LETTERS_MAX: usize = 80;
    match text.char_indices().nth(LETTERS_MAX) {
        Some((at, _)) => Cow::Owned(format!("{}...", &text[..at])),
        None => Cow::Borrowed(text),
    }
}
