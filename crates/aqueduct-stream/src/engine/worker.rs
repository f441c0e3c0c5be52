use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass, Item, Payload, Phase, Random, Record, failpoint};
use aqueduct_retry::{Attempt, Next};
use crossbeam_channel::{Receiver, Sender};
use futures_util::{FutureExt, StreamExt, stream};

use super::turn::Entry;
use super::{Message, Shared, give_up};
use crate::batch::{Batch, Event, Failure, Finished, Input, Results, Slot, StepLog};
use crate::error::StageError;
use crate::rule::{OnError, Rule};
use crate::sink::Encoded;
use crate::stage::{OrderedStage, Outcome, Step, Work as StageWork, ordered};

/// A batch for a worker.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batch: Batch,
    /// Whether it comes from the reader; else it comes back from a wait.
    pub(super) fresh: bool,
    /// The way back to the workers.
    pub(super) back: Sender<Work>,
}

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
                wait_for_stage(&self.shared, piece, seed);
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
        self.hand_over(give_up(piece.batch));
        for turn in &self.shared.turns {
            for parked in turn.close().into_values() {
                self.shared.window.resume();
                self.hand_over(give_up(parked.batch));
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

pub(super) fn decode(shared: &Shared, batch: &mut Batch) {
    let started = shared.options.clock.now();
    let decoded = shared.decoder.decode(&batch.chunk);
    shared.source_stats.worked(decoded.len() as u64, shared.options.clock.now().since(started));
    batch.inputs.reserve(decoded.len());
    batch.slots.reserve(decoded.len());
    let mut failures = Vec::new();
    for item in decoded {
        let input = u32::try_from(batch.inputs.len()).expect("a batch has at most a million items");
        batch.inputs.push(Input { offset: item.offset, original: item.original, prior: None });
        let id = shared.decoder.item_id(batch.chunk.partition, item.offset);
        match item.record {
            Ok(record) => batch.slots.push(Slot::new(Item { id, payload: Payload::Record(record) }, input)),
            Err(error) => failures.push((id, input, error)),
        }
    }
    let now = shared.options.clock.wall();
    for (id, input, error) in failures {
        shared.source_stats.failed(1);
        match shared.source_rule {
            OnError::Skip => batch.events.push((input, Event::Skipped)),
            OnError::DeadLetter => {
                let letter = aqueduct_store::DeadLetter {
                    item_id: id.to_string(),
                    stage: "source".to_owned(),
                    class: error.class(),
                    reason: crate::batch::in_words(&error),
                    attempts: 1,
                    children: 0,
                    first: now,
                    last: now,
                    payload: None,
                    original: batch.original(input),
                };
                batch.letters.push((input, letter));
                batch.events.push((input, Event::DeadLettered));
            }
            OnError::Stop | OnError::Retry => {
                let failure =
                    Failure { stage: "the source".to_owned(), item: id.to_string(), source: Box::new(error) };
                batch.stop_at(input, failure);
            }
        }
    }
    batch.settle(Vec::new());
    shared.source_stats.gave(batch.slots.len() as u64);
    if failpoint::sabotaged("item-lost") && batch.sequence == 3 {
        batch.slots.pop();
    }
}

/// Runs a stage over every item that waits for it. Gives the wait when some have to be tried again.
pub(super) fn run_sync(
    shared: &Shared,
    batch: &mut Batch,
    step: &Step,
    random: &mut Random,
) -> Option<Duration> {
    let StageWork::Sync(stage) = &step.work else { return None };
    let stats = &shared.step_stats[batch.step];
    let started = shared.options.clock.now();
    let mut pass = Pass::new(shared, step);
    let mut worked = 0_u64;
    for index in 0..batch.slots.len() {
        let slot = &batch.slots[index];
        if !slot.waits_for(batch.step, step.lane) {
            continue;
        }
        worked += 1;
        // A stage that panics has spoilt this item only: it gets a shared reference, and what it may have left
        // half-changed inside itself is its own.
        let result = catch_unwind(AssertUnwindSafe(|| stage.apply(&slot.item)));
        pass.take(batch, index, result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))), random);
    }
    stats.worked(worked, shared.options.clock.now().since(started));
    pass.end(batch)
}

/// Runs an ordered stage over every item that waits for it. It is the batch's turn.
pub(super) fn run_ordered(
    shared: &Shared,
    batch: &mut Batch,
    step: &Step,
    stage: &Mutex<dyn OrderedStage>,
    random: &mut Random,
) {
    let stats = &shared.step_stats[batch.step];
    let started = shared.options.clock.now();
    let now = shared.options.clock.wall();
    let mut stage = ordered(stage);
    let mut pass = Pass::new(shared, step);
    let mut log = StepLog { step: batch.step, notes: Vec::new(), ends: Vec::new(), reached: 0, needed: 0 };
    let mut worked = 0_u64;
    for index in 0..batch.slots.len() {
        let slot = &batch.slots[index];
        if !slot.waits_for(batch.step, step.lane) {
            continue;
        }
        worked += 1;
        let input = slot.input;
        let before = log.notes.len();
        let result = catch_unwind(AssertUnwindSafe(|| stage.apply(&slot.item, now, &mut log.notes)));
        match result {
            Ok(Ok(outcome)) => pass.take(batch, index, Ok(outcome), random),
            Ok(Err(error)) => {
                log.notes.truncate(before);
                pass.fail_for_good(batch, index, error);
            }
            Err(panic) => {
                log.notes.truncate(before);
                // What it remembers may be half-changed, so nothing after this may build on it.
                let error = panicked(panic.as_ref());
                let item = batch.slots[index].item.id.to_string();
                let stage = step.name.to_string();
                batch.stop_at(input, Failure { stage, item, source: Box::new(error) });
            }
        }
        log.ends.push((input, log.notes.len()));
    }
    (log.reached, log.needed) = (stage.reached(), stage.needed());
    drop(stage);
    stats.worked(worked, shared.options.clock.now().since(started));
    if !log.notes.is_empty() {
        batch.logs.push(log);
    }
    pass.end(batch);
}

/// One pass of a stage over a batch: outcomes are given to items, failures to the rule.
struct Pass<'a> {
    shared: &'a Shared,
    step: &'a Step,
    extra: Vec<(usize, Vec<Slot>)>,
    delay: Option<Duration>,
    given: u64,
}

impl<'a> Pass<'a> {
    fn new(shared: &'a Shared, step: &'a Step) -> Self {
        Self { shared, step, extra: Vec::new(), delay: None, given: 0 }
    }

    #[inline]
    fn take(
        &mut self,
        batch: &mut Batch,
        index: usize,
        result: Result<Outcome, StageError>,
        random: &mut Random,
    ) {
        let lane_named = |name: &str| self.shared.ways.lane(name);
        let result = result.and_then(|outcome| {
            let given = outcome.len();
            batch.apply(index, outcome, &self.step.exits, &lane_named, &mut self.extra).map(|()| given)
        });
        match result {
            Ok(given) => self.given += given,
            Err(error) => self.fail(batch, index, error, random),
        }
    }

    #[cold]
    fn fail(&mut self, batch: &mut Batch, index: usize, error: StageError, random: &mut Random) {
        let Rule { on_error, schedule } = &self.step.rule;
        let clock = &self.shared.options.clock;
        let (now, wall) = (clock.now(), clock.wall());
        self.shared.step_stats[batch.step].failed(1);
        let slot = &mut batch.slots[index];
        slot.attempts += 1;
        let (first, _) = slot.failed_at(now, wall);
        let on_error = if error.stops() { OnError::Stop } else { *on_error };
        if !error.stops() && (error.class().is_retryable() || on_error == OnError::Retry) {
            let failed = Attempt {
                number: slot.attempts,
                elapsed: now.since(first),
                previous_delay: slot.last_delay(),
                retry_after: error.retry_after(),
            };
            if let Next::Wait(delay) = schedule.next(&failed, random) {
                slot.waits(delay);
                batch.retries += 1;
                self.shared.options.progress.retried(1);
                self.delay = Some(self.delay.map_or(delay, |longest| longest.max(delay)));
                return;
            }
        }
        batch.fail(index, &self.step.name, error, on_error, wall);
    }

    /// Ends an item by the rule, without another attempt.
    #[cold]
    fn fail_for_good(&mut self, batch: &mut Batch, index: usize, error: StageError) {
        self.shared.step_stats[batch.step].failed(1);
        let wall = self.shared.options.clock.wall();
        batch.slots[index].attempts += 1;
        batch.fail(index, &self.step.name, error, self.step.rule.on_error, wall);
    }

    fn end(self, batch: &mut Batch) -> Option<Duration> {
        self.shared.step_stats[batch.step].gave(self.given);
        batch.settle(self.extra);
        // What waits may have been behind a cut.
        let step = batch.step;
        let lane = self.step.lane;
        let waits = batch.slots.iter().any(|slot| slot.waits_for(step, lane));
        self.delay.filter(|_| waits)
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> StageError {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    StageError::new(ErrorClass::Internal, format!("the stage panicked: {text}"))
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
fn wait_for_stage(shared: &Arc<Shared>, mut piece: Work, seed: u64) {
    let task_shared = Arc::clone(shared);
    // A stage that does more than wait for the clock says so itself.
    piece.batch.busy = None;
    shared.suspend(async move {
        let shared = task_shared;
        let mut random = Random::seeded(seed);
        let mut signal = shared.options.shutdown.clone();
        let step = &shared.steps[piece.batch.step];
        loop {
            let round = run_waiting(&shared, &mut piece.batch, step, &mut random);
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

/// One round of a waiting stage over the items that wait for it.
pub(super) async fn run_waiting(
    shared: &Shared,
    batch: &mut Batch,
    step: &Step,
    random: &mut Random,
) -> Option<Duration> {
    let stats = &shared.step_stats[batch.step];
    let clock = &shared.options.clock;
    let waiting: Vec<usize> =
        (0..batch.slots.len()).filter(|index| batch.slots[*index].waits_for(batch.step, step.lane)).collect();
    let mut results: Vec<(usize, Result<Outcome, StageError>)> = match &step.work {
        StageWork::Sync(_) | StageWork::Ordered(_) => Vec::new(),
        StageWork::Async(stage, permits) => {
            let slots = &batch.slots;
            stream::iter(waiting)
                .map(|index| async move {
                    // The semaphore is never closed.
                    let _permit = permits.acquire().await;
                    let started = clock.now();
                    let result = AssertUnwindSafe(stage.apply(&slots[index].item)).catch_unwind().await;
                    stats.worked(1, clock.now().since(started));
                    (index, result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
                })
                .buffer_unordered(stage.concurrency().max(1))
                .collect()
                .await
        }
        StageWork::Batch(stage) => {
            let items: Vec<&Item> = waiting.iter().map(|index| &batch.slots[*index].item).collect();
            let started = clock.now();
            let result = AssertUnwindSafe(stage.apply(&items)).catch_unwind().await;
            stats.worked(items.len() as u64, clock.now().since(started));
            spread(waiting, result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
        }
    };
    results.sort_unstable_by_key(|(index, _)| *index);
    let mut pass = Pass::new(shared, step);
    for (index, result) in results {
        pass.take(batch, index, result, random);
    }
    pass.end(batch)
}

/// Gives each item of a batch call its own result.
fn spread(
    waiting: Vec<usize>,
    result: Result<Vec<Result<Outcome, StageError>>, StageError>,
) -> Vec<(usize, Result<Outcome, StageError>)> {
    match result {
        Ok(outcomes) if outcomes.len() == waiting.len() => waiting.into_iter().zip(outcomes).collect(),
        Ok(outcomes) => {
            let text = format!("the stage gave {} outcomes for {} items", outcomes.len(), waiting.len());
            let error = || StageError::new(ErrorClass::Internal, text.clone());
            waiting.into_iter().map(|index| (index, Err(error()))).collect()
        }
        Err(error) => {
            let text = crate::batch::in_words(&error);
            waiting
                .into_iter()
                .map(|index| {
                    let mut each = StageError::new(error.class(), text.clone());
                    if let Some(wait) = error.retry_after() {
                        each = each.with_retry_after(wait);
                    }
                    (index, Err(each))
                })
                .collect()
        }
    }
}

/// Encodes what is left for every sink it goes to, and adds up what happened.
fn finish(shared: &Shared, mut batch: Batch) -> Finished {
    let now = shared.options.clock.wall();
    let encoded = loop {
        match encode(shared, &mut batch, now) {
            Some(encoded) => break encoded,
            // An input cannot go into a sink whose rule is to stop: once more without it and what follows.
            None => batch.settle(Vec::new()),
        }
    };
    let mut counts = batch.counts();
    counts.delivered = encoded.iter().map(Encoded::items).sum();
    let until = batch.until();
    let cut = batch.cut.as_ref().map_or(u32::MAX, |(cut, _)| *cut);
    let logs = batch.take_logs();
    let resolved = if batch.replayed { batch.take_resolved() } else { Vec::new() };
    let letters =
        batch.letters.into_iter().filter(|(input, _)| *input < cut).map(|(_, letter)| letter).collect();
    let results = Results {
        counts,
        encoded,
        letters,
        logs,
        resolved,
        retries: batch.retries,
        until,
        stop: batch.cut.map(|(_, failure)| failure),
    };
    Finished {
        sequence: batch.sequence,
        chunk: batch.chunk,
        replayed: batch.replayed,
        results: Some(results),
    }
}

/// `None` when a sink's rule stops the run; the batch is cut then.
pub(super) fn encode(
    shared: &Shared,
    batch: &mut Batch,
    now: aqueduct_core::Timestamp,
) -> Option<Vec<Encoded>> {
    let mut encoded: Vec<Encoded> = shared.sinks.iter().map(|sink| sink.encoder.start()).collect();
    let mut failures: Vec<(usize, usize, StageError)> = Vec::new();
    let mut spawned = Vec::new();
    for (index, slot) in batch.slots.iter().enumerate() {
        let takers = shared.takers(slot.lane);
        let [first, others @ ..] = takers else {
            failures.push((index, usize::MAX, no_way(slot)));
            continue;
        };
        // A typed payload is written once, however many sinks it goes to.
        let shared_item;
        let item = match &slot.item.payload {
            Payload::Typed(_) if !others.is_empty() => match slot.item.payload.record() {
                Ok(record) => {
                    let record: Record = record.into_owned();
                    shared_item = Item { id: slot.item.id.clone(), payload: Payload::Record(record) };
                    &shared_item
                }
                Err(_) => &slot.item,
            },
            _ => &slot.item,
        };
        if !others.is_empty() {
            let more = u32::try_from(others.len()).unwrap_or(u32::MAX);
            spawned.push((slot.input, Event::Spawned(more)));
        }
        for at in std::iter::once(first).chain(others) {
            if let Err(error) = shared.sinks[*at].encoder.encode(item, &mut encoded[*at]) {
                failures.push((index, *at, error));
            }
        }
    }
    // A stop takes everything back, so look for one before any failure takes effect.
    for (index, at, error) in &failures {
        let sink = shared.sinks.get(*at);
        if sink.is_none_or(|sink| matches!(sink.on_error, OnError::Stop | OnError::Retry)) {
            let slot = &batch.slots[*index];
            let failure = Failure {
                stage: sink.map_or_else(|| "the route".to_owned(), |sink| format!("sink {}", sink.name)),
                item: slot.item.id.to_string(),
                source: Box::new(StageError::new(error.class(), crate::batch::in_words(error))),
            };
            let input = slot.input;
            batch.stop_at(input, failure);
            return None;
        }
    }
    batch.events.extend(spawned);
    for (index, at, error) in failures {
        let sink = &shared.sinks[at];
        batch.fail(index, &sink.name, error, sink.on_error, now);
    }
    Some(encoded)
}

/// The item came to the end of a way that has no sink, because a stage that says it sends all items elsewhere
/// did not.
fn no_way(slot: &Slot) -> StageError {
    let message =
        format!("item {} came to the end of a way without a sink; a stage let it pass", slot.item.id);
    StageError::new(ErrorClass::Internal, message)
}
