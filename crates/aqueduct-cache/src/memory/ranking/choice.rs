use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sizes the window may have, as shares of the capacity. Between these the hit ratio changes by less than a point on
/// all traces that were looked at.
pub(super) const SHARES: [f64; 8] = [0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0];

/// Which of [`SHARES`] serves best, for all shards of a cache. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Choice(Arc<Alone>);

/// On cache lines of its own: every insertion reads it, and it is seldom written.
#[derive(Debug)]
#[repr(align(128))]
struct Alone {
    /// Who reads an older one has another window for a moment.
    at: AtomicUsize,
    /// How many shards count.
    leaders: usize,
    /// Guards what they have counted. Nothing waits under it.
    counted: Mutex<Counted>,
}

/// What one shard has counted of its sample in a round.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) asked: u32,
    /// Of the miniature of each share.
    pub(super) hits: [u32; SHARES.len()],
}

/// What all have counted, of the last while and of the last moment.
#[derive(Debug, Default)]
struct Counted {
    asked: Lately,
    hits: [Lately; SHARES.len()],
    current: usize,
    /// How many rounds of shards were added since the last choice.
    added: usize,
}

/// A number of things of which those long ago count less.
#[derive(Clone, Copy, Debug, Default)]
struct Lately {
    long: f64,
    moment: f64,
}

impl Lately {
    fn add(&mut self, count: u32) {
        self.long += f64::from(count);
        self.moment += f64::from(count);
    }
}

/// What a round weighs against the next: half of it is forgotten in 69 rounds. What was seen long ago must count, or the
/// choice follows each phase of a program when it is over.
const KEPT: f64 = 0.99;

/// The share of requests that one window must have hit more than a smaller one to be clearly better. A change costs hits itself.
const CLEARLY: f64 = 0.015;

/// A smaller one must have hit so many times that more than a larger one. A large window is close to LRU, than which nothing may
/// be much worse, and the sample is off by a point where a cache has seen few requests for each entry.
const TO_SMALLER: f64 = 2.0;

/// Windows that differ by so much or more are held to all of that. Those that are nearer to each other hit and miss the same
/// requests for the most part, so that less is no chance, and a change between them moves less:
const APART: f64 = 0.25;
/// the smallest ones, of which the next is only 0.04 larger, still to a third.
const APART_MIN: f64 = 0.05;

/// The same for a moment: half of it is forgotten in seven rounds,
const MOMENT: f64 = 0.9;
/// and who is better by so much in it is so since the requests have become others: what was before counts no more.
const BY_FAR: f64 = 0.1;

impl Choice {
    /// The first share, until so many shards have found out better.
    pub(crate) fn new(leaders: usize) -> Self {
        Self(Arc::new(Alone { at: AtomicUsize::new(0), leaders, counted: Mutex::default() }))
    }

    /// How many shards find out.
    pub(super) fn leaders(&self) -> usize {
        self.0.leaders
    }

    pub(super) fn at(&self) -> usize {
        self.0.at.load(Ordering::Relaxed)
    }

    /// Begins with the first share again.
    pub(super) fn start(&self) {
        *self.counted() = Counted::default();
        self.0.at.store(0, Ordering::Relaxed);
    }

    /// Forgets what was counted, and stays with what was chosen.
    pub(super) fn forget(&self) {
        let mut counted = self.counted();
        *counted = Counted { current: counted.current, ..Counted::default() };
    }

    /// Adds the round of one shard. When there is one of each, or as many, it chooses anew.
    pub(super) fn add(&self, counts: &Counts) {
        let mut counted = self.counted();
        counted.asked.add(counts.asked);
        for (all, hits) in counted.hits.iter_mut().zip(counts.hits) {
            all.add(hits);
        }
        counted.added += 1;
        if counted.added >= self.0.leaders {
            counted.choose();
            self.0.at.store(counted.current, Ordering::Relaxed);
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // Nothing under it panics.
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn choose(&mut self) {
        let best = self.best(|lately| lately.moment);
        let ahead = self.hits[best].moment - self.hits[self.current].moment;
        if ahead > BY_FAR * self.asked.moment {
            self.each(|lately| lately.long = lately.moment);
        }
        let best = self.best(|lately| lately.long);
        // The nearest of those that are as good for all that is known, which is the current one where that is among them. Who
        // jumped to the best each time would lose more on the way than is between them, and chance says who is the best.
        let nearest = (0..SHARES.len())
            .filter(|&at| !self.is_clearly_better(best, at))
            .min_by_key(|at| at.abs_diff(self.current));
        self.current = nearest.unwrap_or(best);
        self.each(|lately| {
            lately.long *= KEPT;
            lately.moment *= MOMENT;
        });
        self.added = 0;
    }

    fn is_clearly_better(&self, best: usize, other: usize) -> bool {
        let apart = ((SHARES[best] - SHARES[other]).abs() + APART_MIN).min(APART) / APART;
        let clearly = if best < other { CLEARLY * TO_SMALLER } else { CLEARLY };
        self.hits[best].long - self.hits[other].long > clearly * apart * self.asked.long
    }

    /// Who has most, and the current one of those that have.
    fn best(&self, of: impl Fn(&Lately) -> f64) -> usize {
        let mut best = self.current;
        for (at, hits) in self.hits.iter().enumerate() {
            if of(hits) > of(&self.hits[best]) {
                best = at;
            }
        }
        best
    }

    fn each(&mut self, change: impl Fn(&mut Lately)) {
        change(&mut self.asked);
        self.hits.iter_mut().for_each(change);
    }
}

#[cfg(test)]
mod tests;
