use super::Tally;

/// The last so many calls, two bits each, and their sum.
#[derive(Debug)]
pub(crate) struct Calls {
    /// Thirty-two calls a word: failed in the lower bit of each pair, slow in the upper.
    words: Box<[u64]>,
    size: u32,
    next: u32,
    tally: Tally,
}

const FAILED: u64 = 0x5555_5555_5555_5555;
const SLOW: u64 = !FAILED;

impl Calls {
    pub(super) fn new(size: u32) -> Self {
        let words = vec![0; size.div_ceil(32) as usize].into_boxed_slice();
        Self { words, size, next: 0, tally: Tally::default() }
    }

    pub(super) fn push(&mut self, failed: bool, slow: bool) -> Tally {
        let (word, shift) = (self.next as usize / 32, self.next % 32 * 2);
        if self.tally.calls == self.size {
            let old = self.words[word] >> shift;
            self.tally.take(Tally::one(old & 1 == 1, old & 2 == 2));
        }
        let bits = u64::from(failed) | u64::from(slow) << 1;
        self.words[word] = self.words[word] & !(3 << shift) | bits << shift;
        self.tally.add(Tally::one(failed, slow));
        self.next = if self.next + 1 == self.size { 0 } else { self.next + 1 };
        self.tally
    }

    pub(super) fn succeed(&mut self, calls: u32) {
        if calls >= self.size {
            self.words.fill(0);
            self.next = 0;
            self.tally = Tally { calls: self.size, failed: 0, slow: 0 };
            return;
        }
        let mut left = calls;
        while left > 0 {
            let (word, shift) = (self.next as usize / 32, self.next % 32 * 2);
            // To the end of the word, of the ring, or of what is to be added.
            let step = left.min(32 - self.next % 32).min(self.size - self.next);
            let mask = u64::MAX >> (64 - step * 2) << shift;
            let old = self.words[word] & mask;
            self.words[word] &= !mask;
            if self.tally.calls == self.size {
                self.tally.failed -= (old & FAILED).count_ones();
                self.tally.slow -= (old & SLOW).count_ones();
            } else {
                // A ring that is not full holds nothing at the places to come.
                self.tally.calls += step;
            }
            self.next = (self.next + step) % self.size;
            left -= step;
        }
    }

    /// Full of calls that went well, the ring is all zeros; one more turns it and changes nothing.
    pub(super) fn is_steady(&self) -> bool {
        self.tally == Tally { calls: self.size, failed: 0, slow: 0 }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn clear(&mut self) {
        self.next = 0;
        self.tally = Tally::default();
    }
}
