//! Everything that happens before the first item is read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aqueduct_store::{Claim, Commit, Conflict, FileMark, Ledger, SqliteStore};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::committer::{Committer, Database, Output};
use super::lock::FolderLock;
use super::reader::Assignment;
use super::window::{Limits, Window};
use super::{Shared, SinkSide, same_file_key};
use crate::error::{ConfigError, RunError, SinkError, SourceError};
use crate::guarantee::{Guarantee, SinkGuarantee};
use crate::metrics::StepStats;
use crate::pipeline::{NamedSink, Pipeline, SinkKind};
use crate::sink::table::{Shape, TableEncoder};
use crate::sink::{Encode, Opening, SqliteSink};
use crate::source::{Source, SourceContext};

/// The most batches in flight: enough to keep every core busy over a slow commit, and a bound for channels.
pub(super) const BATCHES_MAX: usize = 1024;

/// A run that may begin.
pub(super) struct Started {
    pub(super) shared: Arc<Shared>,
    pub(super) source: Box<dyn Source>,
    pub(super) assignments: Vec<Assignment>,
    pub(super) committer: Committer,
    pub(super) sinks: Vec<SinkGuarantee>,
    pub(super) lock: FolderLock,
}

pub(super) async fn start(mut pipeline: Pipeline) -> Result<Started, RunError> {
    let guarantees = pipeline.guarantees()?;
    let Some(mut source) = pipeline.source.take() else {
        return Err(ConfigError::Missing { missing: "source" }.into());
    };
    source.start(&SourceContext {
        clock: pipeline.options.clock.clone(),
        shutdown: pipeline.options.shutdown.clone(),
        runtime: Handle::current(),
    });
    let partitions = source.partitions()?;
    refuse_loops(source.as_ref(), &pipeline)?;
    let lock = FolderLock::take(&pipeline.data_folder())?;

    for sink in &mut pipeline.sinks {
        if let SinkKind::Direct(direct) = &mut sink.kind {
            direct.reserve(&sink.name)?;
        }
    }

    let mut databases = Databases::open(&pipeline).await?;
    let ledger_store = &mut databases.all[0].store;
    if let Some(ledger) = ledger_store.ledger(&pipeline.name).await? {
        refuse_other_input(&ledger, &partitions)?;
    }
    let claim = Claim {
        pipeline: pipeline.name.clone(),
        partitions,
        configuration: pipeline.options.configuration.clone(),
        at: pipeline.options.clock.wall(),
    };
    let claimed = databases.all[0].store.claim(claim.clone()).await?;
    databases.all[0].fence = claimed.fence;
    for second in &mut databases.all[1..] {
        let claim = Claim { partitions: Vec::new(), ..claim.clone() };
        second.fence = second.store.claim(claim).await?.fence;
    }

    let mut outputs = Vec::new();
    let mut sides = Vec::new();
    let mut marks = Vec::new();
    let weak = pipeline.options.guarantee == Some(Guarantee::AtLeastOnce);
    let targets: Vec<Arc<str>> = pipeline.steps.iter().flat_map(|step| step.targets()).collect();
    for (NamedSink { name, kind, on_error }, given) in
        std::mem::take(&mut pipeline.sinks).into_iter().zip(&guarantees)
    {
        let main = !targets.contains(&name);
        let (output, encoder): (Output, Arc<dyn Encode>) = match kind {
            SinkKind::Direct(mut sink) => {
                let known: Vec<FileMark> =
                    claimed.ledger.files.iter().filter(|mark| *mark.sink == *name).cloned().collect();
                let opening = Opening { sink: &name, marks: &known, guarantee: given.guarantee };
                let wanted = sink.open(&opening)?;
                marks.extend(wanted.into_iter().filter(|mark| !known.contains(mark)));
                let encoder = sink.encoder();
                (Output::Direct(sink), encoder)
            }
            SinkKind::Table(table) => {
                let store = databases.index_of(&table.path);
                let shape = databases.shape(&name, &table, store, weak, &pipeline.name).await?;
                let encoder = Arc::new(TableEncoder(Arc::clone(&shape)));
                (Output::Table { shape, store }, encoder)
            }
        };
        outputs.push(output);
        sides.push(SinkSide { name, encoder, main, on_error });
    }
    let registers = !marks.is_empty();
    if registers {
        // New files are known to the ledger before their first byte is written.
        let mut commit = Commit::new(&pipeline.name, claimed.fence, pipeline.options.clock.wall());
        commit.files = marks;
        databases.all[0].store.commit(commit).await?;
    }

    let unshaped = outputs.iter().any(|output| match output {
        Output::Table { shape, .. } => shape.table().is_none(),
        Output::Direct(sink) => !sink.is_shaped(),
    });
    let options = pipeline.options;
    let limits = Limits { batches: BATCHES_MAX, items: options.window_items, bytes: options.window_bytes };
    let stats = |stage: &str| StepStats::register(&options.metrics, &pipeline.name, stage);
    let shared = Arc::new(Shared {
        step_stats: pipeline.steps.iter().map(|step| stats(&step.name)).collect::<Result<_, _>>()?,
        source_stats: stats("source")?,
        steps: pipeline.steps,
        sinks: sides,
        source_rule: pipeline.source_rule,
        decoder: source.decoder(),
        window: Window::new(limits, unshaped),
        runtime: Handle::current(),
        tasks: Mutex::new(JoinSet::new()),
        failed: false.into(),
        options,
    });
    let committer = Committer {
        shared: Arc::clone(&shared),
        pipeline: pipeline.name,
        runtime: Handle::current(),
        outputs,
        databases: databases.all,
        revisions: claimed.partitions.iter().map(|part| (part.id, part.revision)).collect(),
        guarantee: if weak { Guarantee::AtLeastOnce } else { Guarantee::ExactlyOnce },
        epoch: claimed.ledger.epoch + u64::from(registers),
    };
    let assignments = claimed
        .partitions
        .into_iter()
        .map(|part| Assignment { id: part.id, position: part.position })
        .collect();
    Ok(Started { shared, source, assignments, committer, sinks: guarantees, lock })
}

/// A run that reads its own results does not end.
fn refuse_loops(source: &dyn Source, pipeline: &Pipeline) -> Result<(), ConfigError> {
    for sink in &pipeline.sinks {
        let path = match &sink.kind {
            SinkKind::Direct(direct) => direct.writes(),
            SinkKind::Table(table) => Some(table.path.clone()),
        };
        if let Some(path) = path.filter(|path| source.would_read(path)) {
            return Err(ConfigError::Loop {
                source_name: source.describe(),
                sink: sink.name.to_string(),
                path,
            });
        }
    }
    Ok(())
}

/// A ledger that has read something else must not be continued with this input.
fn refuse_other_input(ledger: &Ledger, partitions: &[String]) -> Result<(), RunError> {
    let stranger =
        ledger.partitions.iter().find(|part| part.position.is_some() && !partitions.contains(&part.name));
    match stranger {
        Some(part) => {
            Err(SourceError::OtherInput { known: part.name.clone(), wanted: partitions.join(", ") }.into())
        }
        None => Ok(()),
    }
}

/// The databases of a pipeline; the first holds the ledger.
struct Databases {
    all: Vec<Database>,
    index: HashMap<std::path::PathBuf, usize>,
}

impl Databases {
    async fn open(pipeline: &Pipeline) -> Result<Self, RunError> {
        let mut databases = Self { all: Vec::new(), index: HashMap::new() };
        databases.add(&pipeline.ledger_path()).await?;
        for sink in &pipeline.sinks {
            if let SinkKind::Table(table) = &sink.kind {
                databases.add(&table.path).await?;
            }
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

    fn index_of(&self, path: &Path) -> usize {
        self.index.get(&same_file_key(path)).copied().unwrap_or(0)
    }

    /// Finds the columns of a sink's table, if they are known: declared, or there already.
    async fn shape(
        &mut self,
        sink: &str,
        table: &SqliteSink,
        store: usize,
        weak: bool,
        pipeline: &str,
    ) -> Result<Arc<Shape>, RunError> {
        let conflict = match &table.key {
            Some(key) => Conflict::ReplaceBy(key.clone()),
            None if store > 0 || weak => Conflict::ReplaceByItem,
            None => Conflict::Refuse,
        };
        let refuse = |message: String| RunError::Sink(SinkError::Table { sink: sink.to_owned(), message });
        let store = &mut self.all[store].store;
        let known = store.ledger(pipeline).await?.is_some_and(|ledger| {
            ledger.tables.iter().any(|known| known.name.eq_ignore_ascii_case(&table.table))
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
        if !known && found.has_rows && table.key.is_none() {
            return Err(refuse(format!(
                "table {name} already holds rows that this pipeline did not write; choose another table name, or give the \
                 sink a key to upsert by"
            )));
        }
        if let Some(declared) = &table.columns {
            let same = declared.len() == found.columns.len()
                && declared.iter().all(|column| found.columns.contains(column));
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
