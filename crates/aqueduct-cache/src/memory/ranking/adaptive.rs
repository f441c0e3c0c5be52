use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use super::TinyLfu;
use super::choice::{Choice, Counts, SHARES};
use crate::memory::index::TOUCHED_MAX;
use crate::memory::nodes::{List, Nodes};
use crate::spread;

/// [`TinyLfu`] whose window is as large as serves best.
///
/// Keys are spread over the shards of a cache by chance, so that what serves some shards best serves the others too. Up to
/// [`LEADERS`] shards find it out together, and the others follow: they have no miniatures, and a hit in them costs no more
/// than a note on the entry.
#[derive(Debug)]
pub(crate) struct Adaptive {
    main: TinyLfu,
    /// What was chosen for all shards, and what of it was taken over.
    choice: Choice,
    current: usize,
    /// Only a leader has one.
    chooser: Option<Box<Chooser>>,
}

/// Whether a shard helps to find out how large the windows are to be.
#[derive(Debug)]
pub(crate) enum Role {
    /// It does. The seed says which keys are in the sample.
    Leads(Choice, u64),
    /// It does as the others.
    Follows(Choice),
}

/// So many shards at most find out what serves best, and add up what they saw. On a trace of a disk with 32 shards, four of them
/// were wrong every other time and 4 points below LRU, and each for itself always; eight never were.
pub(crate) const LEADERS: usize = 8;

impl Adaptive {
    pub(crate) fn new(capacity: u64, role: Role) -> Self {
        let (choice, chooser) = match role {
            Role::Leads(choice, seed) => {
                let chooser = Chooser::new(capacity, seed, &choice);
                (choice, Some(Box::new(chooser)))
            }
            Role::Follows(choice) => (choice, None),
        };
        Self { main: TinyLfu::new(capacity, SHARES[0]), choice, current: 0, chooser }
    }

    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        self.main.set_capacity(capacity);
        if let Some(chooser) = &mut self.chooser {
            chooser.set_capacity(capacity, &self.choice);
        }
    }

    pub(crate) fn list_for<T>(&mut self, nodes: &mut Nodes<T>, weight: u32) -> List {
        if nodes.len() == WEIGHED
            && let Some(chooser) = &mut self.chooser
        {
            chooser.weigh(nodes, &self.choice);
        }
        self.main.list_for(nodes, weight)
    }

    pub(crate) fn missed<T>(&mut self, nodes: &Nodes<T>, hash: u32) {
        self.main.missed(hash);
        self.seen(nodes, hash);
        let chosen = self.choice.at();
        if chosen != self.current {
            self.current = chosen;
            self.main.set_share(SHARES[chosen]);
        }
    }

    pub(crate) fn victim<T>(&mut self, nodes: &mut Nodes<T>, weight: u64) -> Option<u32> {
        if let Some(chooser) = &mut self.chooser {
            *chooser.quiet.get_mut() = 0;
        }
        self.main.victim(nodes, weight)
    }

    /// How often was asked for what has this hash, as far as is known.
    pub(crate) fn asked_for(&self, hash: u32) -> u64 {
        self.main.asked_for(hash)
    }

    /// Somebody asked for what has this hash, whether it is there or not. O(1).
    #[inline]
    pub(crate) fn seen<T>(&self, nodes: &Nodes<T>, hash: u32) {
        if let Some(chooser) = &self.chooser {
            chooser.seen(nodes, hash, &self.choice);
        }
    }
}

/// Finds out which window serves best.
///
/// Miniatures, small caches beside the real one, one for each size that the window may have, see the same requests; each sees only
/// those of a sample of the keys, and is smaller by as much, so that it has about the hit ratio that the whole cache would have
/// (Waldspurger et al., "Cache Modeling and Optimization using Miniature Simulations", USENIX ATC 2017). After a request for
/// each entry the window goes towards the one that scored best, if it did so clearly.
///
/// Where nothing is evicted for long no window is better than another, and the miniatures rest until something is.
///
/// Where the window is everything it is a clock, and so no worse than LRU; where it is a hundredth it withstands loops
/// and scans. Caffeine climbs from where it is instead, which needs no other caches, and stays on the nearest hill.
#[derive(Debug)]
struct Chooser {
    /// One key in so many is in the sample, less one; a power of two.
    others: AtomicU64,
    /// Which of the keys are.
    seed: u64,
    /// Rounds since something was evicted; [`RESTS_AFTER`] at most.
    quiet: AtomicU32,
    /// Taken by those who ask for a key of the sample, and only while nobody else has it: what is asked for at the same moment is not
    /// in the sample then.
    round: Mutex<Round>,
}

#[derive(Debug)]
struct Round {
    /// Requests of the sample until the window is chosen anew.
    left: usize,
    capacity: u64,
    /// How many entries there may be, as far as is known of their weights.
    entries: usize,
    /// How many entries a miniature may have.
    most: usize,
    miniatures: Vec<Miniature>,
    /// Of this round.
    counts: Counts,
}

/// A miniature has this many entries where the sample allows it. Fewer make a coarse guess.
const MINIATURE_ENTRIES: usize = 48;

/// One key in so many at most, so that a request costs no more than a look into one miniature,
const SAMPLED_MIN: u64 = 8;
/// and at least where the miniatures then have no more than [`MINIATURE_ENTRIES_MAX`] entries.
const SAMPLED_MAX: u64 = 64;

/// The miniatures of all leaders that have one size of the window have no more entries than so many together: enough for a good guess
/// however large the cache is, and few enough for all of them to stay in the processor's caches.
const MINIATURE_ENTRIES_MAX: usize = 2_048;

/// After so many rounds without an eviction the miniatures rest. A cache that is being filled is not at rest: with 88 hits of
/// 100 requests it is full after eight rounds.
const RESTS_AFTER: u32 = 8;

/// So many entries tell how heavy one is.
const WEIGHED: usize = 128;

impl Chooser {
    fn new(capacity: u64, seed: u64, choice: &Choice) -> Self {
        let entries = usize::try_from(capacity).unwrap_or(usize::MAX);
        let most = MINIATURE_ENTRIES_MAX / choice.leaders().max(1);
        let mut round =
            Round { left: 0, capacity, entries, most, miniatures: Vec::new(), counts: Counts::default() };
        let others = round.begin(choice);
        choice.start();
        Self { others: others.into(), seed, quiet: AtomicU32::new(0), round: Mutex::new(round) }
    }

    fn set_capacity(&mut self, capacity: u64, choice: &Choice) {
        let round = self.round.get_mut().unwrap_or_else(PoisonError::into_inner);
        *self.others.get_mut() = round.set_capacity(capacity, choice);
    }

    #[inline]
    fn seen<T>(&self, nodes: &Nodes<T>, hash: u32, choice: &Choice) {
        if self.quiet.load(Ordering::Relaxed) < RESTS_AFTER
            && (spread(hash) ^ self.seed) >> 20 & self.others.load(Ordering::Relaxed) == 0
        {
            self.ask(nodes, hash, choice);
        }
    }

    /// Most requests are not in the sample: what they do not need stays out of their way.
    #[inline(never)]
    fn ask<T>(&self, nodes: &Nodes<T>, hash: u32, choice: &Choice) {
        let mut round = match self.round.try_lock() {
            Ok(round) => round,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        round.ask(hash);
        if round.left == 0 {
            self.quiet.fetch_add(1, Ordering::Relaxed);
            if let Some(others) = round.end(nodes, choice) {
                self.others.store(others, Ordering::Relaxed);
            }
        }
    }

    fn weigh<T>(&mut self, nodes: &Nodes<T>, choice: &Choice) {
        let round = self.round.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = round.weigh(nodes, choice) {
            *self.others.get_mut() = others;
        }
    }
}

impl Round {
    fn set_capacity(&mut self, capacity: u64, choice: &Choice) -> u64 {
        // What is known of their weights stays known.
        let entries = self.entries as u128 * u128::from(capacity) / u128::from(self.capacity.max(1));
        self.entries = usize::try_from(entries).unwrap_or(usize::MAX).max(1);
        self.capacity = capacity;
        self.begin(choice)
    }

    fn ask(&mut self, hash: u32) {
        self.counts.asked += 1;
        for (miniature, hits) in self.miniatures.iter_mut().zip(&mut self.counts.hits) {
            *hits += u32::from(miniature.ask(hash));
        }
        self.left = self.left.saturating_sub(1);
    }

    #[cold]
    #[inline(never)]
    fn end<T>(&mut self, nodes: &Nodes<T>, choice: &Choice) -> Option<u64> {
        choice.add(&std::mem::take(&mut self.counts));
        self.left = self.length();
        self.weigh(nodes, choice)
    }

    /// Guesses anew how many entries there may be, and begins again if that is far from what was thought.
    fn weigh<T>(&mut self, nodes: &Nodes<T>, choice: &Choice) -> Option<u64> {
        let entries = u128::from(self.capacity) * nodes.len() as u128 / u128::from(nodes.weight().max(1));
        let entries = usize::try_from(entries).unwrap_or(usize::MAX).max(1);
        (entries < self.entries / 2 || entries > self.entries.saturating_mul(2)).then(|| {
            self.entries = entries;
            self.begin(choice)
        })
    }

    /// One key in so many is in the sample.
    fn sampled(&self) -> u64 {
        let wanted = (self.entries / MINIATURE_ENTRIES).max(1) as u64;
        // The largest power of two that leaves so many entries.
        let mut sampled = (1 << wanted.ilog2()).clamp(SAMPLED_MIN, SAMPLED_MAX);
        while self.entries as u64 / sampled > self.most as u64 {
            sampled *= 2;
        }
        sampled
    }

    /// A round has a request for each entry, of which these are in the sample.
    fn length(&self) -> usize {
        usize::try_from(self.entries as u64 / self.sampled()).unwrap_or(usize::MAX).max(1)
    }

    /// Makes new miniatures.
    fn begin(&mut self, choice: &Choice) -> u64 {
        let entries = self.length();
        self.miniatures = SHARES.iter().map(|&share| Miniature::new(entries, share)).collect();
        (self.counts, self.left) = (Counts::default(), entries);
        choice.forget();
        self.sampled() - 1
    }
}

/// A cache of hashes.
#[derive(Debug)]
struct Miniature {
    order: TinyLfu,
    nodes: Nodes<()>,
    entries: usize,
}

impl Miniature {
    fn new(entries: usize, share: f64) -> Self {
        let order = TinyLfu::new(entries as u64, share);
        Self { order, nodes: Nodes::new(), entries }
    }

    /// Looks, and adds what is not there; `true` for a hit.
    fn ask(&mut self, hash: u32) -> bool {
        if let Some(at) = self.nodes.find(hash, |()| true) {
            self.nodes.touch(at, TOUCHED_MAX);
            return true;
        }
        self.order.missed(hash);
        while self.nodes.len() >= self.entries
            && let Some(at) = self.order.victim(&mut self.nodes, 1)
        {
            self.nodes.remove(at);
        }
        let list = self.order.list_for(&mut self.nodes, 1);
        self.nodes.grow(self.entries as u64);
        self.nodes.push((), hash, 1, list);
        false
    }
}

#[cfg(test)]
mod tests;
