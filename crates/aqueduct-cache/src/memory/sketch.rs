use crate::spread;

/// How often a key was asked for lately, at most 15, for far more keys than are kept.
///
/// A count-min sketch (Cormode and Muthukrishnan, "An Improved Data Stream Summary: The Count-Min Sketch and its
/// Applications", J. Algorithms 55, 2005) with four counters of four bits for a key, which is aged by halving all of them
/// after ten increments for each entry of the cache (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache
/// Admission Policy", ACM Transactions on Storage 13(4), 2017, sections 3.3 and 3.4). The four counters of a key lie in one
/// cache line, as in Caffeine.
///
/// 8 bytes an entry, to the next power of two. O(1), but for the halving, which is O(1) an increment in the long run.
#[derive(Debug)]
pub(crate) struct Sketch {
    words: Vec<u64>,
    added: usize,
    halve_after: usize,
}

/// Words in a cache line.
const LINE: usize = 8;

/// Increments for each entry until the counters are halved; ten is the sample of the paper's evaluation.
const SAMPLE: usize = 10;

/// What a counter of four bits holds.
const COUNT_MAX: u64 = 15;

/// The lowest bit of each counter, and all others.
const ONES: u64 = 0x1111_1111_1111_1111;
const REST: u64 = 0x7777_7777_7777_7777;

impl Sketch {
    pub(crate) fn new() -> Self {
        Self { words: vec![0; LINE], added: 0, halve_after: LINE * SAMPLE }
    }

    /// Makes it large enough for a cache of so many entries. What was counted stays: each line that becomes two is
    /// copied, so that no key has a lower count than before.
    pub(crate) fn fit(&mut self, entries: usize) {
        while self.words.len() < entries {
            self.words.extend_from_within(..);
        }
        self.halve_after = self.halve_after.max(entries.saturating_mul(SAMPLE));
    }

    pub(crate) fn count(&self, hash: u32) -> u8 {
        let counts =
            places(hash, self.words.len()).map(|(word, shift)| (self.words[word] >> shift) & COUNT_MAX);
        // Four bits each.
        counts.into_iter().min().map_or(0, |least| u8::try_from(least).unwrap_or(15))
    }

    /// Counts so many at once: where an entry was asked for 15 times, it is not one line of the table read 15 times.
    pub(crate) fn add(&mut self, hash: u32, times: u8) {
        let mut added = 0;
        for (word, shift) in places(hash, self.words.len()) {
            let count = (self.words[word] >> shift) & COUNT_MAX;
            let more = (COUNT_MAX - count).min(times.into());
            self.words[word] += more << shift;
            added = added.max(more);
        }
        // Four bits.
        self.added += usize::try_from(added).unwrap_or(0);
        if self.added >= self.halve_after {
            self.halve();
        }
    }

    fn halve(&mut self) {
        let mut odd = 0;
        for word in &mut self.words {
            odd += (*word & ONES).count_ones() as usize;
            *word = (*word >> 1) & REST;
        }
        // Four counters an increment; what rounding took away was counted too.
        self.added = self.added.saturating_sub(odd / 4) / 2;
    }
}

/// The counters of a key: two words of its line for each row, and a counter within.
fn places(hash: u32, words: usize) -> [(usize, u64); 4] {
    // The remainder by a power of two; the lines come from other bits than the places in them.
    let line = (hash as usize & (words / LINE - 1)) * LINE;
    let bits = spread(hash) >> 36;
    [0, 1, 2, 3].map(|row| {
        let bits = bits >> (row * 5);
        (line + row * 2 + usize::from(bits & 1 == 1), ((bits >> 1) & 15) * 4)
    })
}
