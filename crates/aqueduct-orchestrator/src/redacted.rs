//! Texts that may hold a secret.

use std::fmt;

/// A text from the configuration. What it was resolved to is given on request only; everything that prints it
/// shows what was written, such as `${env:TOKEN}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted {
    written: String,
    resolved: String,
}

impl Redacted {
    pub(crate) fn new(written: impl Into<String>, resolved: impl Into<String>) -> Self {
        Self { written: written.into(), resolved: resolved.into() }
    }

    pub(crate) fn plain(text: impl Into<String>) -> Self {
        let written = text.into();
        Self { resolved: written.clone(), written }
    }

    /// The text to use. It may be a secret: do not print it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.resolved
    }

    /// The text as it was written, safe to print.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}
