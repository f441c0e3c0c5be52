//! Cases: what a pipeline does with a given input, written beside it and run for real.
//!
//! A case has input, a virtual clock, scripted faults, and what must come out. The pipeline is the real one: its
//! stages, its engine, its ledger, its kinds of sinks; only its input and its places are replaced by those of a private
//! folder. Time is virtual: it moves when everything that is left to do waits for it, so an hour of retries takes a
//! moment, and a time in a result is always the same.
//!
//! One batch is in flight at a time and one thread works, so that a case gives the same each time. What the real run
//! does at once happens one after the other here; the results do not depend on it.

mod compare;
mod drive;
mod places;
mod read;

use std::ffi::OsString;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, Item, Shutdown};
use aqueduct_store::{DeadLetter, DeadLetterFilter, ReadError, SqliteStore, Store};
use aqueduct_stream::{CsvHeader, Fault, Report, RunFailure, StageError};

use self::places::Places;
use self::read::{Input, ScriptedFault, Which};
use crate::assembly::assemble;
use crate::error::ConfigErrors;
use crate::inspect::ledger_path;
use crate::request::{CacheReach, RunRequest};
use crate::spec::{PipelineSpec, SourceKind};

pub use self::read::{Case, CaseFileError, Cases};

/// How long a case may take in real time.
pub const REAL_TIME_MAX: Duration = Duration::from_secs(60);

/// What became of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// Where it differs from what was expected; empty when it passed.
    pub differences: Vec<Difference>,
    /// How long the run took in virtual time.
    pub elapsed: Duration,
}

impl CaseResult {
    /// Tells whether everything came out as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// One thing that came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What: `results row 2, score`.
    pub what: String,
    /// What the case says.
    pub expected: String,
    /// What came out.
    pub actual: String,
}

/// A case that could not be run at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// The pipeline file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The case's private folder cannot be made, written or read.
    #[error("the case's own folder cannot be used")]
    Folder(#[from] io::Error),
    /// The case's input cannot be read.
    #[error("{path} cannot be read")]
    Input {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What the run left cannot be read.
    #[error("what the case left cannot be read")]
    Left(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl aqueduct_core::Classified for CaseError {
    fn class(&self) -> aqueduct_core::ErrorClass {
        match self {
            Self::Config(_) | Self::Input { .. } => aqueduct_core::ErrorClass::Invalid,
            Self::Folder(_) | Self::Left(_) => aqueduct_core::ErrorClass::Permanent,
        }
    }
}

/// What the run of a case left behind.
pub(crate) struct Outcome {
    pub(crate) report: Option<Report>,
    pub(crate) failure: Option<String>,
    /// True when the run did not end in real time.
    pub(crate) hung: bool,
    pub(crate) sinks: Vec<(String, Vec<serde_json::Value>)>,
    pub(crate) letters: Vec<DeadLetter>,
    /// The ordinal of each item of the input, from 1, by its offset.
    pub(crate) offsets: Vec<u64>,
}

/// What a case gets from outside, where its stages work for real.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// What `PATH` holds, for the programs of exec stages.
    pub search_path: Option<OsString>,
    /// The base URLs of what plays the services of the pipeline; none where they are called.
    pub stand_in: Vec<String>,
}

/// Runs one case of a pipeline whose file was read for it.
///
/// # Errors
///
/// [`CaseError`] when the case cannot be run. A run that fails is no error, but something that came out.
///
/// # Cancel safety
///
/// A dropped call leaves threads that end with their next commit, and removes its folder.
pub async fn run_case(
    case: &Case,
    mut spec: PipelineSpec,
    surroundings: Surroundings,
) -> Result<CaseResult, CaseError> {
    let folder = tempfile::tempdir()?;
    let input = read_input(case, &spec)?;
    let places = Places::redirect(&mut spec, folder.path(), &case.input, &input)?;
    let offsets = offsets(&input, &spec.source.kind);
    let (clock, manual) = Clock::manual(case.clock);
    let (shutdown, signal) = Shutdown::new();
    let faults = case.faults.iter().map(|fault| (fault.stage.clone(), scripted(fault, &offsets))).collect();
    let Surroundings { search_path, stand_in } = surroundings;
    let request = RunRequest {
        clock,
        shutdown: signal,
        faults,
        search_path,
        stand_in,
        // A case begins with nothing and leaves nothing behind.
        cache: CacheReach::Memory,
        ..RunRequest::default()
    };
    let pipeline = assemble(&spec, request);
    let ran = drive::drive(pipeline, &manual, &shutdown).await;
    let mut outcome = Outcome {
        report: None,
        failure: None,
        hung: ran.is_none(),
        sinks: Vec::new(),
        letters: Vec::new(),
        offsets,
    };
    match ran {
        None => {}
        Some(Ok(report)) => outcome.report = Some(report),
        Some(Err(RunFailure { error, report })) => {
            outcome.failure = Some(in_words(&error));
            outcome.report = report.map(|report| *report);
        }
    }
    if !outcome.hung {
        outcome.letters = letters(&spec).await.map_err(|error| CaseError::Left(error.into()))?;
        outcome.sinks = places.read().await?;
    }
    let elapsed = outcome.report.as_ref().map_or(Duration::ZERO, |report| report.elapsed);
    Ok(CaseResult { name: case.name.clone(), differences: compare::compare(case, &outcome), elapsed })
}

fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

fn read_input(case: &Case, spec: &PipelineSpec) -> Result<Vec<u8>, CaseError> {
    match &case.input {
        Input::Lines(lines, _) => {
            Ok(lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect())
        }
        Input::File(path) => {
            let path = spec.folder.join(path);
            std::fs::read(&path)
                .map_err(|source| CaseError::Input { path: path.display().to_string(), source })
        }
    }
}

/// Where each item begins: at each line that is not blank, behind the header if there is one.
fn offsets(input: &[u8], source: &SourceKind) -> Vec<u64> {
    let mut offset = 0_u64;
    let mut offsets = Vec::new();
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if !line.trim_ascii().is_empty() {
            offsets.push(offset);
        }
        offset += line.len() as u64;
    }
    if matches!(source, SourceKind::Csv { format, .. } if format.header != CsvHeader::Absent) {
        offsets.drain(..1.min(offsets.len()));
    }
    offsets
}

/// A fault that counts by itself how often each item has failed.
fn scripted(fault: &ScriptedFault, offsets: &[u64]) -> Fault {
    let fault = fault.clone();
    let offset = match &fault.which {
        Which::Ordinal(ordinal) => offsets.get(ordinal - 1).copied(),
        Which::All | Which::When(_) => None,
    };
    // Guards how often each item has failed so far. Nothing panics under it.
    let failed: Mutex<std::collections::HashMap<String, u32>> = Mutex::default();
    Fault::new(move |item: &Item| {
        let meant = match &fault.which {
            Which::All => true,
            Which::Ordinal(_) => offset == Some(item.id.offset()),
            Which::When(when) => {
                let record = item.payload.record()?;
                when.evaluate_bool(&record).unwrap_or(false)
            }
        };
        if !meant {
            return Ok(());
        }
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failed.entry(item.id.to_string()).or_default();
        if *times >= fault.times {
            return Ok(());
        }
        *times += 1;
        let error = StageError::new(fault.class, fault.message.clone());
        Err(match fault.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        })
    })
}

async fn letters(spec: &PipelineSpec) -> Result<Vec<DeadLetter>, ReadError> {
    // A run that was refused before it began has left no ledger.
    let Ok(mut store) = SqliteStore::open_read_only(ledger_path(spec)).await else { return Ok(Vec::new()) };
    let filter = DeadLetterFilter { limit: Some(usize::MAX), ..DeadLetterFilter::default() };
    let letters = store.dead_letters(&spec.name, filter).await?;
    Box::new(store).close().await?;
    Ok(letters)
}

/// An expression of a fault, compiled.
pub(crate) type When = Arc<crate::expression::Expression>;
