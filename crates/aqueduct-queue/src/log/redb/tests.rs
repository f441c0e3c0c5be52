//! What the log promises, over real files.

mod attempts;
mod broken;
mod damage;
mod kill;
mod power;
mod repaired;
mod round_trip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aqueduct_core::{Clock, Random, Timestamp};

use super::committer::LARGE_BYTES;
use super::{RedbLog, record};
use crate::contract::{Dead, DeadCause};
use crate::error::{Broken, OpenError};
use crate::log::{Body, Change, Done, Found, Group, GroupId, Head, Log, ReadError, Tell, Write};
use crate::message::{MessageId, Priority};

/// When a test begins: 2026-01-01.
const START: Timestamp = Timestamp(1_767_225_600_000);

fn clock() -> Clock {
    Clock::manual(START).0
}

/// A folder that goes with the test, and the file in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queues");
    (folder, path)
}

/// What an opening told.
#[derive(Debug, Default)]
struct Loaded {
    groups: Vec<Group>,
    heads: Vec<Head>,
    dead: Vec<(MessageId, Dead)>,
    remembered: Vec<(Box<str>, Box<str>, MessageId, Timestamp)>,
    next_id: u64,
    opening: u32,
}

impl Loaded {
    fn take(&mut self, found: Found) {
        match found {
            Found::Group(group) => self.groups.push(group),
            Found::Dead(id, dead) => self.dead.push((id, dead)),
            Found::Message { head, .. } => self.heads.push(head),
            Found::Remembered { queue, dedup_id, id, until } => {
                self.remembered.push((queue, dedup_id, id, until));
            }
        }
    }
}

/// Opens a file with a size at which it is large.
fn try_open_at(path: &Path, clock: &Clock, large_bytes: u64) -> Result<(RedbLog, Loaded), OpenError> {
    let mut loaded = Loaded::default();
    let (log, numbers) = RedbLog::open_with(path, clock, large_bytes, &mut |found| loaded.take(found))?;
    (loaded.next_id, loaded.opening) = (numbers.next_id, numbers.opening);
    Ok((log, loaded))
}

fn try_open(path: &Path, clock: &Clock) -> Result<(RedbLog, Loaded), OpenError> {
    try_open_at(path, clock, LARGE_BYTES)
}

fn open(path: &Path) -> (RedbLog, Loaded) {
    try_open(path, &clock()).expect("the file opens")
}

/// Hands in a write and gives where its end is told.
fn hand_in(log: &RedbLog, changes: Vec<Change>) -> crossbeam_channel::Receiver<Result<(), Broken>> {
    let (tell, told) = crossbeam_channel::bounded(1);
    let done: Done =
        Box::new(move |result| Tell::new(move || tell.send(result).expect("somebody waits"), None));
    log.submit(Write { changes, done });
    told
}

/// Waits for the end of a write; a minute is for ever.
fn end(told: &crossbeam_channel::Receiver<Result<(), Broken>>) -> Result<(), Broken> {
    told.recv_timeout(Duration::from_secs(60)).expect("every write is answered")
}

fn put(log: &RedbLog, changes: Vec<Change>) -> Result<(), Broken> {
    end(&hand_in(log, changes))
}

/// A message that can be told from every other one by its number.
fn head(id: u64) -> Head {
    Head {
        id: MessageId(id),
        group: GroupId(u32::try_from(id % 3).expect("small")),
        priority: Priority::ALL[usize::try_from(id % 4).expect("small")],
        attempts: 0,
        published: Timestamp(START.0 + i64::try_from(id).expect("small")),
        due: id.is_multiple_of(5).then_some(Timestamp(START.0 + 60_000)),
        bytes: u32::try_from(body(id).body.len()).expect("small"),
        key: id.is_multiple_of(2).then(|| format!("key-{id}").into()),
        tenant: id.is_multiple_of(7).then(|| format!("tenant-{}", id % 11).into()),
    }
}

fn body(id: u64) -> Body {
    // From nothing to several pages.
    let length = usize::try_from(if id.is_multiple_of(17) { 9_000 + id % 1000 } else { id * 37 % 400 })
        .expect("small");
    let body: Vec<u8> = id.to_le_bytes().iter().copied().cycle().take(length).collect();
    let headers =
        (0..id % 3).map(|number| (format!("name-{number}").into(), format!("of {id}").into())).collect();
    Body { body: body.into(), topic: id.is_multiple_of(3).then(|| format!("orders.{id}").into()), headers }
}

fn insert(id: u64) -> Change {
    Change::Insert { head: head(id), body: body(id) }
}

fn group(id: u32, paused: bool) -> Group {
    let name = format!("group-{id}").into();
    Group { id: GroupId(id), queue: "orders".into(), name, pattern: ">".into(), paused }
}

fn dead(id: u64) -> Dead {
    Dead { at: START, cause: DeadCause::Attempts, reason: format!("message {id} failed").into() }
}

fn remember(id: u64, until: Timestamp) -> Change {
    Change::Remember { queue: "orders".into(), dedup_id: format!("d-{id}").into(), id: MessageId(id), until }
}

/// What a file should have: the naive model beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    heads: BTreeMap<u64, Head>,
    dead: BTreeMap<u64, Dead>,
    groups: BTreeMap<u32, Group>,
    remembered: BTreeMap<(Box<str>, Box<str>), (MessageId, Timestamp)>,
    next_id: u64,
}

impl Model {
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change.clone() {
                Change::Insert { head, .. } => {
                    self.next_id = self.next_id.max(head.id.0 + 1);
                    self.heads.insert(head.id.0, head);
                }
                Change::Update(head) => drop(self.heads.insert(head.id.0, head)),
                Change::Remove(id) => {
                    self.heads.remove(&id.0);
                    self.dead.remove(&id.0);
                }
                Change::Bury(id, dead) => drop(self.dead.insert(id.0, dead)),
                Change::Unbury(id) => drop(self.dead.remove(&id.0)),
                Change::Remember { queue, dedup_id, id, until } => {
                    self.remembered.insert((queue, dedup_id), (id, until));
                }
                Change::Forget { queue, dedup_id } => drop(self.remembered.remove(&(queue, dedup_id))),
                Change::Group(group) => drop(self.groups.insert(group.id.0, group)),
            }
        }
    }

    fn of(loaded: &Loaded) -> Self {
        Self {
            heads: loaded.heads.iter().map(|head| (head.id.0, head.clone())).collect(),
            dead: loaded.dead.iter().map(|(id, dead)| (id.0, dead.clone())).collect(),
            groups: loaded.groups.iter().map(|group| (group.id.0, group.clone())).collect(),
            remembered: (loaded.remembered.iter())
                .map(|(queue, dedup_id, id, until)| ((queue.clone(), dedup_id.clone()), (*id, *until)))
                .collect(),
            next_id: loaded.next_id,
        }
    }
}

/// A random walk through everything that can be done, one write at a time.
struct Walk {
    random: Random,
    model: Model,
    last: u64,
}

impl Walk {
    fn new(seed: u64) -> Self {
        Self { random: Random::seeded(seed), model: Model { next_id: 1, ..Model::default() }, last: 0 }
    }

    fn some_id(&mut self) -> Option<u64> {
        let at = usize::try_from(self.random.below(self.model.heads.len() as u64)).expect("small");
        self.model.heads.keys().nth(at).copied()
    }

    fn insert(&mut self) -> Change {
        // Numbers may be left out.
        self.last += 1 + self.random.below(2);
        insert(self.last)
    }

    /// The next write. The model has it already.
    fn step(&mut self) -> Vec<Change> {
        let far = Timestamp(START.0 + 3_600_000);
        let changes = match (self.random.below(10), self.some_id()) {
            _ if self.model.groups.is_empty() => (0..3).map(|id| Change::Group(group(id, false))).collect(),
            (0, Some(id)) => vec![Change::Remove(MessageId(id))],
            (1, Some(id)) => {
                let mut head = self.model.heads[&id].clone();
                head.attempts += 1;
                vec![Change::Update(head)]
            }
            (2, Some(id)) if self.model.dead.contains_key(&id) => {
                let head = Head { attempts: 0, ..self.model.heads[&id].clone() };
                vec![Change::Unbury(MessageId(id)), Change::Update(head)]
            }
            (2, Some(id)) => vec![Change::Bury(MessageId(id), dead(id))],
            (3, Some(id)) => vec![remember(id, far)],
            (4, Some(id)) => {
                vec![Change::Forget { queue: "orders".into(), dedup_id: format!("d-{id}").into() }]
            }
            (5, _) => {
                let id = u32::try_from(self.random.below(5)).expect("small");
                vec![Change::Group(group(id, self.random.below(2) == 0))]
            }
            _ => (0..=self.random.below(5)).map(|_| self.insert()).collect(),
        };
        self.model.apply(&changes);
        changes
    }
}

/// Reads every body of a model and says which are corrupt. A wrong one fails the test.
fn read_all(log: &RedbLog, model: &Model) -> Vec<u64> {
    let mut corrupt = Vec::new();
    for id in model.heads.keys() {
        match log.read(MessageId(*id)) {
            Ok(found) => assert_eq!(found, body(*id), "message {id}"),
            Err(ReadError::Corrupt(_)) => corrupt.push(*id),
            Err(ReadError::Broken(error)) => panic!("message {id}: {error}"),
        }
    }
    corrupt
}

#[test]
fn a_record_is_of_its_table_and_its_key() {
    let written = record::head(&head(7));
    assert_eq!(record::read_head(7, &written), Ok(head(7)));
    record::read_head(8, &written).expect_err("another key");
    record::read_dead(7, &written).expect_err("another table");
    for bit in 0..written.len() * 8 {
        let mut flipped = written.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        record::read_head(7, &flipped).expect_err("a bit");
    }
    for cut in 0..written.len() {
        record::read_head(7, &written[..cut]).expect_err("an end");
    }
}
