use std::borrow::Cow;
use std::fmt;

use aqueduct_core::json::{Kind, Number, RawJson};

/// What an expression gave for one item. Texts and JSON are borrowed from the item where nothing changed them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer within 64 bits with sign.
    Int(i64),
    /// A double. Integers beyond 64 bits read as the nearest one.
    Double(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A list or an object, as it stands in the item.
    Json(RawJson<'a>),
    /// A list or an object that the expression made, as JSON text; the keys of objects are sorted.
    Built(String),
}

impl<'a> Value<'a> {
    /// Reads a JSON value; lists and objects stay as they are written.
    #[inline]
    pub(crate) fn read(json: RawJson<'a>) -> Self {
        match json.kind() {
            Kind::Number => match json.as_number() {
                Some(Number::Integer(integer)) => Self::Int(integer),
                Some(Number::Float(float) | Number::Wide(float)) => Self::Double(float),
                None => Self::Null,
            },
            Kind::Text => json.as_str().map_or(Self::Null, Self::Text),
            Kind::Boolean => Self::Bool(json.as_bool() == Some(true)),
            Kind::Null => Self::Null,
            Kind::Array | Kind::Object => Self::Json(json),
        }
    }

    /// The type of this value; never [`Type::Number`].
    #[must_use]
    pub fn value_type(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Double(_) => Type::Double,
            Self::Text(_) => Type::Text,
            Self::Json(json) if json.kind() == Kind::Array => Type::List,
            Self::Built(text) if text.starts_with('[') => Type::List,
            Self::Json(_) | Self::Built(_) => Type::Object,
        }
    }

    /// The list or object as JSON, if it is one.
    pub(crate) fn as_json(&self) -> Option<RawJson<'_>> {
        match self {
            Self::Json(json) => Some(*json),
            // Built texts were written by this crate; a fault there reads as "not JSON" and never panics.
            Self::Built(text) => RawJson::parse(text).ok(),
            _ => None,
        }
    }

    /// The number as a double, if it is a number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the nearest double is what mixing numbers means")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(integer) => Some(*integer as f64),
            Self::Double(float) => Some(*float),
            _ => None,
        }
    }
}

/// The type of an expression, as far as it is known before any item is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `null` alone.
    Null,
    /// True or false.
    Bool,
    /// An integer of 64 bits with sign.
    Int,
    /// A double.
    Double,
    /// An integer or a double; the item decides which.
    Number,
    /// A text.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

impl Type {
    /// The name with its article, for messages.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int => "an integer",
            Self::Double => "a double",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }

    /// Tells whether it is a number of any kind.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Number)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Number => "number",
            Self::Text => "text",
            Self::List => "list",
            Self::Object => "object",
        })
    }
}
