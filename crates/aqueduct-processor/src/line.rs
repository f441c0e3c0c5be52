//! Who is next: priorities with ageing, at most so many of a key, at most so many bytes. No clock, lock or task.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::Instant;
use aqueduct_queue::Priority;

/// A place in the line: the moment by which jobs are ordered, then their number.
pub(crate) type Place = (Instant, u64);

/// What stands in the line.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) item: T,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) bytes: u64,
}

/// Those who wait. Everything is O(log n) in their number.
#[derive(Debug)]
pub(crate) struct Line<T> {
    /// Those who may go, but for the bytes.
    ready: BTreeMap<Place, Waiting<T>>,
    /// Those whose key has as many jobs running as it may. They come back to their place in `ready`.
    parked: HashMap<Arc<str>, BTreeMap<Place, Waiting<T>>>,
    parked_count: usize,
    running: HashMap<Arc<str>, usize>,
    bytes: u64,
    bytes_high: u64,
    per_key_max: usize,
    bytes_max: u64,
}

/// Where a job stands that is submitted `now`: as if one of a lower priority had come later by the time that ageing
/// gives. So one comparison orders by priority, and nobody waits for ever.
pub(crate) fn rank(now: Instant, priority: Priority, ageing: Option<Duration>) -> Instant {
    // A century: no process lives so long, so nothing is ever lifted.
    let step = ageing.unwrap_or(Duration::from_secs(100 * 365 * 86_400));
    let below = u32::from(Priority::Critical.level() - priority.level());
    now.after(step.saturating_mul(below))
}

impl<T> Line<T> {
    pub(crate) fn new(per_key_max: usize, bytes_max: u64) -> Self {
        Self {
            ready: BTreeMap::new(),
            parked: HashMap::new(),
            parked_count: 0,
            running: HashMap::new(),
            bytes: 0,
            bytes_high: 0,
            per_key_max,
            bytes_max,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.parked_count
    }

    /// Whether somebody waits who may go, but perhaps for the bytes.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The bytes that run, and the most that ever did.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes, self.bytes_high)
    }

    pub(crate) fn push(&mut self, place: Place, waiting: Waiting<T>) {
        self.ready.insert(place, waiting);
    }

    /// Takes the next one, which runs from now on. Nobody passes one who waits for bytes.
    pub(crate) fn pop(&mut self) -> Option<T> {
        loop {
            let first = self.ready.first_entry()?;
            if let Some(key) = &first.get().key
                && self.running.get(key).is_some_and(|running| *running >= self.per_key_max)
            {
                let (key, place) = (Arc::clone(key), *first.key());
                self.parked.entry(key).or_default().insert(place, first.remove());
                self.parked_count += 1;
                continue;
            }
            let bytes = self.bytes.saturating_add(first.get().bytes);
            if bytes > self.bytes_max {
                return None;
            }
            let waiting = first.remove();
            self.bytes = bytes;
            self.bytes_high = self.bytes_high.max(bytes);
            if let Some(key) = waiting.key {
                *self.running.entry(key).or_default() += 1;
            }
            return Some(waiting.item);
        }
    }

    /// One that was taken has ended.
    pub(crate) fn ended(&mut self, key: Option<&Arc<str>>, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let Some(key) = key else { return };
        if let Some(running) = self.running.get_mut(key) {
            *running = running.saturating_sub(1);
            // Keys are data: those with nothing under way take no memory.
            if *running == 0 {
                self.running.remove(key);
            }
        }
        self.unpark(key);
    }

    /// Lets the first one of a key back into the line.
    fn unpark(&mut self, key: &Arc<str>) {
        let Some(parked) = self.parked.get_mut(key) else { return };
        if let Some((place, waiting)) = parked.pop_first() {
            self.ready.insert(place, waiting);
            self.parked_count -= 1;
        }
        if parked.is_empty() {
            self.parked.remove(key);
        }
    }

    /// Takes one out that will not go.
    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        if let Some(waiting) = self.ready.remove(&place) {
            // It may have been let back in for a place that another one of its key can now have.
            if let Some(key) = &waiting.key {
                self.unpark(key);
            }
            return Some(waiting.item);
        }
        let key = self.parked.iter().find(|(_, parked)| parked.contains_key(&place)).map(|(key, _)| key)?;
        let key = Arc::clone(key);
        let parked = self.parked.get_mut(&key)?;
        let waiting = parked.remove(&place)?;
        self.parked_count -= 1;
        if parked.is_empty() {
            self.parked.remove(&key);
        }
        Some(waiting.item)
    }

    /// Takes all out.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        self.parked_count = 0;
        let parked = std::mem::take(&mut self.parked).into_values().flat_map(BTreeMap::into_values);
        let ready = std::mem::take(&mut self.ready).into_values();
        ready.chain(parked).map(|waiting| waiting.item).collect()
    }
}
