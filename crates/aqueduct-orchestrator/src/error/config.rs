use std::fmt;

use aqueduct_core::{Classified, ErrorClass};

/// One thing that is wrong with the configuration, where it stands, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    place: Place,
    message: String,
    hint: Option<String>,
}

/// Where a wrong value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the pipeline file.
    Line {
        /// The file, as it was named to the reader.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The column in letters, counted from 1.
        column: usize,
        /// How many letters are at fault, at least one.
        width: usize,
        /// The line as it is written. References to secrets stand in it as references.
        text: String,
    },
    /// The pipeline file as a whole.
    File {
        /// The file, as it was named to the reader.
        file: String,
    },
    /// On the command line.
    Flag {
        /// The flag with its value, as it was written.
        flag: String,
    },
    /// In the environment.
    Variable {
        /// The name of the variable.
        name: &'static str,
    },
}

impl ConfigError {
    pub(crate) fn new(place: Place, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { place, message: message.into(), hint }
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right, if that can be guessed.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line { file, line, column, .. } => write!(f, "{file}:{line}:{column}: ")?,
            Place::File { file } => write!(f, "{file}: ")?,
            Place::Flag { flag } => write!(f, "{flag}: ")?,
            Place::Variable { name } => write!(f, "{name}: ")?,
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        match &self.place {
            Place::Line { line, column, width, text, .. } => excerpt(f, *line, *column, *width, text),
            _ => Ok(()),
        }
    }
}

/// Shows the line with a caret under the fault. A long line is cut around it.
fn excerpt(f: &mut fmt::Formatter<'_>, line: usize, column: usize, width: usize, text: &str) -> fmt::Result {
    /// What fits a terminal beside the line number.
    const LETTERS_MAX: usize = 100;
    /// How much stands before the fault when the line is cut.
    const LETTERS_BEFORE: usize = 40;
    let letters: Vec<char> = text.chars().collect();
    let at = column.saturating_sub(1).min(letters.len());
    let start = if letters.len() > LETTERS_MAX { at.saturating_sub(LETTERS_BEFORE) } else { 0 };
    let end = letters.len().min(start + LETTERS_MAX);
    // Control characters would move the caret, or the terminal.
    let shown: String =
        letters[start..end].iter().map(|letter| if letter.is_control() { ' ' } else { *letter }).collect();
    let (before, after) = (if start > 0 { "..." } else { "" }, if end < letters.len() { "..." } else { "" });
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let blank = " ".repeat(before.len() + at - start);
    let carets = "^".repeat(width.clamp(1, (end - at).max(1)));
    write!(f, "\n{margin} |\n{number} | {before}{shown}{after}\n{margin} | {blank}{carets}")
}

impl std::error::Error for ConfigError {}

impl Classified for ConfigError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

/// Everything that is wrong with the configuration: at least one error, in the order of the file, then of the
/// command line, then of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The caller gives at least one error.
    pub(crate) fn new(errors: Vec<ConfigError>) -> Self {
        Self { errors }
    }

    /// The errors, one after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl Classified for ConfigErrors {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}
