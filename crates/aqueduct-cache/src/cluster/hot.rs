use std::collections::HashMap;

/// Finds the keys that many ask for, and gives each a number under which copies of its value are kept at other nodes.
///
/// It counts a sample of the requests in 64 counters. Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent
/// and top-k elements in data streams", ICDT 2005 (Space-Saving); what a counter may have counted too much is taken off, and
/// all of them are halved now and again, so that what was hot once does not stay so.
#[derive(Debug)]
pub(crate) struct Hot {
    counters: Vec<Counter>,
    sampled: u64,
    until_decay: u64,
    /// The share of the requests from which a key is hot.
    share: f64,
    /// By the hash of the place.
    marks: HashMap<u64, u64>,
    /// The last mark that was given.
    last: u64,
}

#[derive(Debug)]
struct Counter {
    hash: u64,
    count: u64,
    /// What it took over from the key that had it before.
    error: u64,
}

const COUNTERS: usize = 64;

/// Fewer requests of the sample say nothing: a key with a tenth of them was asked for 12 times.
const SAMPLED_MIN: u64 = 128;

/// After so many of the sample all counts are halved: the memory is of about as many.
const DECAY_EVERY: u64 = 4_096;

impl Hot {
    pub(crate) fn new(share: f64) -> Self {
        Self {
            counters: Vec::with_capacity(COUNTERS),
            sampled: 0,
            until_decay: DECAY_EVERY,
            share,
            marks: HashMap::new(),
            last: 0,
        }
    }

    /// Counts a request of the sample. O(64).
    pub(crate) fn count(&mut self, hash: u64) {
        self.sampled += 1;
        let count = self.raise(hash);
        if self.sampled >= SAMPLED_MIN && self.is_share(count, 1.0) && !self.marks.contains_key(&hash) {
            let mark = self.next();
            self.marks.insert(hash, mark);
        }
        self.until_decay -= 1;
        if self.until_decay == 0 {
            self.decay();
        }
    }

    /// Gives the mark of a key, if it is hot.
    pub(crate) fn mark(&self, hash: u64) -> Option<u64> {
        self.marks.get(&hash).copied()
    }

    /// Gives a key another mark, so that nobody finds the copies under the last; gives that.
    pub(crate) fn change(&mut self, hash: u64) -> Option<u64> {
        let next = self.next();
        self.marks.get_mut(&hash).map(|mark| std::mem::replace(mark, next))
    }

    /// Does so for all of them.
    pub(crate) fn change_all(&mut self) {
        let mut next = self.last;
        for mark in self.marks.values_mut() {
            next += 1;
            *mark = next;
        }
        self.last = next;
    }

    /// How many keys are hot.
    pub(crate) fn len(&self) -> usize {
        self.marks.len()
    }

    /// Counts a key, and gives how often it was counted for certain.
    fn raise(&mut self, hash: u64) -> u64 {
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.hash == hash) {
            counter.count += 1;
            return counter.count - counter.error;
        }
        if self.counters.len() < COUNTERS {
            self.counters.push(Counter { hash, count: 1, error: 0 });
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|counter| counter.count) {
            *least = Counter { hash, count: least.count + 1, error: least.count };
        }
        1
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn decay(&mut self) {
        self.until_decay = DECAY_EVERY;
        self.sampled /= 2;
        for counter in &mut self.counters {
            counter.count /= 2;
            counter.error /= 2;
        }
        // At half the share, so that a key at the border is not marked again and again.
        let keep: Vec<u64> = self
            .counters
            .iter()
            .filter(|counter| self.is_share(counter.count - counter.error, 0.5))
            .map(|counter| counter.hash)
            .collect();
        self.marks.retain(|hash, _| keep.contains(hash));
        self.counters.retain(|counter| counter.count > 0);
    }

    fn is_share(&self, count: u64, of: f64) -> bool {
        count as f64 >= self.share * of * self.sampled as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_tenth_of_the_requests_is_hot_until_it_has_not() {
        let mut hot = Hot::new(0.05);
        for request in 0..10_000_u64 {
            hot.count(if request % 10 == 0 { u64::MAX } else { request });
        }
        assert_eq!((hot.len(), hot.mark(u64::MAX).is_some()), (1, true));
        let before = hot.mark(u64::MAX);
        assert_eq!(hot.change(u64::MAX), before);
        assert_ne!(hot.mark(u64::MAX), before);
        (0..40_000).for_each(|request| hot.count(request));
        assert_eq!(hot.len(), 0);
        assert!(hot.counters.len() <= COUNTERS);
    }

    #[test]
    fn no_key_is_hot_where_all_are_asked_for_alike() {
        let mut hot = Hot::new(0.05);
        (0..100_000_u64).for_each(|request| hot.count(request % 1_000));
        assert_eq!(hot.len(), 0);
    }
}
