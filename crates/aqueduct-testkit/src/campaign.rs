use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::checker::check;
use crate::error::CrashError;
use crate::plan::{Planner, errors};
use crate::point::{Action, Point, Target};
use crate::report::{Broken, Report};
use crate::strace;
use crate::trial::{Outcome, Trial};
use crate::workload::{Kind, Workload};

/// Trials at a time. A run has several threads and mostly waits for its disk, so two fill two cores.
const PARALLEL: usize = 2;

/// What to try.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary, built with its feature `failpoints`.
    pub binary: PathBuf,
    /// The seed of the inputs.
    pub seed: u64,
    /// The kinds of workloads.
    pub kinds: Vec<Kind>,
    /// How many points to try for each of them.
    pub points_per_kind: usize,
}

/// Tries points, two at a time, in a folder that goes away unless a point broke a promise.
#[derive(Debug)]
pub struct Campaign {
    options: Options,
    folder: TempDir,
    /// The folder as the system spells it, which is what traces show.
    root: PathBuf,
}

impl Campaign {
    /// Makes the campaign's folder.
    ///
    /// # Errors
    ///
    /// [`CrashError::Folder`].
    pub fn new(options: Options) -> Result<Self, CrashError> {
        let failed = |source| CrashError::Folder { path: std::env::temp_dir(), source };
        let folder = tempfile::Builder::new().prefix("aqueduct-crash-").tempdir().map_err(failed)?;
        let root = folder.path().canonicalize().map_err(failed)?;
        // Runs have another working folder.
        let path = options.binary.clone();
        let binary = path.canonicalize().map_err(|source| CrashError::Folder { path, source })?;
        Ok(Self { options: Options { binary, ..options }, folder, root })
    }

    /// Tries as many points as the options ask for, and adds what was found to the report.
    ///
    /// # Errors
    ///
    /// [`CrashError`] when trying itself is impossible.
    pub fn run(&self, report: &mut Report) -> Result<(), CrashError> {
        for kind in &self.options.kinds {
            let calls = self.undisturbed(*kind)?;
            let state = Mutex::new(State {
                errors: errors(*kind, &calls),
                planner: Planner::new(*kind, calls),
                wanted: self.options.points_per_kind,
                under_way: 0,
                tried: 0,
                error: None,
                report: std::mem::take(report),
            });
            lock(&state).report.kinds.entry(*kind).or_default().wanted = self.options.points_per_kind;
            std::thread::scope(|scope| {
                for _ in 0..PARALLEL {
                    scope.spawn(|| self.work(&state));
                }
            });
            let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
            *report = state.report;
            if let Some(error) = state.error {
                return Err(error);
            }
            if report.kinds.get(kind).is_some_and(|found| found.fail_points == 0) && report.broken.is_empty()
            {
                return Err(CrashError::NoFailPoints { path: self.options.binary.clone() });
            }
        }
        Ok(())
    }

    /// Plays one point through, by itself.
    ///
    /// # Errors
    ///
    /// [`CrashError`] when trying itself is impossible.
    pub fn play(&self, point: &Point) -> Result<Outcome, CrashError> {
        let folder = self.root.join(name(point));
        let trial = Trial { binary: &self.options.binary, seed: self.options.seed, folder };
        let outcome = runtime()?.block_on(trial.play(point))?;
        if !matches!(outcome, Outcome::Broken { .. }) {
            forget(&trial.folder);
        }
        Ok(outcome)
    }

    /// Keeps the campaign's folder.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// Runs a workload without a blow: it must be right, and it tells which calls there are to strike.
    fn undisturbed(&self, kind: Kind) -> Result<BTreeMap<Target, u64>, CrashError> {
        let folder = self.root.join(format!("undisturbed-{kind}"));
        let workload = Workload::new(self.options.seed, kind);
        let trial = Trial { binary: &self.options.binary, seed: self.options.seed, folder };
        let undisturbed = |what| CrashError::Undisturbed { kind: kind.as_str(), what };
        runtime()?.block_on(async {
            trial.prepare(&workload).await?;
            let run = trial.run(workload.command);
            let (ended, calls) =
                if strace::is_available() { run.count().await? } else { (run.go(None).await?, Vec::new()) };
            if !ended.is_done() {
                return Err(undisturbed(format!("it {}", ended.in_words())));
            }
            let findings = check(&trial.folder, workload.expected()).await;
            if let Some(first) = findings.first() {
                return Err(undisturbed(format!("{first} (and {} more)", findings.len() - 1)));
            }
            forget(&trial.folder);
            Ok(strace::counts(&calls))
        })
    }

    /// Takes points and tries them until there are enough.
    fn work(&self, state: &Mutex<State>) {
        while let Some(point) = take(state) {
            let outcome = self.play(&point);
            let mut state = lock(state);
            state.under_way -= usize::from(kills(&point));
            match outcome {
                Ok(outcome) => state.note(&point, outcome),
                Err(error) => state.error = Some(error),
            }
        }
    }
}

/// What the threads of a campaign share.
#[derive(Debug)]
struct State {
    /// Points at which something fails; they come first.
    errors: Vec<Point>,
    planner: Planner,
    wanted: usize,
    under_way: usize,
    tried: usize,
    error: Option<CrashError>,
    report: Report,
}

impl State {
    fn note(&mut self, point: &Point, outcome: Outcome) {
        let found = self.report.kinds.entry(point.kind).or_default();
        match outcome {
            Outcome::NotReached if kills(point) => self.planner.not_reached(point),
            Outcome::NotReached => {}
            Outcome::Held { recovery, kills } => {
                self.tried += usize::from(kills > 0);
                found.tried(point, kills);
                found.recoveries.push(recovery);
            }
            Outcome::Broken { findings, folder } => {
                self.tried += usize::from(kills(point));
                found.tried(point, point.blows.len());
                found.found(&findings);
                self.report.broken.push(Broken { point: point.clone(), findings, folder });
            }
        }
    }
}

fn take(state: &Mutex<State>) -> Option<Point> {
    let mut state = lock(state);
    if state.error.is_some() {
        return None;
    }
    let point = match state.errors.pop() {
        Some(point) => point,
        None if state.tried + state.under_way >= state.wanted => return None,
        None => state.planner.next()?,
    };
    state.under_way += usize::from(kills(&point));
    Some(point)
}

/// Tells whether a point kills, and so counts as a point.
fn kills(point: &Point) -> bool {
    point.blows.iter().any(|blow| blow.action == Action::Kill)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Result<tokio::runtime::Runtime, CrashError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| CrashError::Start {
        program: "tokio".to_owned(),
        hint: "is the system out of threads?",
        source,
    })
}

/// A folder name for a point: one that shells and traces take as it is.
fn name(point: &Point) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    point.to_string().chars().map(plain).collect()
}

/// Removes what a trial left; nobody needs it any more, and the campaign's folder goes in any case.
fn forget(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    let _ = fs::remove_file(folder.with_extension("strace"));
}
