use std::time::Duration;

use aqueduct_core::Instant;

use super::Tally;

/// Buckets of time in a ring, and their sum.
#[derive(Debug)]
pub(crate) struct Buckets {
    ring: Box<[Tally]>,
    /// The length of a bucket in nanoseconds.
    each: u64,
    /// The newest bucket, counted from the start of the clock, its place in the ring, and when it ends. Most calls
    /// fall into it and need no division.
    newest: u64,
    at: usize,
    ends: u64,
    tally: Tally,
}

impl Buckets {
    pub(super) fn new(buckets: u32, each: Duration) -> Self {
        let each = nanos(each).max(1);
        Self {
            ring: vec![Tally::default(); buckets as usize].into(),
            each,
            newest: 0,
            at: 0,
            ends: each,
            tally: Tally::default(),
        }
    }

    pub(super) fn push(&mut self, now: Instant, failed: bool, slow: bool) -> Tally {
        self.advance(now);
        let one = Tally::one(failed, slow);
        self.ring[self.at].add(one);
        self.tally.add(one);
        self.tally
    }

    pub(super) fn tally(&mut self, now: Instant) -> Tally {
        self.advance(now);
        self.tally
    }

    pub(super) fn latest(&self) -> Tally {
        self.tally
    }

    pub(super) fn clear(&mut self) {
        self.ring.fill(Tally::default());
        self.tally = Tally::default();
    }

    /// Forgets the buckets that have run out. A clock that goes back changes nothing.
    fn advance(&mut self, now: Instant) {
        let now = nanos(now.elapsed_since_start());
        if now < self.ends {
            return;
        }
        let bucket = now / self.each;
        let passed = usize::try_from(bucket - self.newest).unwrap_or(usize::MAX);
        if passed >= self.ring.len() {
            self.clear();
        } else {
            for _ in 0..passed {
                self.at = if self.at + 1 == self.ring.len() { 0 } else { self.at + 1 };
                let gone = std::mem::take(&mut self.ring[self.at]);
                self.tally.take(gone);
            }
        }
        self.newest = bucket;
        self.ends = (bucket + 1).saturating_mul(self.each);
    }
}

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
