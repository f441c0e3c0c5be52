use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use aqueduct_core::json::{Kind, Number, RawJson};
use aqueduct_core::{Item, ItemId, Record};
use aqueduct_store::{Column, Conflict, FoundTable, ITEM_ID, Rows, Table, Value};

use super::{Encode, Encoded};
use crate::error::{SinkError, StageError};

/// Writes results as rows of a SQLite table.
///
/// In the pipeline's first database the rows and the position are one transaction: exactly once. In any other
/// the rows are written first and by key: effectively once.
///
/// Columns are declared, or taken from the first batch that has rows; a later field without a column is an
/// error that names it. Nested values are stored as JSON text, truth values as 0 and 1, numbers that
/// neither 64-bit integers nor doubles can hold as text with all their digits.
#[derive(Clone, Debug)]
pub struct SqliteSink {
    pub(crate) path: PathBuf,
    pub(crate) table: String,
    pub(crate) key: Option<String>,
    pub(crate) columns: Option<Vec<String>>,
}

impl SqliteSink {
    /// Writes to a table of the database at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, table: impl Into<String>) -> Self {
        Self { path: path.into(), table: table.into(), key: None, columns: None }
    }

    /// Names the field that is the business key: a row with the same key is replaced.
    #[must_use]
    pub fn with_key(mut self, field: impl Into<String>) -> Self {
        self.key = Some(field.into());
        self
    }

    /// Declares the columns, in their order.
    #[must_use]
    pub fn with_columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl SqliteSink {
    /// What a second row does. `repeats` tells whether an epoch may come twice.
    pub(crate) fn conflict(&self, repeats: bool) -> Conflict {
        match &self.key {
            Some(key) => Conflict::ReplaceBy(key.clone()),
            None if repeats => Conflict::ReplaceByItem,
            None => Conflict::Refuse,
        }
    }
}

/// The most columns of a table, the one of the item's id included: what SQLite is built with where nobody says
/// otherwise (sqlite.org/limits.html, SQLITE_MAX_COLUMN).
const COLUMNS_MAX: usize = 2000;

/// Tells whether a table has these columns, in any order.
pub(crate) fn same(columns: &[String], found: &FoundTable) -> bool {
    columns.len() == found.columns.len() && columns.iter().all(|column| found.columns.contains(column))
}

/// Refuses a table that the pipeline wrote and somebody removed: like a file that is gone, it is no empty one.
pub(crate) fn gone(sink: &str, table: &str) -> SinkError {
    let message = format!(
        "table {table} is gone, and what was delivered to it; restore the database from a copy, or let it begin anew with \
         what comes now (--accept-change)"
    );
    SinkError::Table { sink: sink.to_owned(), message }
}

/// Refuses a table that is there and that this sink could not write, or should not. `known` is how the
/// pipeline wrote it before, if it did; with `widen` it may have other columns then.
pub(crate) fn refuse_unfit(
    sink: &str,
    table: &SqliteSink,
    found: &FoundTable,
    known: Option<&Table>,
    widen: bool,
) -> Result<(), SinkError> {
    let refuse = |message: String| SinkError::Table { sink: sink.to_owned(), message };
    let (name, columns) = (&table.table, found.columns.join(", "));
    if !found.has_item_id {
        return Err(refuse(format!(
            "table {name} is there already, with the columns {columns} and without item_id; it is not a table that a \
             pipeline wrote; choose another table name"
        )));
    }
    let key = table.key.as_deref().unwrap_or(aqueduct_store::ITEM_ID);
    if found.primary_key != [key] {
        let has = if found.primary_key.is_empty() { "none".to_owned() } else { found.primary_key.join(", ") };
        return Err(refuse(format!(
            "table {name} is there already with another primary key ({has}); this sink needs {key}; choose another \
             table name"
        )));
    }
    if known.is_none() && found.has_rows && table.key.is_none() {
        return Err(refuse(format!(
            "table {name} already holds rows that this pipeline did not write; choose another table name, or give the \
             sink a key to upsert by"
        )));
    }
    if let Some(declared) = &table.columns {
        let written = known.is_some_and(|known| {
            widen || known.columns.iter().map(|column| &column.name).eq(declared.iter())
        });
        if !same(declared, found) && !written {
            return Err(refuse(format!(
                "table {name} is there already with the columns {columns}, but the sink declares {}; choose another \
                 table name",
                declared.join(", ")
            )));
        }
    }
    Ok(())
}

/// The shape of a table, known from the start or from the first batch on.
#[derive(Debug)]
pub(crate) struct Shape {
    sink: String,
    name: String,
    conflict: Conflict,
    table: OnceLock<Arc<Table>>,
}

impl Shape {
    pub(crate) fn new(sink: &str, name: &str, conflict: Conflict) -> Self {
        Self { sink: sink.to_owned(), name: name.to_owned(), conflict, table: OnceLock::new() }
    }

    pub(crate) fn table(&self) -> Option<&Arc<Table>> {
        self.table.get()
    }

    /// Fixes the columns. The first call wins.
    pub(crate) fn fix(&self, columns: Vec<String>) -> Result<&Arc<Table>, SinkError> {
        self.check(&columns)?;
        Ok(self.table.get_or_init(|| {
            Arc::new(Table {
                name: self.name.clone(),
                columns: columns.into_iter().map(|name| Column { name }).collect(),
                conflict: self.conflict.clone(),
            })
        }))
    }

    /// Takes the columns from the fields of these records, in the order in which they are seen first.
    pub(crate) fn fix_from(&self, records: &[(ItemId, Record)]) -> Result<&Arc<Table>, SinkError> {
        let mut columns: Vec<String> = Vec::new();
        for (_, record) in records {
            for (key, _) in record.fields() {
                // Beyond the most there may be, the rest does not matter.
                if columns.len() < COLUMNS_MAX && !columns.iter().any(|column| column == key) {
                    columns.push(key.to_owned());
                }
            }
        }
        self.fix(columns)
    }

    fn check(&self, columns: &[String]) -> Result<(), SinkError> {
        let refuse = |message: String| Err(SinkError::Table { sink: self.sink.clone(), message });
        if columns.len() >= COLUMNS_MAX {
            return refuse(format!(
                "table {} would have more than {COLUMNS_MAX} columns with the one of the item's id, which is the most; keep \
                 the fields that matter in a map stage",
                self.name
            ));
        }
        for (at, column) in columns.iter().enumerate() {
            if column.eq_ignore_ascii_case(ITEM_ID) {
                return refuse(format!(
                    "the field {column} is reserved for the item's id; rename it in a map stage"
                ));
            }
            if let Some(other) = columns[..at].iter().find(|other| other.eq_ignore_ascii_case(column)) {
                return refuse(format!(
                    "the fields {other} and {column} would be one column; rename one in a map stage"
                ));
            }
        }
        match &self.conflict {
            Conflict::ReplaceBy(key) if !columns.iter().any(|column| column == key) => {
                refuse(format!("its key {key} is not among the columns {}", columns.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct TableEncoder(pub(crate) Arc<Shape>);

impl Encode for TableEncoder {
    fn start(&self) -> Encoded {
        match self.0.table() {
            Some(table) => Encoded::Rows(Rows::new(Arc::clone(table))),
            None => Encoded::Unshaped(Vec::new()),
        }
    }

    fn encode(&self, item: &Item, encoded: &mut Encoded) -> Result<(), StageError> {
        let record = item.payload.record()?;
        match encoded {
            Encoded::Unshaped(records) => {
                records.push((item.id.clone(), record.into_owned()));
                Ok(())
            }
            Encoded::Rows(rows) => push_row(rows, &item.id, &record),
            Encoded::Bytes { .. } => {
                Err(StageError::new(aqueduct_core::ErrorClass::Internal, "encoder and results do not match"))
            }
        }
    }
}

/// Adds one record as a row; fields that are not there are null.
pub(crate) fn push_row(rows: &mut Rows, id: &ItemId, record: &Record) -> Result<(), StageError> {
    let table = Arc::clone(rows.table());
    let mut item_id = String::with_capacity(20);
    id.write_to(&mut item_id);
    // Items of one source mostly have the table's fields in the table's order.
    let in_order = record.len() == table.columns.len()
        && record.fields().zip(&table.columns).all(|((key, _), column)| key == column.name);
    if in_order {
        check_key(&table, record)?;
        rows.push(item_id, record.fields().map(|(_, value)| to_value(value)));
        return Ok(());
    }
    for (key, _) in record.fields() {
        if !table.columns.iter().any(|column| column.name == key) {
            let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(StageError::permanent(format!(
                "field {key} has no column in table {} (it has {}); declare the columns, or keep only those",
                table.name,
                columns.join(", ")
            )));
        }
    }
    check_key(&table, record)?;
    let values = table.columns.iter().map(|column| record.get(&column.name).map_or(Value::Null, to_value));
    rows.push(item_id, values);
    Ok(())
}

fn check_key(table: &Table, record: &Record) -> Result<(), StageError> {
    let Conflict::ReplaceBy(key) = &table.conflict else { return Ok(()) };
    if record.get(key).is_none_or(RawJson::is_null) {
        return Err(StageError::permanent(format!(
            "the item has no {key}, which is the key of table {}",
            table.name
        )));
    }
    Ok(())
}

fn to_value(value: RawJson<'_>) -> Value {
    match value.kind() {
        Kind::Null => Value::Null,
        Kind::Boolean => Value::Integer(i64::from(value.as_bool() == Some(true))),
        Kind::Number => match value.as_number() {
            Some(Number::Integer(integer)) => Value::Integer(integer),
            Some(Number::Float(float)) if float.is_finite() => Value::Real(float),
            Some(Number::Float(_) | Number::Wide(_)) | None => Value::Text(value.as_text().to_owned()),
        },
        Kind::Text => Value::Text(value.as_str().unwrap_or_default().into_owned()),
        Kind::Array | Kind::Object => Value::Text(value.as_text().to_owned()),
    }
}
