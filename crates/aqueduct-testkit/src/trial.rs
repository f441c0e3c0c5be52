use std::path::{Path, PathBuf};
use std::time::Duration;

use aqueduct_core::Clock;

use crate::checker::{Finding, check};
use crate::error::CrashError;
use crate::point::{Action, Blow, Point, Target};
use crate::process::{Ended, Run};
use crate::strace;
use crate::workload::{RUN, Workload};

/// How often a struck run is started again before it counts as one that does not come to its end.
const RESUMES_MAX: usize = 3;

/// What a point showed.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The run ended before the blow; the point proves nothing.
    NotReached,
    /// Everything was there once.
    Held {
        /// How long the last resumed run took.
        recovery: Duration,
        /// How often a run was killed.
        kills: usize,
    },
    /// It was not.
    Broken {
        /// What was found.
        findings: Vec<Finding>,
        /// Where it lies.
        folder: PathBuf,
    },
}

/// Strikes, resumes and checks one workload.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    /// The binary.
    pub binary: &'a Path,
    /// The seed of the input.
    pub seed: u64,
    /// A folder for this trial alone.
    pub folder: PathBuf,
}

impl Trial<'_> {
    /// Plays one point through.
    ///
    /// # Errors
    ///
    /// [`CrashError`] when something stands in the way of trying; what the pipeline does wrong is an [`Outcome`].
    pub async fn play(&self, point: &Point) -> Result<Outcome, CrashError> {
        let workload = Workload::new(self.seed, point.kind);
        self.prepare(&workload).await?;
        let run = Run { sabotage: point.sabotage, ..self.run(workload.command) };
        let (mut kills, mut struck) = (0, 0);
        for blow in &point.blows {
            let before = self.bytes(blow);
            let ended = run.go(Some(blow)).await?;
            match (&ended, blow.action) {
                (Ended::Killed, Action::Kill) => kills += 1,
                // The run got away: with the first blow the point is void, with a later one all is done.
                (ended, Action::Kill) if ended.is_done() => break,
                (Ended::Exited { .. }, Action::Error) => {
                    self.lose_unsynced(&run, blow, before)?;
                    // It came to its end all the same: not reached, or not needed, or overlooked. What is there tells.
                    if ended.is_done() {
                        continue;
                    }
                }
                _ => return Ok(self.broken(vec![stuck(&ended)])),
            }
            struck += 1;
        }
        let void = struck == 0 && !point.blows.is_empty();
        if void && point.blows.iter().all(|blow| blow.action == Action::Kill) {
            return Ok(Outcome::NotReached);
        }
        match self.resume(&run, &workload, kills).await? {
            Outcome::Held { .. } if void => Ok(Outcome::NotReached),
            outcome => Ok(outcome),
        }
    }

    /// Runs until the work is done, and checks what is there.
    async fn resume(&self, run: &Run<'_>, workload: &Workload, kills: usize) -> Result<Outcome, CrashError> {
        let clock = Clock::system();
        let mut findings = Vec::new();
        let mut recovery = Duration::ZERO;
        for _ in 0..RESUMES_MAX {
            let start = clock.now();
            let ended = run.go(None).await?;
            recovery = clock.now().since(start);
            if ended.is_done() {
                findings.clear();
                break;
            }
            findings = vec![stuck(&ended)];
        }
        findings.extend(check(&self.folder, workload.expected()).await);
        if findings.is_empty() { Ok(Outcome::Held { recovery, kills }) } else { Ok(self.broken(findings)) }
    }

    /// How long the file of a blow is before its run. All of that is on the disk: no run before it lost its power.
    fn bytes(&self, blow: &Blow) -> u64 {
        let Target::Call { file, .. } = &blow.target else { return 0 };
        std::fs::metadata(self.folder.join(file)).map_or(0, |found| found.len())
    }

    /// Does what a disk may do after a failed sync: it forgets what was written since the last good one.
    fn lose_unsynced(&self, run: &Run<'_>, blow: &Blow, before: u64) -> Result<(), CrashError> {
        let Target::Call { name, file } = &blow.target else { return Ok(()) };
        // SQLite's own files are not only appended to; what a disk may do to them is not simulated.
        if !name.ends_with("sync") || !(file.ends_with(".jsonl") || file.ends_with(".csv")) {
            return Ok(());
        }
        let kept = strace::synced_bytes(&run.calls()?, file, before);
        let path = self.folder.join(file);
        let cut = std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|opened| if opened.metadata()?.len() > kept { opened.set_len(kept) } else { Ok(()) });
        cut.map_err(|source| CrashError::Folder { path, source })
    }

    /// Brings a workload to the run that is struck.
    pub(crate) async fn prepare(&self, workload: &Workload) -> Result<(), CrashError> {
        let failed = |source| CrashError::Folder { path: self.folder.clone(), source };
        workload.write(&self.folder).map_err(failed)?;
        if workload.has_before() {
            let ended = self.run(RUN).go(None).await?;
            if !ended.is_done() {
                let kind = workload.expected().kind.as_str();
                let what = format!("the run before it {}", ended.in_words());
                return Err(CrashError::Undisturbed { kind, what });
            }
            workload.mend(&self.folder).map_err(failed)?;
        }
        Ok(())
    }

    /// A command of the binary on the folder of this trial, without a bug.
    pub(crate) fn run<'c>(&'c self, command: &'c [&'c str]) -> Run<'c> {
        Run { binary: self.binary, folder: &self.folder, command, sabotage: None }
    }

    fn broken(&self, findings: Vec<Finding>) -> Outcome {
        Outcome::Broken { findings, folder: self.folder.clone() }
    }
}

fn stuck(ended: &Ended) -> Finding {
    Finding::wrong("the run", format!("it {}", ended.in_words()))
}
