mod index;
mod lock;
#[cfg(test)]
mod lock_model;
mod looks;
mod nodes;
mod ranking;
mod shard;
mod sketch;
mod sync;
mod wheel;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use aqueduct_core::Clock;
use hashbrown::DefaultHashBuilder;

use self::lock::{Lock, Readers};
use self::ranking::{Choice, LEADERS, Ranking, Role};
use self::shard::{Newcomer, Shard};
use self::wheel::NEVER;
use crate::config::{CAPACITY_MAX, Config};
use crate::error::ConfigError;
use crate::spread;
use crate::stats::Stats;

/// A cache in memory, for any number of threads. See [the crate](crate) for what it does.
///
/// A look shares one shard of it with all others that look, and while nothing is inserted or removed there it waits for
/// nobody; with LRU and LFU, which a hit changes, and where something is inserted or removed it has the shard for itself, for some tens
/// of nanoseconds. Values are cloned out of it: an `Arc` or `Bytes` costs little. The hash and the comparison of keys and the clone of
/// values must not use the same cache.
pub struct Memory<K, V> {
    shards: Box<[Padded<K, V>]>,
    readers: Readers,
    /// How far a hash is shifted to give the number of its shard.
    shift: u32,
    hasher: DefaultHashBuilder,
    config: Config,
    clock: Clock,
    /// What the shards that lead have chosen; [`role`] says who they are.
    choice: Choice,
}

/// On cache lines of its own, so that threads on different shards do not slow each other down.
#[repr(align(128))]
struct Padded<K, V> {
    /// Guards a share of the entries. Code of others under it: the comparison of keys, and the clone of values.
    shard: Lock<Shard<K, V>>,
}

/// What is said of one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub(crate) ttl: Option<Duration>,
    weight: Option<u32>,
}

impl Terms {
    /// Nothing: what the cache says of all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long the entry is good for; chance takes none of it off. A time of nought keeps it not at all, one of
    /// centuries for ever.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Sets how much of the capacity it takes. Default 1; nothing weighs less.
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        Self { weight: Some(weight), ..self }
    }
}

impl<K: Hash + Eq, V> Memory<K, V> {
    /// An empty cache on the system's clock.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_clock(config, Clock::system())
    }

    /// The same on another clock.
    #[must_use]
    pub fn with_clock(config: Config, clock: Clock) -> Self {
        let hasher = DefaultHashBuilder::default();
        let shards = config.shards();
        let choice = Choice::new(shards.min(LEADERS));
        let padded = |number: usize| {
            let capacity = share(config.capacity, number, shards);
            let ranking = Ranking::new(config.eviction, capacity, role(&choice, &hasher, number));
            Padded { shard: Lock::new(number, Shard::new(ranking, capacity)) }
        };
        let shards: Box<[_]> = (0..shards).map(padded).collect();
        // A power of two.
        let shift = 64 - shards.len().ilog2();
        Self { shards, readers: Readers::new(), shift, hasher, config, clock, choice }
    }

    /// Inserts a value on the terms of the cache, in the place of what was there under its key.
    pub fn insert(&self, key: K, value: V) {
        self.insert_on(key, value, Terms::new());
    }

    /// Inserts a value on terms of its own.
    ///
    /// One that is not kept, for it is heavier than its shard of the cache or has no time, takes what was there under its
    /// key along: the old value is not what the caller wants to be found.
    pub fn insert_on(&self, key: K, value: V, terms: Terms) {
        let (hash, shard) = self.shard_of(&key);
        let now = self.now();
        let own = terms.ttl.map(nanos);
        let ttl = own.or_else(|| self.config.ttl.map(|ttl| self.shorter(nanos(ttl), hash, now)));
        let expires_at = ttl.map_or(NEVER, |ttl| now.saturating_add(ttl));
        let weight = terms.weight.unwrap_or(1).max(1);
        let newcomer = Newcomer { hash, key, value, weight, expires_at };
        let gone = self.change(shard, |shard| shard.insert(newcomer, now));
        // Here, with nothing locked.
        drop(gone);
    }

    /// Takes a value out.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, shard) = self.shard_of(key);
        let removed = self.change(shard, |shard| shard.remove(hash, key, || self.now()));
        removed.and_then(|((_, value), is_good)| is_good.then_some(value))
    }

    /// Tells whether there is a value, and counts as no look at it.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, shard) = self.shard_of(key);
        self.read(shard, |shard| shard.contains(hash, key, || self.now()))
    }

    /// Takes everything out, shard by shard. What is known of how often keys were asked for is forgotten too.
    pub fn clear(&self) {
        for (number, shard) in self.shards.iter().enumerate() {
            let role = role(&self.choice, &self.hasher, number);
            let ranking = |capacity| Ranking::new(self.config.eviction, capacity, role);
            let entries = self.change(shard, |shard| shard.clear(ranking));
            drop(entries);
        }
    }

    /// Allows another weight from now on; what does not fit leaves before this returns. O(n) where it becomes less.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside 2^48 and the number of shards, each of which keeps something; nothing has changed then.
    pub fn set_capacity(&self, capacity: u64) -> Result<(), ConfigError> {
        ConfigError::check("capacity", capacity, self.shards.len() as u64, CAPACITY_MAX)?;
        for (number, shard) in self.shards.iter().enumerate() {
            let share = share(capacity, number, self.shards.len());
            let gone = self.change(shard, |shard| shard.set_capacity(share));
            drop(gone);
        }
        Ok(())
    }

    /// Takes out what has expired. Nobody gets it in any case, and insertions take it out as they go; this is for a cache
    /// into which nothing is inserted for long. O(n) at worst, in small pieces.
    pub fn sweep(&self) {
        let now = self.now();
        for shard in &self.shards {
            loop {
                let (gone, is_done) = self.change(shard, |shard| shard.sweep(now));
                drop(gone);
                if is_done {
                    break;
                }
            }
        }
    }

    /// Gives the number of entries; those among them that have expired and not left yet as well.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.stats().entries).unwrap_or(usize::MAX)
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives what it has done and what it holds: shard by shard, so that changes meanwhile may show in one figure and not in
    /// another.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in &self.shards {
            sum.add(&self.read(shard, Shard::stats));
        }
        for looks in self.readers.looks() {
            sum.hits += looks.hits();
            sum.misses += looks.misses();
        }
        sum
    }

    fn read<R>(&self, shard: &Padded<K, V>, read: impl FnOnce(&Shard<K, V>) -> R) -> R {
        shard.shard.read(&self.readers, |shard, _| read(shard))
    }

    fn change<R>(&self, shard: &Padded<K, V>, change: impl FnOnce(&mut Shard<K, V>) -> R) -> R {
        shard.shard.write(&self.readers, change)
    }

    fn shard_of<Q: Hash + ?Sized>(&self, key: &Q) -> (u32, &Padded<K, V>) {
        let hash = self.hasher.hash_one(key);
        // The upper bits choose the shard, and the lower ones the place in it.
        let number = hash.checked_shr(self.shift).unwrap_or(0);
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough within a shard")]
        let within = hash as u32;
        (within, &self.shards[usize::try_from(number).unwrap_or(0)])
    }

    /// Takes off what chance takes off: the same for the same key at the same time, so that it needs no state.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a time; the cast back has no more than the time and is never negative"
    )]
    fn shorter(&self, ttl: u64, hash: u32, now: u64) -> u64 {
        if self.config.ttl_jitter == 0.0 {
            return ttl;
        }
        let chance = (spread(hash ^ spread_low(now)) >> 11) as f64 / (1_u64 << 53) as f64;
        ttl.saturating_sub((ttl as f64 * self.config.ttl_jitter * chance) as u64)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.coarse().elapsed_since_start().as_nanos()).unwrap_or(NEVER - 1)
    }
}

impl<K: Hash + Eq + Clone, V> Memory<K, V> {
    /// Gives the `count` most popular keys, the most popular one first; how popular a key is says its order: by how often it was
    /// asked for where that is known, by how late it would leave where it is not. O(n log n), shard by shard.
    #[must_use]
    pub fn hottest(&self, count: usize) -> Vec<K> {
        let mut keys: Vec<(u64, K)> = Vec::new();
        for shard in &self.shards {
            self.read(shard, |shard| {
                keys.extend(shard.popularity().map(|(popularity, key)| (popularity, key.clone())));
            });
            keys.sort_by_key(|&(popularity, _)| std::cmp::Reverse(popularity));
            keys.truncate(count);
        }
        keys.into_iter().map(|(_, key)| key).collect()
    }
}

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// Gives the value under a key, and remembers that somebody wanted it.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, shard) = self.shard_of(key);
        let now = || self.now();
        if !self.config.eviction.is_noted() {
            return self.change(shard, |shard| {
                let found = shard.get_exclusive(hash, key, now).cloned();
                shard.looks().count(found.is_some());
                found
            });
        }
        shard.shard.read(&self.readers, |shard, looks| {
            let found = shard.get(hash, key, now);
            looks.unwrap_or(shard.looks()).count(found.is_some());
            found.cloned()
        })
    }
}

impl<K: Hash + Eq, V> fmt::Debug for Memory<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// The first shards lead, and the others follow.
fn role(choice: &Choice, hasher: &DefaultHashBuilder, number: usize) -> Role {
    let choice = choice.clone();
    if number < LEADERS { Role::Leads(choice, hasher.hash_one(number)) } else { Role::Follows(choice) }
}

/// What a shard has of the capacity; the first ones have what does not divide.
fn share(capacity: u64, number: usize, shards: usize) -> u64 {
    let (shards, number) = (shards as u64, number as u64);
    capacity / shards + u64::from(number < capacity % shards)
}

/// A time of centuries is for ever.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}

fn spread_low(now: u64) -> u32 {
    u32::try_from(now & u64::from(u32::MAX)).unwrap_or(0)
}
