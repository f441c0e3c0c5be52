//! Reading what can be read of a file, whatever state it is in.

use std::collections::BTreeMap;
use std::path::Path;

use aqueduct_core::Timestamp;
use bytes::Bytes;
use redb::{
    Builder, ConcurrencyMode, Key, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition,
};

use crate::contract::Dead;
use crate::log::{Body, Group, Head};
use crate::message::MessageId;

use super::failure::{Failure, caught};
use super::opened::Opened;
use super::overlay::{Overlay, Slot};
use super::record::{self, Bad, Meta};
use super::tables;

/// One commit of a file, read without trust in it.
pub(super) enum Salvage {
    /// The commit that an opening takes, of which all pages were checked.
    Checked(Opened),
    /// One as it is.
    Raw(ReadOnlyDatabase),
}

/// What was found in one commit. Bodies are left where they are.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) meta: Option<Meta>,
    /// It is of the commit before the last one.
    pub(super) is_old: bool,
    pub(super) heads: BTreeMap<u64, Result<Head, Bad>>,
    /// How many bytes the body has, or what is wrong with it.
    pub(super) bodies: BTreeMap<u64, Result<usize, Bad>>,
    pub(super) dead: BTreeMap<u64, Result<Dead, Bad>>,
    pub(super) groups: BTreeMap<u32, Result<Group, Bad>>,
    pub(super) remembered: Vec<(Box<str>, Box<str>, MessageId, Timestamp)>,
    /// Places of tables that cannot be read at all, and why.
    pub(super) holes: Vec<(String, String)>,
}

/// Memory for the pages of a file that is looked through once.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

impl Salvage {
    pub(super) fn open(path: &Path, slot: Slot) -> Result<Self, Failure> {
        let database = caught(|| {
            Ok(Builder::new()
                .set_cache_size(CACHE_BYTES)
                // A reader beside a writer takes the commit as it is and needs no list of free pages.
                .set_concurrency_mode(ConcurrencyMode::SingleWriter)
                .open_read_only_with_backend(Overlay::over_slot(path, slot)?)?)
        })?;
        Ok(Self::Raw(database))
    }

    fn begin_read(&self) -> Result<ReadTransaction, Failure> {
        match self {
            Self::Checked(opened) => opened.begin_read(),
            Self::Raw(database) => Ok(database.begin_read()?),
        }
    }

    /// Reads everything.
    pub(super) fn look(&self) -> Result<Found, Failure> {
        let transaction = caught(|| self.begin_read())?;
        let mut found = Found::default();
        match caught(|| tables::meta(&transaction)) {
            Ok(meta) => found.meta = Some(meta),
            Err(Failure::Damaged(why)) => found.holes.push(("the record of the file as a whole".into(), why)),
            Err(failure) => return Err(failure),
        }
        let mut holes = Vec::new();
        scan(&transaction, tables::HEADS, &mut holes, |id: u64, record| {
            found.heads.insert(id, record::read_head(id, record));
        });
        scan(&transaction, tables::BODIES, &mut holes, |id: u64, record| {
            let body = record::read_body(MessageId(id), &Bytes::copy_from_slice(record));
            found.bodies.insert(id, body.map(|body| body.body.len()));
        });
        scan(&transaction, tables::DEAD, &mut holes, |id: u64, record| {
            found.dead.insert(id, record::read_dead(id, record));
        });
        scan(&transaction, tables::GROUPS, &mut holes, |id: u32, record| {
            found.groups.insert(id, record::read_group(id, record));
        });
        let remembered = caught(|| {
            for entry in transaction.open_table(tables::REMEMBERED)?.iter()? {
                let (key, value) = entry?;
                match record::read_remembered(key.value(), value.value()) {
                    Ok(remembered) => found.remembered.push(remembered),
                    Err(bad) => holes.push(("a remembered dedup id".into(), bad.0)),
                }
                // As many as there should be are enough: a damaged tree can lead in a circle.
                if found.meta.is_some_and(|meta| found.remembered.len() as u64 >= meta.remembered) {
                    break;
                }
            }
            Ok(())
        });
        if let Err(failure) = remembered {
            holes.push((
                "the remembered dedup ids behind those that were found".into(),
                failure.text().to_owned(),
            ));
        }
        found.holes.append(&mut holes);
        Ok(found)
    }

    /// Reads one body.
    pub(super) fn body(&self, id: u64) -> Result<Body, Bad> {
        let record = caught(|| {
            let table = self.begin_read()?.open_table(tables::BODIES)?;
            Ok(table.get(id)?.map(|record| Bytes::copy_from_slice(record.value())))
        });
        match record {
            Ok(Some(record)) => record::read_body(MessageId(id), &record),
            Ok(None) => Err(Bad("it is missing".into())),
            Err(failure) => Err(Bad(failure.text().to_owned())),
        }
    }
}

/// A number that a table is ordered by.
trait Number: Copy + Into<u64> + TryFrom<u64> {}
impl Number for u64 {}
impl Number for u32 {}

/// Gives every record that a table leads to, in the order of their numbers. Where a page cannot be read it looks for the
/// next one that can, with steps that double; what is in between is a hole.
fn scan<K>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, K, &'static [u8]>,
    holes: &mut Vec<(String, String)>,
    mut each: impl FnMut(K, &[u8]),
) where
    K: Number
        + Key
        + for<'a> redb::Value<SelfType<'a> = K>
        + for<'a> std::borrow::Borrow<<K as redb::Value>::SelfType<'a>>,
{
    use redb::TableHandle;
    let name = definition.name().to_owned();
    let mut from = 0_u64;
    loop {
        let read = caught(|| {
            let Ok(start) = K::try_from(from) else { return Ok(()) };
            for entry in transaction.open_table(definition)?.range(start..)? {
                let (key, record) = entry?;
                let number: u64 = key.value().into();
                if number < from {
                    return Err(Failure::Damaged(format!("{number} comes where more than {from} should")));
                }
                each(key.value(), record.value());
                let Some(next) = number.checked_add(1) else { return Ok(()) };
                from = next;
            }
            Ok(())
        });
        let Err(failure) = read else { return };
        let reads_at = |at: u64| match K::try_from(at) {
            Ok(start) => caught(|| match transaction.open_table(definition)?.range(start..)?.next() {
                None => Ok(()),
                Some(entry) => {
                    let number: u64 = entry?.0.value().into();
                    if number >= at { Ok(()) } else { Err(Failure::Damaged("out of place".into())) }
                }
            })
            .is_ok(),
            // Behind the last number there can be.
            Err(_) => true,
        };
        // Nothing is read between `bad` and `good`, and something, or the end, from `good` on.
        let (mut bad, mut step) = (from, 1_u64);
        let mut good = loop {
            let Some(at) = from.checked_add(step) else { break None };
            if reads_at(at) {
                break Some(at);
            }
            (bad, step) = (at, step.saturating_mul(2));
            if step == u64::MAX {
                break None;
            }
        };
        if let Some(good) = &mut good {
            while *good - bad > 1 {
                let middle = bad + (*good - bad) / 2;
                if reads_at(middle) { *good = middle } else { bad = middle }
            }
        }
        let hole = match good {
            Some(good) => format!("table {name}, numbers {from} to {}", good - 1),
            None => format!("table {name}, numbers from {from} on"),
        };
        holes.push((hole, failure.text().to_owned()));
        match good {
            Some(good) => from = good,
            None => return,
        }
    }
}
