//! Random operations leave every store with what a naive model has: plain lists, searched from end to end.

use std::sync::Arc;

use aqueduct_core::{Counts, Fence, PartitionId, Position, Revision, Timestamp};
use aqueduct_store::{
    Advance, Claim, Column, Commit, Conflict, DeadLetterFilter, JournalEntry, RunOutcome, Store, Table, Value,
};
use proptest::prelude::*;

use crate::conformance::epoch::{change, entry, letter};
use crate::place::{Memory, Place, Sqlite};

const PIPELINE: &str = "evidence";
const PARTITIONS: [&str; 3] = ["a", "b", "c"];

/// One thing that happens to a store. Small numbers pick names, so that they meet often.
#[derive(Clone, Debug)]
enum Operation {
    Claim {
        partitions: Vec<usize>,
        configuration: u8,
    },
    /// Another process opens the same data; the old handle stays around.
    Reopen,
    Journal {
        items: Vec<u8>,
        stale: bool,
    },
    Commit(Epoch),
    Finish {
        stale: bool,
    },
}

#[derive(Clone, Debug)]
struct Epoch {
    stale_fence: bool,
    /// Partition, and how far its revision is off.
    advances: Vec<(u32, u64)>,
    refused_rows: Vec<u8>,
    replaced_rows: Vec<(u8, u8)>,
    letters: Vec<u8>,
    state: Vec<(u8, Option<u8>)>,
    consumed: Vec<u8>,
    files: Vec<(u8, u32)>,
    checkpoint: Option<(u8, usize)>,
}

fn operation() -> impl Strategy<Value = Operation> {
    let partitions = prop::collection::vec(0..PARTITIONS.len(), 0..3);
    prop_oneof![
        2 => (partitions, 0..2_u8).prop_map(|(partitions, configuration)| Operation::Claim { partitions, configuration }),
        1 => Just(Operation::Reopen),
        2 => (prop::collection::vec(0..6_u8, 0..4), rarely()).prop_map(|(items, stale)| Operation::Journal { items, stale }),
        8 => epoch().prop_map(Operation::Commit),
        1 => rarely().prop_map(|stale| Operation::Finish { stale }),
    ]
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    let revision = prop_oneof![9 => Just(0_u64), 1 => Just(1_u64)];
    (
        rarely(),
        prop::collection::vec((0..3_u32, revision), 0..3),
        prop::collection::vec(any::<u8>(), 0..4),
        prop::collection::vec((0..5_u8, any::<u8>()), 0..4),
        prop::collection::vec(0..9_u8, 0..3),
        prop::collection::vec((0..4_u8, prop::option::of(any::<u8>())), 0..4),
        prop::collection::vec(0..6_u8, 0..3),
        prop::collection::vec((0..3_u8, any::<u32>()), 0..2),
        prop::option::weighted(0.3, (0..4_u8, 0..4_usize)),
    )
        .prop_map(
            |(
                stale_fence,
                advances,
                refused_rows,
                replaced_rows,
                letters,
                state,
                consumed,
                files,
                checkpoint,
            )| Epoch {
                stale_fence,
                advances,
                refused_rows,
                replaced_rows,
                letters,
                state,
                consumed,
                files,
                checkpoint,
            },
        )
}

/// A checkpoint: name, epoch, positions by partition, items read.
type Kept = (String, u64, Vec<(u32, String)>, u64);

/// What must be there, as lists.
#[derive(Clone, Debug, Default)]
struct Model {
    fence: u64,
    generation: u64,
    configuration: String,
    epoch: u64,
    partitions: Vec<(String, Option<String>, u64)>,
    refused_rows: Vec<u8>,
    replaced_rows: Vec<(u8, u8)>,
    letters: Vec<String>,
    state: Vec<(u8, u8)>,
    journal: Vec<(u8, u64)>,
    files: Vec<(u8, u32)>,
    checkpoints: Vec<Kept>,
    read: u64,
    outcome: Option<RunOutcome>,
}

impl Model {
    fn claim(&mut self, partitions: &[usize], configuration: u8) {
        let configuration = format!("v{configuration}");
        if self.fence == 0 {
            self.generation = 1;
        } else if self.configuration != configuration {
            self.generation += 1;
        }
        self.configuration = configuration;
        self.fence += 1;
        self.outcome = None;
        for at in partitions {
            if self.partitions.iter().all(|known| known.0 != PARTITIONS[*at]) {
                self.partitions.push((PARTITIONS[*at].to_owned(), None, 0));
            }
        }
    }

    fn journal(&mut self, items: &[u8], value: u64) {
        for item in items {
            self.journal.retain(|known| known.0 != *item);
            self.journal.push((*item, value));
        }
    }

    /// Applies an epoch to a copy, and keeps the copy if nothing in the epoch is refused.
    fn commit(&mut self, epoch: &Epoch) -> bool {
        let mut next = self.clone();
        if epoch.stale_fence || self.fence == 0 {
            return false;
        }
        for row in &epoch.refused_rows {
            if next.refused_rows.contains(row) {
                return false;
            }
            next.refused_rows.push(*row);
        }
        for (key, value) in &epoch.replaced_rows {
            next.replaced_rows.retain(|known| known.0 != *key);
            next.replaced_rows.push((*key, *value));
        }
        for letter in &epoch.letters {
            let item = format!("i{letter}");
            next.letters.retain(|known| *known != item);
            next.letters.push(item);
        }
        for (key, value) in &epoch.state {
            next.state.retain(|known| known.0 != *key);
            next.state.extend(value.map(|value| (*key, value)));
        }
        next.journal.retain(|known| !epoch.consumed.contains(&known.0));
        for (part, bytes) in &epoch.files {
            next.files.retain(|known| known.0 != *part);
            next.files.push((*part, *bytes));
        }
        let seen = self.partitions.clone();
        for (partition, off) in &epoch.advances {
            // The test names the revision of the ledger it has read, so a second move of one partition is stale.
            let Some(known) = next.partitions.get_mut(*partition as usize) else { return false };
            if seen[*partition as usize].2 + off != known.2 {
                return false;
            }
            *known = (known.0.clone(), Some(format!("e{}", self.epoch)), known.2 + 1);
        }
        next.epoch += 1;
        next.read += 1;
        if let Some((name, kept)) = epoch.checkpoint {
            let name = format!("c{name}");
            let positions = (0..).zip(&next.partitions);
            let positions = positions.filter_map(|(at, known)| Some((at, known.1.clone()?))).collect();
            next.checkpoints.retain(|known| known.0 != name);
            next.checkpoints.push((name, next.epoch, positions, next.read));
            while next.checkpoints.len() > kept.max(1) {
                next.checkpoints.remove(0);
            }
        }
        *self = next;
        true
    }
}

fn table(name: &str, conflict: Conflict) -> Arc<Table> {
    let columns = vec![Column { name: "key".to_owned() }, Column { name: "value".to_owned() }];
    Arc::new(Table { name: name.to_owned(), columns, conflict })
}

/// The epoch as the store gets it.
fn commit(epoch: &Epoch, model: &Model) -> Commit {
    let fence = Fence(if epoch.stale_fence { model.fence + 1 } else { model.fence });
    let mut commit = Commit::new(PIPELINE, fence, Timestamp(0));
    let refusing = table("refusing", Conflict::Refuse);
    let replacing = table("replacing", Conflict::ReplaceBy("key".to_owned()));
    commit.tables = vec![refusing.as_ref().clone(), replacing.as_ref().clone()];
    let mut rows = aqueduct_store::Rows::new(refusing);
    for row in &epoch.refused_rows {
        rows.push(format!("i{row:03}"), [Value::Null, Value::Integer((*row).into())]);
    }
    commit.rows.push(rows);
    let mut rows = aqueduct_store::Rows::new(replacing);
    for (key, value) in &epoch.replaced_rows {
        rows.push(format!("k{key}"), [Value::Text(format!("k{key}")), Value::Integer((*value).into())]);
    }
    commit.rows.push(rows);
    commit.dead_letters = epoch.letters.iter().map(|item| letter(&format!("i{item}"), "score")).collect();
    let text = |value: u8| value.to_string();
    commit.state =
        epoch.state.iter().map(|(key, value)| change(&text(*key), value.map(text).as_deref())).collect();
    commit.consumed = epoch.consumed.iter().map(|item| format!("i{item}")).collect();
    let mark = |(part, bytes): &(u8, u32)| aqueduct_store::FileMark {
        sink: "alerts".to_owned(),
        part: text(*part),
        bytes: (*bytes).into(),
        items: 0,
    };
    commit.files = epoch.files.iter().map(mark).collect();
    let advance = |(partition, off): &(u32, u64)| Advance {
        partition: PartitionId(*partition),
        from: Revision(model.partitions.get(*partition as usize).map_or(0, |known| known.2) + off),
        to: Position::new(format!("e{}", model.epoch)),
        next_item: String::new(),
    };
    commit.advances = epoch.advances.iter().map(advance).collect();
    commit.counts = Counts { read: 1, delivered: 1, ..Counts::default() };
    if let Some((name, kept)) = epoch.checkpoint {
        commit.checkpoint = Some(format!("c{name}"));
        commit.retention.checkpoints = kept;
    }
    commit
}

fn journalled(item: u8, value: u64) -> JournalEntry {
    entry(&format!("i{item}"), 0, &value.to_string())
}

async fn check(store: &mut dyn Store, place: &impl Place, model: &Model) {
    let ledger = store.ledger(PIPELINE).await.expect("readable");
    let Some(ledger) = ledger else {
        assert_eq!(model.fence, 0);
        return;
    };
    assert_eq!(
        (ledger.fence, ledger.generation, ledger.epoch),
        (Fence(model.fence), model.generation, model.epoch)
    );
    let partitions: Vec<_> = ledger
        .partitions
        .into_iter()
        .map(|known| {
            (known.name, known.position.map(|position| position.as_str().to_owned()), known.revision.0)
        })
        .collect();
    assert_eq!(partitions, model.partitions);
    assert_eq!((ledger.counts.read, ledger.counts.delivered), (model.read, model.read));
    assert_eq!(ledger.run.outcome, model.outcome);
    let mut files = model.files.clone();
    files.sort_unstable();
    let found: Vec<_> = ledger.files.iter().map(|mark| (mark.part.clone(), mark.bytes)).collect();
    assert_eq!(
        found,
        files.iter().map(|(part, bytes)| (part.to_string(), u64::from(*bytes))).collect::<Vec<_>>()
    );

    let letters = store.dead_letters(PIPELINE, DeadLetterFilter::default()).await.expect("readable");
    let mut wanted = model.letters.clone();
    wanted.sort_unstable();
    assert_eq!(letters.into_iter().map(|letter| letter.item_id).collect::<Vec<_>>(), wanted);
    let count = store.dead_letter_count(PIPELINE).await.expect("readable");
    assert_eq!(count, model.letters.len() as u64);

    let mut wanted = model.state.clone();
    wanted.sort_unstable();
    let wanted: Vec<(Vec<u8>, Vec<u8>)> =
        wanted.iter().map(|(key, value)| (key.to_string().into(), value.to_string().into())).collect();
    assert_eq!(store.state(PIPELINE, "window", None, 100).await.expect("readable"), wanted);

    let mut wanted: Vec<JournalEntry> =
        model.journal.iter().map(|known| journalled(known.0, known.1)).collect();
    wanted.sort_unstable();
    assert_eq!(store.journalled(PIPELINE).await.expect("readable"), wanted);

    let checkpoints = store.checkpoints(PIPELINE).await.expect("readable");
    let found: Vec<_> = checkpoints
        .into_iter()
        .map(|found| {
            let positions = found.positions.into_iter();
            let positions =
                positions.map(|then| (then.partition, then.position.as_str().to_owned())).collect();
            (found.name, found.epoch, positions, found.counts.read)
        })
        .collect();
    assert_eq!(found, model.checkpoints);

    if ledger.tables.is_empty() {
        assert!(model.refused_rows.is_empty() && model.replaced_rows.is_empty());
        return;
    }
    let number = |value: &u8| Value::Integer((*value).into());
    let mut wanted = model.refused_rows.clone();
    wanted.sort_unstable();
    let wanted: Vec<Vec<Value>> =
        wanted.iter().map(|row| vec![Value::Text(format!("i{row:03}")), number(row)]).collect();
    assert_eq!(place.rows("refusing", &["value"]).await, wanted);
    let mut wanted = model.replaced_rows.clone();
    wanted.sort_unstable();
    let wanted: Vec<Vec<Value>> =
        wanted.iter().map(|(key, value)| vec![Value::Text(format!("k{key}")), number(value)]).collect();
    assert_eq!(place.rows("replacing", &["value"]).await, wanted);
}

async fn play(place: &impl Place, operations: &[Operation]) {
    let mut model = Model::default();
    let mut store = place.open().await;
    let mut older = Vec::new();
    for (step, operation) in operations.iter().enumerate() {
        let step = step as u64;
        let fence = |stale: bool| Fence(if stale { model.fence + 1 } else { model.fence });
        match operation {
            Operation::Claim { partitions, configuration } => {
                model.claim(partitions, *configuration);
                let claim = Claim {
                    pipeline: PIPELINE.to_owned(),
                    partitions: partitions.iter().map(|at| PARTITIONS[*at].to_owned()).collect(),
                    configuration: model.configuration.clone(),
                    at: Timestamp(0),
                };
                let claimed = store.claim(claim).await.expect("the claim succeeds");
                assert_eq!(claimed.fence, Fence(model.fence));
                let names: Vec<&str> = claimed.partitions.iter().map(|known| known.name.as_str()).collect();
                assert_eq!(names, partitions.iter().map(|at| PARTITIONS[*at]).collect::<Vec<_>>());
            }
            Operation::Reopen => older.push(std::mem::replace(&mut store, place.open().await)),
            Operation::Journal { items, stale } => {
                let entries = items.iter().map(|item| journalled(*item, step)).collect();
                let written = store.journal(PIPELINE, fence(*stale), entries).await;
                assert_eq!(written.is_ok(), !stale && model.fence > 0);
                if written.is_ok() {
                    model.journal(items, step);
                }
            }
            Operation::Commit(epoch) => {
                let commit = commit(epoch, &model);
                let written = store.commit(commit).await;
                assert_eq!(written.is_ok(), model.commit(epoch), "{written:?}");
            }
            Operation::Finish { stale } => {
                let written = store.finish(PIPELINE, fence(*stale), RunOutcome::Done, Timestamp(0)).await;
                assert_eq!(written.is_ok(), !stale && model.fence > 0);
                if written.is_ok() {
                    model.outcome = Some(RunOutcome::Done);
                }
            }
        }
        check(store.as_mut(), place, &model).await;
    }
}

fn run(place: &impl Place, operations: &[Operation]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(play(place, operations));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_the_model_does(operations in prop::collection::vec(operation(), 1..40)) {
        run(&Memory::fresh(), &operations);
    }

    #[test]
    fn sqlite_does_what_the_model_does(operations in prop::collection::vec(operation(), 1..40)) {
        run(&Sqlite::fresh(), &operations);
    }
}
