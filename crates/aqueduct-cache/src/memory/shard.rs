use std::borrow::Borrow;

use crate::memory::looks::Looks;
use crate::memory::nodes::{ENTRIES_MAX, Nodes};
use crate::memory::ranking::Ranking;
use crate::memory::wheel::{NEVER, Wheel};
use crate::stats::Stats;

/// A cache for one thread: time is an argument, in nanoseconds of a clock that never goes back.
///
/// What a look needs comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shard<K, V> {
    /// Of those who look one at a time.
    looks: Looks,
    nodes: Nodes<(K, V)>,
    ranking: Ranking,
    wheel: Wheel,
    capacity: u64,
    /// All but the looks, which are counted above.
    stats: Stats,
}

/// An entry as it comes in.
#[derive(Debug)]
pub(crate) struct Newcomer<K, V> {
    pub(crate) hash: u32,
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) weight: u32,
    /// [`NEVER`] where it does not.
    pub(crate) expires_at: u64,
}

/// What has left, for the caller to drop when nothing is locked: a destructor may take long, or use the cache.
#[derive(Debug)]
#[must_use = "it is to be dropped behind the lock"]
pub(crate) struct Gone<K, V> {
    /// Most insertions put out one entry, and need no memory for it.
    first: Option<(K, V)>,
    rest: Vec<(K, V)>,
}

impl<K, V> Gone<K, V> {
    fn nothing() -> Self {
        Self { first: None, rest: Vec::new() }
    }

    fn push(&mut self, entry: (K, V)) {
        match self.first {
            None => self.first = Some(entry),
            Some(_) => self.rest.push(entry),
        }
    }
}

impl<K: Eq, V> Shard<K, V> {
    pub(crate) fn new(ranking: Ranking, capacity: u64) -> Self {
        Self {
            looks: Looks::default(),
            nodes: Nodes::new(),
            ranking,
            wheel: Wheel::default(),
            capacity,
            stats: Stats::default(),
        }
    }

    /// Looks for a value, and notes that somebody wanted it. `now` is asked only where entries expire at all. For the orders where that
    /// [is only noted](crate::Eviction::is_noted).
    #[inline]
    pub(crate) fn get<Q>(&self, hash: u32, key: &Q, now: impl FnOnce() -> u64) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let at = self.find(hash, key).filter(|&at| self.is_good(at, now))?;
        self.ranking.note(&self.nodes, at, hash);
        self.nodes.get(at).map(|node| &node.carried.1)
    }

    /// The same for all orders.
    pub(crate) fn get_exclusive<Q>(&mut self, hash: u32, key: &Q, now: impl FnOnce() -> u64) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let at = self.find(hash, key).filter(|&at| self.is_good(at, now))?;
        self.ranking.hit(&mut self.nodes, at, hash);
        self.nodes.get(at).map(|node| &node.carried.1)
    }

    /// Tells whether there is a value, and does not count as somebody who wanted it.
    pub(crate) fn contains<Q>(&self, hash: u32, key: &Q, now: impl FnOnce() -> u64) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.find(hash, key).is_some_and(|at| self.is_good(at, now))
    }

    pub(crate) fn insert(&mut self, new: Newcomer<K, V>, now: u64) -> Gone<K, V> {
        let mut gone = Gone::nothing();
        self.expire(now, &mut gone);
        let weight = u64::from(new.weight);
        let found = self.find(new.hash, &new.key);
        if weight > self.capacity || new.expires_at <= now {
            // What is there under the key is not what the caller wants there any more.
            if let Some(old) = found.and_then(|at| self.take_out(at)) {
                gone.push(old);
            }
            self.stats.rejections += 1;
            gone.push((new.key, new.value));
            return gone;
        }
        self.stats.sets += 1;
        if let Some((at, carried)) = found.and_then(|at| Some((at, self.nodes.carried_mut(at)?))) {
            let old = std::mem::replace(&mut carried.1, new.value);
            gone.push((new.key, old));
            self.nodes.set_weight(at, new.weight);
            self.wheel.set(at, self.nodes.places(), new.expires_at, now);
            self.ranking.hit(&mut self.nodes, at, new.hash);
            self.ranking.expires(at, new.expires_at);
            self.make_room(0, &mut gone);
            return gone;
        }
        self.ranking.missed(&self.nodes, new.hash);
        self.make_room(weight, &mut gone);
        let list = self.ranking.list_for(&mut self.nodes, new.hash, new.weight);
        // Nothing weighs less than one.
        if let Some(moved) = self.nodes.grow(self.capacity) {
            self.wheel.moved(&moved);
            self.ranking.moved(&moved);
        }
        let Some(at) = self.nodes.push((new.key, new.value), new.hash, new.weight, list) else { return gone };
        if new.expires_at != NEVER || self.wheel.is_used() {
            self.wheel.set(at, self.nodes.places(), new.expires_at, now);
        }
        self.ranking.added(at, new.expires_at);
        gone
    }

    pub(crate) fn remove<Q>(&mut self, hash: u32, key: &Q, now: impl FnOnce() -> u64) -> Removed<K, V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let at = self.find(hash, key)?;
        let is_good = self.is_good(at, now);
        *(if is_good { &mut self.stats.deletes } else { &mut self.stats.expirations }) += 1;
        Some((self.take_out(at)?, is_good))
    }

    /// Takes everything out, and begins again with a ranking that knows nothing.
    pub(crate) fn clear(&mut self, ranking: impl FnOnce(u64) -> Ranking) -> Vec<(K, V)> {
        let stats = Stats { deletes: self.stats.deletes + self.nodes.len() as u64, ..self.stats };
        let old = std::mem::replace(self, Self::new(ranking(self.capacity), self.capacity));
        (self.looks, self.stats) = (old.looks, stats);
        old.nodes.into_carried()
    }

    pub(crate) fn set_capacity(&mut self, capacity: u64) -> Gone<K, V> {
        let mut gone = Gone::nothing();
        self.capacity = capacity;
        self.ranking.set_capacity(capacity);
        self.make_room(0, &mut gone);
        gone
    }

    /// Takes out what has expired, some of it at least; `true` when there is no more.
    pub(crate) fn sweep(&mut self, now: u64) -> (Gone<K, V>, bool) {
        let mut gone = Gone::nothing();
        let is_done = self.expire(now, &mut gone);
        (gone, is_done)
    }

    /// Gives the keys, each with how popular it is. O(n).
    pub(crate) fn popularity(&self) -> impl Iterator<Item = (u64, &K)> {
        let popularity = self.ranking.popularity(&self.nodes);
        self.nodes.iter().map(move |(at, node)| (popularity[at as usize], &node.carried.0))
    }

    pub(crate) fn stats(&self) -> Stats {
        let entries = self.nodes.len() as u64;
        let Self { ref looks, capacity, .. } = *self;
        let (hits, misses) = (looks.hits(), looks.misses());
        Stats { hits, misses, entries, weight: self.nodes.weight(), capacity, ..self.stats }
    }

    pub(crate) fn looks(&self) -> &Looks {
        &self.looks
    }

    #[inline]
    fn find<Q>(&self, hash: u32, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.nodes.find(hash, |(found, _)| found.borrow() == key)
    }

    fn is_good(&self, at: u32, now: impl FnOnce() -> u64) -> bool {
        !self.wheel.is_used() || {
            let expires_at = self.wheel.expires_at(at);
            expires_at == NEVER || now() < expires_at
        }
    }

    fn expire(&mut self, now: u64, gone: &mut Gone<K, V>) -> bool {
        for _ in 0..EXPIRED_AT_ONCE {
            match self.wheel.expired(now) {
                Some(at) => {
                    let Some(entry) = self.take_out(at) else { continue };
                    gone.push(entry);
                    self.stats.expirations += 1;
                }
                None => return !self.wheel.is_behind(now),
            }
        }
        false
    }

    fn make_room(&mut self, weight: u64, gone: &mut Gone<K, V>) {
        while self.nodes.weight() + weight > self.capacity || self.nodes.len() >= ENTRIES_MAX {
            let victim = self.ranking.victim(&mut self.nodes, weight);
            let Some(entry) = victim.and_then(|at| self.take_out(at)) else { break };
            gone.push(entry);
            self.stats.evictions += 1;
        }
    }

    fn take_out(&mut self, at: u32) -> Option<(K, V)> {
        self.ranking.leaves(&self.nodes, at);
        self.wheel.removed(at);
        self.nodes.remove(at)
    }
}

/// An entry, and whether its time was not over yet.
pub(crate) type Removed<K, V> = Option<((K, V), bool)>;

/// What one insertion puts out at most of what has expired, so that none takes long for all others.
const EXPIRED_AT_ONCE: usize = 16;
