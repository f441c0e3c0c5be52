//! One stage over one batch: outcomes are given to items, failures to the rule.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass, Item, Random, Timestamp};
use aqueduct_retry::{Attempt, Next};
use futures_util::{FutureExt, StreamExt, stream};

use super::journal::Scribe;
use super::shared::Shared;
use crate::batch::{Batch, Failure, Slot, StepLog};
use crate::error::StageError;
use crate::rule::{OnError, Rule};
use crate::stage::{AsyncStage, OrderedStage, Outcome, Step, Work as StageWork, ordered};

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
                batch.stop_at(input, Failure { stage, item, ends: false, source: Box::new(error) });
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
        slot.attempts = slot.attempts.saturating_add(error.attempts());
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
                self.shared.options.progress.retried(1);
                self.delay = Some(self.delay.map_or(delay, |longest| longest.max(delay)));
                return;
            }
        }
        self.end_item(batch, index, error, on_error, wall);
    }

    /// Ends an item by the rule, unless too many were ended already.
    fn end_item(&self, batch: &mut Batch, index: usize, error: StageError, rule: OnError, wall: Timestamp) {
        let (error, rule) = match rule {
            OnError::Stop | OnError::Retry => (error, rule),
            OnError::Skip | OnError::DeadLetter => match self.shared.leave_behind(error) {
                Ok(error) => (error, rule),
                Err(reached) => (reached.into(), OnError::Stop),
            },
        };
        batch.fail(index, &self.step.name, error, rule, wall);
    }

    /// Ends an item by the rule, without another attempt.
    #[cold]
    fn fail_for_good(&mut self, batch: &mut Batch, index: usize, error: StageError) {
        self.shared.step_stats[batch.step].failed(1);
        let wall = self.shared.options.clock.wall();
        batch.slots[index].attempts += 1;
        let on_error = if error.stops() { OnError::Stop } else { self.step.rule.on_error };
        self.end_item(batch, index, error, on_error, wall);
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

/// One round of a waiting stage over the items that wait for it.
pub(super) async fn run_waiting(
    shared: &Shared,
    batch: &mut Batch,
    step: &Step,
    scribe: Option<&Scribe<'_>>,
    random: &mut Random,
) -> Option<Duration> {
    let scribe = scribe.filter(|_| step.journalled);
    let stats = &shared.step_stats[batch.step];
    let clock = &shared.options.clock;
    let waiting: Vec<usize> =
        (0..batch.slots.len()).filter(|index| batch.slots[*index].waits_for(batch.step, step.lane)).collect();
    let mut results: Vec<(usize, Result<Outcome, StageError>)> = match &step.work {
        StageWork::Sync(_) | StageWork::Ordered(_) => Vec::new(),
        // Everything was left out before it.
        StageWork::Batch(_) if waiting.is_empty() => Vec::new(),
        StageWork::Async(stage, permits) => {
            let slots = &batch.slots;
            stream::iter(waiting)
                .map(|index| async move {
                    // The semaphore is never closed.
                    let _permit = permits.acquire().await;
                    let item = &slots[index].item;
                    let started = clock.now();
                    let work = answer(stage.as_ref(), &step.name, item, scribe);
                    let result = AssertUnwindSafe(work).catch_unwind().await;
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
    if scribe.is_some() {
        let answered = results.iter().filter(|(_, result)| result.is_ok());
        let items = answered
            .map(|(index, _)| &batch.slots[*index])
            .map(|slot| (slot.input, slot.item.id.to_string()));
        batch.journalled.extend(items);
    }
    let mut pass = Pass::new(shared, step);
    for (index, result) in results {
        pass.take(batch, index, result, random);
    }
    pass.end(batch)
}

/// The answer of a stage to one item: the kept one, or a new one that is kept first.
async fn answer(
    stage: &dyn AsyncStage,
    name: &str,
    item: &Item,
    scribe: Option<&Scribe<'_>>,
) -> Result<Outcome, StageError> {
    let Some(scribe) = scribe else { return stage.apply(item).await };
    if let Some(kept) = scribe.recall(name, item)? {
        return Ok(kept);
    }
    let outcome = stage.apply(item).await?;
    scribe.keep(name, item, &outcome).await?;
    Ok(outcome)
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
        Err(error) => waiting.into_iter().map(|index| (index, Err(error.duplicate()))).collect(),
    }
}
