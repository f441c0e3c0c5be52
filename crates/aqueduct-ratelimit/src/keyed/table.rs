use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;

use super::debts::Debts;
use crate::algorithm::token_bucket::Bucket;
use crate::quota::Quota;

/// A bounded table of keys and their TATs.
///
/// Entries lie in a row, and an index of their places is beside it: sixteen bytes for a key of eight, and five for each
/// place of the index, which is at least seven sixteenths full.
#[derive(Debug)]
pub(super) struct Table<K> {
    index: HashTable<u32>,
    entries: Vec<Entry<K>>,
    /// Where the next newcomer looks for somebody who may go.
    hand: usize,
    /// How many entries it may always have.
    own: usize,
    /// How many it has when keys are spread evenly.
    fair: usize,
    /// Places that any part may take. Relaxed: it is only counted, and each is taken once.
    spare: Arc<AtomicUsize>,
    quota: Quota,
    bucket: Bucket,
    /// How long a key must have been settled before it goes for no reason but that.
    idle_after: u64,
    debts: Debts,
    evictions: u64,
}

#[derive(Debug)]
struct Entry<K> {
    key: K,
    tat: u64,
}

/// How many entries a newcomer looks at when there is no room. The first that owes nothing goes.
const SAMPLE: usize = 16;

/// How many a newcomer looks at when there is room, to let idle ones go.
const GLANCE: usize = 2;

impl<K> Table<K> {
    /// A table with places of its own; more it takes from those that are spare, which all parts share.
    pub(super) fn new(
        quota: Quota,
        own: usize,
        fair: usize,
        spare: Arc<AtomicUsize>,
        idle_after: u64,
    ) -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            hand: 0,
            own,
            fair,
            spare,
            quota,
            bucket: Bucket::of(&quota),
            idle_after,
            debts: Debts::new(fair),
            evictions: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<K>>() + self.index.allocation_size() + self.debts.bytes()
    }

    pub(super) fn bucket(&self) -> Bucket {
        self.bucket
    }

    pub(super) fn set_quota(&mut self, now: u64, quota: Quota) {
        let (old, new) = (Bucket::of(&self.quota), Bucket::of(&quota));
        for entry in &mut self.entries {
            entry.tat = old.rescaled(entry.tat, now, &new);
        }
        self.debts.rescale(now, |tat| old.rescaled(tat, now, &new));
        (self.quota, self.bucket) = (quota, new);
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    /// The state of a key, or the debt with which a new one would begin.
    pub(super) fn find<Q>(&self, hash: u64, key: &Q, now: u64) -> u64
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let found =
            self.index.find(hash, |at| self.is(*at, key)).and_then(|at| self.entries.get(*at as usize));
        found.map_or_else(|| self.debts.find(hash, now), |entry| entry.tat)
    }

    /// The state of a key, which is made when it is new.
    #[inline]
    pub(super) fn state<Q>(
        &mut self,
        hash: u64,
        key: &Q,
        now: u64,
        hash_of: impl Fn(&K) -> u64,
    ) -> (&K, &mut u64)
    where
        K: Borrow<Q>,
        Q: Eq + ToOwned<Owned = K> + ?Sized,
    {
        let known = self.index.find(hash, |at| self.is(*at, key)).map(|at| *at as usize);
        let at = known.unwrap_or_else(|| self.add(hash, key.to_owned(), now, hash_of));
        let Entry { key, tat } = &mut self.entries[at];
        (key, tat)
    }

    fn is<Q>(&self, at: u32, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.entries.get(at as usize).is_some_and(|entry| entry.key.borrow() == key)
    }

    #[cold]
    fn add(&mut self, hash: u64, key: K, now: u64, hash_of: impl Fn(&K) -> u64) -> usize {
        self.let_idle_go(now, &hash_of);
        if self.entries.len() >= self.own && !self.take_spare() {
            self.make_room(now, &hash_of);
        }
        let tat = self.debts.find(hash, now);
        if self.entries.len() == self.entries.capacity() {
            // Twice as many up to the fair share, and little by little beyond it.
            let held = self.entries.len();
            let more = if held < self.fair { held.max(8).min(self.fair - held) } else { (held / 16).max(1) };
            self.entries.reserve_exact(more);
        }
        let at = self.entries.len();
        self.entries.push(Entry { key, tat });
        let entries = &self.entries;
        // There are never more places than a u32 counts.
        let place = u32::try_from(at).unwrap_or(u32::MAX);
        self.index.insert_unique(hash, place, |at| hash_of(&entries[*at as usize].key));
        at
    }

    fn let_idle_go(&mut self, now: u64, hash_of: &impl Fn(&K) -> u64) {
        for _ in 0..GLANCE {
            let Some(at) = self.next() else { return };
            if self.entries[at].tat.saturating_add(self.idle_after) <= now {
                if self.entries.len() > self.own {
                    self.spare.fetch_add(1, Ordering::Relaxed);
                }
                self.remove(at, hash_of);
            }
        }
    }

    fn take_spare(&self) -> bool {
        self.spare.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spare| spare.checked_sub(1)).is_ok()
    }

    /// The next entry to look at, from the last to the first and again: the one that takes the place of a removed one
    /// comes from behind, where the hand has been.
    fn next(&mut self) -> Option<usize> {
        self.hand = self.hand.min(self.entries.len());
        if self.hand == 0 {
            self.hand = self.entries.len();
        }
        self.hand = self.hand.checked_sub(1)?;
        Some(self.hand)
    }

    /// Lets one go: the first that owes nothing, or else the one that owes least, and its debt stays.
    fn make_room(&mut self, now: u64, hash_of: &impl Fn(&K) -> u64) {
        let mut least: Option<(u64, usize)> = None;
        for _ in 0..SAMPLE.min(self.entries.len()) {
            let Some(at) = self.next() else { break };
            let tat = self.entries[at].tat;
            if least.is_none_or(|(least, _)| tat < least) {
                least = Some((tat, at));
            }
            if tat <= now {
                break;
            }
        }
        if let Some((tat, at)) = least {
            if tat > now {
                self.evictions += 1;
                self.debts.put(hash_of(&self.entries[at].key), tat, now);
            }
            self.remove(at, hash_of);
        }
    }

    /// Takes an entry out; the last one takes its place.
    fn remove(&mut self, at: usize, hash_of: &impl Fn(&K) -> u64) {
        let last = self.entries.len() - 1;
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        if let Ok(found) = self.index.find_entry(hash_of(&self.entries[at].key), |other| *other == place(at))
        {
            found.remove();
        }
        if at != last
            && let Some(moved) =
                self.index.find_mut(hash_of(&self.entries[last].key), |other| *other == place(last))
        {
            *moved = place(at);
        }
        self.entries.swap_remove(at);
    }
}
