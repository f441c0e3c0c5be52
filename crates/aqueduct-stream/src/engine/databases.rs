//! The databases of a pipeline, and the tables in them that its sinks write.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aqueduct_store::SqliteStore;

use super::committer::Database;
use crate::error::RunError;
use crate::paths::same_file_key;
use crate::sink::SqliteSink;
use crate::sink::table::{Shape, gone, refuse_unfit, same};

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
        let store = &mut self.all[store].store;
        let known = store.ledger(pipeline).await?.and_then(|ledger| {
            ledger.tables.into_iter().find(|known| known.name.eq_ignore_ascii_case(&table.table))
        });
        let found = store.table(&table.table).await?;
        let shape = Arc::new(Shape::new(sink, &table.table, conflict));
        let Some(found) = found else {
            if known.is_some() && !widen {
                return Err(gone(sink, &table.table).into());
            }
            if let Some(columns) = &table.columns {
                shape.fix(columns.clone())?;
            }
            return Ok(shape);
        };
        refuse_unfit(sink, table, &found, known.as_ref(), widen)?;
        // A table of ours may have more columns, those that a sink declared once.
        shape
            .fix(table.columns.clone().filter(|declared| !same(declared, &found)).unwrap_or(found.columns))?;
        Ok(shape)
    }
}
