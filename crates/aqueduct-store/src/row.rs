use std::sync::Arc;

use crate::error::CommitError;

/// The column that holds the item id in every table that a sink writes.
pub const ITEM_ID: &str = "item_id";

/// A column of a sink's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name, as the item's field has it.
    pub name: String,
}

/// What happens when a row with the same key is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It is an error: nobody else writes this table, and the ledger never repeats an epoch.
    Refuse,
    /// The row is replaced; the key is the item id. For a database that is not the ledger's.
    ReplaceByItem,
    /// The row is replaced; the key is this column.
    ReplaceBy(String),
}

/// A sink's table.
///
/// Its columns are `item_id` and then `columns`, without declared types, so that a value is kept as it came.
/// The primary key is `item_id`, or the column of [`Conflict::ReplaceBy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The table's name.
    pub name: String,
    /// The columns beyond `item_id`, in their order.
    pub columns: Vec<Column>,
    /// What a second row with the same key does.
    pub conflict: Conflict,
}

impl Table {
    /// The names of all columns, `item_id` first.
    pub(crate) fn column_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(ITEM_ID).chain(self.columns.iter().map(|column| column.name.as_str()))
    }

    /// The column that makes a row one of its kind.
    pub(crate) fn key(&self) -> &str {
        match &self.conflict {
            Conflict::Refuse | Conflict::ReplaceByItem => ITEM_ID,
            Conflict::ReplaceBy(column) => column,
        }
    }

    /// Refuses the names that the ledger keeps for itself.
    pub(crate) fn check_name(&self) -> Result<(), CommitError> {
        let reserved = self.name.to_ascii_lowercase().starts_with("aqueduct_");
        if reserved { Err(CommitError::ReservedTable { table: self.name.clone() }) } else { Ok(()) }
    }

    /// The error for a table that is there with other columns.
    pub(crate) fn wrong_columns<'a>(&self, found: impl Iterator<Item = &'a str>) -> CommitError {
        CommitError::Columns {
            table: self.name.clone(),
            found: found.collect::<Vec<_>>().join(", "),
            wanted: self.column_names().collect::<Vec<_>>().join(", "),
        }
    }
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// An integer; truth values are 0 and 1.
    Integer(i64),
    /// A number with a fraction. One that is not a number is kept as [`Self::Null`].
    Real(f64),
    /// A text; nested JSON and integers beyond 64 bits are kept as text.
    Text(String),
}

impl Value {
    /// Tells whether the value is kept as nothing: SQLite does so with what is not a number.
    pub(crate) fn is_kept_as_null(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Real(number) => number.is_nan(),
            Self::Integer(_) | Self::Text(_) => false,
        }
    }
}

/// Rows for one table, as workers prepare them: row after row, `item_id` first.
#[derive(Clone, Debug)]
pub struct Rows {
    table: Arc<Table>,
    values: Vec<Value>,
}

impl Rows {
    /// Starts an empty set of rows for `table`.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        Self { table, values: Vec::new() }
    }

    /// Adds one row.
    ///
    /// # Panics
    ///
    /// When the number of values is not that of the table's columns: a bug of the caller.
    pub fn push(&mut self, item_id: String, values: impl IntoIterator<Item = Value>) {
        self.values.push(Value::Text(item_id));
        self.values.extend(values);
        assert!(self.values.len().is_multiple_of(self.width()), "a row has one value for each column");
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.width()
    }

    /// Tells whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The number of values in a row, `item_id` included.
    #[must_use]
    pub fn width(&self) -> usize {
        self.table.columns.len() + 1
    }

    /// The rows, one slice of values each.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, Value> {
        self.values.chunks_exact(self.width())
    }

    /// Refuses rows that lack the value of the key column.
    pub(crate) fn check_keys(&self) -> Result<(), CommitError> {
        let Conflict::ReplaceBy(column) = &self.table.conflict else { return Ok(()) };
        let at = self.table.column_names().position(|name| name == column);
        let missing = |row: &[Value]| at.is_none_or(|at| row[at].is_kept_as_null());
        match self.iter().find(|row| missing(row)) {
            None => Ok(()),
            Some(row) => Err(CommitError::KeyMissing {
                table: self.table.name.clone(),
                column: column.clone(),
                item_id: match &row[0] {
                    Value::Text(id) => id.clone(),
                    _ => String::new(),
                },
            }),
        }
    }

    /// All values, row after row.
    #[must_use]
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}
