use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::contract::FoundTable;
use crate::error::CommitError;
use crate::row::{Conflict, ITEM_ID, Rows, Table, Value};

/// A sink's table: rows by their key.
#[derive(Clone, Debug)]
pub(super) struct MemoryTable {
    /// The column names, `item_id` first.
    columns: Vec<String>,
    /// Which of them is the key.
    key: usize,
    rows: BTreeMap<Key, Vec<Value>>,
}

impl MemoryTable {
    pub(super) fn new(table: Table) -> Self {
        let key = table.key().to_owned();
        let names = table.columns.into_iter().map(|column| column.name);
        let columns: Vec<String> = std::iter::once(ITEM_ID.to_owned()).chain(names).collect();
        let key = columns.iter().position(|column| *column == key).unwrap_or(0);
        Self { columns, key, rows: BTreeMap::new() }
    }

    /// Tells whether a sink may write this table, which somebody made before. One that the pipeline wrote in this
    /// form before may have more columns, and with `widen` fewer.
    pub(super) fn adopt(&self, table: &Table, ours: Option<&Table>, widen: bool) -> Result<(), CommitError> {
        let found: BTreeSet<&str> = self.columns.iter().map(String::as_str).collect();
        let wanted: BTreeSet<&str> = table.column_names().collect();
        if found != wanted && !ours.is_some_and(|ours| widen || ours == table) {
            return Err(table.wrong_columns(self.columns.iter().map(String::as_str)));
        }
        if table.conflict != Conflict::Refuse && self.columns[self.key] != table.key() {
            return Err(CommitError::KeyNotUnique {
                table: table.name.clone(),
                column: table.key().to_owned(),
            });
        }
        Ok(())
    }

    /// Gives the table the columns that it lacks.
    pub(super) fn widen(&mut self, table: &Table) {
        for column in &table.columns {
            if !self.columns.contains(&column.name) {
                self.columns.push(column.name.clone());
                self.rows.values_mut().for_each(|row| row.push(Value::Null));
            }
        }
    }

    /// Removes the rows of items in these ranges of ids.
    pub(super) fn remove_items(&mut self, ranges: &[Range<String>]) {
        let gone = |row: &[Value]| match &row[0] {
            Value::Text(id) => ranges.iter().any(|range| range.contains(id)),
            _ => false,
        };
        self.rows.retain(|_, row| !gone(row));
    }

    /// Tells whether these rows can be written after those whose keys are in `seen`, and adds theirs.
    pub(super) fn check(
        &self,
        rows: &Rows,
        seen: &mut BTreeSet<(String, Key)>,
        widen: bool,
    ) -> Result<(), CommitError> {
        let table = rows.table();
        for name in table.column_names() {
            if !widen && !self.columns.iter().any(|column| column == name) {
                let error = format!("table {} has no column named {name}", table.name);
                return Err(CommitError::Backend(error.into()));
            }
        }
        rows.check_keys()?;
        let key = table.column_names().position(|name| name == self.columns[self.key]);
        for row in rows.iter() {
            let key = Key(key.map_or(Value::Null, |at| row[at].clone()));
            let there = self.rows.contains_key(&key) || seen.contains(&(table.name.clone(), key.clone()));
            if there && table.conflict == Conflict::Refuse {
                let source = format!("the key {key:?} is there already").into();
                return Err(CommitError::DuplicateRow { table: table.name.clone(), source });
            }
            seen.insert((table.name.clone(), key));
        }
        Ok(())
    }

    /// Writes rows that [`Self::check`] has passed.
    pub(super) fn write(&mut self, rows: Rows) {
        let from: Vec<Option<usize>> = self
            .columns
            .iter()
            .map(|column| rows.table().column_names().position(|name| name == column))
            .collect();
        for row in rows.iter() {
            let value = |at: &Option<usize>| match at {
                Some(at) if !row[*at].is_kept_as_null() => row[*at].clone(),
                _ => Value::Null,
            };
            let row: Vec<Value> = from.iter().map(value).collect();
            self.rows.insert(Key(row[self.key].clone()), row);
        }
    }

    pub(super) fn rows(&self) -> Vec<Vec<Value>> {
        self.rows.values().cloned().collect()
    }

    pub(super) fn found(&self) -> FoundTable {
        FoundTable {
            columns: self.columns[1..].to_vec(),
            has_item_id: true,
            primary_key: vec![self.columns[self.key].clone()],
            has_rows: !self.rows.is_empty(),
        }
    }
}

/// A value as a key, ordered as SQLite orders values: nothing, numbers whatever their type, texts.
#[derive(Clone, Debug)]
pub(super) struct Key(Value);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |value: &Value| match value {
            Value::Null => 0,
            Value::Integer(_) | Value::Real(_) => 1,
            Value::Text(_) => 2,
        };
        match (&self.0, &other.0) {
            (Value::Integer(one), Value::Integer(two)) => one.cmp(two),
            (Value::Text(one), Value::Text(two)) => one.cmp(two),
            // SQLite takes the two zeros for one number; neither is NaN, which is kept as nothing.
            (Value::Real(one), Value::Real(two)) => one.partial_cmp(two).unwrap_or(Ordering::Equal),
            (Value::Integer(one), Value::Real(two)) => compare(*one, *two),
            (Value::Real(one), Value::Integer(two)) => compare(*two, *one).reverse(),
            (one, two) => rank(one).cmp(&rank(two)),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

/// Compares exactly, also where a double cannot hold the integer.
fn compare(integer: i64, real: f64) -> Ordering {
    // 2^63, the first double above every i64.
    const ABOVE: f64 = 9_223_372_036_854_775_808.0;
    if real >= ABOVE {
        return Ordering::Less;
    }
    if real < -ABOVE {
        return Ordering::Greater;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range was checked above; the fraction is compared below"
    )]
    let whole = real as i64;
    integer.cmp(&whole).then_with(|| 0.0_f64.partial_cmp(&real.fract()).unwrap_or(Ordering::Equal))
}
