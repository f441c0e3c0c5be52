mod debts;
mod table;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, Instant};
use hashbrown::DefaultHashBuilder;

use self::table::Table;
use crate::algorithm::token_bucket::Bucket;
use crate::algorithm::{Allowed, instant_nanos, nanos};
use crate::error::Denied;
use crate::metrics::Metrics;
use crate::quota::Quota;
use crate::turn;

/// A token bucket for each key: a client, a user, a host.
///
/// There are never more keys than `capacity`, whoever sends what. A key whose bucket is full again is as good as a new one
/// and goes first; one that has to go while it owes something leaves its debt behind, so that nobody gains by making the
/// limiter forget. The debts that are left behind are kept in a fixed size, twice as many as keys; where there are more,
/// they are put together, and a new key may find a debt that is not its own: one in fifty after a flood of three times the
/// capacity, one in four after six times. It never finds less. A debt of more than 18 minutes may be kept a few
/// nanoseconds longer.
///
/// Keys are spread over parts by a hash with a seed of its own for each limiter, and each part has a lock. Half of the
/// places belong to the parts and half to whichever needs them, so no key goes while one is free. For keys with
/// another algorithm than the token bucket, use a [`Keyed<K, RateLimiter>`](aqueduct_core::Keyed).
pub struct KeyedRateLimiter<K> {
    clock: Clock,
    hasher: DefaultHashBuilder,
    /// Each guards its keys. Nothing under it waits. A power of two.
    parts: Box<[Mutex<Table<K>>]>,
    quota_of: Option<Box<QuotaOf<K>>>,
    /// Where those who wait for one key stand in line. A line is there as long as somebody stands in it.
    lines: Mutex<HashMap<K, Line>>,
    metrics: Option<Metrics>,
}

type QuotaOf<K> = dyn Fn(&K) -> Quota + Send + Sync;
type Line = Arc<tokio::sync::Mutex<()>>;

/// A key that was settled for so long and is found by a newcomer goes.
const IDLE_AFTER: Duration = Duration::from_mins(1);

/// A part has at least so many keys, so that the luck of the hash evens out.
const PART_KEYS_MIN: usize = 256;

/// Enough that two of as many threads as there are cores on a large machine seldom meet.
const PARTS_MAX: usize = 64;

impl<K: Hash + Eq + Clone> KeyedRateLimiter<K> {
    /// No key has used anything, and each has this quota.
    #[must_use]
    pub fn new(quota: Quota, capacity: NonZeroUsize, clock: Clock) -> Self {
        // The place of a key is a u32.
        let capacity = capacity.get().min(u32::MAX as usize);
        // The largest power of two that leaves each part enough keys.
        let parts = (capacity / PART_KEYS_MIN).clamp(1, PARTS_MAX);
        let parts = if parts.is_power_of_two() { parts } else { parts.next_power_of_two() / 2 };
        // Half of the places belong to the parts, the others to whichever needs them: a hash is never quite even.
        let fair = capacity / parts;
        let own = (fair / 2).max(1);
        let spare = Arc::new(AtomicUsize::new(capacity - parts * own));
        let table = |_| Mutex::new(Table::new(quota, own, fair, Arc::clone(&spare), nanos(IDLE_AFTER)));
        Self {
            clock,
            hasher: DefaultHashBuilder::default(),
            parts: (0..parts).map(table).collect(),
            quota_of: None,
            lines: Mutex::default(),
            metrics: None,
        }
    }

    /// Asks `quota_of` for the quota of each key, at every use, so it should be fast: a match on a tier, a look into a
    /// table. What it answers may change at any time; a key that owes time goes on owing it.
    #[must_use]
    pub fn with_quota_of(mut self, quota_of: impl Fn(&K) -> Quota + Send + Sync + 'static) -> Self {
        self.quota_of = Some(Box::new(quota_of));
        self
    }

    /// Counts what is given and what is not.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Uses one token of a key.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the time after which it would be given.
    #[inline]
    pub fn check<Q>(&self, key: &Q) -> Result<Allowed, Denied>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.check_at(key, self.clock.now(), 1)
    }

    /// Uses so many tokens of a key, all or none.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn check_n<Q>(&self, key: &Q, tokens: u64) -> Result<Allowed, Denied>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.check_at(key, self.clock.now(), tokens)
    }

    /// The same at a moment of the limiter's clock, for a caller who has read it already.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[inline]
    pub fn check_at<Q>(&self, key: &Q, now: Instant, tokens: u64) -> Result<Allowed, Denied>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(metrics) = &self.metrics else { return self.take(key, instant_nanos(now), tokens) };
        let result = self.take(key, instant_nanos(now), tokens);
        metrics.checked(&result);
        result
    }

    /// Says what [`check_n`](Self::check_n) would say. It uses nothing and remembers no new key.
    ///
    /// # Errors
    ///
    /// As `check_n`.
    pub fn peek<Q>(&self, key: &Q, tokens: u64) -> Result<Allowed, Denied>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let now = instant_nanos(self.clock.now());
        let hash = self.hasher.hash_one(key);
        let part = self.part(hash);
        let bucket = self.bucket(part.bucket(), &key.to_owned());
        bucket.take(part.find(hash, key, now), now, tokens).map(|(_, allowed)| allowed)
    }

    /// Gives tokens of a key back that were not used after all.
    pub fn refund<Q>(&self, key: &Q, tokens: u64)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let now = instant_nanos(self.clock.now());
        self.change(key, now, |bucket, tat| *tat = bucket.refund(*tat, tokens));
    }

    /// Gives a key nothing for so long. A longer wait stays.
    pub fn drain<Q>(&self, key: &Q, wait: Duration)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let now = instant_nanos(self.clock.now());
        self.change(key, now, |bucket, tat| *tat = bucket.drain(*tat, now, nanos(wait)));
    }

    /// Forgets what a key has used.
    pub fn reset<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.change(key, instant_nanos(self.clock.now()), |_, tat| *tat = 0);
    }

    /// Waits for so many tokens of a key. Those who wait for one key are served in the order in which they asked, and
    /// those of another do not wait for them.
    ///
    /// # Errors
    ///
    /// [`Denied`] when there are never so many.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait has used nothing, and the next in line moves up.
    pub async fn acquire_n<Q>(&self, key: &Q, tokens: u64) -> Result<Allowed, Denied>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let asked = self.clock.now();
        let standing = Standing { limiter: self, key: key.to_owned(), line: Some(self.line(key)) };
        let Some(line) = &standing.line else { return Err(Denied::TOO_LARGE) };
        let _turn = line.lock().await;
        let waited = turn::wait(&self.clock, |now| self.take(key, instant_nanos(now), tokens)).await;
        if let Some(metrics) = &self.metrics {
            match &waited {
                Ok((_, now)) => {
                    metrics.allowed.increment();
                    metrics.waited.record_duration(now.since(asked));
                }
                Err(never) => metrics.checked(&Err(*never)),
            }
        }
        waited.map(|(allowed, _)| allowed)
    }

    /// Holds every key to another quota from now on, except where [`with_quota_of`](Self::with_quota_of) says otherwise. As
    /// many tokens are missing as before. O(keys).
    pub fn set_quota(&self, quota: Quota) {
        let now = instant_nanos(self.clock.now());
        for part in &self.parts {
            lock(part).set_quota(now, quota);
        }
    }

    /// How many keys it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).len()).sum()
    }

    /// Tells whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes its keys and debts take, without what keys hold outside of themselves.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| size_of::<Mutex<Table<K>>>() + lock(part).bytes()).sum()
    }

    /// How many keys had to go for others while they owed something.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.parts.iter().map(|part| lock(part).evictions()).sum()
    }

    #[inline]
    fn take<Q>(&self, key: &Q, now: u64, tokens: u64) -> Result<Allowed, Denied>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.change(key, now, |bucket, tat| match bucket.take(*tat, now, tokens) {
            Ok((next, allowed)) => {
                *tat = next;
                Ok(allowed)
            }
            Err(denied) => Err(denied),
        })
    }

    /// Lets `work` change the state of a key, which is made when it is new.
    #[inline]
    fn change<Q, T>(&self, key: &Q, now: u64, work: impl FnOnce(Bucket, &mut u64) -> T) -> T
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let mut part = self.part(hash);
        let usual = part.bucket();
        let (key, tat) = part.state(hash, key, now, |key| self.hasher.hash_one(key));
        work(self.bucket(usual, key), tat)
    }

    fn bucket(&self, usual: Bucket, key: &K) -> Bucket {
        self.quota_of.as_ref().map_or(usual, |quota_of| Bucket::of(&quota_of(key)))
    }

    /// The table of a hash: by its upper half, since the tables themselves use the lower bits and the topmost seven.
    fn part(&self, hash: u64) -> MutexGuard<'_, Table<K>> {
        let at = usize::try_from(hash >> 40).unwrap_or(0) & (self.parts.len() - 1);
        lock(&self.parts[at])
    }

    fn line<Q>(&self, key: &Q) -> Line
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lines.entry(key.to_owned()).or_default())
    }
}

/// A place in a line. Whoever leaves last takes the line away.
struct Standing<'a, K: Hash + Eq + Clone> {
    limiter: &'a KeyedRateLimiter<K>,
    key: K,
    line: Option<Line>,
}

impl<K: Hash + Eq + Clone> Drop for Standing<'_, K> {
    fn drop(&mut self) {
        let mut lines = self.limiter.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.line = None;
        if lines.get(&self.key).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.key);
        }
    }
}

impl<K> fmt::Debug for KeyedRateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: usize = self.parts.iter().map(|part| lock(part).len()).sum();
        f.debug_struct("KeyedRateLimiter").field("keys", &keys).finish_non_exhaustive()
    }
}

/// Only the keys' own code can panic under this lock, before anything has changed.
fn lock<K>(part: &Mutex<Table<K>>) -> MutexGuard<'_, Table<K>> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
