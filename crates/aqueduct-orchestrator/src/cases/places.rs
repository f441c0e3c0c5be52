//! Replaces the places of a pipeline by those of a private folder.

use std::io;
use std::path::{Path, PathBuf};

use aqueduct_core::PartitionId;
use aqueduct_store::{SqliteStore, Store, Value};
use aqueduct_stream::{Csv, CsvFormat, Overflow, Source};
use serde_json::Value as Json;

use super::CaseError;
use super::read::Input;
use crate::redacted::Redacted;
use crate::spec::{FilesSpec, PipelineSpec, SinkKind, SourceKind, StdinSpec};

/// Where each sink of a case writes, in the order of the file.
pub(super) struct Places {
    sinks: Vec<(String, Place)>,
}

enum Place {
    /// Lines of JSON: one file, or a folder of parts.
    Lines(PathBuf),
    /// Rows of separated fields, and what separates them.
    Rows(PathBuf, char),
    /// Rows.
    Table { database: PathBuf, table: String },
}

impl Places {
    /// Points source, sinks and data folder into `folder`, and writes the input there.
    pub(super) fn redirect(
        spec: &mut PipelineSpec,
        folder: &Path,
        case: &Input,
        input: &[u8],
    ) -> io::Result<Self> {
        let text = |path: &Path| Redacted::plain(path.display().to_string());
        let from = folder.join("input");
        std::fs::write(&from, input)?;
        spec.source.kind = source(&spec.source.kind, case, &from);
        let mut databases: Vec<(PathBuf, PathBuf)> = Vec::new();
        let mut sinks = Vec::with_capacity(spec.sinks.len());
        let pipeline_folder = spec.folder.clone();
        for (number, sink) in spec.sinks.iter_mut().enumerate() {
            // Numbers, since a name may differ from another one in case only.
            let lines = folder.join(format!("sink-{number}.jsonl"));
            let place = match &mut sink.kind {
                SinkKind::Sqlite { path, table, .. } => {
                    let original = pipeline_folder.join(path.expose());
                    let known = databases.iter().find(|(known, _)| *known == original);
                    let database = known.map_or_else(
                        || folder.join(format!("database-{}.db", databases.len())),
                        |(_, database)| database.clone(),
                    );
                    databases.push((original, database.clone()));
                    *path = text(&database);
                    Place::Table { database, table: table.expose().to_owned() }
                }
                SinkKind::Jsonl { path } => {
                    let is_file = Path::new(path.expose()).extension().is_some_and(|found| found == "jsonl");
                    let place = if is_file { lines } else { folder.join(format!("sink-{number}")) };
                    *path = text(&place);
                    Place::Lines(place)
                }
                SinkKind::Csv { path, delimiter, .. } => {
                    let place = folder.join(format!("sink-{number}.csv"));
                    *path = text(&place);
                    Place::Rows(place, *delimiter)
                }
                SinkKind::Http(_) | SinkKind::Queue(_) | SinkKind::Stdout => {
                    sink.kind = SinkKind::Jsonl { path: text(&lines) };
                    Place::Lines(lines)
                }
            };
            sinks.push((sink.name.clone(), place));
        }
        let settings = &mut spec.settings;
        settings.data_dir.value = text(&folder.join("data"));
        settings.workers.value = 1;
        // One batch at a time, so that a case is the same each time; and the input waits for its turn.
        spec.overflow = Overflow::Wait;
        settings.window_items.value = settings.batch_size.value;
        Ok(Self { sinks })
    }

    /// Reads what each sink holds, in the order of the input.
    pub(super) async fn read(&self) -> Result<Vec<(String, Vec<Json>)>, CaseError> {
        let mut read = Vec::with_capacity(self.sinks.len());
        for (name, place) in &self.sinks {
            let rows = match place {
                Place::Lines(path) => lines(path)?,
                Place::Rows(path, delimiter) => separated(path, *delimiter)?,
                Place::Table { database, table } => rows(database, table).await?,
            };
            read.push((name.clone(), rows));
        }
        Ok(read)
    }
}

/// The source of a case: tables are read as JSON lines, whatever the pipeline reads; what is written as it stands in a
/// file is read as the pipeline reads it, only from elsewhere.
fn source(kind: &SourceKind, case: &Input, from: &Path) -> SourceKind {
    let line_bytes_max = kind.line_bytes_max().unwrap_or(aqueduct_stream::LINE_BYTES_MAX);
    let files = FilesSpec {
        path: Redacted::plain(from.display().to_string()),
        line_bytes_max,
        expanded_bytes_max: aqueduct_stream::EXPANDED_BYTES_MAX,
        expanded_ratio_max: aqueduct_stream::EXPANDED_RATIO_MAX,
    };
    match (kind, case.is_raw()) {
        (SourceKind::Csv { format, .. } | SourceKind::Stdin { format: StdinSpec::Csv(format), .. }, true) => {
            SourceKind::Csv { files, format: format.clone() }
        }
        (
            SourceKind::Lines { field, .. } | SourceKind::Stdin { format: StdinSpec::Lines { field }, .. },
            true,
        ) => SourceKind::Lines { files, field: field.clone() },
        _ => SourceKind::Jsonl { files },
    }
}

/// Rows of a file with a header, as objects of texts.
fn separated(path: &Path, delimiter: char) -> Result<Vec<Json>, CaseError> {
    let left = |error: Box<dyn std::error::Error + Send + Sync>| CaseError::Left(error);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut source = Csv::new(path).with_format(CsvFormat::new().with_delimiter(delimiter));
    source.partitions().map_err(|error| left(error.into()))?;
    source.open(0, PartitionId(0), None).map_err(|error| left(error.into()))?;
    let mut rows = Vec::new();
    while let Some(chunk) = source.next(1_000).map_err(|error| left(error.into()))? {
        for item in source.decoder().decode(&chunk) {
            let record = item.record.map_err(|error| left(error.into()))?;
            rows.push(serde_json::from_str(record.as_text()).map_err(|error| left(error.into()))?);
        }
    }
    Ok(rows)
}

fn lines(path: &Path) -> Result<Vec<Json>, CaseError> {
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                files.push(path);
            }
        }
        files.sort();
    } else if path.exists() {
        files.push(path.to_owned());
    }
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)?;
        for line in text.lines() {
            lines.push(serde_json::from_str(line).map_err(|error| CaseError::Left(error.into()))?);
        }
    }
    Ok(lines)
}

async fn rows(database: &Path, table: &str) -> Result<Vec<Json>, CaseError> {
    let left = |error: Box<dyn std::error::Error + Send + Sync>| CaseError::Left(error);
    // A run that was refused before it began has left no database.
    let Ok(mut store) = SqliteStore::open_read_only(database).await else { return Ok(Vec::new()) };
    let rows = store.rows(table).await.map_err(|error| left(error.into()))?;
    Box::new(store).close().await.map_err(|error| left(error.into()))?;
    let json = |value| match value {
        Value::Null => Json::Null,
        Value::Integer(number) => Json::from(number),
        Value::Real(number) => Json::from(number),
        Value::Text(text) => Json::from(text),
    };
    let object = |row: Vec<(String, Value)>| {
        Json::Object(row.into_iter().map(|(column, value)| (column, json(value))).collect())
    };
    Ok(rows.into_iter().map(object).collect())
}
