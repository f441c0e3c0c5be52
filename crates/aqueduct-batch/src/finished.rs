//! Which numbers of a sequence are finished, when they finish in any order.

use std::fmt;
use std::ops::Range;

use roaring::RoaringTreemap;

use crate::error::FinishedError;

/// A set of finished sequence numbers: everything below the frontier, and a compressed bitmap of what is finished beyond it.
///
/// The frontier is the first number that is not finished. It does not matter how many workers there are, how numbers are
/// given to them, or which partition a number is from: what costs memory are the places where finished and unfinished
/// meet beyond the frontier, about 4 bytes each, and about a bit for each number beyond it at the most.
///
/// # Complexity
///
/// `insert` and `contains` are logarithmic in the number of stretches of 65,536 numbers beyond the frontier. Every 2^20th
/// insertion packs the bitmap, which is linear in its size; so is `len`.
#[derive(Clone, Default)]
pub struct FinishedSet {
    /// Every number below is finished, and this one is not.
    frontier: u64,
    /// The finished numbers above the frontier.
    beyond: RoaringTreemap,
    /// Insertions since the bitmap was packed.
    unpacked: u32,
}

/// The version of the encoding.
const FORMAT: u8 = 1;

/// Format and frontier in front, the checksum behind.
const FRAME_BYTES: usize = 1 + 8 + 4;

/// A stretch that filled up number by number is a bitmap of 8 KiB, and a run of 4 bytes once it is packed. So many
/// insertions fill at most 16 stretches, which is little beside the pass over all of them.
const PACK_EVERY: u32 = 1 << 20;

impl FinishedSet {
    /// A set of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first number that is not finished.
    #[must_use]
    pub fn frontier(&self) -> u64 {
        self.frontier
    }

    /// How many numbers are finished. Of all 2^64 it is one less.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.frontier.saturating_add(self.beyond.len())
    }

    /// Whether no number is finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frontier == 0 && self.beyond.is_empty()
    }

    /// Whether a number is finished.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        number < self.frontier || self.beyond.contains(number)
    }

    /// Finishes a number. False when it was finished before.
    pub fn insert(&mut self, number: u64) -> bool {
        if number < self.frontier {
            return false;
        }
        if number == self.frontier && number < u64::MAX {
            self.frontier += 1;
            self.advance();
            return true;
        }
        let is_new = self.beyond.insert(number);
        self.changed();
        is_new
    }

    /// Finishes all numbers of a range. Tells how many were not finished before.
    ///
    /// # Complexity
    ///
    /// Linear in the stretches of 65,536 numbers that it touches.
    pub fn insert_range(&mut self, numbers: Range<u64>) -> u64 {
        let numbers = numbers.start.max(self.frontier)..numbers.end;
        if numbers.is_empty() {
            return 0;
        }
        if numbers.start > self.frontier {
            let new = self.beyond.insert_range(numbers);
            self.changed();
            return new;
        }
        let known = self.beyond.remove_range(..numbers.end);
        let new = numbers.end - numbers.start - known;
        self.frontier = numbers.end;
        self.advance();
        new
    }

    /// Finishes everything that is finished in another set, such as that of another worker.
    pub fn merge(&mut self, other: &Self) {
        self.insert_range(0..other.frontier);
        self.beyond |= &other.beyond;
        self.beyond.remove_range(..self.frontier);
        self.advance();
        self.pack();
    }

    /// The ranges of numbers below `end` that are not finished, in their order.
    pub fn unfinished(&self, end: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut from = self.frontier;
        std::iter::from_fn(move || {
            from += self.finished_from(from);
            if from >= end {
                return None;
            }
            let mut finished = self.beyond.iter();
            finished.advance_to(from);
            let next = finished.next().map_or(end, |next| next.min(end));
            let found = from..next;
            from = next;
            Some(found)
        })
    }

    /// Writes the set, with a version and a checksum: the version, the frontier, the bitmap in the portable format of
    /// Roaring bitmaps, and the CRC-32 of all that. Numbers are little-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut packed = self.beyond.clone();
        packed.optimize();
        let mut bytes = Vec::with_capacity(FRAME_BYTES + packed.serialized_size());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.frontier.to_le_bytes());
        packed.serialize_into(&mut bytes).expect("a vector takes every byte");
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads what [`FinishedSet::encode`] wrote.
    ///
    /// # Errors
    ///
    /// [`FinishedError`] when it is damaged or of another version. Nothing is guessed: work that might not be finished
    /// must not be skipped.
    pub fn decode(bytes: &[u8]) -> Result<Self, FinishedError> {
        let Some((content, sum)) = bytes.split_last_chunk::<4>() else { return Err(FinishedError::Short) };
        let (found, expected) = (crc32fast::hash(content), u32::from_le_bytes(*sum));
        if found != expected {
            return Err(FinishedError::Checksum { found, expected });
        }
        let Some((format, rest)) = content.split_first() else { return Err(FinishedError::Short) };
        if *format != FORMAT {
            return Err(FinishedError::Format { found: *format, supported: FORMAT });
        }
        let Some((frontier, bitmap)) = rest.split_first_chunk::<8>() else {
            return Err(FinishedError::Short);
        };
        let frontier = u64::from_le_bytes(*frontier);
        let beyond = RoaringTreemap::deserialize_from(bitmap).map_err(FinishedError::Bitmap)?;
        if beyond.min().is_some_and(|least| least < frontier || (least == frontier && frontier < u64::MAX)) {
            return Err(FinishedError::Frontier);
        }
        Ok(Self { frontier, beyond, unpacked: 0 })
    }

    /// Moves the frontier over what is finished right behind it.
    fn advance(&mut self) {
        let over = self.finished_from(self.frontier);
        if over > 0 {
            self.frontier += over;
            self.beyond.remove_range(..self.frontier);
        }
    }

    /// How many numbers from this one on are finished beyond the frontier, without a gap. It looks twice as far each time,
    /// then halves what it does not know.
    fn finished_from(&self, from: u64) -> u64 {
        let is_finished =
            |count: u64| from.checked_add(count).is_some_and(|end| self.beyond.contains_range(from..end));
        if !is_finished(1) {
            return 0;
        }
        let (mut known, mut step) = (1_u64, 1_u64);
        while let Some(next) = known.checked_add(step).filter(|next| is_finished(*next)) {
            known = next;
            step = step.saturating_mul(2);
        }
        while step > 0 {
            if let Some(next) = known.checked_add(step).filter(|next| is_finished(*next)) {
                known = next;
            }
            step /= 2;
        }
        known
    }

    /// Packs the bitmap after so many insertions.
    fn changed(&mut self) {
        self.unpacked += 1;
        if self.unpacked >= PACK_EVERY {
            self.pack();
        }
    }

    fn pack(&mut self) {
        self.unpacked = 0;
        self.beyond.optimize();
    }
}

impl PartialEq for FinishedSet {
    /// Whether the same numbers are finished.
    fn eq(&self, other: &Self) -> bool {
        self.frontier == other.frontier && self.beyond == other.beyond
    }
}

impl Eq for FinishedSet {}

impl fmt::Debug for FinishedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FinishedSet(all below {}, and {} beyond)", self.frontier, self.beyond.len())
    }
}
