//! The threads of a run, and what they share.
//!
//! One reader cuts chunks, workers decode, run stages and encode, one committer makes epochs durable in the
//! order of the input. The reader stops at the window, so everything between is bounded.

mod committer;
mod lock;
mod reader;
mod start;
mod window;
mod worker;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use aqueduct_core::{Counts, Imbalance, Phase, failpoint};
use aqueduct_store::{CommitError, RunOutcome};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::batch::{Batch, Finished};
use crate::config::Options;
use crate::error::RunError;
use crate::guarantee::Guarantee;
use crate::metrics::StepStats;
use crate::pipeline::Pipeline;
use crate::report::{Ended, Report, RunFailure};
use crate::rule::OnError;
use crate::sink::Encode;
use crate::source::Decode;
use crate::stage::Step;

use committer::CommitterEnd;
use reader::ReaderEnd;
use window::Window;

/// What all threads of a run see.
pub(crate) struct Shared {
    options: Options,
    steps: Vec<Step>,
    step_stats: Vec<StepStats>,
    source_stats: StepStats,
    sinks: Vec<SinkSide>,
    source_rule: OnError,
    decoder: Arc<dyn Decode>,
    window: Window,
    runtime: Handle,
    /// Batches that wait for a service or a delay, each in a task. Nobody waits under this lock.
    tasks: Mutex<JoinSet<()>>,
    /// A commit failed: nothing more is worth doing. Relaxed: it is a hint, the committer decides.
    failed: AtomicBool,
}

/// A sink on the workers' side.
struct SinkSide {
    name: Arc<str>,
    encoder: Arc<dyn Encode>,
    /// Takes every item, not only what stages send it.
    main: bool,
    on_error: OnError,
}

/// What the committer hears.
enum Message {
    /// A batch is through.
    Finished(Box<Finished>),
    /// No batch is being worked on: what is ready need not wait for more.
    Idle,
}

impl Shared {
    /// How far the run has been asked to stop; a failed commit asks for everything.
    fn phase(&self) -> Phase {
        if self.failed.load(Ordering::Relaxed) { Phase::Stopping } else { self.options.shutdown.phase() }
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Runs a wait on the runtime. The task is owned here and ended with the run.
    fn suspend(&self, wait: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(wait, &self.runtime);
    }
}

fn give_up(batch: Batch) -> Finished {
    Finished { sequence: batch.sequence, chunk: batch.chunk, results: None }
}

fn why(thread: &'static str) -> RunError {
    RunError::Thread { thread }
}

/// A path in the form in which two names of one file are equal, as far as they exist.
pub(crate) fn same_file_key(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

pub(crate) async fn run(pipeline: Pipeline) -> Result<Report, RunFailure> {
    let clock = pipeline.options.clock.clone();
    let begun = clock.now();
    let name = pipeline.name.clone();
    for step in &pipeline.steps {
        step.open().await.map_err(RunError::Config)?;
    }
    let started = start::start(pipeline).await?;
    let shared = Arc::clone(&started.shared);
    let sinks = started.sinks;
    let guarantee = sinks.iter().map(|sink| sink.guarantee).min().unwrap_or(Guarantee::AtLeastOnce);

    let threads = Threads::spawn(started.source, started.assignments, started.committer, &shared)?;
    let (reader_end, committer_end) = threads.join().await;
    shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    for step in &shared.steps {
        step.close().await;
    }

    let elapsed = clock.now().since(begun);
    let workers = shared.options.workers;
    let mut stages = vec![shared.source_stats.report("source", elapsed, workers)];
    stages.extend(
        shared
            .steps
            .iter()
            .zip(&shared.step_stats)
            .map(|(step, stats)| stats.report(&step.name, elapsed, workers)),
    );
    let Some(mut end) = committer_end else { return Err(RunFailure::from(why("committer"))) };
    let mut failure = end.failure.take();
    let ended = match reader_end {
        Some(ReaderEnd::Failed(error)) => {
            failure = failure.or(Some(error));
            Ended::Stopped
        }
        None => {
            failure = failure.or(Some(why("reader")));
            Ended::Stopped
        }
        Some(ReaderEnd::Asked) if shared.options.shutdown.phase() == Phase::Stopping => Ended::Stopped,
        Some(_) if end.counts.in_flight > 0 => Ended::Stopped,
        Some(ReaderEnd::Asked) => Ended::Drained,
        Some(ReaderEnd::Limited) => Ended::Limited,
        Some(ReaderEnd::Exhausted) if end.counts.read == 0 => Ended::NothingToDo,
        Some(ReaderEnd::Exhausted) => Ended::Done,
    };
    failure = failure.or(check_all_came_back(&shared, end.counts).err().map(RunError::Imbalance));
    if failure.is_none()
        && let Err(error) = failpoint::hit("drain-after")
    {
        failure = Some(RunError::Commit(CommitError::Backend(Box::new(error))));
    }
    let outcome = match (&failure, ended) {
        (Some(_), _) => RunOutcome::Failed,
        (None, Ended::Done | Ended::NothingToDo) => RunOutcome::Done,
        (None, _) => RunOutcome::Stopped,
    };
    let closed = close(end, &name, outcome, clock.wall()).await;
    let (counts, retries, epochs) = match closed {
        Ok(figures) => figures,
        Err((figures, error)) => {
            failure = failure.or(Some(error));
            figures
        }
    };
    let report = Report { pipeline: name, ended, counts, retries, epochs, elapsed, guarantee, sinks, stages };
    drop(started.lock);
    match failure {
        None => Ok(report),
        Some(error) => Err(RunFailure { error, report: Some(Box::new(report)) }),
    }
}

/// The reader counted what it handed out; the committer counted what came back. A batch must not get lost.
fn check_all_came_back(shared: &Shared, counts: Counts) -> Result<(), Imbalance> {
    counts.check()?;
    let read = shared.options.progress.snapshot().read;
    if counts.read == read { Ok(()) } else { Err(Imbalance { counts: Counts { read, ..counts } }) }
}

type Figures = (Counts, u64, u64);

/// Notes the end of the run and closes the databases, the ledger last.
async fn close(
    end: CommitterEnd,
    name: &str,
    outcome: RunOutcome,
    at: aqueduct_core::Timestamp,
) -> Result<Figures, (Figures, RunError)> {
    let figures = (end.counts, end.retries, end.epochs);
    let mut failure = None;
    for (index, mut database) in end.databases.into_iter().enumerate().rev() {
        if index == 0 && !matches!(outcome, RunOutcome::Failed) {
            let finished = database.store.finish(name, database.fence, outcome, at).await;
            failure = failure.or(finished.err().map(RunError::Commit));
        } else if index == 0 {
            // After a failure the store may be unusable; the note is for people, and the first error matters.
            let _ = database.store.finish(name, database.fence, outcome, at).await;
        }
        let closed = database.store.close().await;
        if !matches!(outcome, RunOutcome::Failed) {
            failure = failure.or(closed.err().map(RunError::Read));
        }
    }
    match failure {
        None => Ok(figures),
        Some(error) => Err((figures, error)),
    }
}

/// The threads of a run.
struct Threads {
    reader: JoinHandle<ReaderEnd>,
    workers: Vec<JoinHandle<()>>,
    committer: JoinHandle<CommitterEnd>,
    done: oneshot::Receiver<()>,
}

impl Threads {
    fn spawn(
        source: Box<dyn crate::source::Source>,
        assignments: Vec<reader::Assignment>,
        committer: committer::Committer,
        shared: &Arc<Shared>,
    ) -> Result<Self, RunError> {
        let spawned = |thread| move |_| why(thread);
        // Room for every batch that the window can admit, so that nobody but the reader ever waits.
        let (work_sender, work) = crossbeam_channel::bounded(start::BATCHES_MAX + 1);
        let (finished_sender, finished) = crossbeam_channel::bounded(2 * start::BATCHES_MAX + 2);
        let (done_sender, done) = oneshot::channel();
        let alarm = Alarm(Arc::clone(shared));
        let committer = thread("committer", move || {
            let _alarm = alarm;
            let end = committer.run(&finished);
            // The run waits for this; it is gone only when the run was dropped.
            let _ = done_sender.send(());
            end
        })
        .map_err(spawned("committer"))?;
        let mut workers = Vec::with_capacity(shared.options.workers);
        for number in 0..shared.options.workers {
            let (shared, work, finished) = (Arc::clone(shared), work.clone(), finished_sender.clone());
            let alarm = Alarm(Arc::clone(&shared));
            let worker = worker::Worker::new(shared, finished, number as u64);
            let work = move || {
                let _alarm = alarm;
                worker.run(&work);
            };
            workers.push(thread("worker", work).map_err(spawned("worker"))?);
        }
        drop(finished_sender);
        let shared = Arc::clone(shared);
        let reader = thread("reader", move || reader::read(source, &assignments, &shared, &work_sender))
            .map_err(spawned("reader"))?;
        Ok(Self { reader, workers, committer, done })
    }

    /// Waits without blocking the runtime until the committer is done; the others are done before it.
    async fn join(self) -> (Option<ReaderEnd>, Option<CommitterEnd>) {
        // An error means that the committer panicked, which the join below tells.
        let _ = self.done.await;
        let reader = self.reader.join().ok();
        for worker in self.workers {
            // A worker that panicked has left its batch out, which the count of what came back shows.
            let _ = worker.join();
        }
        (reader, self.committer.join().ok())
    }
}

/// Held by a thread whose panic is a bug of the engine: the run then ends with an error and does not hang.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
            self.0.window.close();
        }
    }
}

fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(format!("aqueduct-{name}")).spawn(work)
}
