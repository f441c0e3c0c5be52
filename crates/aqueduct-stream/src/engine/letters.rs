//! Dead letters as input: read in pages from one moment of the ledger, back on their way at the stage that failed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Instant, Item, ItemId, PartitionId, Payload, Phase, Record};
use aqueduct_store::{DeadLetter, DeadLetterFilter, Original, SqliteStore, Store};
use bytes::Bytes;
use crossbeam_channel::Sender;
use sha2::{Digest, Sha256};

use super::reader::ReaderEnd;
use super::shared::Shared;
use super::window::Share;
use super::work::Work;
use crate::batch::{Batch, Event, Input, Prior, Slot, in_words};
use crate::config::Replay;
use crate::error::RunError;
use crate::rule::OnError;
use crate::source::{Chunk, ChunkContent, Source};
use crate::stage::Lane;

/// With a rate, so many batches a second, so that items come evenly.
const BATCHES_A_SECOND: f64 = 10.0;

/// Reads dead letters and hands them to the workers.
pub(super) struct Letters {
    store: SqliteStore,
    pipeline: String,
    replay: Replay,
    /// Reads items again that were too large to keep.
    source: Box<dyn Source>,
    /// Whether the source has looked at its files, which rows without a header of their own need.
    listed: bool,
    /// The names of all partitions that were ever read.
    partitions: BTreeMap<PartitionId, String>,
}

impl Letters {
    /// Opens the ledger a second time: what the replay itself sets aside is not read again by it.
    pub(super) async fn open(
        ledger: &Path,
        pipeline: &str,
        replay: Replay,
        source: Box<dyn Source>,
        partitions: BTreeMap<PartitionId, String>,
    ) -> Result<Self, RunError> {
        let store = SqliteStore::open_snapshot(ledger).await?;
        Ok(Self { store, pipeline: pipeline.to_owned(), replay, source, listed: false, partitions })
    }

    pub(super) fn read(mut self, shared: &Arc<Shared>, work: &Sender<Work>) -> ReaderEnd {
        match self.read_all(shared, work) {
            Ok(end) => end,
            Err(error) => ReaderEnd::Failed(error),
        }
    }

    fn read_all(&mut self, shared: &Arc<Shared>, work: &Sender<Work>) -> Result<ReaderEnd, RunError> {
        let begun = shared.options.clock.now();
        let mut sequence = 0;
        let mut given = 0_u64;
        let mut left = shared.options.limit.unwrap_or(u64::MAX);
        let mut after = None;
        loop {
            let size = self.batch_size(shared);
            let limit = size.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1);
            let filter = DeadLetterFilter { after, limit: Some(limit), ..self.replay.filter.clone() };
            let page = shared.runtime.block_on(self.store.dead_letters(&self.pipeline, filter))?;
            let Some(last) = page.last() else { return Ok(ReaderEnd::Exhausted) };
            if left == 0 {
                return Ok(ReaderEnd::Limited);
            }
            after = Some((last.item_id.clone(), last.stage.clone()));
            left -= page.len() as u64;
            self.wait_for_rate(shared, begun, given);
            if shared.phase() != Phase::Running {
                return Ok(ReaderEnd::Asked);
            }
            given += page.len() as u64;
            let batch = self.batch(shared, sequence, page)?;
            if batch.inputs.is_empty() {
                continue;
            }
            sequence += 1;
            let share = Share { items: batch.chunk.items, bytes: batch.chunk.weight };
            shared.window.enter(share);
            shared.options.progress.read(batch.chunk.items as u64, batch.chunk.weight as u64);
            if work.send(Work { batch, fresh: true, back: work.clone() }).is_err() {
                return Err(RunError::Thread { thread: "worker" });
            }
        }
    }

    fn batch_size(&self, shared: &Shared) -> usize {
        let most = shared.options.batch_items;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate that was checked to be positive; the cast saturates"
        )]
        let even = self.replay.rate.map_or(most, |rate| (rate / BATCHES_A_SECOND).ceil() as usize);
        even.clamp(1, most)
    }

    /// Waits until the letters given so far are no more than the rate allows.
    fn wait_for_rate(&self, shared: &Shared, begun: Instant, given: u64) {
        let Some(rate) = self.replay.rate else { return };
        #[expect(clippy::cast_precision_loss, reason = "a count of letters, for a wait")]
        let due = Duration::try_from_secs_f64(given as f64 / rate).unwrap_or(Duration::MAX);
        let wait = due.saturating_sub(shared.options.clock.now().since(begun));
        if wait.is_zero() {
            return;
        }
        let mut signal = shared.options.shutdown.clone();
        shared.runtime.block_on(async {
            tokio::select! {
                () = shared.options.clock.sleep(wait) => {}
                () = signal.reached(Phase::Draining) => {}
            }
        });
    }

    /// Puts letters back on their way; those whose stage is gone stay where they are and are counted.
    fn batch(&mut self, shared: &Shared, sequence: u64, page: Vec<DeadLetter>) -> Result<Batch, RunError> {
        let chunk = Chunk {
            partition: PartitionId(0),
            offset: 0,
            end: 0,
            line: 0,
            items: 0,
            weight: 0,
            content: ChunkContent::Bytes { bytes: Bytes::new(), unterminated: false },
        };
        let mut batch = Batch::new(sequence, chunk);
        (batch.replayed, batch.decoded) = (true, true);
        for letter in page {
            let (step, lane) = match place(shared, &letter.stage) {
                Some(place) => place,
                None => {
                    shared.leave(&letter.stage);
                    continue;
                }
            };
            let input = u32::try_from(batch.inputs.len()).expect("a batch has at most a million items");
            let id: ItemId = letter.item_id.parse().map_err(|error| RunError::Letter {
                item: letter.item_id.clone(),
                stage: letter.stage.clone(),
                reason: format!("{error}"),
            })?;
            let record = match &letter.payload {
                Some(payload) => Record::parse(payload.clone()).map_err(|error| in_words(&error)),
                None => self
                    .decode(shared, &id, &letter.original)?
                    .map_err(|reason| on_its_line(&letter.reason, reason)),
            };
            batch.chunk.items += 1;
            batch.chunk.weight += letter.payload.as_ref().map_or(0, Bytes::len) + 64;
            let record = match record {
                Ok(record) => Some(record),
                Err(reason) => {
                    fail_again(shared, &mut batch, input, &letter, reason);
                    None
                }
            };
            if let Some(record) = record {
                let mut slot = Slot::new(Item { id, payload: Payload::Record(record) }, input);
                slot.enter(step, lane, letter.children);
                batch.slots.push(slot);
            }
            let prior = Prior {
                key: (letter.item_id, letter.stage),
                original: letter.original,
                attempts: letter.attempts,
                first: letter.first,
            };
            batch.inputs.push(Input {
                offset: u64::from(input),
                original: Bytes::new(),
                prior: Some(Box::new(prior)),
            });
        }
        batch.settle(Vec::new());
        Ok(batch)
    }

    /// Reads what never was a record. The inner error is the letter's, the outer one the run's.
    fn decode(
        &mut self,
        shared: &Shared,
        id: &ItemId,
        original: &Original,
    ) -> Result<Result<Record, String>, RunError> {
        if !std::mem::replace(&mut self.listed, true) {
            // A letter holds its bytes, so the input need not be there any more. Where it is needed, that shows.
            let _ = self.source.partitions();
        }
        let bytes = match original {
            Original::Whole(bytes) => bytes.clone(),
            Original::Cut { offset, bytes, sha256, .. } => {
                let partition = self.partitions.get(&id.partition()).cloned().unwrap_or_default();
                let read = self.source.reread(&partition, *offset, *bytes)?;
                let digest: [u8; 32] = Sha256::digest(&read).into();
                if digest != *sha256 {
                    return Ok(Err(format!("{partition} holds other bytes at {offset} now")));
                }
                read
            }
        };
        Ok(shared.decoder.decode_original(&bytes).map_err(|error| in_words(&error)))
    }
}

/// An item that is decoded by itself is on line 1 of itself; the letter knows better.
fn on_its_line(before: &str, now: String) -> String {
    let line = before.split_once(": ").map(|(line, _)| line).filter(|line| line.starts_with("line "));
    match (line, now.strip_prefix("line 1: ")) {
        (Some(line), Some(rest)) => format!("{line}: {rest}"),
        _ => now,
    }
}

/// Where the letters of a stage go on: its number and its way.
fn place(shared: &Shared, stage: &str) -> Option<(usize, Lane)> {
    if stage == "source" {
        return Some((0, Lane::Main));
    }
    if let Some(at) = shared.steps.iter().position(|step| &*step.name == stage) {
        return Some((at, shared.steps[at].lane));
    }
    let sink = shared.sinks.iter().position(|sink| &*sink.name == stage)?;
    Some((shared.steps.len(), Lane::Sink(u16::try_from(sink).ok()?)))
}

/// A letter from the source that still is no record: set aside again, or left out, or the run stops.
fn fail_again(shared: &Shared, batch: &mut Batch, input: u32, letter: &DeadLetter, reason: String) {
    let now = shared.options.clock.wall();
    shared.source_stats.failed(1);
    match shared.source_rule {
        OnError::Skip => batch.events.push((input, Event::Skipped)),
        OnError::DeadLetter | OnError::Stop | OnError::Retry => {
            // A replay is asked for by a person, who sees the letter again; stopping would help nobody.
            let again = DeadLetter { reason, attempts: letter.attempts + 1, last: now, ..letter.clone() };
            batch.letters.push((input, again));
            batch.events.push((input, Event::DeadLettered));
        }
    }
}
