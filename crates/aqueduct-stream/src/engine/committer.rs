use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use aqueduct_core::{Counts, Fence, Instant, Item, PartitionId, Payload, Position, Revision, failpoint};
use aqueduct_store::{Advance, Commit, CommitError, Rows, Store};
use crossbeam_channel::Receiver;
use tokio::runtime::Handle;

use super::journal::Waiting;
use super::shared::Shared;
use super::state::Kept;
use super::window::Share;
use super::work::{Message, Work};
use crate::batch::{Failure, Finished, StepLog, Until};
use crate::error::{RunError, SinkError};
use crate::every::Since;
use crate::guarantee::Guarantee;
use crate::sink::table::{Shape, push_row};
use crate::sink::{Encoded, Sink};
use crate::source::{Acknowledge, Chunk, Decode};

/// A sink on the committer's side.
pub(super) enum Output {
    /// A file or a pipe.
    Direct(Box<dyn Sink>),
    /// Rows in one of the databases; 0 is the ledger's.
    Table { shape: Arc<Shape>, store: usize },
}

/// A database and our claim on it. The first holds the ledger.
pub(super) struct Database {
    pub(super) store: Box<dyn Store>,
    pub(super) fence: Fence,
    /// The tables that this run has named in a commit already.
    pub(super) tables: Vec<String>,
}

/// Makes epochs of finished batches, in the order of the input, and makes them durable.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) pipeline: String,
    pub(super) runtime: Handle,
    pub(super) outputs: Vec<Output>,
    pub(super) databases: Vec<Database>,
    pub(super) revisions: HashMap<PartitionId, Revision>,
    /// What ordered stages have in the ledger.
    pub(super) kept: Vec<Kept>,
    /// How many checkpoints this run has recorded.
    pub(super) recorded: u64,
    /// The commits with a checkpoint, the oldest first.
    pub(super) checkpoints: VecDeque<u64>,
    /// Adds columns that a table lacks.
    pub(super) widen: bool,
    /// Who is told what is committed.
    pub(super) acknowledges: Option<Arc<dyn Acknowledge>>,
    /// The input is dead letters.
    pub(super) replays: bool,
    /// Positions are committed before the work.
    pub(super) ahead: bool,
    pub(super) guarantee: Guarantee,
    pub(super) epoch: u64,
    /// When the run began.
    pub(super) begun: Instant,
}

/// What the committer gives back when there is nothing more to commit.
pub(super) struct CommitterEnd {
    pub(super) databases: Vec<Database>,
    /// What is committed, and what was read and is not.
    pub(super) counts: Counts,
    pub(super) epochs: u64,
    pub(super) batches: u64,
    pub(super) checkpoints: u64,
    pub(super) failure: Option<RunError>,
    /// What is used up, where that ended the run.
    pub(super) exhausted: Option<String>,
}

impl Committer {
    pub(super) fn run(mut self, finished: &Receiver<Message>) -> CommitterEnd {
        let mut early: BTreeMap<u64, Finished> = BTreeMap::new();
        let mut ready: Vec<Finished> = Vec::new();
        let mut totals = Totals::default();
        let mut next = 0;
        let mut since = Since::new(self.begun);
        while let Ok(first) = finished.recv() {
            let mut ahead = Vec::new();
            for message in std::iter::once(first).chain(finished.try_iter()) {
                match message {
                    Message::Finished(batch) => {
                        early.insert(batch.sequence, *batch);
                    }
                    Message::Ahead(work) => ahead.push(*work),
                    Message::Journal | Message::Idle => {}
                }
            }
            self.write_journal(&mut totals);
            if !ahead.is_empty() {
                self.go_ahead(ahead, &mut totals);
            }
            while let Some(batch) = early.remove(&next) {
                ready.push(batch);
                next += 1;
            }
            while totals.goes_on() && !ready.is_empty() && self.is_due(&ready, since) {
                let size = self.epoch_size(&ready, since);
                let epoch: Vec<Finished> = ready.drain(..size).collect();
                let checkpoint = self.is_checkpoint(&epoch, &mut since);
                self.commit(epoch, checkpoint, &mut totals);
            }
            if !totals.goes_on() {
                // Nothing is committed any more; what still comes in is counted and let go.
                self.shared.fail();
                for batch in ready.drain(..).chain(std::mem::take(&mut early).into_values()) {
                    totals.give_up(&self.shared, &batch);
                }
            }
        }
        // The channel is closed: everything has come in. A gap is left only by a batch that was given up.
        let size = ready.iter().take_while(|batch| batch.results.is_some()).count();
        let rest = ready.split_off(size);
        if totals.goes_on() && !ready.is_empty() {
            let checkpoint = self.is_checkpoint(&ready, &mut since);
            self.commit(ready, checkpoint, &mut totals);
        }
        for batch in rest.into_iter().chain(early.into_values()) {
            totals.give_up(&self.shared, &batch);
        }
        if self.ahead && totals.failure.is_none() && totals.counts.in_flight > 0 {
            self.abandon(&mut totals);
        }
        CommitterEnd {
            databases: self.databases,
            counts: totals.counts,
            epochs: totals.epochs,
            batches: totals.batches,
            checkpoints: self.recorded,
            failure: totals.failure,
            exhausted: totals.exhausted,
        }
    }

    /// Makes all answers that wait durable with one sync, and tells who waits. A run that ends on one item keeps the answers to
    /// others for the next run; when the ledger has failed nobody is told, and their items are given up.
    fn write_journal(&mut self, totals: &mut Totals) {
        let waiting = self.shared.journal.take();
        if waiting.is_empty() || totals.broken {
            return;
        }
        let (entries, kept) = Waiting::split(waiting);
        let ledger = &mut self.databases[0];
        match self.runtime.block_on(ledger.store.journal(&self.pipeline, ledger.fence, entries)) {
            Ok(()) => {
                for answer in kept {
                    // Gone when the batch was given up in the meantime; the answer is kept all the same.
                    let _ = answer.send(());
                }
            }
            Err(error) => totals.breaks(error.into()),
        }
    }

    /// Commits the positions of batches, then hands them to the workers.
    fn go_ahead(&mut self, ahead: Vec<Work>, totals: &mut Totals) {
        let mut epoch = Epoch::default();
        for work in &ahead {
            let chunk = &work.batch.chunk;
            epoch.advance(&*self.shared.decoder, chunk, None);
            epoch.counts.read += chunk.items as u64 + work.batch.dropped;
            epoch.counts.in_flight += chunk.items as u64;
            epoch.counts.dropped += work.batch.dropped;
        }
        let counts = epoch.counts;
        if totals.goes_on() {
            if let Err(error) = self.write(epoch, false) {
                totals.breaks(error);
            }
            totals.epochs += 1;
        }
        if !totals.goes_on() {
            self.shared.fail();
            totals.counts += counts;
            for work in ahead {
                let chunk = work.batch.chunk;
                self.shared.window.rest();
                self.shared.window.leave(Share { items: chunk.items, bytes: chunk.weight });
            }
            return;
        }
        totals.counts.read += counts.dropped;
        totals.counts.dropped += counts.dropped;
        for work in ahead {
            let back = work.back.clone();
            // Room for every batch that the window admits; it fails only when every worker has panicked.
            let _ = back.send(work);
        }
    }

    /// Notes that what was committed ahead and then given up will never be worked on.
    fn abandon(&mut self, totals: &mut Totals) {
        let given_up = std::mem::take(&mut totals.counts.in_flight);
        totals.counts.abandoned += given_up;
        let at = self.shared.options.clock.wall();
        let mut commit = Commit::new(&self.pipeline, self.databases[0].fence, at);
        commit.counts.abandoned = given_up;
        commit.landed = given_up;
        totals.failure =
            self.runtime.block_on(self.databases[0].store.commit(commit)).err().map(RunError::from);
    }

    /// Whether enough has been done since the last checkpoint for another one.
    fn is_interval_over(&self, since: &Since, now: Instant) -> bool {
        self.shared.options.checkpoint_interval.is_over(since, now, self.revisions.len() as u64)
    }

    /// Adds an epoch to what was done since the last checkpoint, and tells whether it gets one. One that a run ends with
    /// before the end of its input gets one: people want to look at that place, and perhaps to come back to it.
    fn is_checkpoint(&self, epoch: &[Finished], since: &mut Since) -> bool {
        epoch.iter().for_each(|batch| since.add(batch.chunk.items, batch.chunk.weight));
        let stops = epoch.iter().filter_map(|batch| batch.results.as_ref()).any(|done| done.stop.is_some());
        let now = self.shared.options.clock.now();
        let checkpoint = stops || self.is_interval_over(since, now);
        if checkpoint {
            *since = Since::new(now);
        }
        checkpoint
    }

    /// How many of these batches it takes to the next checkpoint, if there are enough.
    fn to_checkpoint(&self, ready: &[Finished], mut since: Since) -> Option<usize> {
        let now = self.shared.options.clock.now();
        let reached = |batch: &Finished| {
            since.add(batch.chunk.items, batch.chunk.weight);
            self.is_interval_over(&since, now)
        };
        ready.iter().position(reached).map(|last| last + 1)
    }

    /// An epoch is due when it is large enough, or nobody works on more, or it must not grow.
    fn is_due(&self, ready: &[Finished], since: Since) -> bool {
        let options = &self.shared.options;
        if ready[0].results.is_none() {
            return false;
        }
        let stops = |batch: &Finished| batch.results.as_ref().is_none_or(|results| results.stop.is_some());
        ready.len() >= options.epoch_batches
            || ready.iter().map(|batch| batch.chunk.weight).sum::<usize>() >= options.epoch_bytes
            || ready.iter().any(stops)
            || (options.checkpoints_exact && self.to_checkpoint(ready, since).is_some())
            || self.shared.window.is_idle()
    }

    /// How many of the ready batches go into one epoch: up to the first that stops, and not too many.
    fn epoch_size(&self, ready: &[Finished], since: Since) -> usize {
        let exact = self.shared.options.checkpoints_exact;
        let most = exact.then(|| self.to_checkpoint(ready, since)).flatten().unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut size = 0;
        for batch in ready {
            let Some(results) = &batch.results else { break };
            size += 1;
            bytes += batch.chunk.weight;
            let full =
                size >= self.shared.options.epoch_batches || bytes >= 4 * self.shared.options.epoch_bytes;
            if results.stop.is_some() || full || size >= most {
                break;
            }
        }
        size
    }

    /// Makes one epoch durable, or notes why it is not.
    fn commit(&mut self, epoch: Vec<Finished>, checkpoint: bool, totals: &mut Totals) {
        let mut work = Epoch::default();
        let mut covered = Vec::with_capacity(epoch.len());
        let mut batches = 0;
        let mut failure: Option<Failure> = None;
        for batch in epoch {
            let Some(results) = batch.results else { continue };
            let decoder = &self.shared.decoder;
            batches += u64::from(results.until != Until::Nothing);
            let (offset, left) = match results.until {
                Until::Nothing => (None, batch.chunk.items as u64),
                Until::Offset(offset) => {
                    (Some(Some(offset)), (batch.chunk.items as u64) - results.counts.read)
                }
                Until::End => (Some(None), 0),
            };
            if let Some(offset) = offset.filter(|_| !batch.replayed && !self.ahead) {
                work.advance(&**decoder, &batch.chunk, offset);
            }
            if self.ahead {
                work.landed += results.counts.read + left;
                work.counts.read += left;
                work.counts.abandoned += left;
            }
            work.counts += results.counts;
            work.letters.extend(results.letters);
            work.logs.extend(results.logs);
            work.resolved.extend(results.resolved);
            work.consumed.extend(results.consumed);
            work.encoded.push(results.encoded);
            failure = failure.or(results.stop);
            let left = if self.ahead { 0 } else { left };
            covered.push((Share { items: batch.chunk.items, bytes: batch.chunk.weight }, left));
        }
        let counts = work.counts;
        match self.write(work, checkpoint) {
            Ok(()) => {
                totals.counts += counts;
                totals.epochs += 1;
                totals.batches += batches;
                let left = covered.iter().map(|(_, left)| left).sum::<u64>();
                totals.counts.read += left;
                totals.counts.in_flight += left;
                self.shared.options.progress.committed(&counts);
                match failure {
                    Some(failure) if failure.ends => totals.exhausted = Some(failure.source.to_string()),
                    Some(Failure { stage, item, source, .. }) => {
                        totals.failure = Some(RunError::Item { stage, item, source });
                    }
                    None => {}
                }
            }
            Err(error) => {
                let items = covered.iter().map(|(share, _)| share.items as u64).sum::<u64>();
                totals.counts.read += items;
                totals.counts.in_flight += items;
                totals.breaks(error);
            }
        }
        for (share, _) in covered {
            self.shared.window.leave(share);
        }
    }

    /// Writes one epoch in the order of decision 0001: files, second databases, the ledger.
    fn write(&mut self, epoch: Epoch, checkpoint: bool) -> Result<(), RunError> {
        epoch.counts.check()?;
        if epoch.positions.is_empty() && epoch.resolved.is_empty() && epoch.landed == 0 {
            return Ok(());
        }
        let at = self.shared.options.clock.wall();
        let mut commits: Vec<Commit> =
            self.databases.iter().map(|database| Commit::new(&self.pipeline, database.fence, at)).collect();
        self.shape(&epoch.encoded)?;
        for encoded in epoch.encoded {
            for (at, (output, encoded)) in self.outputs.iter_mut().zip(encoded).enumerate() {
                match (output, encoded) {
                    (Output::Direct(sink), Encoded::Bytes { bytes, items }) => sink.append(&bytes, items)?,
                    (Output::Table { store, .. }, Encoded::Rows(rows)) => commits[*store].rows.push(rows),
                    (Output::Table { store, shape }, Encoded::Unshaped(records)) => {
                        commits[*store].rows.extend(rows_of(shape, &records)?);
                    }
                    (Output::Direct(sink), Encoded::Unshaped(records)) if sink.is_shaped() => {
                        let (bytes, items) = bytes_of(sink.as_ref(), &self.shared.sinks[at].name, records)?;
                        sink.append(&bytes, items)?;
                    }
                    // Items came, so there is a shape; without items there is nothing to write.
                    (Output::Direct(_), Encoded::Unshaped(records)) if records.is_empty() => {}
                    // Encoders come from the sinks themselves; a mismatch is a bug of a sink outside this crate.
                    (Output::Direct(_), _) | (Output::Table { .. }, Encoded::Bytes { .. }) => {
                        let sink = self.shared.sinks[at].name.to_string();
                        let message =
                            "its encoder does not give what the sink takes; mend the sink".to_owned();
                        return Err(SinkError::Table { sink, message }.into());
                    }
                }
            }
        }
        for output in &mut self.outputs {
            if let Output::Direct(sink) = output {
                commits[0].files.extend(sink.seal()?);
            }
        }
        for (database, commit) in self.databases.iter_mut().zip(commits.iter_mut()).skip(1) {
            if commit.rows.iter().any(|rows| !rows.is_empty()) {
                add_tables(commit, &mut database.tables);
                commit.widen = self.widen;
                let commit = std::mem::replace(commit, Commit::new("", database.fence, at));
                self.runtime.block_on(database.store.commit(commit))?;
                failpoint::hit("second-store-after")
                    .map_err(|error| CommitError::Backend(Box::new(error)))?;
            }
        }
        self.epoch += 1;
        let mut ledger = commits.swap_remove(0);
        add_tables(&mut ledger, &mut self.databases[0].tables);
        ledger.widen = self.widen;
        ledger.dead_letters = epoch.letters;
        if self.guarantee == Guarantee::AtLeastOnce {
            // Results first, the position after, each in a transaction of its own.
            let mut first = Commit::new(&self.pipeline, self.databases[0].fence, at);
            std::mem::swap(&mut first.rows, &mut ledger.rows);
            std::mem::swap(&mut first.tables, &mut ledger.tables);
            first.widen = self.widen;
            if !first.rows.is_empty() {
                self.runtime.block_on(self.databases[0].store.commit(first))?;
                self.epoch += 1;
            }
        }
        let committed: Vec<_> = match &self.acknowledges {
            Some(_) => epoch.positions.iter().map(|(partition, (to, _))| (*partition, to.clone())).collect(),
            None => Vec::new(),
        };
        for (partition, (to, next_item)) in epoch.positions {
            let from = self.revisions.entry(partition).or_default();
            ledger.advances.push(Advance { partition, from: *from, to, next_item });
            *from = from.next();
        }
        ledger.consumed = epoch.consumed;
        ledger.counts = epoch.counts;
        if epoch.landed > 0 {
            // They were counted as read when their position was committed.
            ledger.counts.read -= epoch.landed;
            ledger.landed = epoch.landed;
        }
        if self.replays {
            // They were read long ago, and leave the total of dead letters instead.
            ledger.counts.read -= epoch.resolved.len() as u64;
            ledger.resolved = epoch.resolved;
        }
        ledger.retention = self.shared.options.retention.clone();
        if checkpoint {
            ledger.checkpoint = Some(format!("epoch-{}", self.epoch));
            self.checkpoints.push_back(self.epoch);
            let surplus = self.checkpoints.len().saturating_sub(ledger.retention.checkpoints.max(1));
            self.checkpoints.drain(..surplus);
        }
        let oldest = self.checkpoints.front().copied().unwrap_or(0);
        for kept in &mut self.kept {
            let changes = kept.commit(self.epoch, oldest, &epoch.logs);
            if !failpoint::sabotaged("state-not-committed") {
                ledger.state.extend(changes);
            }
        }
        if failpoint::sabotaged("acknowledged-first") {
            self.acknowledge(&committed)?;
        }
        self.runtime.block_on(self.databases[0].store.commit(ledger))?;
        self.recorded += u64::from(checkpoint);
        for output in &mut self.outputs {
            if let Output::Direct(sink) = output {
                sink.committed()?;
            }
        }
        self.acknowledge(&committed)
    }

    /// Tells the source how far each partition is committed.
    fn acknowledge(&self, committed: &[(PartitionId, Position)]) -> Result<(), RunError> {
        for (partition, position) in committed {
            failpoint::hit("acknowledge-before").map_err(|error| CommitError::Backend(Box::new(error)))?;
            if let Some(source) = &self.acknowledges {
                self.runtime.block_on(source.committed(*partition, position))?;
            }
        }
        Ok(())
    }

    /// Fixes the columns of tables and files that have none yet, from the first batch that has rows for them.
    fn shape(&self, encoded: &[Vec<Encoded>]) -> Result<(), RunError> {
        let mut waiting = false;
        for (at, output) in self.outputs.iter().enumerate() {
            let shaped = match output {
                Output::Table { shape, .. } => shape.table().is_some(),
                Output::Direct(sink) => sink.is_shaped(),
            };
            if !shaped {
                let first = encoded.iter().find_map(|sinks| match &sinks[at] {
                    Encoded::Unshaped(records) if !records.is_empty() => Some(records),
                    _ => None,
                });
                match (first, output) {
                    (Some(records), Output::Table { shape, .. }) => {
                        shape.fix_from(records)?;
                    }
                    (Some(records), Output::Direct(sink)) => sink.shape(records)?,
                    (None, _) => waiting = true,
                }
            }
        }
        if !waiting {
            self.shared.window.widen();
        }
        Ok(())
    }
}

/// An epoch in the making.
#[derive(Default)]
struct Epoch {
    /// By partition, the position and the least id that may come behind it.
    positions: BTreeMap<PartitionId, (Position, String)>,
    counts: Counts,
    letters: Vec<aqueduct_store::DeadLetter>,
    logs: Vec<StepLog>,
    resolved: Vec<(String, String)>,
    consumed: Vec<String>,
    /// Items whose positions were committed before.
    landed: u64,
    encoded: Vec<Vec<Encoded>>,
}

impl Epoch {
    /// Moves a position to an offset in a chunk, or to its end.
    fn advance(&mut self, decoder: &dyn Decode, chunk: &Chunk, offset: Option<u64>) {
        let position = decoder.position(chunk, offset);
        let next = decoder.item_id(chunk.partition, offset.unwrap_or(chunk.end));
        self.positions.insert(chunk.partition, (position, next.to_string()));
    }
}

#[derive(Default)]
struct Totals {
    counts: Counts,
    epochs: u64,
    batches: u64,
    failure: Option<RunError>,
    exhausted: Option<String>,
    /// A write has failed, and no other may follow.
    broken: bool,
}

impl Totals {
    /// A write failed.
    fn breaks(&mut self, error: RunError) {
        self.broken = true;
        self.failure.get_or_insert(error);
    }

    /// Whether anything is still committed.
    fn goes_on(&self) -> bool {
        self.failure.is_none() && self.exhausted.is_none()
    }

    fn give_up(&mut self, shared: &Shared, batch: &Finished) {
        self.counts.read += batch.chunk.items as u64;
        self.counts.in_flight += batch.chunk.items as u64;
        shared.window.leave(Share { items: batch.chunk.items, bytes: batch.chunk.weight });
    }
}

/// Makes rows of items that were encoded before the table had its columns.
fn rows_of(
    shape: &Shape,
    records: &[(aqueduct_core::ItemId, aqueduct_core::Record)],
) -> Result<Option<Rows>, RunError> {
    let Some(table) = shape.table() else { return Ok(None) };
    let mut rows = Rows::new(Arc::clone(table));
    for (id, record) in records {
        push_row(&mut rows, id, record).map_err(|error| RunError::Item {
            stage: format!("table {}", table.name),
            item: id.to_string(),
            source: Box::new(error),
        })?;
    }
    Ok(Some(rows))
}

/// Encodes items that came before their file had its columns.
fn bytes_of(
    sink: &dyn Sink,
    name: &str,
    records: Vec<(aqueduct_core::ItemId, aqueduct_core::Record)>,
) -> Result<(Vec<u8>, u64), RunError> {
    let encoder = sink.encoder();
    let mut encoded = encoder.start();
    for (id, record) in records {
        let item = Item { id, payload: Payload::Record(record) };
        encoder.encode(&item, &mut encoded).map_err(|error| RunError::Item {
            stage: format!("sink {name}"),
            item: item.id.to_string(),
            source: Box::new(error),
        })?;
    }
    match encoded {
        Encoded::Bytes { bytes, items } => Ok((bytes, items)),
        _ => Ok((Vec::new(), 0)),
    }
}

/// The first commit of a run with rows for a table names it, so that it is there and as it should be.
fn add_tables(commit: &mut Commit, known: &mut Vec<String>) {
    commit.rows.retain(|rows| !rows.is_empty());
    for rows in &commit.rows {
        let table = rows.table();
        if !known.contains(&table.name) {
            known.push(table.name.clone());
            commit.tables.push((**table).clone());
        }
    }
}
