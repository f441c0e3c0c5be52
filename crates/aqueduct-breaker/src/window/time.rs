use std::time::Duration;

use aqueduct_core::Instant;

use super::Tally;

/// Buckets of time in a ring, and their sum.
#[derive(Debug)]
pub(crate) struct Buckets {
    ring: Box<[Tally]>,
    each: Duration,
    /// The newest bucket, counted from the start of the clock.
    newest: u64,
    tally: Tally,
}

impl Buckets {
    pub(super) fn new(buckets: u32, each: Duration) -> Self {
        Self {
            ring: vec![Tally::default(); buckets as usize].into(),
            each,
            newest: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn push(&mut self, now: Instant, failed: bool, slow: bool) -> Tally {
        self.advance(now);
        let one = Tally::one(failed, slow);
        let at = self.at(self.newest);
        self.ring[at].add(one);
        self.tally.add(one);
        self.tally
    }

    pub(super) fn latest(&self) -> Tally {
        self.tally
    }

    pub(super) fn tally(&mut self, now: Instant) -> Tally {
        self.advance(now);
        self.tally
    }

    pub(super) fn clear(&mut self) {
        self.ring.fill(Tally::default());
        self.tally = Tally::default();
    }

    /// Forgets the buckets that have run out. A clock that goes back changes nothing.
    fn advance(&mut self, now: Instant) {
        let bucket = now.elapsed_since_start().as_nanos() / self.each.as_nanos();
        let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
        if bucket <= self.newest {
            return;
        }
        if bucket - self.newest >= self.ring.len() as u64 {
            self.clear();
        } else {
            for old in self.newest + 1..=bucket {
                let at = self.at(old);
                let gone = std::mem::take(&mut self.ring[at]);
                self.tally.take(gone);
            }
        }
        self.newest = bucket;
    }

    fn at(&self, bucket: u64) -> usize {
        usize::try_from(bucket % self.ring.len() as u64).unwrap_or(0)
    }
}
