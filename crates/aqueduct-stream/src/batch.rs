//! A batch on its way through the stages.

use aqueduct_core::{Busy, Classified, Counts, ErrorClass, Item, Payload, Timestamp};
use aqueduct_store::{DeadLetter, Original};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::error::StageError;
use crate::rule::OnError;
use crate::sink::Encoded;
use crate::source::{Chunk, ChunkContent};
use crate::stage::{Emission, Lane, Outcome};

/// One chunk and what has become of its items so far.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Its place in the order of the input, over all partitions.
    pub(crate) sequence: u64,
    pub(crate) chunk: Chunk,
    /// Items that were let go just before it; its position lies behind them.
    pub(crate) dropped: u64,
    /// It needs no decoding.
    pub(crate) decoded: bool,
    /// It comes from dead letters, and moves no position.
    pub(crate) replayed: bool,
    /// The inputs, in their order; slots and events name them by index.
    pub(crate) inputs: Vec<Input>,
    pub(crate) slots: Vec<Slot>,
    /// The stage that comes next.
    pub(crate) step: usize,
    pub(crate) events: Vec<(u32, Event)>,
    pub(crate) letters: Vec<(u32, DeadLetter)>,
    /// What ordered stages want to remember of it.
    pub(crate) logs: Vec<StepLog>,
    /// Items with an answer in the journal, and the inputs that they come from.
    pub(crate) journalled: Vec<(u32, String)>,
    /// The first input on which the run must stop, and why.
    pub(crate) cut: Option<(u32, Failure)>,
    /// Held while the batch is worked on, and not while it waits.
    pub(crate) busy: Option<Busy>,
}

/// One input of a batch.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) offset: u64,
    pub(crate) original: Bytes,
    /// The dead letter that it comes from; boxed, since few do.
    pub(crate) prior: Option<Box<Prior>>,
}

/// What a replayed dead letter said.
#[derive(Debug)]
pub(crate) struct Prior {
    /// Item and stage.
    pub(crate) key: (String, String),
    pub(crate) original: Original,
    pub(crate) attempts: u32,
    pub(crate) first: Timestamp,
}

/// An item on its way, and where it came from.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) item: Item,
    pub(crate) input: u32,
    /// The way it is on.
    pub(crate) lane: Lane,
    /// The first stage that it has not been through.
    pub(crate) step: usize,
    /// The ordinal of its next child.
    children: u32,
    pub(crate) attempts: u32,
    first_failure: Option<(aqueduct_core::Instant, Timestamp)>,
    last_delay: std::time::Duration,
    gone: bool,
}

/// What happened to an input's items, beyond the plain way of one to one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Spawned(u32),
    Skipped,
    DeadLettered,
}

/// The notes that one ordered stage appended for the items of one batch.
#[derive(Debug)]
pub(crate) struct StepLog {
    pub(crate) step: usize,
    pub(crate) notes: Vec<u8>,
    /// The input of each item, and where its notes end; inputs never fall.
    pub(crate) ends: Vec<(u32, usize)>,
    /// How far the stage is behind the batch, and how far back it looks.
    pub(crate) reached: u64,
    pub(crate) needed: u64,
}

impl StepLog {
    /// Forgets the notes of inputs from `cut` on.
    fn cut(mut self, cut: u32) -> Self {
        let kept = self.ends.partition_point(|(input, _)| *input < cut);
        self.notes.truncate(kept.checked_sub(1).map_or(0, |last| self.ends[last].1));
        self
    }
}

/// An item on which the run stops.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: String,
    pub(crate) item: String,
    /// Nothing is wrong: the run has used what it may.
    pub(crate) ends: bool,
    pub(crate) source: Box<dyn std::error::Error + Send + Sync>,
}

/// A batch behind its last stage, on its way to the committer.
pub(crate) struct Finished {
    pub(crate) sequence: u64,
    pub(crate) chunk: Chunk,
    /// It comes from dead letters, and moves no position.
    pub(crate) replayed: bool,
    /// What it became; `None` when the run was stopped before it was worked on.
    pub(crate) results: Option<Results>,
}

pub(crate) struct Results {
    pub(crate) counts: Counts,
    /// One for each sink.
    pub(crate) encoded: Vec<Encoded>,
    pub(crate) letters: Vec<DeadLetter>,
    pub(crate) logs: Vec<StepLog>,
    /// Dead letters that this is what became of, by item and stage.
    pub(crate) resolved: Vec<(String, String)>,
    /// Items whose answers in the journal nobody needs any more.
    pub(crate) consumed: Vec<String>,
    /// How far the batch goes: to the chunk's end, or to an offset in it; `None` when not even its first item.
    pub(crate) until: Until,
    pub(crate) stop: Option<Failure>,
}

/// How much of a chunk a batch covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Nothing,
    Offset(u64),
    End,
}

impl Slot {
    pub(crate) fn new(item: Item, input: u32) -> Self {
        Self {
            item,
            input,
            lane: Lane::Main,
            step: 0,
            children: 0,
            attempts: 0,
            first_failure: None,
            last_delay: std::time::Duration::ZERO,
            gone: false,
        }
    }

    fn child(&mut self, payload: Payload) -> Self {
        let id = self.item.id.child(self.children);
        self.children += 1;
        Self { lane: self.lane, ..Self::new(Item { id, payload }, self.input) }
    }

    /// Puts it on a way, in front of a stage, with so many children born already.
    pub(crate) fn enter(&mut self, step: usize, lane: Lane, children: u32) {
        (self.step, self.lane, self.children) = (step, lane, children);
    }

    /// Whether it waits for this stage: it is on the stage's way and has not been through it.
    pub(crate) fn waits_for(&self, step: usize, lane: Lane) -> bool {
        self.step <= step && self.lane == lane
    }

    /// What the retry schedule needs to know about this item: when it failed first, and its last wait.
    pub(crate) fn failed_at(
        &mut self,
        now: aqueduct_core::Instant,
        wall: Timestamp,
    ) -> (aqueduct_core::Instant, Timestamp) {
        *self.first_failure.get_or_insert((now, wall))
    }

    pub(crate) fn last_delay(&self) -> std::time::Duration {
        self.last_delay
    }

    pub(crate) fn waits(&mut self, delay: std::time::Duration) {
        self.last_delay = delay;
    }
}

impl Batch {
    pub(crate) fn new(sequence: u64, chunk: Chunk) -> Self {
        Self {
            sequence,
            chunk,
            dropped: 0,
            decoded: false,
            replayed: false,
            inputs: Vec::new(),
            slots: Vec::new(),
            step: 0,
            events: Vec::new(),
            letters: Vec::new(),
            logs: Vec::new(),
            journalled: Vec::new(),
            cut: None,
            busy: None,
        }
    }

    /// Gives the outcome of a stage to the item at `index`. More than one result is put aside in `extra`,
    /// with the index it belongs behind, and joined by [`Batch::settle`].
    pub(crate) fn apply(
        &mut self,
        index: usize,
        outcome: Outcome,
        exits: &[Lane],
        lane_named: &dyn Fn(&str) -> Option<Lane>,
        extra: &mut Vec<(usize, Vec<Slot>)>,
    ) -> Result<(), StageError> {
        let step = self.step;
        let slot = &mut self.slots[index];
        match outcome {
            Outcome::Keep => slot.advance(step),
            Outcome::Send(target) => {
                let Some(lane) = exits.get(target) else {
                    let message =
                        format!("the stage sent an item to target {target}, and lists {}", exits.len());
                    return Err(StageError::new(ErrorClass::Internal, message));
                };
                slot.lane = *lane;
                slot.advance(step);
            }
            Outcome::Emit(payload) => {
                slot.item.payload = payload;
                slot.advance(step);
            }
            Outcome::Skip(_) => {
                slot.gone = true;
                self.events.push((slot.input, Event::Skipped));
            }
            Outcome::Many(emissions) => return self.apply_many(index, emissions, lane_named, extra),
        }
        Ok(())
    }

    fn apply_many(
        &mut self,
        index: usize,
        emissions: Vec<Emission>,
        lane_named: &dyn Fn(&str) -> Option<Lane>,
        extra: &mut Vec<(usize, Vec<Slot>)>,
    ) -> Result<(), StageError> {
        let step = self.step;
        // Look up all targets first: an outcome takes effect as a whole or not at all.
        for emission in &emissions {
            if let Emission::To(name, _) = emission
                && lane_named(name).is_none()
            {
                return Err(unknown_target(name));
            }
        }
        let slot = &mut self.slots[index];
        let total = u32::try_from(emissions.len()).unwrap_or(u32::MAX);
        let onward = emissions.iter().filter(|emission| !matches!(emission, Emission::To(..))).count();
        let mut children = Vec::new();
        let mut kept = false;
        for emission in emissions {
            match emission {
                Emission::Keep if !kept => kept = true,
                // An item cannot be in flight twice under one id.
                Emission::Keep => {
                    return Err(StageError::new(
                        ErrorClass::Internal,
                        "the stage kept the item twice in one outcome",
                    ));
                }
                Emission::Next(payload) if onward == 1 => {
                    slot.item.payload = payload;
                    kept = true;
                }
                Emission::Next(payload) => {
                    let mut child = slot.child(payload);
                    child.advance(step);
                    children.push(child);
                }
                Emission::To(name, payload) => {
                    let mut child = slot.child(payload);
                    child.lane = lane_named(&name).unwrap_or_default();
                    child.advance(step);
                    children.push(child);
                }
            }
        }
        if kept {
            slot.advance(step);
        } else {
            slot.gone = true;
        }
        match total {
            0 => self.events.push((slot.input, Event::Skipped)),
            1 => {}
            n => self.events.push((slot.input, Event::Spawned(n - 1))),
        }
        if !children.is_empty() {
            extra.push((index, children));
        }
        Ok(())
    }

    /// Ends an item by the rule of a stage. `payload` tells whether it had one.
    pub(crate) fn fail(
        &mut self,
        index: usize,
        stage: &str,
        error: StageError,
        on_error: OnError,
        now: Timestamp,
    ) {
        let slot = &mut self.slots[index];
        slot.gone = true;
        let input = slot.input;
        match on_error {
            OnError::Skip => self.events.push((input, Event::Skipped)),
            OnError::DeadLetter => {
                let mut payload = Vec::new();
                let payload = slot.item.payload.write_json(&mut payload).ok().map(|()| Bytes::from(payload));
                let prior = self.inputs[input as usize].prior.as_deref();
                let first = slot.first_failure.map_or(now, |(_, wall)| wall);
                let letter = DeadLetter {
                    item_id: slot.item.id.to_string(),
                    stage: stage.to_owned(),
                    class: error.class(),
                    reason: in_words(&error),
                    attempts: prior.map_or(0, |prior| prior.attempts) + slot.attempts.max(1),
                    children: slot.children,
                    first: prior.map_or(first, |prior| prior.first),
                    last: now,
                    payload,
                    original: self.original(input),
                };
                self.letters.push((input, letter));
                self.events.push((input, Event::DeadLettered));
            }
            OnError::Stop | OnError::Retry => {
                let item = slot.item.id.to_string();
                let ends = error.ends();
                self.stop_at(input, Failure { stage: stage.to_owned(), item, ends, source: Box::new(error) });
            }
        }
    }

    /// The run stops in front of this input; the earliest one wins.
    pub(crate) fn stop_at(&mut self, input: u32, failure: Failure) {
        if self.cut.as_ref().is_none_or(|(cut, _)| input < *cut) {
            self.cut = Some((input, failure));
        }
    }

    /// The bytes that an input came as.
    pub(crate) fn original(&self, input: u32) -> Original {
        let of = &self.inputs[input as usize];
        if let Some(prior) = &of.prior {
            return prior.original.clone();
        }
        match &self.chunk.content {
            ChunkContent::Bytes { .. } if of.original.len() > ORIGINAL_BYTES_MAX => Original::Cut {
                offset: of.offset,
                bytes: of.original.len() as u64,
                sha256: Sha256::digest(&of.original).into(),
                head: of.original.slice(..ORIGINAL_BYTES_MAX),
            },
            ChunkContent::Bytes { .. } => Original::Whole(of.original.clone()),
            ChunkContent::Oversize { bytes, sha256, head, .. } => {
                Original::Cut { offset: of.offset, bytes: *bytes, sha256: *sha256, head: head.clone() }
            }
        }
    }

    /// Drops what is gone or behind the cut, and puts additional results in their places.
    pub(crate) fn settle(&mut self, extra: Vec<(usize, Vec<Slot>)>) {
        if !extra.is_empty() {
            let mut extra = extra.into_iter().peekable();
            let old = std::mem::take(&mut self.slots);
            self.slots.reserve(old.len() + 8);
            for (index, slot) in old.into_iter().enumerate() {
                self.slots.push(slot);
                if let Some((_, children)) = extra.next_if(|(at, _)| *at == index) {
                    self.slots.extend(children);
                }
            }
        }
        let cut = self.cut.as_ref().map_or(u32::MAX, |(cut, _)| *cut);
        self.slots.retain(|slot| !slot.gone && slot.input < cut);
    }

    /// The counts of everything in front of the cut, deliveries aside.
    pub(crate) fn counts(&self) -> Counts {
        let cut = self.cut.as_ref().map(|(cut, _)| *cut);
        let mut counts = Counts { read: cut.map_or(self.chunk.items as u64, u64::from), ..Counts::default() };
        for (_, event) in self.events.iter().filter(|(input, _)| cut.is_none_or(|cut| *input < cut)) {
            match event {
                Event::Spawned(more) => counts.spawned += u64::from(*more),
                Event::Skipped => counts.skipped += 1,
                Event::DeadLettered => counts.dead_lettered += 1,
            }
        }
        counts
    }

    /// The dead letters that everything in front of the cut came from.
    pub(crate) fn take_resolved(&mut self) -> Vec<(String, String)> {
        let cut = self.cut.as_ref().map_or(self.inputs.len(), |(cut, _)| *cut as usize);
        self.inputs.drain(..cut).filter_map(|input| input.prior.map(|prior| prior.key)).collect()
    }

    /// What ordered stages want to remember of everything in front of the cut.
    pub(crate) fn take_logs(&mut self) -> Vec<StepLog> {
        let logs = std::mem::take(&mut self.logs);
        match &self.cut {
            None => logs,
            Some((cut, _)) => logs.into_iter().map(|log| log.cut(*cut)).collect(),
        }
    }

    /// The items in front of the cut that have an answer in the journal.
    pub(crate) fn take_journalled(&mut self) -> Vec<String> {
        let cut = self.cut.as_ref().map_or(u32::MAX, |(cut, _)| *cut);
        let all = std::mem::take(&mut self.journalled);
        all.into_iter().filter(|(input, _)| *input < cut).map(|(_, item)| item).collect()
    }

    pub(crate) fn until(&self) -> Until {
        match &self.cut {
            None => Until::End,
            Some((0, _)) => Until::Nothing,
            Some((cut, _)) => Until::Offset(self.inputs[*cut as usize].offset),
        }
    }
}

impl Slot {
    fn advance(&mut self, step: usize) {
        self.step = step + 1;
        self.attempts = 0;
        self.first_failure = None;
        self.last_delay = std::time::Duration::ZERO;
    }
}

/// A stage that sends results where it never said it would.
fn unknown_target(name: &str) -> StageError {
    let message = format!("the stage sent a result to {name}, which it does not list among its targets");
    StageError::new(ErrorClass::Internal, message)
}

/// The largest original that a dead letter keeps whole; of a larger one the head is kept.
const ORIGINAL_BYTES_MAX: usize = 64 * 1024;

/// An error and its causes in one line, for dead letters.
pub(crate) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
