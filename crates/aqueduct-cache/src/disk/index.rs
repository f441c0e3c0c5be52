use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::record::{Digest, Spot};

/// Where the record of a key is. The key itself is in the record: of two with the same tag, the later one is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// 64 bits of the digest, in two halves, so that a slot has 20 bytes and not 24.
    tag: [u32; 2],
    segment: u32,
    at: u32,
    pub(super) bytes: u32,
}

impl Slot {
    pub(super) fn new(digest: &Digest, spot: Spot, bytes: u32) -> Self {
        let tag = tag(digest);
        Self { tag: [upper(tag), lower(tag)], segment: spot.segment, at: spot.at, bytes }
    }

    pub(super) fn spot(&self) -> Spot {
        Spot { segment: self.segment, at: self.at }
    }

    fn tag(&self) -> u64 {
        u64::from(self.tag[0]) << 32 | u64::from(self.tag[1])
    }
}

/// A slot on its way into the index.
#[derive(Debug)]
pub(super) struct Loaded {
    shard: u8,
    slot: Slot,
}

impl Loaded {
    pub(super) fn new(digest: &Digest, slot: Slot) -> Self {
        Self { shard: digest[0] % SHARDS, slot }
    }
}

/// Which records there are. Each shard has a lock of its own, under which nobody waits for the disk, and grows by itself.
#[derive(Debug)]
pub(super) struct Index {
    shards: Box<[Mutex<HashTable<Slot>>]>,
    /// How many slots there are. For statistics and for room: those who make room change it one at a time.
    slots: AtomicUsize,
}

/// So that the one that grows, or from which a segment leaves, holds up a sixteenth of the looks.
const SHARDS: u8 = 16;

impl Index {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), slots: AtomicUsize::new(0) }
    }

    /// Makes room for so many slots, `max` at most.
    pub(super) fn reserve(&self, slots: u64, max: usize) {
        let slots = usize::try_from(slots).unwrap_or(max).min(max);
        for shard in &self.shards {
            lock(shard).reserve(slots / usize::from(SHARDS), Slot::tag);
        }
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Slot> {
        let tag = tag(digest);
        self.shard(digest).find(tag, |slot| slot.tag() == tag).copied()
    }

    /// Puts a slot in; gives the one whose place it takes.
    pub(super) fn insert(&self, digest: &Digest, slot: Slot) -> Option<Slot> {
        let old = put(&mut self.shard(digest), slot);
        if old.is_none() {
            self.slots.fetch_add(1, Ordering::Relaxed);
        }
        old
    }

    /// The same for many, in their order, and gives those whose places they take. Shard by shard: the table of one is in the
    /// caches of the processor then, and its lock is taken once. A million take a fifth of the time of one by one.
    pub(super) fn insert_all(&self, loaded: &mut Vec<Loaded>) -> Vec<Slot> {
        loaded.sort_by_key(|loaded| loaded.shard);
        let mut replaced = Vec::new();
        for of_shard in loaded.chunk_by(|one, next| one.shard == next.shard) {
            let mut shard = lock(&self.shards[usize::from(of_shard[0].shard)]);
            let before = shard.len();
            replaced.extend(of_shard.iter().filter_map(|loaded| put(&mut shard, loaded.slot)));
            self.slots.fetch_add(shard.len() - before, Ordering::Relaxed);
        }
        loaded.clear();
        replaced
    }

    pub(super) fn remove(&self, digest: &Digest) -> Option<Slot> {
        self.remove_if(digest, |_| true)
    }

    /// Takes out the slot of a key, where `wanted` says so of it.
    pub(super) fn remove_if(&self, digest: &Digest, wanted: impl Fn(&Slot) -> bool) -> Option<Slot> {
        let tag = tag(digest);
        let mut shard = self.shard(digest);
        let found = shard.find_entry(tag, |slot| slot.tag() == tag && wanted(slot)).ok()?;
        self.slots.fetch_sub(1, Ordering::Relaxed);
        Some(found.remove().0)
    }

    /// Takes out what points into a segment; gives how many there were. O(n).
    pub(super) fn remove_segment(&self, segment: u32) -> usize {
        let mut removed = 0;
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.len();
            shard.retain(|slot| slot.segment != segment);
            removed += before - shard.len();
        }
        self.slots.fetch_sub(removed, Ordering::Relaxed);
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }

    fn shard(&self, digest: &Digest) -> MutexGuard<'_, HashTable<Slot>> {
        lock(&self.shards[usize::from(digest[0] % SHARDS)])
    }
}

/// A table is whole between any two of its calls.
fn lock(shard: &Mutex<HashTable<Slot>>) -> MutexGuard<'_, HashTable<Slot>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(shard: &mut HashTable<Slot>, slot: Slot) -> Option<Slot> {
    let tag = slot.tag();
    if let Some(found) = shard.find_mut(tag, |slot| slot.tag() == tag) {
        return Some(std::mem::replace(found, slot));
    }
    shard.insert_unique(tag, slot, Slot::tag);
    None
}

/// Not the bytes that choose the shard: within one they are all alike.
fn tag(digest: &Digest) -> u64 {
    let mut tag = [0; 8];
    tag.copy_from_slice(&digest[8..16]);
    u64::from_le_bytes(tag)
}

fn upper(tag: u64) -> u32 {
    (tag >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn lower(tag: u64) -> u32 {
    tag as u32
}
