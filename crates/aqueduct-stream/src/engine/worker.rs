use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Phase, Random};
use crossbeam_channel::{Receiver, Sender};

use super::decode::decode;
use super::encode::finish;
use super::journal::Scribe;
use super::shared::Shared;
use super::steps::{run_ordered, run_sync, run_waiting};
use super::turn::Entry;
use super::work::{Message, Work};
use crate::batch::Finished;
use crate::stage::Work as StageWork;

/// One of the threads that decode, run stages and encode.
pub(super) struct Worker {
    shared: Arc<Shared>,
    finished: Sender<Message>,
    random: Random,
}

impl Worker {
    /// The seed matters for jitter only: workers must not retry in step.
    pub(super) fn new(shared: Arc<Shared>, finished: Sender<Message>, seed: u64) -> Self {
        Self { shared, finished, random: Random::seeded(seed) }
    }

    /// Takes batches until the reader is done and none is under way.
    pub(super) fn run(mut self, work: &Receiver<Work>) {
        for mut piece in work {
            if !piece.fresh {
                self.shared.window.resume();
            }
            if self.shared.phase() == Phase::Stopping {
                self.give_up(piece);
                continue;
            }
            if piece.fresh && !piece.batch.decoded {
                decode(&self.shared, &mut piece.batch);
            }
            self.advance(piece);
        }
    }

    /// Runs stages until the batch is through, or has to wait.
    fn advance(&mut self, mut piece: Work) {
        loop {
            let batch = &mut piece.batch;
            let at = batch.step;
            let Some(step) = self.shared.steps.get(at) else {
                let finished = finish(&self.shared, piece.batch);
                self.hand_over(finished);
                return;
            };
            if let StageWork::Ordered(stage) = &step.work {
                piece = match self.shared.turns[at].enter(piece) {
                    Entry::Now(piece) => piece,
                    Entry::Parked => return self.rest(),
                    Entry::Closed(piece) => return self.give_up(piece),
                };
                run_ordered(&self.shared, &mut piece.batch, step, stage, &mut self.random);
                piece.batch.step += 1;
                if let Some(next) = self.shared.turns[at].leave() {
                    send_back(next);
                }
                continue;
            }
            if !matches!(step.work, StageWork::Sync(_)) {
                let seed = self.random.below(u64::MAX);
                self.rest();
                wait_for_stage(&self.shared, piece, self.finished.clone(), seed);
                return;
            }
            match run_sync(&self.shared, batch, step, &mut self.random) {
                None => batch.step += 1,
                Some(delay) => {
                    self.rest();
                    wait_to_retry(&self.shared, piece, delay);
                    return;
                }
            }
        }
    }

    /// Gives a batch up, and with it everything that waits for its turn behind it.
    fn give_up(&self, piece: Work) {
        self.hand_over(piece.give_up());
        for turn in &self.shared.turns {
            for parked in turn.close().into_values() {
                self.shared.window.resume();
                self.hand_over(parked.give_up());
            }
        }
    }

    /// Gives a batch to the committer, which outlives every worker.
    fn hand_over(&self, finished: Finished) {
        self.shared.window.rest();
        let _ = self.finished.send(Message::Finished(Box::new(finished)));
    }

    /// Puts a batch aside. What is ready need not wait for it.
    fn rest(&self) {
        if self.shared.window.rest() {
            // A full channel has news for the committer anyway.
            let _ = self.finished.try_send(Message::Idle);
        }
    }
}

/// Puts a batch aside until its delay is over.
fn wait_to_retry(shared: &Arc<Shared>, mut piece: Work, delay: Duration) {
    let task_shared = Arc::clone(shared);
    piece.batch.busy = None;
    shared.suspend(async move {
        let mut signal = task_shared.options.shutdown.clone();
        tokio::select! {
            () = task_shared.options.clock.sleep(delay) => {}
            () = signal.reached(Phase::Stopping) => {}
        }
        piece.batch.busy = Some(task_shared.options.clock.busy());
        send_back(piece);
    });
}

/// Runs a waiting stage on the runtime, retries included, and gives the batch back.
fn wait_for_stage(shared: &Arc<Shared>, mut piece: Work, committer: Sender<Message>, seed: u64) {
    let task_shared = Arc::clone(shared);
    // A stage that does more than wait for the clock says so itself.
    piece.batch.busy = None;
    shared.suspend(async move {
        let shared = task_shared;
        let mut random = Random::seeded(seed);
        let mut signal = shared.options.shutdown.clone();
        let step = &shared.steps[piece.batch.step];
        let scribe = Scribe { journal: &shared.journal, committer: &committer };
        loop {
            let round = run_waiting(&shared, &mut piece.batch, step, Some(&scribe), &mut random);
            let delay = tokio::select! {
                delay = round => delay,
                () = signal.reached(Phase::Stopping) => break,
            };
            let Some(delay) = delay else {
                piece.batch.step += 1;
                break;
            };
            tokio::select! {
                () = shared.options.clock.sleep(delay) => {}
                () = signal.reached(Phase::Stopping) => break,
            }
        }
        piece.batch.busy = Some(shared.options.clock.busy());
        send_back(piece);
    });
}

fn send_back(piece: Work) {
    let back = piece.back.clone();
    // The channel has room for every batch that the window admits, so this never blocks a runtime thread. It
    // fails only when every worker has panicked, and then the count of what came back shows it.
    let _ = back.send(Work { fresh: false, ..piece });
}
