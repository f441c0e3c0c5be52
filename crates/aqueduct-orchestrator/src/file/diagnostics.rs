//! Collects everything that is wrong, each with its place.

use super::tree::At;
use crate::error::{ConfigError, ConfigErrors, Place};

/// The errors so far, and what is needed to place the next.
pub(super) struct Diagnostics<'s> {
    file: &'s str,
    source: &'s str,
    flags: Vec<String>,
    errors: Vec<(usize, ConfigError)>,
}

impl<'s> Diagnostics<'s> {
    /// More errors than a person reads at once; what is beyond them is not kept.
    const ERRORS_MAX: usize = 100;

    pub(super) fn new(file: &'s str, source: &'s str, flags: Vec<String>) -> Self {
        Self { file, source, flags, errors: Vec::new() }
    }

    /// The file's text.
    pub(super) fn source(&self) -> &'s str {
        self.source
    }

    /// Notes an error at a place of the tree.
    pub(super) fn error(&mut self, at: &At, message: impl Into<String>, hint: Option<String>) {
        let (order, place) = match at {
            At::Bytes(range) => (range.start, self.line(range.start, range.end)),
            At::Flag(flag) => {
                let shown = self.flags.get(*flag).cloned().unwrap_or_default();
                (self.source.len() + 1 + flag, Place::Flag { flag: shown })
            }
        };
        self.push(order, ConfigError::new(place, message, hint));
    }

    /// Notes an error of the file as a whole.
    pub(super) fn file_error(&mut self, message: impl Into<String>, hint: Option<String>) {
        let place = Place::File { file: self.file.to_owned() };
        self.push(self.source.len(), ConfigError::new(place, message, hint));
    }

    /// Notes an error that has its place already.
    pub(super) fn placed(&mut self, error: ConfigError) {
        self.push(usize::MAX, error);
    }

    fn push(&mut self, order: usize, error: ConfigError) {
        let known = self.errors.iter().any(|(_, other)| *other == error);
        if self.errors.len() < Self::ERRORS_MAX && !known {
            self.errors.push((order, error));
        }
    }

    /// Gives the value if nothing was wrong, else the errors in the order of the file.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => {
                if self.errors.is_empty() {
                    self.file_error(
                        "the file cannot be used, and Aqueduct cannot say why; please report it",
                        None,
                    );
                }
                self.errors.sort_by_key(|(order, _)| *order);
                Err(ConfigErrors::new(self.errors.into_iter().map(|(_, error)| error).collect()))
            }
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The line that the bytes `start..end` stand in.
    fn line(&self, start: usize, end: usize) -> Place {
        let floor =
            |at: usize| (0..=at.min(self.source.len())).rev().find(|at| self.source.is_char_boundary(*at));
        let start = floor(start).unwrap_or(0);
        let end = floor(end).unwrap_or(start).max(start);
        let line_start = self.source[..start].rfind('\n').map_or(0, |at| at + 1);
        let rest = &self.source[line_start..];
        let text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        // A byte-order mark takes no room on the screen.
        let text_start =
            if line_start == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let line_end = line_start + text.len();
        let letters = |from: usize, to: usize| self.source[from.min(to)..to].chars().count();
        Place::Line {
            file: self.file.to_owned(),
            line: 1 + self.source[..line_start].matches('\n').count(),
            column: 1 + letters(line_start + text_start, start),
            width: letters(start, end.min(line_end).max(start)).max(1),
            text: text[text_start..].to_owned(),
        }
    }
}
