//! What all threads of a run see.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aqueduct_core::{Phase, Shutdown};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::journal::Journal;
use super::turn::Turn;
use super::window::Window;
use crate::config::Options;
use crate::error::RunError;
use crate::metrics::StepStats;
use crate::rule::OnError;
use crate::sink::Encode;
use crate::skip_limit::{Failed, SkipLimitReached};
use crate::source::Decode;
use crate::stage::{Lane, Step};
use crate::ways::Ways;

/// What all threads of a run see.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) steps: Vec<Step>,
    pub(super) step_stats: Vec<StepStats>,
    pub(super) source_stats: StepStats,
    /// One for each step; only ordered stages use theirs.
    pub(super) turns: Vec<Turn>,
    pub(super) sinks: Vec<SinkSide>,
    pub(super) ways: Ways,
    /// The sinks that take the items of each way, the main one first, then the branches.
    pub(super) takers: Vec<Vec<usize>>,
    /// The indices of all sinks, to take slices of.
    pub(super) each_sink: Vec<usize>,
    pub(super) source_rule: OnError,
    pub(super) journal: Journal,
    pub(super) decoder: Arc<dyn Decode>,
    pub(super) window: Window,
    pub(super) runtime: Handle,
    /// Batches that wait for a service or a delay, each in a task. Nobody waits under this lock.
    pub(super) tasks: Mutex<JoinSet<()>>,
    /// A commit failed: nothing more is worth doing. Relaxed: it is a hint, the committer decides.
    pub(super) failed: AtomicBool,
    /// Ends the waits of the source: when the run is asked to end, and when it has failed.
    pub(super) source_ends: Shutdown,
    /// Items that failed for good.
    pub(super) failures: Failed,
    /// Dead letters that were not replayed because their stage is gone, by stage.
    pub(super) left: Mutex<BTreeMap<String, u64>>,
}

/// A sink on the workers' side.
pub(super) struct SinkSide {
    pub(super) name: Arc<str>,
    pub(super) encoder: Arc<dyn Encode>,
    pub(super) on_error: OnError,
}

/// The stages of a pipeline and what belongs to them.
pub(super) struct Stages<'a> {
    /// The pipeline's name.
    pub(super) name: &'a str,
    pub(super) steps: Vec<Step>,
    pub(super) source_rule: OnError,
    /// What earlier runs have kept of their answers.
    pub(super) journal: Journal,
}

impl Shared {
    pub(super) fn new(
        stages: Stages<'_>,
        ways: Ways,
        lanes: &[Option<Lane>],
        sinks: Vec<SinkSide>,
        decoder: Arc<dyn Decode>,
        window: Window,
        options: Options,
    ) -> Result<Self, RunError> {
        let stats = |stage: &str| StepStats::register(&options.metrics, stages.name, stage);
        Ok(Self {
            step_stats: stages.steps.iter().map(|step| stats(&step.name)).collect::<Result<_, _>>()?,
            source_stats: stats("source")?,
            turns: stages.steps.iter().map(|_| Turn::default()).collect(),
            steps: stages.steps,
            takers: takers(lanes),
            each_sink: (0..sinks.len()).collect(),
            ways,
            sinks,
            source_rule: stages.source_rule,
            journal: stages.journal,
            decoder,
            window,
            runtime: Handle::current(),
            tasks: Mutex::new(JoinSet::new()),
            failed: false.into(),
            source_ends: Shutdown::new().0,
            failures: Failed::new(options.skip_limit),
            left: Mutex::default(),
            options,
        })
    }

    /// How far the run has been asked to stop; a failed commit asks for everything.
    pub(super) fn phase(&self) -> Phase {
        if self.failed.load(Ordering::Relaxed) { Phase::Stopping } else { self.options.shutdown.phase() }
    }

    /// The sinks at the end of a way.
    pub(super) fn takers(&self, lane: Lane) -> &[usize] {
        let at = |at: usize| self.takers.get(at).map_or(&[][..], Vec::as_slice);
        match lane {
            Lane::Main => at(0),
            Lane::Branch(branch) => at(1 + usize::from(branch)),
            Lane::Sink(sink) => self.each_sink.get(usize::from(sink)..=usize::from(sink)).unwrap_or(&[]),
        }
    }

    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        // It may wait for input that never comes.
        self.source_ends.stop();
    }

    /// Counts an item that failed for good and would be left behind. Gives its error back, or says that it is one too
    /// many.
    pub(super) fn leave_behind<E>(&self, error: E) -> Result<E, SkipLimitReached>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.failures.admit(self.options.progress.snapshot().read, error)
    }

    /// Counts a dead letter that stays where it is.
    pub(super) fn leave(&self, stage: &str) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left.entry(stage.to_owned()).or_default() += 1;
    }

    /// Runs a wait on the runtime. The task is owned here and ended with the run.
    pub(super) fn suspend(&self, wait: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(wait, &self.runtime);
    }
}

/// Turns the way into each sink around: the sinks at the end of each way, the main one first, then the branches.
fn takers(lanes: &[Option<Lane>]) -> Vec<Vec<usize>> {
    let mut takers: Vec<Vec<usize>> = vec![Vec::new()];
    for (sink, lane) in lanes.iter().enumerate() {
        let way = match lane {
            Some(Lane::Main) => 0,
            Some(Lane::Branch(branch)) => 1 + usize::from(*branch),
            Some(Lane::Sink(_)) | None => continue,
        };
        if takers.len() <= way {
            takers.resize(way + 1, Vec::new());
        }
        takers[way].push(sink);
    }
    takers
}
