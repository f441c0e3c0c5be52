//! Holds what a pipeline has stored against what its ledger says.

use std::path::{Path, PathBuf};

use aqueduct_core::{Imbalance, Record};
use aqueduct_store::{
    Conflict, DeadLetterFilter, FileMark, Ledger, OpenError, ReadError, SqliteStore, Store, StoreFacts,
};

use crate::inspect::InspectError;
use crate::outputs;
use crate::spec::PipelineSpec;

/// What a look at a pipeline's stores gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// What was looked at, in words, in the order of looking.
    pub looked_at: Vec<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Something that is not as the ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The database, file or table.
    pub subject: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something that was committed is lost or unreadable.
    Damage,
    /// Worth knowing; the next run puts it right, or somebody did it on purpose.
    Note,
}

impl Verification {
    /// Tells whether anything is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Damage)
    }

    fn damage(&mut self, subject: impl Into<String>, problem: impl Into<String>, remedy: &str) {
        self.add(Severity::Damage, subject.into(), problem.into(), remedy);
    }

    fn note(&mut self, subject: impl Into<String>, problem: impl Into<String>, remedy: &str) {
        self.add(Severity::Note, subject.into(), problem.into(), remedy);
    }

    fn add(&mut self, severity: Severity, subject: String, problem: String, remedy: &str) {
        self.findings.push(Finding { severity, subject, problem, remedy: remedy.to_owned() });
    }
}

const RESTORE: &str = "restore the database from a copy, or start over with aqueduct clean --all --outputs";
const MOVE_AWAY: &str = "restore the database from a copy, or move it away to start over";
const RESTORE_FILE: &str = "restore the file from a copy, or start over with aqueduct clean --all --outputs";
const GO_OLDER: &str = "the run itself does not need it; to go back, take another checkpoint, or newest";
const REPORT: &str = "please report it; until then restore the database from a copy";

/// Looks at everything that a pipeline has stored. `None` when it has never run here.
///
/// It may look while a run is under way; what the run adds in the meantime is no finding.
///
/// # Errors
///
/// [`InspectError`] when something cannot be looked at for a reason other than damage.
///
/// # Complexity
///
/// Reads each database whole, and the length of each file. Memory is bounded by one page of dead letters.
pub async fn verify(spec: &PipelineSpec) -> Result<Option<Verification>, InspectError> {
    let databases = outputs::databases(spec);
    if !databases.iter().any(|path| path.exists()) {
        return Ok(None);
    }
    let mut found = Verification::default();
    let mut known = false;
    for (index, path) in databases.iter().enumerate() {
        let name = path.display().to_string();
        let mut store = match SqliteStore::open_read_only(path).await {
            Ok(store) => store,
            Err(OpenError::Missing { .. }) => continue,
            Err(OpenError::Damaged { source, .. }) => {
                found.damage(name, format!("it is no SQLite database any more: {source}"), MOVE_AWAY);
                known = true;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match look(&mut store, spec, path, index == 0, &mut found).await {
            Ok(here) => known |= here,
            Err(ReadError::Damaged { source, .. }) => {
                found.damage(&name, format!("a page of it cannot be read: {source}"), MOVE_AWAY);
                known = true;
            }
            Err(ReadError::Backend(error)) => {
                found.damage(&name, format!("it holds something that cannot be read: {error}"), RESTORE);
                known = true;
            }
            Err(error) => return Err(error.into()),
        }
        // It was only read; whatever closing says was said by a check before.
        let _ = Box::new(store).close().await;
    }
    Ok(known.then_some(found))
}

/// Looks into one database. Tells whether it knows the pipeline.
async fn look(
    store: &mut SqliteStore,
    spec: &PipelineSpec,
    path: &Path,
    is_ledger: bool,
    found: &mut Verification,
) -> Result<bool, ReadError> {
    let name = path.display().to_string();
    let said = store.integrity().await?;
    found.looked_at.push(format!("every page and index of {name}"));
    for line in said {
        found.damage(&name, line, RESTORE);
    }
    let Some(ledger) = store.ledger(&spec.name).await? else { return Ok(false) };
    tables(store, &ledger, &name, found).await?;
    if !is_ledger {
        return Ok(true);
    }
    balance(store, &ledger, &name, found).await?;
    files(spec, &ledger, found);
    manifests(spec, &ledger, found);
    rows(store, spec, &ledger, found).await?;
    letters(store, spec, found).await?;
    Ok(true)
}

async fn balance(
    store: &mut SqliteStore,
    ledger: &Ledger,
    name: &str,
    found: &mut Verification,
) -> Result<(), ReadError> {
    found.looked_at.push("the balance of the ledger and of each checkpoint".to_owned());
    if let Err(error @ Imbalance { .. }) = ledger.counts.check() {
        found.damage(name, format!("the ledger does not balance: {error}"), REPORT);
    }
    for checkpoint in store.checkpoints(&ledger.pipeline).await? {
        let subject = || format!("checkpoint {}", checkpoint.name);
        if let Some(damage) = &checkpoint.damage {
            found.damage(subject(), format!("it is not what was recorded: {damage}"), GO_OLDER);
            continue;
        }
        if let Err(error) = checkpoint.counts.check() {
            found.damage(subject(), format!("its counts do not balance: {error}"), REPORT);
        }
        if checkpoint.epoch > ledger.epoch {
            let problem =
                format!("it is of commit {}, and the ledger is at {}", checkpoint.epoch, ledger.epoch);
            found.damage(subject(), problem, REPORT);
        }
    }
    Ok(())
}

async fn tables(
    store: &mut SqliteStore,
    ledger: &Ledger,
    name: &str,
    found: &mut Verification,
) -> Result<(), ReadError> {
    for table in &ledger.tables {
        let subject = format!("table {} of {name}", table.name);
        found.looked_at.push(subject.clone());
        match store.table(&table.name).await? {
            None => found.damage(subject, "it is gone, and its rows with it", RESTORE),
            Some(there) => {
                let lost: Vec<&str> = table
                    .columns
                    .iter()
                    .map(|column| column.name.as_str())
                    .filter(|column| !there.columns.iter().any(|known| known.eq_ignore_ascii_case(column)))
                    .collect();
                if !lost.is_empty() || !there.has_item_id {
                    let missing = if there.has_item_id { lost.join(", ") } else { "item_id".to_owned() };
                    found.damage(
                        subject,
                        format!("it lacks the columns that are written: {missing}"),
                        RESTORE,
                    );
                }
            }
        }
    }
    Ok(())
}

fn files(spec: &PipelineSpec, ledger: &Ledger, found: &mut Verification) {
    for mark in &ledger.files {
        let Some(path) = outputs::part_path(spec, mark) else {
            let problem =
                format!("the ledger knows its part {}, and the pipeline file has no such sink", mark.part);
            found.note(
                format!("sink {}", mark.sink),
                problem,
                "put the sink back, or leave its files as they are",
            );
            continue;
        };
        let subject = path.display().to_string();
        found.looked_at.push(subject.clone());
        match std::fs::metadata(&path) {
            // A file is marked before it is made.
            Err(_) if mark.bytes == 0 => {}
            Err(error) => found.damage(subject, format!("it cannot be read: {error}"), RESTORE_FILE),
            Ok(metadata) if metadata.len() < mark.bytes => {
                let problem = format!("it has {} bytes, and {} are committed", metadata.len(), mark.bytes);
                found.damage(subject, problem, RESTORE_FILE);
            }
            Ok(metadata) if metadata.len() > mark.bytes && ledger.run.outcome.is_some() => {
                let problem = format!(
                    "it has {} bytes beyond the {} committed",
                    metadata.len() - mark.bytes,
                    mark.bytes
                );
                found.note(
                    subject,
                    problem,
                    "the next run cuts them off; copy them before if you wrote them",
                );
            }
            Ok(_) => {}
        }
    }
}

/// A manifest is derived from the ledger, and the next run writes it anew.
fn manifests(spec: &PipelineSpec, ledger: &Ledger, found: &mut Verification) {
    #[derive(serde::Deserialize)]
    struct Manifest {
        parts: Vec<Part>,
    }
    #[derive(serde::Deserialize)]
    struct Part {
        part: String,
        bytes: u64,
        items: u64,
    }
    for (sink, folder) in outputs::folders(spec) {
        let marks: Vec<&FileMark> = ledger.files.iter().filter(|mark| mark.sink == sink).collect();
        let path: PathBuf = folder.join("manifest.json");
        if marks.is_empty() {
            continue;
        }
        let subject = path.display().to_string();
        found.looked_at.push(subject.clone());
        let remedy = "the ledger is what counts; the next run writes the manifest anew";
        let manifest = std::fs::read(&path).map_err(|error| error.to_string());
        let manifest = manifest
            .and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).map_err(|error| error.to_string()));
        match manifest {
            Err(error) => found.note(subject, format!("it cannot be read: {error}"), remedy),
            Ok(manifest) => {
                let agrees = manifest.parts.len() == marks.len()
                    && manifest.parts.iter().zip(&marks).all(|(part, mark)| {
                        part.part == mark.part && part.bytes == mark.bytes && part.items == mark.items
                    });
                if !agrees && ledger.run.outcome.is_some() {
                    found.note(subject, "it does not list the parts as they are committed", remedy);
                }
            }
        }
    }
}

/// Adds up the rows, where each delivery is one row or one line.
async fn rows(
    store: &mut SqliteStore,
    spec: &PipelineSpec,
    ledger: &Ledger,
    found: &mut Verification,
) -> Result<(), ReadError> {
    let one_each = ledger.tables.iter().all(|table| table.conflict == Conflict::Refuse);
    let sinks = ledger.tables.len() + outputs::files_sinks(spec);
    if !one_each || ledger.tables.is_empty() || sinks != spec.sinks.len() || ledger.run.outcome.is_none() {
        // Rows that are replaced by key, and what went to standard output, leave nothing to add up; and beside a run
        // the two numbers are of two moments.
        return Ok(());
    }
    let facts = store.facts().await?;
    let ours = |name: &str| ledger.tables.iter().any(|table| table.name.eq_ignore_ascii_case(name));
    let rows: u64 = facts.tables.iter().filter(|table| ours(&table.name)).map(|table| table.rows).sum();
    let lines: u64 = ledger.files.iter().map(|mark| mark.items).sum();
    found
        .looked_at
        .push(format!("{rows} rows and {lines} lines against {} deliveries", ledger.counts.delivered));
    let delivered = ledger.counts.delivered;
    if rows + lines < delivered {
        let names: Vec<&str> = ledger.tables.iter().map(|table| table.name.as_str()).collect();
        let problem = format!("{} rows fewer than were delivered", delivered - rows - lines);
        let remedy = "if nobody removed them on purpose, restore the database from a copy";
        found.note(format!("table {}", names.join(", ")), problem, remedy);
    }
    Ok(())
}

async fn letters(
    store: &mut SqliteStore,
    spec: &PipelineSpec,
    found: &mut Verification,
) -> Result<(), ReadError> {
    let mut filter = DeadLetterFilter { limit: Some(100), ..DeadLetterFilter::default() };
    let mut letters = 0_u64;
    loop {
        let page = store.dead_letters(&spec.name, filter.clone()).await?;
        let Some(last) = page.last() else { break };
        filter.after = Some((last.item_id.clone(), last.stage.clone()));
        letters += page.len() as u64;
        for letter in page {
            let subject = || format!("dead letter of item {} at {}", letter.item_id, letter.stage);
            if letter.item_id.parse::<aqueduct_core::ItemId>().is_err() {
                found.damage(subject(), "its item id is not one", RESTORE);
            }
            if let Some(payload) = &letter.payload
                && let Err(error) = Record::parse(payload.clone())
            {
                let problem = format!("its payload is no JSON object: {error}");
                found.damage(subject(), problem, "give it a right one with aqueduct dlq edit --payload");
            }
        }
    }
    found.looked_at.push(format!("{letters} dead letters"));
    Ok(())
}

/// One database of a pipeline, as `store inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedStore {
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file and of its log.
    pub bytes: u64,
    /// Bytes of the log alone.
    pub log_bytes: u64,
    /// What it holds.
    pub facts: StoreFacts,
}

/// Tells what the databases of a pipeline hold, the ledger's first; those that are not there are left out.
///
/// # Errors
///
/// [`InspectError`].
pub async fn inspect_stores(spec: &PipelineSpec) -> Result<Vec<InspectedStore>, InspectError> {
    let mut inspected = Vec::new();
    for path in outputs::databases(spec).into_iter().filter(|path| path.exists()) {
        let mut store = SqliteStore::open_read_only(&path).await?;
        let facts = store.facts().await?;
        Box::new(store).close().await?;
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log_bytes = length(Path::new(&log));
        inspected.push(InspectedStore { bytes: length(&path) + log_bytes, log_bytes, path, facts });
    }
    Ok(inspected)
}
