//! Texts with places that each item fills: URLs and the values of header fields.
//!
//! `{item.id}` is a place, with any expression in it; `{{` and `}}` are the braces themselves. What an item puts into a
//! URL is a segment of the path, a part of one, or a value of the query, and nothing else: all other letters are
//! percent-encoded (RFC 3986, section 2.3 lists those that are not), so that an item can name neither host nor scheme, and
//! cannot leave its segment.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use aqueduct_core::Record;
use aqueduct_stream::StageError;

use crate::expression::{Expression, Value};
use crate::redacted::Redacted;

/// A text with places.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Redacted),
    Place(Arc<Expression>),
}

/// A piece of a template as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A text, references such as `${env:X}` included, without doubled braces.
    Text(String),
    /// What stands between braces, and where in the template.
    Place(&'a str, usize),
}

/// A template that is not one: where, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) offset: usize,
    pub(crate) message: &'static str,
}

/// Takes a template apart. References are left as they are; their braces are no places.
pub(crate) fn pieces(written: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut at = 0;
    while let Some(letter) = written[at..].chars().next() {
        let rest = &written[at..];
        if rest.starts_with("$${") {
            text.push_str("$${");
            at += 3;
        } else if rest.starts_with("${") {
            let end = rest.find('}').ok_or(Fault { offset: at, message: "a reference is not closed" })?;
            text.push_str(&rest[..=end]);
            at += end + 1;
        } else if rest.starts_with("{{") || rest.starts_with("}}") {
            text.push(letter);
            at += 2;
        } else if letter == '{' {
            let end = closing(rest).ok_or(Fault { offset: at, message: "a place is not closed with }" })?;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Place(&rest[1..end], at + 1));
            at += end + 1;
        } else if letter == '}' {
            return Err(Fault { offset: at, message: "a } without its {; the letter itself is written }}" });
        } else {
            text.push(letter);
            at += letter.len_utf8();
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// Where the brace at the start is closed: expressions have texts and objects with braces of their own.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '{') => depth += 1,
            (None, '}') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            (None, _) => {}
        }
    }
    None
}

impl Template {
    pub(crate) fn new(parts: Vec<Result<Redacted, Arc<Expression>>>) -> Self {
        let part = |part: Result<Redacted, Arc<Expression>>| match part {
            Ok(text) => Part::Text(text),
            Err(place) => Part::Place(place),
        };
        Self { parts: parts.into_iter().map(part).collect() }
    }

    /// The expressions of its places, in their order.
    #[must_use]
    pub fn expressions(&self) -> Vec<&Expression> {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(_) => None,
                Part::Place(expression) => Some(&**expression),
            })
            .collect()
    }

    /// What stands between its places, in their order.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Redacted> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Place(_) => None,
        })
    }

    /// Tells what is wrong with it as a URL, if anything. With `relative` it is a path on a host that is known elsewhere.
    pub(crate) fn url_fault(&self, relative: bool) -> Option<String> {
        let Some(Part::Text(first)) = self.parts.first() else {
            return Some("it begins with a place; what an item puts there would name the host".to_owned());
        };
        let start = first.expose();
        if relative {
            if !start.starts_with('/') || start.starts_with("//") {
                return Some(
                    "the backend has endpoints, so it begins with / and is a path on them".to_owned(),
                );
            }
        } else {
            let rest = ["https://", "http://"].iter().find_map(|scheme| start.strip_prefix(scheme));
            let Some(rest) = rest else {
                return Some("it begins with neither http:// nor https://".to_owned());
            };
            let host_ends = rest.find(['/', '?']);
            if host_ends == Some(0) || (rest.is_empty() && self.parts.len() == 1) {
                return Some("it has no host".to_owned());
            }
            if host_ends.is_none() && self.parts.len() > 1 {
                return Some(
                    "a place stands in the host; what an item puts there would name the host".to_owned(),
                );
            }
        }
        let fragment =
            self.parts.iter().any(|part| matches!(part, Part::Text(text) if text.expose().contains('#')));
        fragment.then(|| "it has a fragment, which is never sent; # itself is written %23".to_owned())
    }

    /// The URL for one item.
    pub(crate) fn url(&self, record: &Record) -> Result<String, StageError> {
        let mut url = String::with_capacity(128);
        let mut in_query = false;
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(text) => {
                    in_query |= text.expose().contains('?');
                    url.push_str(text.expose());
                }
                Part::Place(expression) => {
                    let value = filled(expression, record)?;
                    if value.is_empty() && !in_query && self.is_whole_segment(at) {
                        let message =
                            format!("{{{}}} is empty, and is a segment of a path", expression.source());
                        return Err(StageError::permanent(message));
                    }
                    encode(&value, &mut url);
                }
            }
        }
        // Parsers of URLs take a segment of dots for a step upwards, even when they are encoded.
        let path = url.split('?').next().unwrap_or_default();
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            let message =
                format!("{self} becomes a path with a segment of dots, which would leave its place");
            return Err(StageError::permanent(message));
        }
        Ok(url)
    }

    /// Whether the place is all there is between two slashes.
    fn is_whole_segment(&self, at: usize) -> bool {
        let neighbour = |at: Option<usize>| at.and_then(|at| self.parts.get(at));
        let before =
            matches!(neighbour(at.checked_sub(1)), Some(Part::Text(text)) if text.expose().ends_with('/'));
        let after = match neighbour(at.checked_add(1)) {
            None => true,
            Some(Part::Text(text)) => text.expose().starts_with(['/', '?']),
            Some(Part::Place(_)) => false,
        };
        before && after
    }

    /// The value of a header field for one item.
    pub(crate) fn header(&self, name: &str, record: &Record) -> Result<String, StageError> {
        let mut value = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => value.push_str(text.expose()),
                Part::Place(expression) => {
                    let data = filled(expression, record)?;
                    if data.contains(['\r', '\n', '\0']) {
                        let message = format!(
                            "{{{}}} has a line end, which would end the header field {name} and begin another",
                            expression.source()
                        );
                        return Err(StageError::permanent(message));
                    }
                    value.push_str(&data);
                }
            }
        }
        Ok(value)
    }
}

/// What an item puts into a place, as text.
fn filled(expression: &Expression, record: &Record) -> Result<String, StageError> {
    let of = || format!("{{{}}}", expression.source());
    let value = expression
        .evaluate(record)
        .map_err(|error| StageError::permanent(format!("{} cannot be computed", of())).with_source(error))?;
    match value {
        Value::Text(text) => Ok(text.into_owned()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Double(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null | Value::Json(_) | Value::Built(_) => {
            let message = format!(
                "{} is {}, and a place takes a text, a number or a truth value",
                of(),
                value.value_type().described()
            );
            Err(StageError::permanent(message))
        }
    }
}

/// Percent-encodes all that RFC 3986 does not call unreserved.
pub(crate) fn encode(text: &str, url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            url.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

impl fmt::Display for Template {
    /// Writes it as it stands in the file, references and not what they refer to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text.written()),
            Part::Place(expression) => write!(f, "{{{}}}", expression.source()),
        })
    }
}

#[cfg(test)]
mod tests;
