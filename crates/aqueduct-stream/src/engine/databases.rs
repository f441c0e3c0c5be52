//! The databases of a pipeline, and the tables in them that its sinks write.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aqueduct_store::SqliteStore;

use super::committer::Database;
use super::same_file_key;
use crate::error::{RunError, SinkError};
use crate::sink::SqliteSink;
use crate::sink::table::Shape;

/// What a table is looked at for.
pub(super) struct Ask<'a> {
    /// Whether the run asks for at least once.
    pub(super) weak: bool,
    pub(super) pipeline: &'a str,
    /// Whether a change of the columns is accepted.
    pub(super) widen: bool,
}

/// The databases of a pipeline; the first holds the ledger.
pub(super) struct Databases {
    pub(super) all: Vec<Database>,
    index: HashMap<PathBuf, usize>,
}

impl Databases {
    pub(super) async fn open(paths: &[PathBuf]) -> Result<Self, RunError> {
        let mut databases = Self { all: Vec::new(), index: HashMap::new() };
        for path in paths {
            databases.add(path).await?;
        }
        Ok(databases)
    }

    async fn add(&mut self, path: &Path) -> Result<(), RunError> {
        if !self.index.contains_key(&same_file_key(path)) {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)
                    .map_err(|source| RunError::DataFolder { path: folder.to_owned(), source })?;
            }
            let store = Box::new(SqliteStore::open(path).await?);
            self.index.insert(same_file_key(path), self.all.len());
            self.all.push(Database { store, fence: aqueduct_core::Fence::default(), tables: Vec::new() });
        }
        Ok(())
    }

    pub(super) fn index_of(&self, path: &Path) -> usize {
        self.index.get(&same_file_key(path)).copied().unwrap_or(0)
    }

    /// Finds the columns of a sink's table, if they are known: declared, or there already.
    pub(super) async fn shape(
        &mut self,
        sink: &str,
        table: &SqliteSink,
        store: usize,
        &Ask { weak, pipeline, widen }: &Ask<'_>,
    ) -> Result<Arc<Shape>, RunError> {
        let conflict = table.conflict(store > 0 || weak);
        let refuse = |message: String| RunError::Sink(SinkError::Table { sink: sink.to_owned(), message });
        let store = &mut self.all[store].store;
        let known = store.ledger(pipeline).await?.and_then(|ledger| {
            ledger.tables.into_iter().find(|known| known.name.eq_ignore_ascii_case(&table.table))
        });
        let found = store.table(&table.table).await?;
        let shape = Arc::new(Shape::new(sink, &table.table, conflict));
        let Some(found) = found else {
            if let Some(columns) = &table.columns {
                shape.fix(columns.clone())?;
            }
            return Ok(shape);
        };
        let (name, columns) = (&table.table, found.columns.join(", "));
        if !found.has_item_id {
            return Err(refuse(format!(
                "table {name} is there already, with the columns {columns} and without item_id; it is not a table that a \
                 pipeline wrote; choose another table name"
            )));
        }
        let key = table.key.as_deref().unwrap_or(aqueduct_store::ITEM_ID);
        if found.primary_key != [key] {
            let has =
                if found.primary_key.is_empty() { "none".to_owned() } else { found.primary_key.join(", ") };
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
            let same = declared.len() == found.columns.len()
                && declared.iter().all(|column| found.columns.contains(column));
            // A table of ours may have more columns, those that a sink declared once.
            let ours = known.is_some_and(|known| {
                widen || known.columns.iter().map(|column| &column.name).eq(declared.iter())
            });
            if !same && ours {
                shape.fix(declared.clone())?;
                return Ok(shape);
            }
            if !same {
                return Err(refuse(format!(
                    "table {name} is there already with the columns {columns}, but the sink declares {}; choose another \
                     table name",
                    declared.join(", ")
                )));
            }
        }
        shape.fix(found.columns)?;
        Ok(shape)
    }
}
