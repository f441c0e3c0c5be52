use std::borrow::Borrow;
use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;

use crate::Instant;

/// Something that can be held by a [`Keyed`] set, which asks it before it lets it go.
pub trait Forget {
    /// Tells whether a new one in its place would behave the same, so that nothing is lost with it.
    fn may_forget(&self, now: Instant) -> bool;
}

/// One shared thing for each key, made when it is first asked for: a breaker for each host, a budget for each service.
///
/// There are never more than `capacity`. Whoever asks for a new key looks at a few of the others: one that nobody has
/// asked for since `idle_after` goes, and where there is no room, the one that was asked for longest ago. One that
/// somebody holds, or that [may not be forgotten](Forget::may_forget), goes only when all that were looked at are like
/// it; [`displaced`](Self::displaced) counts those, and a set that has any is too small.
///
/// Asking for a key that is there takes the shared lock of a part of the table. Making one takes a lock of the whole,
/// O(1).
pub struct Keyed<K, V> {
    entries: DashMap<K, Entry<V>>,
    /// The keys, those that were looked at last at the back. Held by whoever adds or removes, so that its length is
    /// that of the table.
    order: Mutex<VecDeque<K>>,
    capacity: usize,
    idle_after: Duration,
    make: Box<Make<K, V>>,
    /// Relaxed, like the next one: they are only added up.
    forgotten: AtomicU64,
    displaced: AtomicU64,
}

type Make<K, V> = dyn Fn(&K) -> V + Send + Sync;

struct Entry<V> {
    value: Arc<V>,
    /// When it was asked for last, in nanoseconds of the clock. Relaxed: an old time costs a key its place, no more.
    used: AtomicU64,
}

/// How many keys one new key looks at. Redis finds five enough for a good guess at the least recently used
/// (redis.io, "Key eviction", maxmemory-samples); ours must also find one that may be forgotten.
const SAMPLE: usize = 16;

impl<K, V> Keyed<K, V>
where
    K: Hash + Eq + Clone,
    V: Forget,
{
    /// An empty set that `make` fills. It must not ask the same set for anything: it runs under its lock.
    pub fn new(
        capacity: NonZeroUsize,
        idle_after: Duration,
        make: impl Fn(&K) -> V + Send + Sync + 'static,
    ) -> Self {
        Self {
            entries: DashMap::new(),
            order: Mutex::default(),
            capacity: capacity.get(),
            idle_after,
            make: Box::new(make),
            forgotten: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
        }
    }

    /// Gives what belongs to a key, and makes it if it is not there.
    pub fn get<Q>(&self, key: &Q, now: Instant) -> Arc<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.touch(key, now) {
            return value;
        }
        let mut order = self.order();
        // Somebody may have made it between the look and the lock.
        if let Some(value) = self.touch(key, now) {
            return value;
        }
        self.make_room(&mut order, now);
        let key = key.to_owned();
        let value = Arc::new((self.make)(&key));
        order.push_back(key.clone());
        self.entries.insert(key, Entry { value: Arc::clone(&value), used: AtomicU64::new(nanos(now)) });
        value
    }

    /// Gives what belongs to a key if it is there. Looking does not count as asking.
    pub fn find<Q>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.get(key).map(|entry| Arc::clone(&entry.value))
    }

    /// Forgets a key, whatever state it is in. Who holds its value keeps it. O(n).
    pub fn remove<Q>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut order = self.order();
        let (key, entry) = self.entries.remove(key)?;
        order.retain(|other| *other != key);
        Some(entry.value)
    }

    /// Everything that is there, in no order. O(n).
    #[must_use]
    pub fn all(&self) -> Vec<(K, Arc<V>)> {
        self.entries.iter().map(|entry| (entry.key().clone(), Arc::clone(&entry.value().value))).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order().len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there may be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many went because they were idle or might be forgotten.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// How many went although something was lost with them.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    fn touch<Q>(&self, key: &Q, now: Instant) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let entry = self.entries.get(key)?;
        entry.used.fetch_max(nanos(now), Ordering::Relaxed);
        Some(Arc::clone(&entry.value))
    }

    /// Lets go what is idle among the next few, and one more if there is still no room.
    fn make_room(&self, order: &mut VecDeque<K>, now: Instant) {
        let mut oldest: Option<(bool, u64, K)> = None;
        for _ in 0..SAMPLE.min(order.len()) {
            let Some(key) = order.pop_front() else { break };
            let Some((needed, used)) = self.look(&key, now) else { continue };
            let idle = nanos(now).saturating_sub(used) >= duration_nanos(self.idle_after);
            if idle && !needed {
                self.entries.remove(&key);
                self.forgotten.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if oldest.as_ref().is_none_or(|(other, at, _)| (needed, used) < (*other, *at)) {
                oldest = Some((needed, used, key.clone()));
            }
            order.push_back(key);
        }
        if order.len() < self.capacity {
            return;
        }
        if let Some((needed, _, key)) = oldest {
            self.entries.remove(&key);
            // What was looked at is at the back.
            if let Some(at) = order.iter().rposition(|other| *other == key) {
                order.remove(at);
            }
            let counter = if needed { &self.displaced } else { &self.forgotten };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether something would be lost with a key, and when it was asked for last.
    fn look(&self, key: &K, now: Instant) -> Option<(bool, u64)> {
        let (value, used) = {
            let entry = self.entries.get(key)?;
            (Arc::clone(&entry.value), entry.used.load(Ordering::Relaxed))
        };
        // One is the table's, one is ours.
        let held = Arc::strong_count(&value) > 2;
        Some((held || !value.may_forget(now), used))
    }
}

impl<K, V> Keyed<K, V> {
    /// Only `make` and the keys' own code run under this lock; what they leave behind when they panic is whole.
    fn order(&self) -> MutexGuard<'_, VecDeque<K>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> fmt::Debug for Keyed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("len", &self.order().len())
            .field("capacity", &self.capacity)
            .field("forgotten", &self.forgotten)
            .field("displaced", &self.displaced)
            .finish_non_exhaustive()
    }
}

fn nanos(at: Instant) -> u64 {
    duration_nanos(at.elapsed_since_start())
}

fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
