//! From a batch behind its last stage to what the sinks take.

use aqueduct_core::{Classified, ErrorClass, Item, Payload, Record};

use super::shared::Shared;
use crate::batch::{Batch, Event, Failure, Finished, Results, Slot};
use crate::error::StageError;
use crate::rule::OnError;
use crate::sink::Encoded;

/// Encodes what is left for every sink it goes to, and adds up what happened.
pub(super) fn finish(shared: &Shared, mut batch: Batch) -> Finished {
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
    let consumed = batch.take_journalled();
    let resolved = if batch.replayed { batch.take_resolved() } else { Vec::new() };
    let letters =
        batch.letters.into_iter().filter(|(input, _)| *input < cut).map(|(_, letter)| letter).collect();
    let results = Results {
        counts,
        encoded,
        letters,
        logs,
        resolved,
        consumed,
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
        let error = StageError::new(error.class(), crate::batch::in_words(error));
        let stopping = match sink.map(|sink| sink.on_error) {
            Some(OnError::Skip | OnError::DeadLetter) => {
                shared.leave_behind(error).err().map(StageError::from)
            }
            Some(OnError::Stop | OnError::Retry) | None => Some(error),
        };
        if let Some(error) = stopping {
            let slot = &batch.slots[*index];
            let failure = Failure {
                stage: sink.map_or_else(|| "the route".to_owned(), |sink| format!("sink {}", sink.name)),
                item: slot.item.id.to_string(),
                ends: false,
                source: Box::new(error),
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
