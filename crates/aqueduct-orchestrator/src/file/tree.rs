//! What was written: the TOML tree, each part with its place, from the file or from the command line.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a part of the tree was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// These bytes of the file.
    Bytes(Range<usize>),
    /// The flag of this number.
    Flag(usize),
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: At,
    pub(super) value: Raw,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) entry: Entry,
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Text(String),
    /// None for an integer beyond 64 bits.
    Integer(Option<i64>),
    Float(f64),
    Bool(bool),
    Date,
    List(Vec<Entry>),
    Table(Vec<Member>),
}

impl Raw {
    /// The type with its article, for messages.
    pub(super) fn described(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Entry {
    /// Converts a value of the file. As deep as the parser goes, which it bounds.
    pub(super) fn from_file(value: &Spanned<DeValue<'_>>) -> Self {
        Self { at: At::Bytes(value.span()), value: raw(value.get_ref(), &Self::from_file, &At::Bytes) }
    }

    /// Converts a value that stands in the flag of this number.
    pub(super) fn from_flag(value: &DeValue<'_>, flag: usize) -> Self {
        let nested = |inner: &Spanned<DeValue<'_>>| Self::from_flag(inner.get_ref(), flag);
        Self { at: At::Flag(flag), value: raw(value, &nested, &|_| At::Flag(flag)) }
    }
}

/// The members of a table in the order they were written: the parser sorts them by name.
pub(super) fn members(table: &DeTable<'_>) -> Vec<Member> {
    match raw_table(table, &Entry::from_file, &At::Bytes) {
        Raw::Table(members) => members,
        _ => Vec::new(),
    }
}

fn raw(
    value: &DeValue<'_>,
    nested: &dyn Fn(&Spanned<DeValue<'_>>) -> Entry,
    at: &dyn Fn(Range<usize>) -> At,
) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(integer) => {
            Raw::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok())
        }
        DeValue::Float(float) => Raw::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Datetime(_) => Raw::Date,
        DeValue::Array(list) => Raw::List(list.iter().map(nested).collect()),
        DeValue::Table(table) => raw_table(table, nested, at),
    }
}

fn raw_table(
    table: &DeTable<'_>,
    nested: &dyn Fn(&Spanned<DeValue<'_>>) -> Entry,
    at: &dyn Fn(Range<usize>) -> At,
) -> Raw {
    let mut ordered: Vec<_> = table.iter().collect();
    ordered.sort_by_key(|(key, _)| key.span().start);
    Raw::Table(
        ordered
            .into_iter()
            .map(|(key, value)| Member {
                key: key.get_ref().clone().into_owned(),
                key_at: at(key.span()),
                entry: nested(value),
            })
            .collect(),
    )
}
