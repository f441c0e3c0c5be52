//! From a chunk to a batch of items.

use aqueduct_core::{Classified, Item, Payload, failpoint};

use super::shared::Shared;
use crate::batch::{Batch, Event, Failure, Input, Slot};
use crate::rule::OnError;

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
        let admitted: Result<_, Box<dyn std::error::Error + Send + Sync>> = match shared.source_rule {
            OnError::Skip | OnError::DeadLetter => shared.leave_behind(error).map_err(Into::into),
            OnError::Stop | OnError::Retry => Err(error.into()),
        };
        match admitted {
            Ok(_) if shared.source_rule == OnError::Skip => batch.events.push((input, Event::Skipped)),
            Ok(error) => {
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
            Err(source) => {
                let stage = "the source".to_owned();
                let failure = Failure { stage, item: id.to_string(), ends: false, source };
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
