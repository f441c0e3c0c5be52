use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use aqueduct_core::json::{Kind, RawJson};
use aqueduct_core::{ErrorClass, Item, ItemId, Record};
use aqueduct_store::FileMark;

use super::parts::Parts;
use super::{Encode, Encoded, Opening, Sink};
use crate::error::{ConfigError, SinkError, StageError};
use crate::guarantee::Guarantee;
use crate::source::{CsvFormat, Fields, Framing, Search, check_names, escaped_key, without_line_end};

const QUOTE: u8 = b'"';

/// The longest header that is read back.
const HEADER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Writes results as rows of separated fields: into one file when the path ends in `.csv`, else into a folder of
/// parts. Each part begins with a header.
///
/// Fields that hold the delimiter, a quote or a line end are quoted as RFC 4180 says; lines end in a line feed. A
/// missing field and null are empty, nested values are JSON. Columns are declared, or taken from the first epoch
/// that has items and read back from the header in later runs; a later field without a column is an error that
/// names it.
///
/// Values are written as they are, so a text such as `=1+1` is a formula to a spreadsheet that opens the file.
/// Where texts come from strangers, put a quote in front of them in a map stage, or do not open the file in one.
///
/// Files are kept exact as those of [`JsonlSink`](crate::JsonlSink) are.
#[derive(Debug)]
pub struct CsvSink {
    parts: Parts,
    delimiter: char,
    declared: Option<Vec<String>>,
    shape: Arc<Shape>,
}

impl CsvSink {
    /// Writes to `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let framing = CsvFormat::new().framing();
        Self {
            parts: Parts::new(path.into(), "csv", framing),
            delimiter: ',',
            declared: None,
            shape: Arc::default(),
        }
    }

    /// Sets what separates fields: one ASCII character that is no letter, digit, quote or line end. Default `,`.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: char) -> Self {
        self.delimiter = delimiter;
        self.parts.set_framing(self.format().framing());
        self
    }

    /// Declares the columns, in their order.
    #[must_use]
    pub fn with_columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.declared = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how large a part grows before the next one is begun; for folders only. Default 256 MiB.
    #[must_use]
    pub fn with_part_bytes(mut self, bytes: u64) -> Self {
        self.parts.set_part_bytes(bytes);
        self
    }

    /// Checks delimiter and columns.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] names what cannot be: a delimiter, or columns that are empty or there twice.
    pub fn check(&self) -> Result<(), ConfigError> {
        let format = self.format();
        match &self.declared {
            Some(columns) => format.with_columns(columns.clone()).check(),
            None => format.check(),
        }
    }

    fn format(&self) -> CsvFormat {
        CsvFormat::new().with_delimiter(self.delimiter)
    }

    fn refuse(&self, message: String) -> SinkError {
        SinkError::Table { sink: self.parts.name().to_owned(), message }
    }

    /// Fixes the columns, and with them the header.
    fn fix(&self, names: Vec<String>) -> Result<(), SinkError> {
        check_names(&names).map_err(|message| self.refuse(format!("of its columns, {message}")))?;
        let delimiter = self.format().delimiter_byte();
        let mut header = Vec::new();
        write_row(&mut header, delimiter, names.iter().map(|name| Some(name.as_str())));
        let keys = names.iter().map(|name| escaped_key(name)).collect();
        // The first columns stay: nobody fixes others.
        let _ = self.shape.0.set(Columns { names, keys, delimiter, header });
        Ok(())
    }

    /// The columns in the header of what was written before.
    fn header_of(&self, path: &Path, bytes: u64) -> Result<Vec<String>, SinkError> {
        let io = |source| SinkError::Io { sink: self.parts.name().to_owned(), path: path.to_owned(), source };
        let header = read_header(path, bytes, self.format().framing()).map_err(io)?;
        let unreadable = || self.refuse(format!("the header of {} cannot be read", path.display()));
        let header = std::str::from_utf8(&header).map_err(|_| unreadable())?;
        Fields::new(header, self.format().delimiter_byte(), QUOTE)
            .map(|field| field.map(std::borrow::Cow::into_owned).map_err(|_| unreadable()))
            .collect()
    }
}

/// The first record of a file, of which so many bytes count.
fn read_header(path: &Path, bytes: u64, framing: Framing) -> io::Result<Vec<u8>> {
    const BLOCK_BYTES: u64 = 64 * 1024;
    let mut file = File::open(path)?.take(bytes.min(HEADER_BYTES_MAX));
    let mut header = Vec::new();
    let mut search = Search::default();
    loop {
        let count = (&mut file).take(BLOCK_BYTES).read_to_end(&mut header)?;
        if let Some(end) = framing.record_end(&header, &mut search) {
            header.truncate(without_line_end(&header[..end]).len());
            return Ok(header);
        }
        if count == 0 {
            return Ok(header);
        }
    }
}

impl Sink for CsvSink {
    fn describe(&self) -> String {
        self.parts.describe()
    }

    fn guarantee(&self) -> (Guarantee, String) {
        self.parts.guarantee()
    }

    fn writes(&self) -> Option<PathBuf> {
        Some(self.parts.first_path())
    }

    fn encoder(&self) -> Arc<dyn Encode> {
        Arc::new(CsvEncoder(Arc::clone(&self.shape)))
    }

    fn connect(&self, opening: &Opening<'_>) -> Result<(), SinkError> {
        self.parts.connect(opening)
    }

    fn reserve(&mut self, sink: &str) -> Result<(), SinkError> {
        self.parts.reserve(sink)?;
        self.check().map_err(|error| self.refuse(error.to_string()))
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<Vec<FileMark>, SinkError> {
        let marks = self.parts.open(opening)?;
        let Some((path, bytes)) = self.parts.written() else {
            if let Some(declared) = &self.declared {
                self.fix(declared.clone())?;
            }
            return Ok(marks);
        };
        let found = self.header_of(&path, bytes)?;
        if let Some(declared) = self.declared.as_ref().filter(|declared| **declared != found) {
            return Err(self.refuse(format!(
                "{} has the columns {}, but the sink declares {}; choose another path, or declare the same",
                path.display(),
                found.join(", "),
                declared.join(", ")
            )));
        }
        self.fix(found)?;
        Ok(marks)
    }

    fn is_shaped(&self) -> bool {
        self.shape.0.get().is_some()
    }

    fn shape(&self, records: &[(ItemId, Record)]) -> Result<(), SinkError> {
        let mut names: Vec<String> = Vec::new();
        let mut keys: Vec<&str> = Vec::new();
        for (_, record) in records {
            // Items of one source mostly have the same fields in the same order.
            if record.len() == keys.len() && record.fields().zip(&keys).all(|((key, _), known)| key == *known)
            {
                continue;
            }
            for (key, _) in record.fields() {
                if !keys.contains(&key) {
                    keys.push(key);
                    names.push(plain(key));
                }
            }
        }
        self.fix(names)
    }

    fn append(&mut self, encoded: &[u8], items: u64) -> Result<(), SinkError> {
        let header = self.shape.0.get().map_or(&[][..], |columns| &columns.header);
        self.parts.append(header, encoded, items)
    }

    fn seal(&mut self) -> Result<Vec<FileMark>, SinkError> {
        self.parts.seal()
    }

    fn committed(&mut self) -> Result<(), SinkError> {
        self.parts.committed()
    }
}

/// A key as it is written in a record, without its escapes.
fn plain(key: &str) -> String {
    let quoted = format!("\"{key}\"");
    let name = RawJson::parse(&quoted).ok().and_then(|json| json.as_str().map(std::borrow::Cow::into_owned));
    name.unwrap_or_else(|| key.to_owned())
}

/// The columns, known from the start or from the first epoch on.
#[derive(Debug, Default)]
struct Shape(OnceLock<Columns>);

#[derive(Debug)]
struct Columns {
    names: Vec<String>,
    /// The names as they stand in records.
    keys: Vec<String>,
    delimiter: u8,
    header: Vec<u8>,
}

#[derive(Debug)]
struct CsvEncoder(Arc<Shape>);

impl Encode for CsvEncoder {
    fn start(&self) -> Encoded {
        match self.0.0.get() {
            Some(_) => Encoded::Bytes { bytes: Vec::new(), items: 0 },
            None => Encoded::Unshaped(Vec::new()),
        }
    }

    fn encode(&self, item: &Item, encoded: &mut Encoded) -> Result<(), StageError> {
        let record = item.payload.record()?;
        match (encoded, self.0.0.get()) {
            (Encoded::Unshaped(records), _) => records.push((item.id.clone(), record.into_owned())),
            (Encoded::Bytes { bytes, items }, Some(columns)) => {
                columns.write(&record, bytes)?;
                *items += 1;
            }
            _ => return Err(StageError::new(ErrorClass::Internal, "encoder and results do not match")),
        }
        Ok(())
    }
}

impl Columns {
    fn write(&self, record: &Record, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        let in_order = record.len() == self.keys.len()
            && record.fields().zip(&self.keys).all(|((key, _), column)| key == column);
        if in_order {
            write_values(bytes, self.delimiter, record.fields().map(|(_, value)| Some(value)));
            return Ok(());
        }
        if let Some((key, _)) = record.fields().find(|(key, _)| !self.keys.iter().any(|column| column == key))
        {
            return Err(StageError::permanent(format!(
                "field {} has no column (there are {}); declare the columns, or keep only those",
                plain(key),
                self.names.join(", ")
            )));
        }
        write_values(bytes, self.delimiter, self.names.iter().map(|name| record.get(name)));
        Ok(())
    }
}

fn write_values<'r>(
    bytes: &mut Vec<u8>,
    delimiter: u8,
    values: impl ExactSizeIterator<Item = Option<RawJson<'r>>>,
) {
    let start = bytes.len();
    let single = values.len() == 1;
    for (at, value) in values.enumerate() {
        if at > 0 {
            bytes.push(delimiter);
        }
        match value.map(|value| (value, value.kind())) {
            None | Some((_, Kind::Null)) => {}
            Some((value, Kind::Text)) => {
                write_field(bytes, delimiter, value.as_str().unwrap_or_default().as_bytes());
            }
            Some((value, _)) => write_field(bytes, delimiter, value.as_bytes()),
        }
    }
    end_row(bytes, start, single);
}

fn write_row<'r>(bytes: &mut Vec<u8>, delimiter: u8, fields: impl ExactSizeIterator<Item = Option<&'r str>>) {
    let start = bytes.len();
    let single = fields.len() == 1;
    for (at, field) in fields.enumerate() {
        if at > 0 {
            bytes.push(delimiter);
        }
        write_field(bytes, delimiter, field.unwrap_or_default().as_bytes());
    }
    end_row(bytes, start, single);
}

/// An empty line is no row to most readers, so a lone empty field is quoted.
fn end_row(bytes: &mut Vec<u8>, start: usize, single: bool) {
    if single && bytes.len() == start {
        bytes.extend_from_slice(&[QUOTE, QUOTE]);
    }
    bytes.push(b'\n');
}

fn write_field(bytes: &mut Vec<u8>, delimiter: u8, field: &[u8]) {
    // Looked at as a whole, without leaving early, which the compiler turns into vector code.
    let plain = field.iter().fold(true, |plain, byte| {
        plain & (*byte != delimiter) & (*byte != QUOTE) & (*byte != b'\n') & (*byte != b'\r')
    });
    if plain {
        bytes.extend_from_slice(field);
        return;
    }
    bytes.push(QUOTE);
    let mut rest = field;
    while let Some(at) = memchr::memchr(QUOTE, rest) {
        bytes.extend_from_slice(&rest[..=at]);
        bytes.push(QUOTE);
        rest = &rest[at + 1..];
    }
    bytes.extend_from_slice(rest);
    bytes.push(QUOTE);
}
