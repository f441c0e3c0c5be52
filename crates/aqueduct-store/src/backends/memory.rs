mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aqueduct_core::{Counts, Fence, ItemId, PartitionId, Revision, SourceId, Timestamp};
use async_trait::async_trait;

use self::table::MemoryTable;
use crate::contract::{
    Checkpoint, CheckpointPosition, Claim, Claimed, Commit, FileMark, FoundTable, JournalEntry, Ledger,
    PartitionState, Rewind, RunOutcome, RunState, Store,
};
use crate::dead_letter::{DeadLetter, DeadLetterEdit, DeadLetterFilter, DeadLetterTotal, Purged};
use crate::error::{ClaimError, CommitError, EditError, ReadError};
use crate::retention::{Removed, Retention, Surplus, cutoff};
use crate::row::Value;

/// Keeps everything in memory: for tests and for runs whose results nobody keeps.
///
/// Clones share the data, so a second handle is what a restarted process would find. Nothing survives the
/// last handle.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    /// Guards all pipelines and tables; held for one call, never over an await.
    data: Arc<Mutex<Data>>,
}

#[derive(Debug, Default)]
struct Data {
    pipelines: BTreeMap<String, Pipeline>,
    tables: BTreeMap<String, MemoryTable>,
}

#[derive(Debug)]
struct Pipeline {
    fence: Fence,
    generation: u64,
    configuration: String,
    epoch: u64,
    counts: Counts,
    run: RunState,
    partitions: Vec<PartitionState>,
    /// The least id that an item behind each partition's position can have.
    next_items: BTreeMap<u32, String>,
    files: BTreeMap<(String, String), FileMark>,
    /// The names of the tables that this pipeline made or adopted, and how it writes them.
    tables: BTreeMap<String, crate::row::Table>,
    /// By item id, then stage.
    dead_letters: BTreeMap<(String, String), DeadLetter>,
    /// By stage, then key.
    state: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// By stage, item id and call.
    journal: BTreeMap<(String, String, u32), Vec<u8>>,
    /// Oldest first.
    checkpoints: Vec<Checkpoint>,
    /// What retention has removed.
    removed: Removed,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives all rows of a table in the order of its key, `item_id` first in each; empty when there is none.
    #[must_use]
    pub fn rows(&self, table: &str) -> Vec<Vec<Value>> {
        self.lock().tables.get(table).map(MemoryTable::rows).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        // Every change is checked before the first write, so a panic cannot leave half of one behind.
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn claim(&mut self, claim: Claim) -> Result<Claimed, ClaimError> {
        let mut data = self.lock();
        let run = RunState { started: claim.at, last_seen: claim.at, outcome: None };
        let pipeline = data
            .pipelines
            .entry(claim.pipeline.clone())
            .and_modify(|pipeline| {
                if pipeline.configuration != claim.configuration {
                    pipeline.generation += 1;
                }
            })
            .or_insert_with(|| Pipeline::new(run.clone()));
        pipeline.fence.0 += 1;
        pipeline.configuration = claim.configuration;
        pipeline.counts.abandoned += std::mem::take(&mut pipeline.counts.in_flight);
        pipeline.run = run;
        let partitions = claim.partitions.iter().map(|name| pipeline.partition(name)).collect();
        Ok(Claimed {
            fence: pipeline.fence,
            generation: pipeline.generation,
            partitions,
            ledger: pipeline.ledger(&claim.pipeline),
        })
    }

    async fn journal(
        &mut self,
        pipeline: &str,
        fence: Fence,
        entries: Vec<JournalEntry>,
    ) -> Result<(), CommitError> {
        let mut data = self.lock();
        let pipeline = data.fenced(pipeline, fence)?;
        for entry in entries {
            pipeline.journal.insert((entry.stage, entry.item_id, entry.call), entry.value);
        }
        Ok(())
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        let mut data = self.lock();
        data.check(&commit)?;
        data.apply(commit);
        Ok(())
    }

    async fn rewind(&mut self, pipeline: &str, fence: Fence, rewind: Rewind) -> Result<(), CommitError> {
        let mut data = self.lock();
        let data = &mut *data;
        let ranges = data.fenced(pipeline, fence)?.rewind(&rewind);
        for table in &rewind.tables {
            if let Some(table) = data.tables.get_mut(table) {
                table.remove_items(&ranges);
            }
        }
        Ok(())
    }

    async fn finish(
        &mut self,
        pipeline: &str,
        fence: Fence,
        outcome: RunOutcome,
        at: Timestamp,
    ) -> Result<(), CommitError> {
        let mut data = self.lock();
        let pipeline = data.fenced(pipeline, fence)?;
        pipeline.run.outcome = Some(outcome);
        pipeline.run.last_seen = at;
        Ok(())
    }

    async fn ledger(&mut self, pipeline: &str) -> Result<Option<Ledger>, ReadError> {
        Ok(self.lock().pipelines.get(pipeline).map(|found| found.ledger(pipeline)))
    }

    async fn dead_letters(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        let data = self.lock();
        Ok(data
            .pipelines
            .get(pipeline)
            .map(|found| found.page(&filter).cloned().collect())
            .unwrap_or_default())
    }

    async fn dead_letter_count(&mut self, pipeline: &str) -> Result<u64, ReadError> {
        let data = self.lock();
        Ok(data.pipelines.get(pipeline).map_or(0, |found| found.dead_letters.len() as u64))
    }

    async fn dead_letter_total(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<DeadLetterTotal, ReadError> {
        let data = self.lock();
        let letters = data.pipelines.get(pipeline).into_iter().flat_map(|found| found.dead_letters.values());
        let add = |total: DeadLetterTotal, letter: &DeadLetter| DeadLetterTotal {
            letters: total.letters + 1,
            bytes: total.bytes + letter.bytes(),
        };
        Ok(letters.filter(|letter| filter.admits(letter)).fold(DeadLetterTotal::default(), add))
    }

    async fn edit_dead_letter(&mut self, pipeline: &str, edit: DeadLetterEdit) -> Result<(), EditError> {
        let DeadLetterEdit { read, payload } = edit;
        let (item_id, stage) = (read.item_id.clone(), read.stage.clone());
        let mut data = self.lock();
        let key = (item_id.clone(), stage.clone());
        let found = data.pipelines.get_mut(pipeline).and_then(|pipeline| pipeline.dead_letters.get_mut(&key));
        match found {
            None => Err(EditError::Gone { item_id, stage }),
            Some(letter) if *letter != read => Err(EditError::Changed { item_id, stage }),
            Some(letter) => {
                letter.payload = Some(payload);
                Ok(())
            }
        }
    }

    async fn purge_dead_letters(
        &mut self,
        pipeline: &str,
        filter: DeadLetterFilter,
    ) -> Result<Purged, CommitError> {
        let mut data = self.lock();
        let Some(found) = data.pipelines.get_mut(pipeline) else { return Ok(Purged::default()) };
        let key = |letter: &DeadLetter| (letter.item_id.clone(), letter.stage.clone());
        let keys: Vec<(String, String)> = found.page(&filter).map(key).collect();
        keys.iter().for_each(|key| drop(found.dead_letters.remove(key)));
        Ok(Purged { letters: keys.len() as u64, last: keys.last().cloned() })
    }

    async fn retain(
        &mut self,
        pipeline: &str,
        retention: &Retention,
        at: Timestamp,
    ) -> Result<Removed, CommitError> {
        let mut data = self.lock();
        Ok(data.pipelines.get_mut(pipeline).map(|found| found.retain(retention, at)).unwrap_or_default())
    }

    async fn removed(&mut self, pipeline: &str) -> Result<Removed, ReadError> {
        Ok(self.lock().pipelines.get(pipeline).map(|found| found.removed).unwrap_or_default())
    }

    async fn forget(&mut self, pipeline: &str) -> Result<(), CommitError> {
        self.lock().pipelines.remove(pipeline);
        Ok(())
    }

    async fn checkpoints(&mut self, pipeline: &str) -> Result<Vec<Checkpoint>, ReadError> {
        Ok(self.lock().pipelines.get(pipeline).map(|found| found.checkpoints.clone()).unwrap_or_default())
    }

    async fn state(
        &mut self,
        pipeline: &str,
        stage: &str,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ReadError> {
        let data = self.lock();
        let state = data.pipelines.get(pipeline).and_then(|found| found.state.get(stage));
        let entries =
            state.into_iter().flatten().filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
        Ok(entries.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn journalled(&mut self, pipeline: &str) -> Result<Vec<JournalEntry>, ReadError> {
        let data = self.lock();
        let entries = data.pipelines.get(pipeline).into_iter().flat_map(|found| &found.journal);
        let entry = |((stage, item_id, call), value): (&(String, String, u32), &Vec<u8>)| JournalEntry {
            stage: stage.clone(),
            item_id: item_id.clone(),
            call: *call,
            value: value.clone(),
        };
        Ok(entries.map(entry).collect())
    }

    async fn table(&mut self, name: &str) -> Result<Option<FoundTable>, ReadError> {
        Ok(self.lock().tables.get(name).map(MemoryTable::found))
    }

    async fn close(self: Box<Self>) -> Result<(), ReadError> {
        Ok(())
    }
}

impl Data {
    fn fenced(&mut self, pipeline: &str, ours: Fence) -> Result<&mut Pipeline, CommitError> {
        match self.pipelines.get_mut(pipeline) {
            Some(found) if found.fence == ours => Ok(found),
            found => Err(CommitError::Fenced { ours, current: found.map_or(Fence(0), |found| found.fence) }),
        }
    }

    /// Finds every reason to refuse the epoch; afterwards [`Self::apply`] cannot fail.
    fn check(&self, commit: &Commit) -> Result<(), CommitError> {
        let pipeline = match self.pipelines.get(&commit.pipeline) {
            Some(found) if found.fence == commit.fence => found,
            found => {
                let current = found.map_or(Fence(0), |found| found.fence);
                return Err(CommitError::Fenced { ours: commit.fence, current });
            }
        };
        let mut fresh = BTreeMap::new();
        for table in &commit.tables {
            table.check_name()?;
            match self.tables.get(&table.name).or_else(|| fresh.get(&table.name)) {
                Some(found) => {
                    found.adopt(table, pipeline.tables.get(&table.name), commit.widen)?;
                }
                None => {
                    fresh.insert(table.name.clone(), MemoryTable::new(table.clone()));
                }
            }
        }
        let mut seen = BTreeSet::new();
        for rows in &commit.rows {
            let name = &rows.table().name;
            match self.tables.get(name).or_else(|| fresh.get(name)) {
                Some(found) => found.check(rows, &mut seen, commit.widen)?,
                None => return Err(CommitError::Backend(format!("no such table: {name}").into())),
            }
        }
        // An epoch may move one partition twice; the second move builds on the first.
        let mut revisions = BTreeMap::new();
        for advance in &commit.advances {
            let partition = advance.partition;
            let stored = pipeline.partitions.iter().find(|known| known.id == partition);
            let now = revisions.get(&partition).copied().or(stored.map(|known| known.revision));
            if now != Some(advance.from) {
                return Err(CommitError::Conflict { partition, expected: advance.from });
            }
            revisions.insert(partition, advance.from.next());
        }
        Ok(())
    }

    fn apply(&mut self, commit: Commit) {
        let Some(pipeline) = self.pipelines.get_mut(&commit.pipeline) else { return };
        for table in commit.tables {
            self.tables
                .entry(table.name.clone())
                .or_insert_with(|| MemoryTable::new(table.clone()))
                .widen(&table);
            pipeline.tables.insert(table.name.clone(), table);
        }
        for rows in commit.rows {
            if let Some(found) = self.tables.get_mut(&rows.table().name) {
                found.write(rows);
            }
        }
        if !commit.resolved.is_empty() {
            pipeline.checkpoints.clear();
        }
        for key in &commit.resolved {
            pipeline.dead_letters.remove(key);
        }
        for letter in commit.dead_letters {
            pipeline.dead_letters.insert((letter.item_id.clone(), letter.stage.clone()), letter);
        }
        for change in commit.state {
            let stage = pipeline.state.entry(change.stage).or_default();
            match change.value {
                Some(value) => stage.insert(change.key, value),
                None => stage.remove(&change.key),
            };
        }
        if !commit.consumed.is_empty() {
            let consumed: BTreeSet<String> = commit.consumed.into_iter().collect();
            pipeline.journal.retain(|(_, item_id, _), _| !consumed.contains(item_id));
        }
        for mark in commit.files {
            pipeline.files.insert((mark.sink.clone(), mark.part.clone()), mark);
        }
        for advance in commit.advances {
            if let Some(known) = pipeline.partitions.iter_mut().find(|known| known.id == advance.partition) {
                known.position = Some(advance.to);
                pipeline.next_items.insert(advance.partition.0, advance.next_item);
                known.revision = known.revision.next();
            }
        }
        pipeline.epoch += 1;
        pipeline.counts += commit.counts;
        pipeline.counts.in_flight = pipeline.counts.in_flight.saturating_sub(commit.landed);
        let resolved = commit.resolved.len() as u64;
        pipeline.counts.dead_lettered = pipeline.counts.dead_lettered.saturating_sub(resolved);
        pipeline.run.last_seen = commit.at;
        if let Some(name) = commit.checkpoint {
            pipeline.record(name, commit.at);
            pipeline.retain(&commit.retention, commit.at);
        }
    }
}

impl Pipeline {
    fn new(run: RunState) -> Self {
        Self {
            fence: Fence(0),
            generation: 1,
            configuration: String::new(),
            epoch: 0,
            counts: Counts::default(),
            run,
            partitions: Vec::new(),
            next_items: BTreeMap::new(),
            files: BTreeMap::new(),
            tables: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            state: BTreeMap::new(),
            journal: BTreeMap::new(),
            checkpoints: Vec::new(),
            removed: Removed::default(),
        }
    }

    /// Finds a partition by name, or gives it the next number.
    fn partition(&mut self, name: &str) -> PartitionState {
        if let Some(known) = self.partitions.iter().find(|known| known.name == name) {
            return known.clone();
        }
        let id = PartitionId(u32::try_from(self.partitions.len()).unwrap_or(u32::MAX));
        let fresh = PartitionState { id, name: name.to_owned(), position: None, revision: Revision(0) };
        self.partitions.push(fresh.clone());
        fresh
    }

    /// The letters of one page, in their order.
    fn page<'a>(&'a self, filter: &'a DeadLetterFilter) -> impl Iterator<Item = &'a DeadLetter> {
        let behind = |letter: &&DeadLetter| {
            filter.after.as_ref().is_none_or(|(id, stage)| (&letter.item_id, &letter.stage) > (id, stage))
        };
        let letters = self.dead_letters.values().filter(|letter| filter.admits(letter)).filter(behind);
        letters.take(filter.limit_or_default())
    }

    fn retain(&mut self, retention: &Retention, at: Timestamp) -> Removed {
        let before = self.checkpoints.len();
        let surplus = before.saturating_sub(retention.checkpoints.max(1));
        self.checkpoints.drain(..surplus);
        if let Some(age) = retention.checkpoint_age_max {
            let newest = self.checkpoints.last().map(|checkpoint| checkpoint.epoch);
            let cutoff = cutoff(at, age);
            self.checkpoints.retain(|checkpoint| checkpoint.at >= cutoff || Some(checkpoint.epoch) == newest);
        }
        let mut oldest: Vec<(Timestamp, (String, String), u64)> = self
            .dead_letters
            .iter()
            .map(|(key, letter)| (letter.last, key.clone(), letter.bytes()))
            .collect();
        oldest.sort_unstable();
        let bytes = oldest.iter().map(|(_, _, bytes)| bytes).sum();
        let mut left = Surplus { retention, at, letters: oldest.len() as u64, bytes };
        let most = usize::try_from(Retention::LETTERS_REMOVED_MAX).unwrap_or(usize::MAX);
        let gone: Vec<_> =
            oldest.into_iter().take(most).take_while(|(last, _, bytes)| left.takes(*last, *bytes)).collect();
        gone.iter().for_each(|(_, key, _)| drop(self.dead_letters.remove(key)));
        let removed = Removed {
            checkpoints: (before - self.checkpoints.len()) as u64,
            dead_letters: gone.len() as u64,
        };
        self.removed += removed;
        removed
    }

    fn record(&mut self, name: String, at: Timestamp) {
        let position = |known: &PartitionState| {
            Some(CheckpointPosition {
                partition: known.id.0,
                position: known.position.clone()?,
                next_item: self.next_items.get(&known.id.0).cloned().unwrap_or_default(),
            })
        };
        let positions = self.partitions.iter().filter_map(position).collect();
        let files = self.files.values().cloned().collect();
        self.checkpoints.retain(|checkpoint| checkpoint.name != name);
        self.checkpoints.push(Checkpoint {
            name,
            epoch: self.epoch,
            at,
            positions,
            files,
            counts: self.counts,
            configuration: self.configuration.clone(),
            damage: None,
        });
    }

    /// Goes back; gives for each partition the ids that lie behind its position, without the last.
    fn rewind(&mut self, to: &Rewind) -> Vec<Range<String>> {
        let mut ranges = Vec::with_capacity(self.partitions.len());
        for known in &mut self.partitions {
            let then = to.checkpoint.positions.iter().find(|then| then.partition == known.id.0);
            known.position = then.map(|then| then.position.clone());
            known.revision = known.revision.next();
            let first = |id: u32| ItemId::new(SourceId(0), PartitionId(id), 0).to_string();
            let from = then.map_or_else(|| first(known.id.0), |then| then.next_item.clone());
            self.next_items.insert(known.id.0, from.clone());
            ranges.push(from..first(known.id.0 + 1));
        }
        self.dead_letters.retain(|(item_id, _), _| !ranges.iter().any(|range| range.contains(item_id)));
        for mark in self.files.values_mut() {
            (mark.bytes, mark.items) = (0, 0);
        }
        for mark in &to.checkpoint.files {
            self.files.insert((mark.sink.clone(), mark.part.clone()), mark.clone());
        }
        for state in self.state.values_mut() {
            state.retain(|key, _| *key <= to.state_after);
        }
        self.checkpoints.retain(|kept| kept.epoch <= to.checkpoint.epoch);
        self.counts = to.checkpoint.counts;
        self.epoch += 1;
        self.run.last_seen = to.at;
        ranges
    }

    fn ledger(&self, name: &str) -> Ledger {
        Ledger {
            pipeline: name.to_owned(),
            fence: self.fence,
            generation: self.generation,
            configuration: self.configuration.clone(),
            epoch: self.epoch,
            partitions: self.partitions.clone(),
            files: self.files.values().cloned().collect(),
            tables: self.tables.values().cloned().collect(),
            counts: self.counts,
            run: self.run.clone(),
        }
    }
}
