use std::collections::HashSet;

use super::super::framing::Framing;
use crate::error::ConfigError;

/// What the fields of a column are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CsvType {
    /// A text, as it stands there. An empty field is an empty text.
    #[default]
    Text,
    /// An integer of 64 bits with sign, such as `-7` or `007`. An empty field is null.
    Integer,
    /// A number that a double can hold, with the digits it has. An empty field is null.
    Float,
    /// `true` or `false` in letters of any case, `1` or `0`. An empty field is null.
    Boolean,
    /// JSON of any kind. An empty field is null.
    Json,
}

impl CsvType {
    /// The names used in pipeline files, in the order of the types.
    pub const NAMES: &'static [&'static str] = &["text", "integer", "float", "boolean", "json"];

    /// The type of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "integer" => Some(Self::Integer),
            "float" => Some(Self::Float),
            "boolean" => Some(Self::Boolean),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Whether the first row of a file holds the names of the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CsvHeader {
    /// It does.
    #[default]
    Present,
    /// It is a row like any other; the columns are declared.
    Absent,
}

/// How rows of separated fields are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFormat {
    pub(crate) delimiter: char,
    pub(crate) quote: char,
    pub(crate) header: CsvHeader,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) types: Vec<(String, CsvType)>,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { delimiter: ',', quote: '"', header: CsvHeader::Present, columns: None, types: Vec::new() }
    }
}

impl CsvFormat {
    /// Commas, double quotes, a header, all fields texts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what separates fields: one ASCII character that is no letter, digit, quote or line end. Default `,`.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: char) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Sets what surrounds fields that hold delimiters and line ends: one ASCII character as for the delimiter,
    /// and another one. Default `"`.
    #[must_use]
    pub fn with_quote(mut self, quote: char) -> Self {
        self.quote = quote;
        self
    }

    /// Says whether there is a header. Default [`CsvHeader::Present`].
    #[must_use]
    pub fn with_header(mut self, header: CsvHeader) -> Self {
        self.header = header;
        self
    }

    /// Declares the columns. With a header they take its place, and there must be as many.
    #[must_use]
    pub fn with_columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the type of a column; text without it. Types are never guessed: an id such as `007` is no number.
    #[must_use]
    pub fn with_type(mut self, column: impl Into<String>, kind: CsvType) -> Self {
        self.types.push((column.into(), kind));
        self
    }

    /// Checks what was set.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] names the field: a delimiter or quote that cannot be one, columns that are missing,
    /// empty or there twice, a type of a column that is not declared.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field: &str, value: String, expected: &str| {
            Err(ConfigError::Value { field: field.to_owned(), value, expected: expected.to_owned() })
        };
        let separates =
            |letter: char| letter.is_ascii() && !letter.is_ascii_alphanumeric() && !"\n\r\0".contains(letter);
        let one = "one ASCII character that is no letter, digit or line end";
        if !separates(self.delimiter) {
            return wrong("delimiter", format!("{:?}", self.delimiter), one);
        }
        if !separates(self.quote) {
            return wrong("quote", format!("{:?}", self.quote), one);
        }
        if self.quote == self.delimiter {
            return wrong("quote", format!("{:?}", self.quote), "another character than the delimiter");
        }
        match &self.columns {
            None if self.header == CsvHeader::Absent => {
                wrong("columns", "absent".to_owned(), "a list of names where there is no header")
            }
            None => Ok(()),
            Some(columns) if columns.is_empty() => {
                wrong("columns", "an empty list".to_owned(), "a list of one name or more")
            }
            Some(columns) => {
                if let Err(message) = check_names(columns) {
                    return wrong("columns", format!("a list in which {message}"), "names of their own");
                }
                match self.types.iter().find(|(name, _)| !columns.contains(name)) {
                    Some((name, _)) => {
                        let expected = format!("for columns that are there: {}", some_of(columns));
                        wrong("types", format!("for {name:?}"), &expected)
                    }
                    None => Ok(()),
                }
            }
        }
    }

    pub(crate) fn delimiter_byte(&self) -> u8 {
        byte(self.delimiter)
    }

    pub(crate) fn framing(&self) -> Framing {
        Framing::Quoted { delimiter: byte(self.delimiter), quote: byte(self.quote) }
    }
}

/// Checks that each column has a name and no other has it. Says what is wrong.
pub(crate) fn check_names(names: &[String]) -> Result<(), String> {
    let mut seen = HashSet::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("column {} has no name", at + 1));
        }
        if !seen.insert(name) {
            return Err(format!("{name:?} is there twice"));
        }
    }
    Ok(())
}

/// As many names as fit a message.
pub(super) fn some_of(names: &[String]) -> String {
    const NAMES_MAX: usize = 20;
    let shown = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMES_MAX) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// The byte of an ASCII character. What is not ASCII is refused by [`CsvFormat::check`].
pub(super) fn byte(letter: char) -> u8 {
    u8::try_from(u32::from(letter)).unwrap_or(b',')
}
