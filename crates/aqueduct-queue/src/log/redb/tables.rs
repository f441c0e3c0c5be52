//! The tables of a file, what a commit does to them, and what an opening finds in them.

use aqueduct_core::Timestamp;
use bytes::Bytes;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, TableError, WriteTransaction,
};

use crate::log::{Change, Found, Head};
use crate::message::MessageId;

use super::failure::{Failure, damaged};
use super::record::{self, Meta};

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Heads and bodies are apart: an opening reads all heads and no body.
pub(super) const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
pub(super) const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
pub(super) const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead");
pub(super) const REMEMBERED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("remembered");
pub(super) const GROUPS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("groups");

/// About what the records of a message take beside its body and headers.
const RECORDS_BYTES: u64 = 256;

/// The key of the one record in [`META`].
pub(super) const META_KEY: &str = "meta";

/// A change as it goes into the file. Made where the change is submitted, so that the committer only writes.
#[derive(Debug)]
pub(super) enum Row {
    Insert { id: u64, head: Vec<u8>, body: Bytes },
    Update { id: u64, attempts: u32, head: Vec<u8> },
    Remove(u64),
    Bury(u64, Vec<u8>),
    Unbury(u64),
    Remember(Vec<u8>, Vec<u8>),
    Forget(Vec<u8>),
    Group(u32, Vec<u8>),
}

impl Row {
    pub(super) fn of(change: &Change) -> Self {
        match change {
            Change::Insert { head, body } => {
                let record = record::body(head.id, body);
                Self::Insert { id: head.id.0, head: record::head(head), body: record.into() }
            }
            Change::Update(head) => {
                Self::Update { id: head.id.0, attempts: head.attempts, head: record::head(head) }
            }
            Change::Remove(id) => Self::Remove(id.0),
            Change::Bury(id, dead) => Self::Bury(id.0, record::dead(*id, dead)),
            Change::Unbury(id) => Self::Unbury(id.0),
            Change::Remember { queue, dedup_id, id, until } => {
                let key = record::remembered_key(queue, dedup_id);
                let value = record::remembered(&key, *id, *until);
                Self::Remember(key, value)
            }
            Change::Forget { queue, dedup_id } => Self::Forget(record::remembered_key(queue, dedup_id)),
            Change::Group(group) => Self::Group(group.id.0, record::group(group)),
        }
    }

    /// About what it takes of a commit.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Insert { head, body, .. } => head.len() + body.len(),
            Self::Update { head: record, .. } | Self::Bury(_, record) | Self::Group(_, record) => {
                record.len()
            }
            Self::Remember(key, record) => key.len() + record.len(),
            Self::Forget(key) => key.len(),
            Self::Remove(_) | Self::Unbury(_) => 8,
        }
    }
}

// --- writing ---

/// Writes rows into a transaction and keeps the counts in `meta` true. A message that is not where it must be says that
/// the file, or the index over it, is wrong; nothing more is written then.
pub(super) fn apply<'r>(
    transaction: &WriteTransaction,
    rows: impl Iterator<Item = &'r Row>,
    meta: &mut Meta,
) -> Result<(), Failure> {
    let mut heads = transaction.open_table(HEADS)?;
    let mut bodies = transaction.open_table(BODIES)?;
    // Most commits do not touch these.
    let (mut dead, mut remembered, mut groups) = (None, None, None);
    let there = |there: bool, id: u64, what: &str| match there {
        true => Ok(()),
        false => Err(Failure::Damaged(format!("message {id} cannot be {what}, as it is not there"))),
    };
    for row in rows {
        match row {
            Row::Insert { id, head, body } => {
                let new = heads.insert(id, head.as_slice())?.is_none();
                if !new {
                    return Err(Failure::Damaged(format!("message {id} is there already")));
                }
                meta.heads += 1;
                meta.bodies += u64::from(bodies.insert(id, &**body)?.is_none());
                meta.next_id = meta.next_id.max(id + 1);
            }
            Row::Update { id, head, .. } => {
                there(heads.insert(id, head.as_slice())?.is_some(), *id, "changed")?;
            }
            Row::Remove(id) => {
                there(heads.remove(id)?.is_some(), *id, "removed")?;
                meta.heads -= 1;
                // A body that cannot be read may be gone already; the message goes all the same.
                meta.bodies -= u64::from(bodies.remove(id)?.is_some());
                if meta.dead > 0 {
                    let dead = opened(&mut dead, || transaction.open_table(DEAD))?;
                    meta.dead -= u64::from(dead.remove(id)?.is_some());
                }
            }
            Row::Bury(id, record) => {
                there(heads.get(id)?.is_some(), *id, "buried")?;
                let dead = opened(&mut dead, || transaction.open_table(DEAD))?;
                meta.dead += u64::from(dead.insert(id, record.as_slice())?.is_none());
            }
            Row::Unbury(id) => {
                let dead = opened(&mut dead, || transaction.open_table(DEAD))?;
                there(dead.remove(id)?.is_some(), *id, "dug up")?;
                meta.dead -= 1;
            }
            Row::Remember(key, record) => {
                let remembered = opened(&mut remembered, || transaction.open_table(REMEMBERED))?;
                let new = remembered.insert(key.as_slice(), record.as_slice())?.is_none();
                meta.remembered += u64::from(new);
            }
            Row::Forget(key) => {
                // It may have gone by itself, once its time was over.
                let remembered = opened(&mut remembered, || transaction.open_table(REMEMBERED))?;
                meta.remembered -= u64::from(remembered.remove(key.as_slice())?.is_some());
            }
            Row::Group(id, record) => {
                let groups = opened(&mut groups, || transaction.open_table(GROUPS))?;
                meta.groups += u64::from(groups.insert(id, record.as_slice())?.is_none());
            }
        }
    }
    Ok(())
}

/// Writes what is known of the file as a whole, one commit on.
pub(super) fn advance(transaction: &WriteTransaction, meta: &mut Meta) -> Result<(), Failure> {
    meta.sequence += 1;
    transaction.open_table(META)?.insert(META_KEY, record::meta(meta).as_slice())?;
    Ok(())
}

/// Looks at up to `items` remembered ids behind `from` and removes those whose time is over. Gives where to go on; from
/// the start again at the end.
pub(super) fn sweep(
    transaction: &WriteTransaction,
    from: &[u8],
    items: usize,
    now: Timestamp,
    meta: &mut Meta,
) -> Result<Vec<u8>, Failure> {
    let mut table = transaction.open_table(REMEMBERED)?;
    let (mut over, mut last, mut seen) = (Vec::new(), Vec::new(), 0);
    for entry in
        table.range::<&[u8]>((std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded))?.take(items)
    {
        let (key, value) = entry?;
        let (.., until) = record::read_remembered(key.value(), value.value())
            .map_err(|bad| damaged("a remembered dedup id", &bad))?;
        seen += 1;
        last = key.value().to_vec();
        if until <= now {
            over.push(last.clone());
        }
    }
    for key in over {
        meta.remembered -= u64::from(table.remove(key.as_slice())?.is_some());
    }
    Ok(if seen < items { Vec::new() } else { last })
}

/// A table that is opened where it is needed first.
fn opened<'s, 't, K: redb::Key + 'static, V: redb::Value + 'static>(
    slot: &'s mut Option<Table<'t, K, V>>,
    open: impl FnOnce() -> Result<Table<'t, K, V>, TableError>,
) -> Result<&'s mut Table<'t, K, V>, TableError> {
    match slot {
        Some(table) => Ok(table),
        None => Ok(slot.insert(open()?)),
    }
}

/// Makes all tables in a new file.
pub(super) fn create(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    transaction.open_table(HEADS)?;
    transaction.open_table(BODIES)?;
    transaction.open_table(DEAD)?;
    transaction.open_table(REMEMBERED)?;
    transaction.open_table(GROUPS)?;
    // The first message has the number 1.
    advance(&transaction, &mut Meta { next_id: 1, ..Meta::default() })?;
    transaction.commit()?;
    Ok(())
}

// --- reading ---

/// What is known of the file as a whole.
pub(super) fn meta(transaction: &ReadTransaction) -> Result<Meta, Failure> {
    let table = match transaction.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => {
            return Err(Failure::NotOurs("a redb database of something else".into()));
        }
        Err(error) => return Err(error.into()),
    };
    let Some(record) = table.get(META_KEY)? else {
        return Err(Failure::Damaged("the record of the file as a whole is missing".into()));
    };
    match record::read_meta(record.value()) {
        Ok(Ok(meta)) => Ok(meta),
        Ok(Err(format)) => {
            Err(Failure::NotOurs(format!("version {format} of the format, this one is {}", record::FORMAT)))
        }
        Err(bad) => Err(damaged("the record of the file as a whole", &bad)),
    }
}

/// What an opening was told while it read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) meta: Meta,
    /// About what all messages take in the file.
    pub(super) live_bytes: u64,
}

/// Reads everything but bodies, tells of it and holds it against the counts. `begun` gives the attempts of a message that
/// the file does not know of.
pub(super) fn read(
    database: &Database,
    now: Timestamp,
    mut begun: impl FnMut(&Head) -> Option<u32>,
    tell: &mut dyn FnMut(Found),
) -> Result<Read, Failure> {
    let transaction = database.begin_read()?;
    let meta = meta(&transaction)?;

    let (mut groups, mut previous) = (0, None);
    for entry in transaction.open_table(GROUPS)?.iter()? {
        let (id, record) = entry?;
        let id = id.value();
        if previous >= Some(id) {
            return Err(Failure::Damaged(format!("the group {id} is out of place")));
        }
        previous = Some(id);
        groups += 1;
        let group = record::read_group(id, record.value());
        tell(Found::Group(group.map_err(|bad| damaged(format_args!("the group {id}"), &bad))?));
    }
    count("groups", groups, meta.groups)?;

    let mut dead_ids: Vec<u64> = Vec::new();
    for entry in transaction.open_table(DEAD)?.iter()? {
        let (id, record) = entry?;
        let id = id.value();
        if dead_ids.last() >= Some(&id) {
            return Err(Failure::Damaged(format!("the dead letter {id} is out of place")));
        }
        dead_ids.push(id);
        let dead = record::read_dead(id, record.value());
        let dead = dead.map_err(|bad| damaged(format_args!("the dead letter {id}"), &bad))?;
        tell(Found::Dead(MessageId(id), dead));
    }
    count("dead letters", dead_ids.len() as u64, meta.dead)?;

    // A page that leads back to an earlier one would make the scan endless; both checks end it.
    let (mut heads, mut live_bytes, mut previous) = (0, 0, None);
    let mut dead_ids = dead_ids.into_iter().peekable();
    for entry in transaction.open_table(HEADS)?.iter()? {
        let (id, record) = entry?;
        let id = id.value();
        if previous >= Some(id) || id >= meta.next_id || heads >= meta.heads {
            return Err(Failure::Damaged(format!("the head of message {id} is out of place")));
        }
        previous = Some(id);
        let head = record::read_head(id, record.value());
        let mut head = head.map_err(|bad| damaged(format_args!("the head of message {id}"), &bad))?;
        heads += 1;
        live_bytes += u64::from(head.bytes) + RECORDS_BYTES;
        dead_ids.next_if_eq(&id);
        let began = begun(&head);
        head.attempts = began.unwrap_or(head.attempts);
        tell(Found::Message { head, after_crash: began.is_some() });
    }
    count("heads", heads, meta.heads)?;
    count("bodies", transaction.open_table(BODIES)?.len()?, meta.bodies)?;
    if let Some(id) = dead_ids.next() {
        return Err(Failure::Damaged(format!("the dead letter {id} is out of place")));
    }

    let mut remembered = 0;
    for entry in transaction.open_table(REMEMBERED)?.iter()? {
        let (key, record) = entry?;
        if remembered >= meta.remembered {
            return Err(Failure::Damaged("there are more remembered dedup ids than were written".into()));
        }
        remembered += 1;
        let (queue, dedup_id, id, until) = record::read_remembered(key.value(), record.value())
            .map_err(|bad| damaged("a remembered dedup id", &bad))?;
        if until > now {
            tell(Found::Remembered { queue, dedup_id, id, until });
        }
    }
    count("remembered dedup ids", remembered, meta.remembered)?;
    Ok(Read { meta, live_bytes })
}

fn count(what: &str, found: u64, written: u64) -> Result<(), Failure> {
    match found == written {
        true => Ok(()),
        false => Err(Failure::Damaged(format!("it has {found} {what} and should have {written}"))),
    }
}
