use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::TinyLfu;
use crate::memory::index::Index;
use crate::memory::nodes::{Nodes, TOUCHED_MAX};
use crate::spread;

/// [`TinyLfu`] whose window is as large as serves best.
///
/// Keys are spread over the shards of a cache by chance, so that what serves some shards best serves the others too. Up to
/// [`LEADERS`] shards find it out, and the others follow them: they have no miniatures, and a hit in them costs no more
/// than a note on the entry.
#[derive(Debug)]
pub(crate) struct Adaptive {
    main: TinyLfu,
    /// What the leader has chosen, and what of it was taken over.
    choice: Choice,
    current: usize,
    /// Only a leader has one.
    chooser: Option<Box<Chooser>>,
}

/// Whether a shard finds out by itself how large its window is to be.
#[derive(Debug)]
pub(crate) enum Role {
    /// It does, and tells its followers. The seed says which keys are in the sample.
    Leads(Choice, u64),
    /// It does as another.
    Follows(Choice),
}

/// So many shards at most find out what serves best. A sample of so many shards is as good as all: with one, a few keys that
/// are asked for very often would weigh too much.
pub(crate) const LEADERS: usize = 4;

/// Which of [`SHARES`] a leader has chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice(Arc<Alone>);

/// On cache lines of its own: every insertion reads it, and it is seldom written.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone {
    /// Guards nothing: who reads an older one has another window for a moment.
    at: AtomicUsize,
}

impl Choice {
    fn set(&self, at: usize) {
        self.0.at.store(at, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.at.load(Ordering::Relaxed)
    }
}

impl Adaptive {
    pub(crate) fn new(capacity: u64, role: Role) -> Self {
        let (choice, chooser) = match role {
            Role::Leads(choice, seed) => {
                choice.set(0);
                (choice, Some(Box::new(Chooser::new(capacity, seed))))
            }
            Role::Follows(choice) => (choice, None),
        };
        Self { main: TinyLfu::new(capacity, SHARES[0]), choice, current: 0, chooser }
    }

    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        self.main.set_capacity(capacity);
        if let Some(chooser) = &mut self.chooser {
            chooser.set_capacity(capacity);
        }
    }

    pub(crate) fn list_for<T>(&mut self, nodes: &mut Nodes<T>, weight: u32) -> u8 {
        if nodes.len() == WEIGHED
            && let Some(chooser) = &mut self.chooser
        {
            chooser.weigh(nodes);
        }
        self.main.list_for(nodes, weight)
    }

    pub(crate) fn missed<T>(&mut self, nodes: &Nodes<T>, hash: u32) {
        self.main.missed(hash);
        self.seen(nodes, hash);
        let chosen = self.choice.get();
        if chosen != self.current {
            self.current = chosen;
            self.main.set_share(SHARES[chosen]);
        }
    }

    pub(crate) fn victim<T>(&mut self, nodes: &mut Nodes<T>, weight: u64) -> Option<u32> {
        self.main.victim(nodes, weight)
    }

    /// How often was asked for what has this hash, as far as is known.
    pub(crate) fn asked_for(&self, hash: u32) -> u64 {
        self.main.asked_for(hash)
    }

    /// Somebody asked for what has this hash, whether it is there or not. O(1).
    #[inline]
    pub(crate) fn seen<T>(&mut self, nodes: &Nodes<T>, hash: u32) {
        if let Some(chooser) = &mut self.chooser {
            chooser.seen(nodes, hash, &self.choice);
        }
    }
}

/// Finds out which window serves best.
///
/// Miniatures, small caches beside the real one, one for each size that the window may have, see the same requests; each sees only
/// those of a sample of the keys, and is smaller by as much, so that it has about the hit ratio that the whole cache would have
/// (Waldspurger et al., "Cache Modeling and Optimization using Miniature Simulations", USENIX ATC 2017). After two requests
/// for each entry the window becomes the one that scored best, if it did so clearly.
///
/// Where the window is everything it is a clock, and so no worse than LRU; where it is a hundredth it withstands loops
/// and scans. Caffeine climbs from where it is instead, which needs no other caches, and stays on the nearest hill.
#[derive(Debug)]
struct Chooser {
    /// One key in so many is in the sample; a power of two.
    sampled: u64,
    /// Which of the keys are.
    seed: u64,
    /// Requests until the window is chosen anew.
    left: usize,
    capacity: u64,
    /// How many entries there may be, as far as is known of their weights.
    entries: usize,
    miniatures: Vec<Miniature>,
    current: usize,
    /// Requests of the sample, of the last while and of the last moment.
    asked: Lately,
}

/// The sizes the window may have, as shares of the capacity. Between these the hit ratio changes by less than a point on
/// all traces that were looked at.
const SHARES: [f64; 8] = [0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0];

/// A miniature has this many entries where the sample allows it. Fewer make a coarse guess.
const MINIATURE_ENTRIES: usize = 64;

/// One key in so many at most, so that a request costs no more than a look into one miniature,
const SAMPLED_MIN: u64 = 8;
/// and at least where a miniature then has no more than [`MINIATURE_ENTRIES_MAX`] entries.
const SAMPLED_MAX: u64 = 64;

/// A miniature has no more entries than so many: enough for a good guess however large the cache is, and few enough for all
/// of them to stay in the processor's caches.
const MINIATURE_ENTRIES_MAX: usize = 2_048;

/// Requests for each entry between choices.
const EPOCH: usize = 2;

/// What an epoch weighs against the next: half of it is forgotten in 34 epochs. What was seen long ago must count, or the
/// choice follows each phase of a program when it is over.
const KEPT: f64 = 0.98;

/// The share of requests that another window must have hit more. A change costs hits itself.
const CLEARLY: f64 = 0.015;

/// The same for a moment: half of it is forgotten in three epochs,
const MOMENT: f64 = 0.8;
/// and who is better by so much in it is so since the requests have become others: what was before counts no more.
const BY_FAR: f64 = 0.1;

/// So many entries tell how heavy one is.
const WEIGHED: usize = 128;

impl Chooser {
    fn new(capacity: u64, seed: u64) -> Self {
        let entries = usize::try_from(capacity).unwrap_or(usize::MAX);
        let mut new = Self {
            sampled: SAMPLED_MIN,
            seed,
            left: 0,
            capacity,
            entries,
            miniatures: Vec::new(),
            current: 0,
            asked: Lately::default(),
        };
        new.begin();
        new
    }

    fn set_capacity(&mut self, capacity: u64) {
        // What is known of their weights stays known.
        let entries = self.entries as u128 * u128::from(capacity) / u128::from(self.capacity.max(1));
        self.entries = usize::try_from(entries).unwrap_or(usize::MAX).max(1);
        self.capacity = capacity;
        self.begin();
    }

    #[inline]
    fn seen<T>(&mut self, nodes: &Nodes<T>, hash: u32, choice: &Choice) {
        if (spread(hash) ^ self.seed) >> 20 & (self.sampled - 1) == 0 {
            self.ask(hash);
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.end_epoch(nodes, choice);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_epoch<T>(&mut self, nodes: &Nodes<T>, choice: &Choice) {
        self.choose();
        choice.set(self.current);
        self.left = self.epoch();
        self.weigh(nodes);
    }

    /// Most requests are not in the sample: what they do not need stays out of their way.
    #[inline(never)]
    fn ask(&mut self, hash: u32) {
        self.asked.count();
        for miniature in &mut self.miniatures {
            miniature.ask(hash);
        }
    }

    fn epoch(&self) -> usize {
        self.entries.saturating_mul(EPOCH)
    }

    fn choose(&mut self) {
        let best = self.best(|lately| lately.moment);
        let ahead = self.miniatures[best].hits.moment - self.miniatures[self.current].hits.moment;
        if ahead > BY_FAR * self.asked.moment {
            self.each(|lately| lately.long = lately.moment);
        }
        let best = self.best(|lately| lately.long);
        let ahead = self.miniatures[best].hits.long - self.miniatures[self.current].hits.long;
        if ahead > CLEARLY * self.asked.long {
            self.current = best;
        }
        self.each(|lately| {
            lately.long *= KEPT;
            lately.moment *= MOMENT;
        });
    }

    /// Who has most, and the current one of those that have.
    fn best(&self, of: impl Fn(&Lately) -> f64) -> usize {
        let mut best = self.current;
        for (at, miniature) in self.miniatures.iter().enumerate() {
            if of(&miniature.hits) > of(&self.miniatures[best].hits) {
                best = at;
            }
        }
        best
    }

    fn each(&mut self, change: impl Fn(&mut Lately)) {
        change(&mut self.asked);
        for miniature in &mut self.miniatures {
            change(&mut miniature.hits);
        }
    }

    /// Guesses anew how many entries there may be, and begins again if that is far from what was thought.
    fn weigh<T>(&mut self, nodes: &Nodes<T>) {
        let entries = u128::from(self.capacity) * nodes.len() as u128 / u128::from(nodes.weight().max(1));
        let entries = usize::try_from(entries).unwrap_or(usize::MAX).max(1);
        if entries < self.entries / 2 || entries > self.entries.saturating_mul(2) {
            self.entries = entries;
            self.begin();
        }
    }

    /// Makes new miniatures.
    fn begin(&mut self) {
        let wanted = (self.entries / MINIATURE_ENTRIES).max(1) as u64;
        // The largest power of two that leaves so many entries.
        self.sampled = (1 << wanted.ilog2()).clamp(SAMPLED_MIN, SAMPLED_MAX);
        while self.entries as u64 / self.sampled > MINIATURE_ENTRIES_MAX as u64 {
            self.sampled *= 2;
        }
        let entries = usize::try_from(self.entries as u64 / self.sampled).unwrap_or(usize::MAX).max(1);
        self.miniatures = SHARES.iter().map(|&share| Miniature::new(entries, share)).collect();
        (self.asked, self.left) = (Lately::default(), self.epoch());
    }
}

/// A cache of hashes.
#[derive(Debug)]
struct Miniature {
    order: TinyLfu,
    nodes: Nodes<()>,
    index: Index,
    entries: usize,
    hits: Lately,
}

/// A number of things of which those long ago count less.
#[derive(Clone, Copy, Debug, Default)]
struct Lately {
    long: f64,
    moment: f64,
}

impl Lately {
    fn count(&mut self) {
        self.long += 1.0;
        self.moment += 1.0;
    }
}

impl Miniature {
    fn new(entries: usize, share: f64) -> Self {
        let order = TinyLfu::new(entries as u64, share);
        Self { order, nodes: Nodes::new(), index: Index::default(), entries, hits: Lately::default() }
    }

    fn ask(&mut self, hash: u32) {
        if let Some(at) = self.index.find(&self.nodes, hash, |_| true) {
            self.nodes.touch(at, TOUCHED_MAX);
            self.hits.count();
            return;
        }
        self.order.missed(hash);
        while self.nodes.len() >= self.entries
            && let Some(at) = self.order.victim(&mut self.nodes, 1)
        {
            self.index.remove(&self.nodes, at);
            if let Some(moved) = self.nodes.remove(at).1 {
                self.index.moved(&self.nodes, moved);
            }
        }
        let list = self.order.list_for(&mut self.nodes, 1);
        self.nodes.grow(self.entries as u64);
        let at = self.nodes.push((), hash, 1, list);
        self.index.insert(&self.nodes, at);
    }
}
