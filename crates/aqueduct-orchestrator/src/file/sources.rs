//! The source of the file.

use aqueduct_stream::{ConfigError, CsvFormat, CsvHeader, CsvType, GeneratorField};

use super::backends::Backends;
use super::calls;
use super::keys::{self, Section};
use super::queues;
use super::reader::{Reader, Table, shortened};
use super::sections;
use crate::redacted::Redacted;
use crate::spec::{CsvSpec, FilesSpec, SourceKind, SourceSpec, StdinSpec};
use crate::suggest;

/// Reads `[source]`.
pub(super) fn read(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    backends: &mut Backends<'_, '_>,
) -> Option<SourceSpec> {
    let kind = reader.choice(table, &keys::SOURCE_TYPE);
    let on_error = reader.choice(table, &keys::SOURCE_ON_ERROR);
    let Some(kind) = kind else {
        // Most types read files: what is wrong with those is told at once.
        if table.entry(&keys::SOURCE_PATH).is_some() {
            files(reader, table);
        }
        return None;
    };
    check_keys(reader, table, kind);
    let kind = match kind {
        "csv" => {
            let (files, format) = (files(reader, table), csv(reader, table));
            SourceKind::Csv { files: files?, format: format? }
        }
        "lines" => {
            let (files, field) = (files(reader, table), reader.field(table, &keys::LINE_FIELD));
            SourceKind::Lines { files: files?, field: field? }
        }
        "stdin" => stdin(reader, table)?,
        "generator" => generator(reader, table)?,
        "http" => calls::source(reader, table, backends)?,
        "queue" => queues::source(reader, table)?,
        _ => SourceKind::Jsonl { files: files(reader, table)? },
    };
    Some(SourceSpec { kind, on_error: sections::on_error(on_error?) })
}

fn check_keys(reader: &mut Reader<'_, '_>, table: Table<'_>, kind: &str) {
    let (own, others): (Vec<Section>, Vec<Section>) =
        keys::SOURCES.into_iter().partition(|section| section.of_type == Some(kind));
    let mut admitted = vec![keys::SOURCE_COMMON];
    admitted.extend(own);
    reader.check_keys(table, &admitted, &others);
}

fn files(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<FilesSpec> {
    let path = reader.text(table, &keys::SOURCE_PATH);
    let line_bytes_max = line_bytes_max(reader, table);
    let expanded_bytes_max = reader.integer(table, &keys::EXPANDED_BYTES_MAX);
    let expanded_ratio_max = reader.integer(table, &keys::EXPANDED_RATIO_MAX);
    Some(FilesSpec {
        path: path?,
        line_bytes_max: line_bytes_max?,
        expanded_bytes_max: expanded_bytes_max?,
        expanded_ratio_max: expanded_ratio_max?,
    })
}

fn line_bytes_max(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<usize> {
    usize::try_from(reader.integer(table, &keys::LINE_BYTES_MAX)?).ok()
}

fn csv(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<CsvSpec> {
    let header = reader.boolean(table, &keys::HEADER);
    let wants_columns = table.entry(&keys::SOURCE_COLUMNS).is_some();
    let columns = if wants_columns { reader.list(table, &keys::SOURCE_COLUMNS) } else { None };
    let delimiter = reader.character(table, &keys::DELIMITER);
    let quote = reader.character(table, &keys::QUOTE);
    let types = types(reader, table);
    if wants_columns && columns.is_none() {
        return None;
    }
    let header = if header? { CsvHeader::Present } else { CsvHeader::Absent };
    let spec = CsvSpec { delimiter: delimiter?, quote: quote?, header, columns, types: types? };
    // Errors show what was written, and never what a reference stands for.
    match spec.format(Redacted::written).check() {
        Ok(()) => Some(spec),
        Err(error) => {
            misplaced(reader, table, &error);
            None
        }
    }
}

/// Notes an error of a value at the key of its field.
pub(super) fn misplaced(reader: &mut Reader<'_, '_>, table: Table<'_>, error: &ConfigError) {
    let named = match error {
        ConfigError::Value { field, .. } => table.members.iter().find(|member| member.key == *field),
        _ => None,
    };
    match named.map(|member| &member.entry.at).or(table.at) {
        Some(at) => reader.diagnostics.error(at, error.to_string(), None),
        None => reader.diagnostics.file_error(error.to_string(), None),
    }
}

fn types(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<Vec<(String, CsvType)>> {
    let written = reader.plain_texts(table, &keys::TYPES)?;
    let mut types = Vec::with_capacity(written.len());
    for (column, word, at) in &written {
        match CsvType::named(word) {
            Some(kind) => types.push(((*column).to_owned(), kind)),
            None => {
                let hint = match suggest::nearest(word, CsvType::NAMES.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("there are {}", CsvType::NAMES.join(", ")),
                };
                let message = format!("the type of {column} cannot be {:?}", shortened(word));
                reader.diagnostics.error(at, message, Some(hint));
            }
        }
    }
    (types.len() == written.len()).then_some(types)
}

fn stdin(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<SourceKind> {
    let format = reader.choice(table, &keys::STDIN_FORMAT);
    let line_bytes_max = line_bytes_max(reader, table);
    let format = format?;
    // Keys of another format are right for stdin and wrong for this one.
    let own = |section: &Section| section.of_type == Some(format);
    for member in table.members {
        let has = |section: &Section| section.keys.iter().any(|key| key.name == member.key);
        let known = keys::SOURCES.iter().any(|section| section.of_type == Some("stdin") && has(section));
        let fits = member.key == keys::STDIN_FORMAT.name || keys::SOURCES.iter().any(|s| own(s) && has(s));
        let others = ["jsonl", "csv", "lines"];
        if known && !fits {
            let other = keys::SOURCES
                .iter()
                .filter_map(|s| s.of_type.filter(|name| others.contains(name) && has(s)))
                .next();
            let hint = other.map(|other| format!("it belongs to format {other:?}"));
            let message = format!("format {format:?} has no key {:?}", member.key);
            reader.diagnostics.error(&member.key_at, message, hint);
        }
    }
    let format = match format {
        "csv" => StdinSpec::Csv(csv(reader, table)?),
        "lines" => StdinSpec::Lines { field: reader.field(table, &keys::LINE_FIELD)? },
        _ => StdinSpec::Jsonl,
    };
    Some(SourceKind::Stdin { format, line_bytes_max: line_bytes_max? })
}

fn generator(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<SourceKind> {
    let wants = |key| table.entry(key).is_some();
    let count = reader.written_integer(table, &keys::COUNT);
    let seed = reader.integer(table, &keys::SEED);
    let rate = reader.written_number(table, &keys::RATE);
    let written = reader.plain_texts(table, &keys::GENERATOR_FIELDS)?;
    let mut fields = Vec::with_capacity(written.len());
    for (name, text, at) in &written {
        match text.parse::<GeneratorField>() {
            Ok(field) => fields.push(((*name).to_owned(), field)),
            Err(ConfigError::Value { expected, .. }) => {
                let message = format!("{name} is {:?}, and must be {expected}", shortened(text));
                reader.diagnostics.error(at, message, None);
            }
            Err(error) => reader.diagnostics.error(at, error.to_string(), None),
        }
    }
    let whole = fields.len() == written.len()
        && count.is_some() == wants(&keys::COUNT)
        && rate.is_some() == wants(&keys::RATE);
    whole.then_some(SourceKind::Generator { count, seed: seed?, rate, fields })
}

impl CsvSpec {
    /// The format that it describes; `text` says what becomes of the columns.
    pub(crate) fn format(&self, text: impl Fn(&Redacted) -> &str) -> CsvFormat {
        let mut format =
            CsvFormat::new().with_delimiter(self.delimiter).with_quote(self.quote).with_header(self.header);
        if let Some(columns) = &self.columns {
            format = format.with_columns(columns.iter().map(text));
        }
        for (column, kind) in &self.types {
            format = format.with_type(column, *kind);
        }
        format
    }
}
