//! What is wrong with a file, and what can be had of it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use aqueduct_core::Clock;
use redb::Database;

use crate::contract::{Dead, DeadCause};
use crate::error::OpenError;
use crate::log::{Change, Group, GroupId, Head};
use crate::message::{MessageId, Priority};

use super::attempts::Attempts;
use super::fault::{Fault, caught};
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
const BATCH: usize = 1024;

/// Looks at all of a file of queues that no process has open: the checksums of its pages and of every record, their
/// counts, and whether every message is there in full. Changes nothing. Reads the file three times or so.
///
/// # Errors
///
/// [`OpenError`] where there is no such file, it is in use, or it is something else. A damaged file is no error.
pub fn verify(path: &Path) -> Result<VerifyReport, OpenError> {
    let opening = |fault: Fault| fault.opening(path, "looking through");
    let (_held, mut damaged) = pages(path).map_err(opening)?;
    let (_, found) = primary(path, &mut damaged).map_err(opening)?;
    let Some(found) = found else { return Ok(VerifyReport { damaged, ..VerifyReport::default() }) };
    found.complain(path, &mut damaged).map_err(opening)?;
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
    let opening = |fault: Fault| fault.opening(path, "looking through");
    let (_held, mut damaged) = pages(path).map_err(opening)?;
    let (salvage, found) = primary(path, &mut damaged).map_err(opening)?;
    let mut found = found.unwrap_or_default();
    found.complain(path, &mut damaged).map_err(opening)?;
    // What the last commit does not give may be in the one before.
    let before = if damaged.is_empty() { None } else { before(path, &mut found) };

    let attempts = Attempts::left(path).map_err(|error| opening(error.into()))?.attempts;
    let writing = |fault: Fault| fault.opening(to, "writing");
    if to.exists() {
        return Err(writing(Fault::System("it is there already".into())));
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

/// Lets redb look at its pages. Gives what keeps others away meanwhile.
fn pages(path: &Path) -> Result<(Option<Database>, Vec<Damage>), Fault> {
    check_magic(path)?;
    let checked = caught(|| Ok(builder(true).create_with_backend(Overlay::over(path)?)?));
    match checked {
        Ok(held) => Ok((Some(held), Vec::new())),
        Err(Fault::Damaged(reason)) => {
            Ok((None, vec![Damage { what: "the pages of the file".into(), reason }]))
        }
        Err(fault) => Err(fault),
    }
}

fn primary(path: &Path, damaged: &mut Vec<Damage>) -> Result<(Option<Salvage>, Option<Found>), Fault> {
    let looked = Salvage::open(path, Slot::Primary).and_then(|salvage| {
        let found = salvage.look()?;
        Ok((salvage, found))
    });
    match looked {
        Ok((salvage, found)) => Ok((Some(salvage), Some(found))),
        Err(Fault::Damaged(reason)) => {
            damaged.push(Damage { what: "the last commit".into(), reason });
            Ok((None, None))
        }
        Err(fault) => Err(fault),
    }
}

/// Adds to what was found what the commit before the last one has beyond.
fn before(path: &Path, found: &mut Found) -> Option<Salvage> {
    let salvage = Salvage::open(path, Slot::Secondary).ok()?;
    let other = salvage.look().ok()?;
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

fn merge<K: Ord, V>(
    first: &mut std::collections::BTreeMap<K, Result<V, Bad>>,
    second: std::collections::BTreeMap<K, Result<V, Bad>>,
) {
    for (key, value) in second {
        if value.is_ok() && !matches!(first.get(&key), Some(Ok(_))) {
            first.insert(key, value);
        }
    }
}

impl Found {
    /// Says everything that is wrong.
    fn complain(&self, path: &Path, damaged: &mut Vec<Damage>) -> Result<(), Fault> {
        let mut say = |what: String, reason: String| damaged.push(Damage { what, reason });
        for (what, reason) in &self.holes {
            say(what.clone(), reason.clone());
        }
        for (id, head) in &self.heads {
            match head {
                Err(bad) => say(format!("the head of message {id}"), bad.0.clone()),
                Ok(head) if !self.groups.contains_key(&head.group.0) => {
                    say(
                        format!("the head of message {id}"),
                        format!("its group {} is not there", head.group.0),
                    );
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
        for (id, group) in &self.groups {
            if let Err(bad) = group {
                say(format!("the group {id}"), bad.0.clone());
            }
        }
        let Some(meta) = self.meta else { return Ok(()) };
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
        if let Err(fault) = hold_against(meta.sequence, Attempts::left(path)?.mark) {
            say("the last commits".into(), fault.text().to_owned());
        }
        Ok(())
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
            Some(meta) => meta.next_id.max(last.saturating_add(1)),
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
        attempts: &std::collections::HashMap<u64, u32>,
        body: impl Fn(u64) -> Result<crate::log::Body, Bad>,
    ) -> Result<RepairReport, Fault> {
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
        self.report.lost_unnamed = found.meta.map(|meta| meta.heads.saturating_sub(known));
        Ok(std::mem::take(&mut self.report))
    }

    fn unnamed(&self, id: GroupId, name: String) -> Group {
        // Paused, so that nobody works on it by mistake.
        Group { id, queue: QUEUE.into(), name: name.into(), pattern: ">".into(), paused: true }
    }

    fn change(&mut self, database: &Database, change: &Change) -> Result<(), Fault> {
        self.row(database, Row::of(change))
    }

    fn row(&mut self, database: &Database, row: Row) -> Result<(), Fault> {
        self.rows.push(row);
        if self.rows.len() >= BATCH { self.flush(database) } else { Ok(()) }
    }

    fn flush(&mut self, database: &Database) -> Result<(), Fault> {
        let transaction = database.begin_write()?;
        tables::apply(&transaction, self.rows.iter(), &mut self.meta)?;
        tables::advance(&transaction, &mut self.meta)?;
        transaction.commit()?;
        self.rows.clear();
        Ok(())
    }
}

/// A head for a body that has none.
fn stray(id: MessageId, group: GroupId, bytes: usize, at: aqueduct_core::Timestamp) -> Head {
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
