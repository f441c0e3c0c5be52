//! Bodies that were just written: a worker usually takes what was published a moment ago.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The records of the newest bodies, bounded in bytes. The oldest go first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    records: BTreeMap<u64, Bytes>,
    bytes: usize,
}

/// What the newest bodies may take. Enough for some seconds of a busy queue; beyond it the page cache serves.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// About what an entry takes beside its record.
const ENTRY: usize = 64;

impl Recent {
    pub(super) fn insert(&mut self, id: u64, record: Bytes) {
        self.bytes += record.len() + ENTRY;
        self.records.insert(id, record);
        while self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.records.pop_first() else { break };
            self.bytes -= oldest.len() + ENTRY;
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<Bytes> {
        self.records.get(&id).cloned()
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(record) = self.records.remove(&id) {
            self.bytes -= record.len() + ENTRY;
        }
    }
}
