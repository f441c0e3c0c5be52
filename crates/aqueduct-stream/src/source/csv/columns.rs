//! The columns of one file, and rows as records of them.

use aqueduct_core::json::RawJson;
use aqueduct_core::{Record, RecordBuilder};
use bytes::Bytes;

use super::fields::{Fields, Unclosed};
use super::format::{CsvFormat, CsvHeader, CsvType, byte, check_names, some_of};
use crate::error::{DecodeError, SourceError};
use crate::source::ChunkContent;
use crate::source::cutter::Cutter;
use crate::source::position::digest;

/// What a row needs to become a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    columns: Vec<Column>,
    delimiter: u8,
    quote: u8,
    /// The bytes that keys and punctuation take of each record.
    overhead: usize,
    /// The digest of the header that was read, if there is one.
    pub(super) header: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Column {
    name: String,
    /// The name as it stands in a record.
    key: String,
    kind: CsvType,
}

impl Columns {
    /// Reads the header off the beginning of a file, if it has one. `None` when there is nothing to read.
    pub(super) fn begin(
        format: &CsvFormat,
        file: &str,
        cutter: &mut Cutter,
    ) -> Result<Option<Self>, SourceError> {
        if format.header == CsvHeader::Absent {
            let declared = format.columns.clone().unwrap_or_default();
            return Self::new(format, declared, None)
                .map(Some)
                .map_err(|message| header_error(file, 1, message));
        }
        let Some((chunk, record)) = cutter.first_record()? else { return Ok(None) };
        let wrong = |message: String| header_error(file, chunk.line, message);
        if let ChunkContent::Oversize { bytes, limit, .. } = &chunk.content {
            let message =
                format!("it has {bytes} bytes or is not closed; the limit is {limit} (line_bytes_max)");
            return Err(wrong(message));
        }
        let found = names(format, &record).map_err(wrong)?;
        let names = match &format.columns {
            None => found,
            Some(declared) if declared.len() == found.len() => declared.clone(),
            Some(declared) => {
                let message = format!(
                    "it has {} columns, but columns declares {}: {}",
                    found.len(),
                    declared.len(),
                    some_of(&found)
                );
                return Err(wrong(message));
            }
        };
        Self::new(format, names, Some(&record)).map(Some).map_err(wrong)
    }

    fn new(format: &CsvFormat, names: Vec<String>, header: Option<&Bytes>) -> Result<Self, String> {
        check_names(&names)?;
        if let Some((name, _)) = format.types.iter().find(|(name, _)| !names.contains(name)) {
            return Err(format!("types names {name:?}, but the columns are {}", some_of(&names)));
        }
        let columns: Vec<Column> = names
            .into_iter()
            .map(|name| {
                let kind = format.types.iter().find(|(typed, _)| *typed == name).map(|(_, kind)| *kind);
                Column { key: escaped(&name), name, kind: kind.unwrap_or_default() }
            })
            .collect();
        Ok(Self {
            overhead: columns.iter().map(|column| column.key.len() + 6).sum(),
            columns,
            delimiter: byte(format.delimiter),
            quote: byte(format.quote),
            header: header.map(|header| digest(header)),
        })
    }

    /// Whether rows of both become the same records.
    pub(super) fn same_records(&self, other: &Self) -> bool {
        self.columns == other.columns
    }

    /// Whether a row has as many fields as there are columns.
    pub(super) fn fit(&self, row: &[u8]) -> bool {
        let row = String::from_utf8_lossy(row);
        Fields::new(&row, self.delimiter, self.quote).count() == self.columns.len()
    }

    /// Makes a record of a row without its line end.
    pub(super) fn record(&self, row: &[u8], line: u64) -> Result<Record, DecodeError> {
        let row = match std::str::from_utf8(row) {
            Ok(row) => row,
            Err(error) => return Err(self.not_utf8(row, error.valid_up_to(), line)),
        };
        let mut builder = RecordBuilder::with_capacities(row.len() + self.overhead, self.columns.len());
        let mut fields = Fields::new(row, self.delimiter, self.quote);
        let mut failed = None;
        for column in &self.columns {
            match fields.next() {
                Some(Ok(field)) => {
                    if let Err(expected) = column.add(&field, &mut builder) {
                        failed = Some((column, field, expected));
                        break;
                    }
                }
                Some(Err(Unclosed)) => {
                    return Err(DecodeError::Unclosed { line, column: column.name.clone() });
                }
                None => return Err(self.ragged(row, line)),
            }
        }
        let Some((column, field, expected)) = failed else {
            return if fields.next().is_some() { Err(self.ragged(row, line)) } else { Ok(builder.finish()) };
        };
        // In a ragged row fields stand in wrong columns; that they do is the fault to name.
        if Fields::new(row, self.delimiter, self.quote).count() != self.columns.len() {
            return Err(self.ragged(row, line));
        }
        Err(DecodeError::Value { line, column: column.name.clone(), value: beginning(&field), expected })
    }

    fn ragged(&self, row: &str, line: u64) -> DecodeError {
        let (found, expected) = (Fields::new(row, self.delimiter, self.quote).count(), self.columns.len());
        let near = self.columns.get(found.min(expected - 1)).map(|column| column.name.clone());
        DecodeError::Fields { line, found, expected, near: near.unwrap_or_default() }
    }

    fn not_utf8(&self, row: &[u8], at: usize, line: u64) -> DecodeError {
        let before = std::str::from_utf8(&row[..at]).unwrap_or_default();
        let field = Fields::new(before, self.delimiter, self.quote).count().saturating_sub(1);
        let column = self.columns.get(field).map(|column| column.name.clone());
        DecodeError::NotUtf8 { line, column, at: at + 1 }
    }
}

impl Column {
    /// Adds a field, or says what it should be.
    fn add(&self, field: &str, builder: &mut RecordBuilder) -> Result<(), &'static str> {
        if self.kind == CsvType::Text {
            builder.text_escaped(&self.key, field);
            return Ok(());
        }
        if field.is_empty() {
            builder.null(&self.name);
            return Ok(());
        }
        let json = |field| RawJson::parse(field).ok();
        match self.kind {
            CsvType::Text => {}
            CsvType::Integer => match field.parse::<i64>() {
                // A number that is written as JSON writes it is copied.
                Ok(_) if json(field).is_some() => {
                    if let Some(value) = json(field) {
                        builder.raw_escaped(&self.key, value);
                    }
                }
                Ok(value) => builder.integer(&self.name, value),
                Err(_) => return Err("an integer of 64 bits"),
            },
            CsvType::Float => match (field.parse::<f64>(), json(field)) {
                (Ok(value), Some(number)) if value.is_finite() => builder.raw_escaped(&self.key, number),
                (Ok(value), None) if value.is_finite() => builder.float(&self.name, value),
                _ => return Err("a number such as 1.5"),
            },
            CsvType::Boolean => {
                let is = |words: [&str; 2]| words.iter().any(|word| field.eq_ignore_ascii_case(word));
                if !is(["true", "1"]) && !is(["false", "0"]) {
                    return Err("true or false");
                }
                builder.boolean(&self.name, is(["true", "1"]));
            }
            CsvType::Json => match json(field.trim_ascii()) {
                Some(value) => builder.raw_escaped(&self.key, value),
                None => return Err("JSON"),
            },
        }
        Ok(())
    }
}

/// The names in a header, checked.
fn names(format: &CsvFormat, record: &Bytes) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(record).map_err(|error| {
        format!("it is not valid UTF-8 at byte {}; save the file as UTF-8", error.valid_up_to() + 1)
    })?;
    let mut names = Vec::new();
    for field in Fields::new(text, byte(format.delimiter), byte(format.quote)) {
        match field {
            Ok(name) => names.push(name.into_owned()),
            Err(Unclosed) => {
                return Err(format!("column {}: a quote is opened and never closed", names.len() + 1));
            }
        }
    }
    if names.iter().any(|name| name.contains('\r')) {
        return Err("its lines end in carriage returns alone; end them in line feeds".to_owned());
    }
    if format.columns.is_none()
        && let Err(message) = check_names(&names)
    {
        return Err(format!("{message}; mend the file, or declare the columns"));
    }
    Ok(names)
}

fn header_error(file: &str, line: u64, message: String) -> SourceError {
    SourceError::Header { file: file.to_owned(), line, message }
}

/// A name as it stands in a record.
pub(crate) fn escaped(name: &str) -> String {
    let mut builder = RecordBuilder::default();
    builder.null(name);
    builder.finish().fields().next().map(|(key, _)| key.to_owned()).unwrap_or_default()
}

/// Enough of a field to recognise it by.
fn beginning(field: &str) -> String {
    const LETTERS_MAX: usize = 60;
    match field.char_indices().nth(LETTERS_MAX) {
        Some((at, _)) => format!("{}...", &field[..at]),
        None => field.to_owned(),
    }
}
