//! The threads of a run, and what they share.
//!
//! One reader cuts chunks, workers decode, run stages and encode, one committer makes epochs durable in the
//! order of the input. The reader stops at the window, so everything between is bounded.

mod committer;
mod databases;
mod decode;
mod encode;
mod gate;
mod identity;
mod journal;
mod letters;
pub(crate) mod lock;
mod preview;
mod reader;
mod resume;
mod shared;
mod start;
mod state;
mod steps;
mod turn;
mod window;
mod work;
mod worker;

use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use aqueduct_core::{Counts, Imbalance, Phase, failpoint};
use aqueduct_store::{CommitError, Retention, RunOutcome};
use tokio::sync::oneshot;

use crate::config::Replay;
use crate::error::RunError;
use crate::guarantee::Guarantee;
use crate::pipeline::Pipeline;
use crate::report::{Ended, Report, RunFailure, StageReport};

use committer::CommitterEnd;
pub(crate) use preview::preview;
use reader::ReaderEnd;
use shared::Shared;
use start::Intake;

/// Runs a pipeline over its source, or over dead letters of earlier runs.
pub(crate) async fn run(pipeline: Pipeline, replay: Option<Replay>) -> Result<Report, RunFailure> {
    let clock = pipeline.options.clock.clone();
    let begun = clock.now();
    let name = pipeline.name.clone();
    for step in &pipeline.steps {
        step.open().await.map_err(RunError::Config)?;
    }
    let started = start::start(pipeline, replay).await?;
    let acknowledges = started.committer.acknowledges.clone();
    let shared = Arc::clone(&started.shared);
    let sinks = started.sinks;
    let guarantee = sinks.iter().map(|sink| sink.guarantee).min().unwrap_or(Guarantee::AtLeastOnce);

    let threads = Threads::spawn(started.intake, started.committer, &shared)?;
    let (reader_end, committer_end) = threads.join().await;
    shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    for step in &shared.steps {
        step.close().await;
    }

    let elapsed = clock.now().since(begun);
    let workers = shared.options.workers;
    let mut stages = vec![shared.source_stats.report("source", elapsed, workers)];
    stages.extend(shared.steps.iter().zip(&shared.step_stats).map(|(step, stats)| {
        let report = stats.report(&step.name, elapsed, workers);
        StageReport { figures: step.figures(), ..report }
    }));
    let Some(mut end) = committer_end else {
        return Err(RunFailure::from(RunError::Thread { thread: "committer" }));
    };
    let mut failure = end.failure.take();
    let ended = match reader_end {
        Some(ReaderEnd::Failed(error)) => {
            failure = failure.or(Some(error));
            Ended::Stopped
        }
        None => {
            failure = failure.or(Some(RunError::Thread { thread: "reader" }));
            Ended::Stopped
        }
        // A stage may also leave what it has not begun to the next run because somebody asked this one to end.
        Some(_) if end.exhausted.is_some() => match shared.options.shutdown.phase() {
            Phase::Running => Ended::Exhausted,
            Phase::Draining => Ended::Drained,
            Phase::Stopping => Ended::Stopped,
        },
        Some(ReaderEnd::Asked) if shared.options.shutdown.phase() == Phase::Stopping => Ended::Stopped,
        Some(_) if end.counts.in_flight > 0 => Ended::Stopped,
        Some(ReaderEnd::Asked) => Ended::Drained,
        Some(ReaderEnd::Limited) => Ended::Limited,
        Some(ReaderEnd::Exhausted) if end.counts.read == 0 => Ended::NothingToDo,
        Some(ReaderEnd::Exhausted) => Ended::Done,
    };
    if let Some(source) = acknowledges {
        failure = failure.or(source.close().await.err().map(RunError::Source));
    }
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
    let exhausted = end.exhausted.take().filter(|_| ended == Ended::Exhausted);
    let closed = close(end, &name, outcome, clock.wall(), &shared.options.retention).await;
    let (counts, [epochs, batches, checkpoints]) = match closed {
        Ok(figures) => figures,
        Err((figures, error)) => {
            failure = failure.or(Some(error));
            figures
        }
    };
    let retries = shared.options.progress.snapshot().retries;
    let left = std::mem::take(&mut *shared.left.lock().unwrap_or_else(PoisonError::into_inner));
    let report = Report {
        pipeline: name,
        ended,
        exhausted,
        counts,
        retries,
        epochs,
        batches,
        checkpoints,
        failed: shared.failures.count(),
        resumed: started.resumed,
        elapsed,
        guarantee,
        sinks,
        stages,
        left,
    };
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

/// What is committed: counts, epochs, batches and checkpoints.
type Figures = (Counts, [u64; 3]);

/// Notes the end of the run and closes the databases, the ledger last.
async fn close(
    end: CommitterEnd,
    name: &str,
    outcome: RunOutcome,
    at: aqueduct_core::Timestamp,
    retention: &Retention,
) -> Result<Figures, (Figures, RunError)> {
    let figures = (end.counts, [end.epochs, end.batches, end.checkpoints]);
    let mut failure = None;
    for (index, mut database) in end.databases.into_iter().enumerate().rev() {
        if index == 0 && !matches!(outcome, RunOutcome::Failed) {
            let retained = database.store.retain(name, retention, at).await;
            failure = failure.or(retained.err().map(RunError::Commit));
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
        intake: Intake,
        committer: committer::Committer,
        shared: &Arc<Shared>,
    ) -> Result<Self, RunError> {
        let spawned = |thread| move |_| RunError::Thread { thread };
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
        let shared = Arc::clone(shared);
        let gate = gate::Gate::new(Arc::clone(&shared), work_sender.clone(), finished_sender);
        let reader = move || match intake {
            Intake::Source(source, assignments) => {
                drop(work_sender);
                reader::read(source, &assignments, &shared, gate)
            }
            Intake::Letters(letters) => {
                drop(gate);
                letters.read(&shared, &work_sender)
            }
        };
        let reader = thread("reader", reader).map_err(spawned("reader"))?;
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
            self.0.turns.iter().for_each(|turn| drop(turn.close()));
        }
    }
}

fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(format!("aqueduct-{name}")).spawn(work)
}
