use std::borrow::Cow;

use super::scan;

/// What kind of value a JSON text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// Any number.
    Number,
    /// A text in quotes.
    Text,
    /// A list in brackets.
    Array,
    /// A nested object.
    Object,
}

/// A JSON number as far as Rust can hold it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer within 64 bits with sign.
    Integer(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// An integer beyond 64 bits, as the nearest double. The exact digits are in [`RawJson::as_text`].
    Wide(f64),
}

/// A valid JSON value inside a record: its text, read when somebody asks.
///
/// It holds bytes and not a `str`, so that a value that is only copied is not checked for UTF-8 once more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawJson<'a>(&'a [u8]);

impl std::fmt::Debug for RawJson<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RawJson").field(&self.as_text()).finish()
    }
}

impl<'a> RawJson<'a> {
    /// Checks that `text` is one JSON value without white space around it.
    ///
    /// # Errors
    ///
    /// [`super::JsonError`] says what is wrong and where.
    pub fn parse(text: &'a str) -> Result<Self, super::JsonError> {
        scan::check_value(text)?;
        Ok(Self(text.as_bytes()))
    }

    /// The caller vouches for the text: it is a slice of something that was checked.
    pub(crate) fn trusted(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The value's bytes, as they are written.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value as it is written.
    #[must_use]
    pub fn as_text(self) -> &'a str {
        utf8(self.0)
    }

    /// What kind of value it is, from its first byte.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.0.first() {
            Some(b'"') => Kind::Text,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// Tells whether the value is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(self) -> Option<Number> {
        if self.kind() != Kind::Number {
            return None;
        }
        if let Some(integer) = short_integer(self.0) {
            return Some(Number::Integer(integer));
        }
        let text = utf8(self.0);
        let float = || text.parse::<f64>().ok();
        if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return float().map(Number::Float);
        }
        match text.parse::<i64>() {
            Ok(integer) => Some(Number::Integer(integer)),
            Err(_) => float().map(Number::Wide),
        }
    }

    /// The integer, if it is a number without fraction and exponent that fits 64 bits.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self.as_number() {
            Some(Number::Integer(integer)) => Some(integer),
            _ => None,
        }
    }

    /// The number as a double, the nearest one where it is not exact.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the nearest double is what this promises")]
    pub fn as_f64(self) -> Option<f64> {
        match self.as_number()? {
            Number::Integer(integer) => Some(integer as f64),
            Number::Float(float) | Number::Wide(float) => Some(float),
        }
    }

    /// The text without quotes and escapes, if it is one. Borrowed where no escape stands in it.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        if self.kind() != Kind::Text {
            return None;
        }
        Some(unescaped(utf8(&self.0[1..self.0.len() - 1])))
    }

    /// The value of a field, if this is an object that has it. Of duplicate keys the last wins.
    ///
    /// # Complexity
    ///
    /// Linear in the length of the object's text.
    #[must_use]
    pub fn get(self, key: &str) -> Option<RawJson<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        self.entries().filter(|(name, _)| name.as_deref() == Some(key)).map(|(_, value)| value).last()
    }

    /// The value at `index`, counted from 0, if this is a list that is long enough.
    ///
    /// # Complexity
    ///
    /// Linear in the length of the list's text.
    #[must_use]
    pub fn index(self, index: usize) -> Option<RawJson<'a>> {
        if self.kind() != Kind::Array {
            return None;
        }
        self.entries().nth(index).map(|(_, value)| value)
    }

    /// Walks over a list or an object in order; empty for any other value. Names stand with objects only.
    #[must_use]
    pub fn entries(self) -> Entries<'a> {
        let in_object = self.kind() == Kind::Object;
        let rest = match self.kind() {
            Kind::Object | Kind::Array => &self.0[1..self.0.len() - 1],
            _ => &[],
        };
        Entries { rest, in_object }
    }
}

/// The values of a list or an object, in order.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    in_object: bool,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Option<Cow<'a, str>>, RawJson<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = skip(self.rest, b" \t\n\r,");
        if rest.is_empty() {
            return None;
        }
        let name = if self.in_object {
            let len = scan::value_len(rest);
            let name = unescaped(utf8(&rest[1..len - 1]));
            rest = skip(&rest[len..], b" \t\n\r:");
            Some(name)
        } else {
            None
        };
        let (value, rest) = rest.split_at(scan::value_len(rest));
        self.rest = rest;
        Some((name, RawJson(value)))
    }
}

/// Records are UTF-8 by construction, and values begin and end at ASCII bytes.
fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("a value of a record is UTF-8 by construction")
}

fn skip<'a>(bytes: &'a [u8], what: &[u8]) -> &'a [u8] {
    let start = bytes.iter().position(|byte| !what.contains(byte)).unwrap_or(bytes.len());
    &bytes[start..]
}

/// Reads up to 18 digits without a checked parse: they cannot overflow.
fn short_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

/// Resolves the escapes of a checked text given without its quotes.
pub(super) fn unescaped(inner: &str) -> Cow<'_, str> {
    if memchr_backslash(inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr_backslash(rest) {
        plain.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let (character, used) = match escape.as_bytes().first() {
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            Some(b'u') => unicode_escape(escape),
            Some(byte) => (char::from(*byte), 1),
            None => break,
        };
        plain.push(character);
        rest = &escape[used..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Reads `uXXXX` or `uXXXX\uXXXX`; the scanner has admitted whole pairs only.
fn unicode_escape(escape: &str) -> (char, usize) {
    let unit = |at: usize| {
        escape.get(at..at + 4).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0xfffd)
    };
    let first = unit(1);
    if (0xd800..0xdc00).contains(&first) {
        let second = unit(7);
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second.wrapping_sub(0xdc00) & 0x3ff);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
}

fn memchr_backslash(text: &str) -> Option<usize> {
    text.bytes().position(|byte| byte == b'\\')
}

fn must_escape(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// A key as it stands in a record: escaped only where JSON demands it, without quotes.
pub(super) fn escaped(key: &str) -> Cow<'_, str> {
    if !key.bytes().any(must_escape) {
        return Cow::Borrowed(key);
    }
    let mut bytes = Vec::with_capacity(key.len() + 8);
    write_escaped(&mut bytes, key);
    Cow::Owned(String::from_utf8(bytes).expect("escaping UTF-8 gives UTF-8"))
}

/// Writes a text with its quotes.
pub(super) fn write_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'"');
    write_escaped(bytes, text);
    bytes.push(b'"');
}

fn write_escaped(bytes: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| must_escape(*byte)) {
        bytes.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => bytes.extend_from_slice(b"\\\""),
            b'\\' => bytes.extend_from_slice(b"\\\\"),
            b'\n' => bytes.extend_from_slice(b"\\n"),
            b'\r' => bytes.extend_from_slice(b"\\r"),
            b'\t' => bytes.extend_from_slice(b"\\t"),
            0x8 => bytes.extend_from_slice(b"\\b"),
            0xc => bytes.extend_from_slice(b"\\f"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                bytes.extend_from_slice(b"\\u00");
                bytes.push(HEX[usize::from(control >> 4)]);
                bytes.push(HEX[usize::from(control & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    bytes.extend_from_slice(rest);
}

pub(super) fn write_integer(bytes: &mut Vec<u8>, value: i64) {
    serde_json::to_writer(bytes, &value).expect("writing a number into memory cannot fail");
}

pub(super) fn write_float(bytes: &mut Vec<u8>, value: f64) {
    // serde_json writes null for what JSON cannot hold.
    serde_json::to_writer(bytes, &value).expect("writing a number into memory cannot fail");
}
