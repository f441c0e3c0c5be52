//! The fields of one row.

use std::borrow::Cow;

/// Walks over the fields of a row, by the same rules by which its end was found.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'r> {
    row: &'r str,
    /// Where the next field begins; `None` behind the last.
    at: Option<usize>,
    delimiter: u8,
    quote: u8,
}

/// A quote that is never closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclosed;

impl<'r> Fields<'r> {
    /// The fields of `row`, which is without its line end. Delimiter and quote are ASCII.
    pub(crate) fn new(row: &'r str, delimiter: u8, quote: u8) -> Self {
        Self { row, at: Some(0), delimiter, quote }
    }

    fn quoted(&mut self, start: usize) -> Result<Cow<'r, str>, Unclosed> {
        let bytes = self.row.as_bytes();
        let content = start + 1;
        let mut at = content;
        let mut doubled = false;
        let close = loop {
            let quote = at + memchr::memchr(self.quote, &bytes[at..]).ok_or(Unclosed)?;
            if bytes.get(quote + 1) != Some(&self.quote) {
                break quote;
            }
            doubled = true;
            at = quote + 2;
        };
        let after = close + 1;
        let end = match bytes.get(after) {
            None => None,
            Some(next) if *next == self.delimiter => Some(after),
            Some(_) => memchr::memchr(self.delimiter, &bytes[after..]).map(|at| after + at),
        };
        self.at = end.map(|end| end + 1);
        let rest = &self.row[after..end.unwrap_or(bytes.len())];
        let content = &self.row[content..close];
        if !doubled && rest.is_empty() {
            return Ok(Cow::Borrowed(content));
        }
        let quote = char::from(self.quote);
        let mut text = String::with_capacity(content.len() + rest.len());
        let mut pieces = content.split(quote);
        text.push_str(pieces.next().unwrap_or_default());
        // Between two quotes that stand for one there is an empty piece.
        while pieces.next().is_some() {
            text.push(quote);
            text.push_str(pieces.next().unwrap_or_default());
        }
        text.push_str(rest);
        Ok(Cow::Owned(text))
    }
}

impl<'r> Iterator for Fields<'r> {
    type Item = Result<Cow<'r, str>, Unclosed>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at?;
        let bytes = self.row.as_bytes();
        if bytes.get(start) == Some(&self.quote) {
            let field = self.quoted(start);
            if field.is_err() {
                self.at = None;
            }
            return Some(field);
        }
        let end = memchr::memchr(self.delimiter, &bytes[start..]).map(|at| start + at);
        self.at = end.map(|end| end + 1);
        Some(Ok(Cow::Borrowed(&self.row[start..end.unwrap_or(bytes.len())])))
    }
}
