//! What is wrong with a file, and what can be had of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

use aqueduct_core::{Clock, Timestamp};
use redb::Database;

use crate::contract::{Dead, DeadCause};
use crate::error::OpenError;
use crate::log::{Body, Change, Group, GroupId, Head};
use crate::message::{MessageId, Priority};

use super::attempts::Attempts;
use super::failure::{Failure, caught};
use super::opened::Opened;
use super::overlay::{Overlay, Slot};
use super::record::{self, Bad, Meta};
use super::salvage::{Found, Salvage};
use super::tables::{self, Row};
use super::{builder, check_magic, create, hold_against};

/// What a look at a file of queues found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Messages whose records are what was written; dead letters among them.
    pub messages: u64,
    /// The dead letters among them.
    pub dead: u64,
    /// Dedup ids that are remembered.
    pub remembered: u64,
    /// Groups, of all queues.
    pub groups: u64,
    /// Everything that is not what was written; empty for a sound file.
    pub damaged: Vec<Damage>,
}

/// A part of a file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Which part, such as `the body of message 7`.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

/// What was taken out of a damaged file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Messages in the new file; dead letters among them.
    pub messages: u64,
    /// The dead letters among them.
    pub dead: u64,
    /// Dedup ids that are still remembered. A message whose id is not may be taken twice.
    pub remembered: u64,
    /// Groups, of all queues.
    pub groups: u64,
    /// Messages of which a half was readable: dead letters with [`DeadCause::Corrupt`](crate::DeadCause::Corrupt) now.
    pub half: Vec<MessageId>,
    /// Messages that are known to have been there, and of which nothing could be read.
    pub lost: Vec<MessageId>,
    /// As many more messages are missing whose numbers could not be read. [`None`] where even their count could not.
    pub lost_unnamed: Option<u64>,
    /// Everything in the old file that is not what was written.
    pub damaged: Vec<Damage>,
}

/// The queue of what has lost its own.
const QUEUE: &str = "repaired";

/// So much further on new messages begin where the number of the last one is not known.
const GAP: u64 = 1 << 32;
/// Later than any opening there was, where their number is not known.
const OPENINGS: u32 = 1 << 30;

/// The most changes in one commit of a repair.
const CHANGES_MAX: usize = 1024;

/// Looks at all of a file of queues that no process has open: the checksums of its pages and of every record, their
/// counts, and whether every message is there in full. Changes nothing. Reads the file three times or so.
///
/// # Errors
///
/// [`OpenError`] where there is no such file, it is in use, or it is something else. A damaged file is no error.
pub fn verify(path: &Path) -> Result<VerifyReport, OpenError> {
    let opening = |failure: Failure| failure.opening(path, "looking through");
    let mut damaged = Vec::new();
    let salvage = open(path, &mut damaged).map_err(opening)?;
    let found = look(salvage.as_ref(), &mut damaged).map_err(opening)?;
    let whole = |id: &u64| matches!((found.heads.get(id), found.bodies.get(id)), (Some(Ok(_)), Some(Ok(_))));
    Ok(VerifyReport {
        messages: found.heads.keys().filter(|id| whole(id)).count() as u64,
        dead: found.dead.iter().filter(|(id, dead)| dead.is_ok() && whole(id)).count() as u64,
        remembered: found.remembered.len() as u64,
        groups: found.groups.values().filter(|group| group.is_ok()).count() as u64,
        damaged,
    })
}

/// Writes what can be read of a damaged file into a new one. The old one is left alone; nobody may have it open.
///
/// A message of which a half is there becomes a dead letter, in a queue of its own where its group is not known. Where
/// pages of the last commit cannot be read, the one before is asked, so a message that was settled in the last commit
/// may come back.
///
/// # Errors
///
/// [`OpenError`] as from [`verify`], and [`OpenError::System`] where `to` is there already or cannot be written. What
/// was begun of it is left.
pub fn repair(path: &Path, to: &Path) -> Result<RepairReport, OpenError> {
    let opening = |failure: Failure| failure.opening(path, "looking through");
    let mut damaged = Vec::new();
    let salvage = open(path, &mut damaged).map_err(opening)?;
    let mut found = look(salvage.as_ref(), &mut damaged).map_err(opening)?;
    // What the last commit does not give may be in the one before.
    let before = if damaged.is_empty() { None } else { before(path, &mut found) };

    let attempts = Attempts::left(path).map_err(|error| opening(error.into()))?.attempts;
    let writing = |failure: Failure| failure.opening(to, "writing");
    if to.exists() {
        return Err(writing(Failure::System("it is there already".into())));
    }
    let database = create(to).map_err(writing)?;
    let mut new = New::after(&found);
    let body = |id: u64| {
        let first = salvage.as_ref().map_or_else(|| Err(Bad("it is missing".into())), |from| from.body(id));
        first.or_else(|bad| before.as_ref().map_or(Err(bad), |from| from.body(id)))
    };
    let mut report = caught(|| new.fill(&database, &found, &attempts, body)).map_err(writing)?;
    caught(|| Ok(database.close()?)).map_err(writing)?;
    report.damaged = damaged;
    Ok(report)
}

/// Opens a file for a look through all of it: the commit that an opening would take, if redb finds its pages sound, and
/// the last one as it is if not. Adds what redb finds to `damaged`. Nobody else can open the file meanwhile, be it
/// because it is locked or because it is damaged.
fn open(path: &Path, damaged: &mut Vec<Damage>) -> Result<Option<Salvage>, Failure> {
    check_magic(path)?;
    let mut say = |what: &str, failure: Failure| match failure {
        Failure::Damaged(reason) => {
            damaged.push(Damage { what: what.into(), reason });
            Ok(())
        }
        failure => Err(failure),
    };
    let checked = caught(|| {
        let opened = Opened::of(builder(true).create_with_backend(Overlay::over(path)?)?);
        let sequence = tables::meta(&opened.begin_read()?)?.sequence;
        Ok((opened, sequence))
    });
    match checked {
        Ok((opened, sequence)) => match hold_against(sequence, Attempts::left(path)?.safe) {
            Ok(()) => return Ok(Some(Salvage::Checked(opened))),
            Err(failure) => say("the last commits", failure)?,
        },
        Err(failure) => say("the pages of the file", failure)?,
    }
    match Salvage::open(path, Slot::Primary) {
        Ok(salvage) => Ok(Some(salvage)),
        Err(failure) => say("the last commit", failure).map(|()| None),
    }
}

fn look(salvage: Option<&Salvage>, damaged: &mut Vec<Damage>) -> Result<Found, Failure> {
    let found = salvage.map_or_else(|| Ok(Found::default()), Salvage::look)?;
    found.complain(damaged);
    Ok(found)
}

/// Adds to what was found what the commit before the last one has beyond.
fn before(path: &Path, found: &mut Found) -> Option<Salvage> {
    let salvage = Salvage::open(path, Slot::Secondary).ok()?;
    let other = salvage.look().ok()?;
    found.is_old = found.meta.is_none();
    found.meta = found.meta.or(other.meta);
    merge(&mut found.heads, other.heads);
    merge(&mut found.bodies, other.bodies);
    merge(&mut found.dead, other.dead);
    merge(&mut found.groups, other.groups);
    let known: BTreeSet<_> =
        found.remembered.iter().map(|(queue, id, ..)| (queue.clone(), id.clone())).collect();
    let more =
        other.remembered.into_iter().filter(|(queue, id, ..)| !known.contains(&(queue.clone(), id.clone())));
    found.remembered.extend(more);
    Some(salvage)
}

fn merge<K: Ord, V>(first: &mut BTreeMap<K, Result<V, Bad>>, second: BTreeMap<K, Result<V, Bad>>) {
    for (key, value) in second {
        if value.is_ok() && !matches!(first.get(&key), Some(Ok(_))) {
            first.insert(key, value);
        }
    }
}

impl Found {
    /// Says everything that is wrong.
    fn complain(&self, damaged: &mut Vec<Damage>) {
        let mut say = |what: String, reason: String| damaged.push(Damage { what, reason });
        for (what, reason) in &self.holes {
            say(what.clone(), reason.clone());
        }
        let mut groupless: BTreeMap<u32, u64> = BTreeMap::new();
        for (id, head) in &self.heads {
            match head {
                Err(bad) => say(format!("the head of message {id}"), bad.0.clone()),
                Ok(head) if !self.groups.contains_key(&head.group.0) => {
                    *groupless.entry(head.group.0).or_insert(0) += 1;
                }
                Ok(_) => {}
            }
            if !self.bodies.contains_key(id) {
                say(format!("the body of message {id}"), "it is missing".into());
            }
        }
        for (id, body) in &self.bodies {
            if let Err(bad) = body {
                say(format!("the body of message {id}"), bad.0.clone());
            }
            if !self.heads.contains_key(id) {
                say(format!("the head of message {id}"), "it is missing".into());
            }
        }
        for (id, dead) in &self.dead {
            if let Err(bad) = dead {
                say(format!("the dead letter {id}"), bad.0.clone());
            }
        }
        for (id, messages) in groupless {
            say(format!("the group {id}"), format!("it is missing, and has {messages} messages"));
        }
        for (id, group) in &self.groups {
            if let Err(bad) = group {
                say(format!("the group {id}"), bad.0.clone());
            }
        }
        let Some(meta) = self.meta else { return };
        let counts = [
            ("heads", self.heads.len(), meta.heads),
            ("bodies", self.bodies.len(), meta.bodies),
            ("dead letters", self.dead.len(), meta.dead),
            ("remembered dedup ids", self.remembered.len(), meta.remembered),
            ("groups", self.groups.len(), meta.groups),
        ];
        for (what, found, written) in counts {
            if found as u64 != written {
                say(format!("the {what}"), format!("there are {found} and should be {written}"));
            }
        }
    }
}

/// A new file as it fills.
struct New {
    meta: Meta,
    rows: Vec<Row>,
    report: RepairReport,
    /// The group of what has lost its own.
    stray: GroupId,
    stray_there: bool,
}

impl New {
    fn after(found: &Found) -> Self {
        let last = found.heads.keys().chain(found.bodies.keys()).max().copied().unwrap_or(0);
        let next_id = match found.meta {
            Some(meta) if !found.is_old => meta.next_id.max(last.saturating_add(1)),
            Some(meta) => meta.next_id.max(last).saturating_add(GAP),
            None => last.saturating_add(GAP),
        };
        let opening = found.meta.map_or(OPENINGS, |meta| meta.opening);
        let heads = found.heads.values().filter_map(|head| head.as_ref().ok());
        let groups = heads.map(|head| head.group.0).chain(found.groups.keys().copied());
        let stray = GroupId(groups.max().map_or(0, |last| last.saturating_add(1)));
        let meta = Meta { next_id, opening, ..Meta::default() };
        Self { meta, rows: Vec::new(), report: RepairReport::default(), stray, stray_there: false }
    }

    fn fill(
        &mut self,
        database: &Database,
        found: &Found,
        attempts: &HashMap<u64, u32>,
        body: impl Fn(u64) -> Result<Body, Bad>,
    ) -> Result<RepairReport, Failure> {
        let named: BTreeSet<u32> = found.heads.values().flatten().map(|head| head.group.0).collect();
        for id in named.into_iter().chain(found.groups.keys().copied()).collect::<BTreeSet<_>>() {
            let group = match found.groups.get(&id) {
                Some(Ok(group)) => group.clone(),
                // Whose messages are there, and whose name is not.
                _ => self.unnamed(GroupId(id), format!("group-{id}")),
            };
            self.change(database, &Change::Group(group))?;
            self.report.groups += 1;
        }
        let at = Clock::system().wall();
        let ids: BTreeSet<u64> = found.heads.keys().chain(found.bodies.keys()).copied().collect();
        for id in ids {
            let message = MessageId(id);
            let head = found.heads.get(&id).and_then(|head| head.as_ref().ok());
            let body = body(id);
            let reason = match (head, &body) {
                (None, Err(_)) => {
                    self.report.lost.push(message);
                    continue;
                }
                (Some(_), Ok(_)) => None,
                (Some(_), Err(bad)) => Some(format!("its body could not be read: {}", bad.0)),
                (None, Ok(_)) => Some("what was known of it could not be read".to_owned()),
            };
            let mut head = match (head, &body) {
                (Some(head), _) => head.clone(),
                (None, body) => {
                    if !self.stray_there {
                        let group = self.unnamed(self.stray, "stray".into());
                        self.change(database, &Change::Group(group))?;
                        self.report.groups += 1;
                        self.stray_there = true;
                    }
                    stray(message, self.stray, body.as_ref().map_or(0, |body| body.body.len()), at)
                }
            };
            head.attempts = head.attempts.max(attempts.get(&id).copied().unwrap_or(0));
            match body {
                Ok(body) => self.change(database, &Change::Insert { head, body })?,
                Err(bad) => {
                    let body = record::lost_body(message, &bad.0).into();
                    self.row(database, Row::Insert { id, head: record::head(&head), body })?;
                }
            }
            let dead = match (reason, found.dead.get(&id)) {
                (Some(reason), _) => {
                    self.report.half.push(message);
                    Some(Dead { at, cause: DeadCause::Corrupt, reason: reason.into() })
                }
                (None, Some(Ok(dead))) => Some(dead.clone()),
                (None, Some(Err(bad))) => {
                    let reason = format!("why it was set aside could not be read: {}", bad.0);
                    Some(Dead { at, cause: DeadCause::Corrupt, reason: reason.into() })
                }
                (None, None) => None,
            };
            if let Some(dead) = dead {
                self.change(database, &Change::Bury(message, dead))?;
                self.report.dead += 1;
            }
            self.report.messages += 1;
        }
        for (queue, dedup_id, id, until) in &found.remembered {
            let (queue, dedup_id, id, until) = (queue.clone(), dedup_id.clone(), *id, *until);
            self.change(database, &Change::Remember { queue, dedup_id, id, until })?;
        }
        self.flush(database)?;
        self.report.remembered = self.meta.remembered;
        let known = self.report.messages + self.report.lost.len() as u64;
        let written = found.meta.filter(|_| !found.is_old).map(|meta| meta.heads);
        self.report.lost_unnamed = written.map(|written| written.saturating_sub(known));
        Ok(std::mem::take(&mut self.report))
    }

    fn unnamed(&self, id: GroupId, name: String) -> Group {
        // Paused, so that nobody works on it by mistake.
        Group { id, queue: QUEUE.into(), name: name.into(), pattern: ">".into(), paused: true }
    }

    fn change(&mut self, database: &Database, change: &Change) -> Result<(), Failure> {
        self.row(database, Row::of(change))
    }

    fn row(&mut self, database: &Database, row: Row) -> Result<(), Failure> {
        self.rows.push(row);
        if self.rows.len() >= CHANGES_MAX { self.flush(database) } else { Ok(()) }
    }

    fn flush(&mut self, database: &Database) -> Result<(), Failure> {
        let transaction = database.begin_write()?;
        tables::apply(&transaction, self.rows.iter(), &mut self.meta)?;
        tables::advance(&transaction, &mut self.meta)?;
        transaction.commit()?;
        self.rows.clear();
        Ok(())
    }
}

/// A head for a body that has none.
fn stray(id: MessageId, group: GroupId, bytes: usize, at: Timestamp) -> Head {
    Head {
        id,
        group,
        priority: Priority::Normal,
        attempts: 0,
        published: at,
        due: None,
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        key: None,
        tenant: None,
    }
}
