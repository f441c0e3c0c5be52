use std::sync::atomic::{AtomicU32, Ordering};

/// Finds the place of an entry by the hash of its key, and has a byte's half for each place of how often it was asked for.
///
/// Places stand in groups of eight. The hash names the group an entry belongs to; where that is full it stands in the next one
/// that is not, and each group on the way counts how many passed it, so that a search knows where to end and a removal leaves
/// nothing behind (as in F14: Bronson and Shi, "Open-sourcing F14 for faster, more memory-efficient hash tables", 2019). A byte of
/// the hash, the tag, stands for each entry: eight are compared at once as one number, and a search rarely looks at an
/// entry that it is not for.
///
/// A table of its own and not one of hashbrown: there an entry is two looks into memory away, one at the tags and one at
/// its place, and what is noted of a hit a third. Here all three are in the 16 bytes of a group, and entries keep their
/// places until the table grows.
#[derive(Debug, Default)]
pub(crate) struct Index {
    groups: Vec<Group>,
}

/// Places in a group.
const GROUP: usize = 8;

/// So many of all places are taken at most: four of five. With that one group of eight is full and about one entry of twenty
/// stands in another than its own.
const FULL: usize = 4;
const FULL_OF: usize = 5;

#[derive(Debug, Default)]
struct Group {
    /// A byte for each place: a part of the hash, or [`FREE`].
    tags: u64,
    /// Four bits for each place.
    touched: AtomicU32,
    /// How many entries passed this group because it was full, and stand behind it; those that count too many stay so.
    passed: u8,
}

/// The tag of a place without an entry.
const FREE: u8 = 0;

/// The lowest and the highest bit of each byte.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// What four bits hold, as the counters of the sketch do.
pub(crate) const TOUCHED_MAX: u8 = 15;

impl Index {
    /// Room for so many entries.
    pub(crate) fn for_entries(entries: usize) -> Self {
        let places = entries.saturating_mul(FULL_OF).div_ceil(FULL).max(1);
        let mut groups = Vec::new();
        groups.resize_with(places.div_ceil(GROUP), Group::default);
        Self { groups }
    }

    /// How many places there are.
    pub(crate) fn places(&self) -> usize {
        self.groups.len() * GROUP
    }

    /// How many of them may be taken.
    pub(crate) fn room(&self) -> usize {
        self.places() * FULL / FULL_OF
    }

    /// Finds an entry: `is_it` is asked of each place whose tag fits. O(1) in the mean.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let mut at = self.home(hash);
        for _ in 0..self.groups.len() {
            let group = &self.groups[at];
            let mut found = group.with(tag);
            while found != 0 {
                let place = place(at, found);
                if is_it(place) {
                    return Some(place);
                }
                found &= found - 1;
            }
            if group.passed == 0 {
                return None;
            }
            at = self.behind(at);
        }
        None
    }

    /// Takes a place for an entry. `None` where there is none.
    pub(crate) fn take(&mut self, hash: u32) -> Option<u32> {
        let mut at = self.home(hash);
        for _ in 0..self.groups.len() {
            let group = &mut self.groups[at];
            let free = group.with(FREE);
            if free != 0 {
                let place = place(at, free);
                group.set(place, tag(hash));
                return Some(place);
            }
            group.passed = group.passed.saturating_add(1);
            at = self.behind(at);
        }
        None
    }

    /// Gives back the place of an entry.
    pub(crate) fn give_back(&mut self, hash: u32, place: u32) {
        let last = group_of(place);
        let mut at = self.home(hash);
        while at != last {
            let passed = &mut self.groups[at].passed;
            if *passed < u8::MAX {
                *passed -= 1;
            }
            at = self.behind(at);
        }
        self.groups[last].set(place, FREE);
    }

    /// Counts that the entry of a place was asked for, up to so many times.
    #[inline]
    pub(crate) fn touch(&self, place: u32, max: u8) {
        let group = &self.groups[group_of(place)];
        let touched = group.touched.load(Ordering::Relaxed);
        if four_bits(touched, place) < max {
            group.touched.store(touched + (1 << nibble(place)), Ordering::Relaxed);
        }
    }

    pub(crate) fn touched(&self, place: u32) -> u8 {
        self.groups[group_of(place)].touched(place)
    }

    /// Sets what was counted, and gives what it was before.
    pub(crate) fn set_touched(&mut self, place: u32, touched: u8) -> u8 {
        let group = &mut self.groups[group_of(place)];
        let before = group.touched(place);
        *group.touched.get_mut() ^= u32::from(before ^ touched.min(TOUCHED_MAX)) << nibble(place);
        before
    }

    /// The group an entry belongs to: the hash as a fraction of all groups, which need be no power of two.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.groups.len() as u64) >> u32::BITS) as usize
    }

    fn behind(&self, at: usize) -> usize {
        if at + 1 < self.groups.len() { at + 1 } else { 0 }
    }
}

impl Group {
    /// The highest bit of each place with this tag; there may be more than these behind the first.
    #[inline]
    fn with(&self, tag: u8) -> u64 {
        // Nought where it is the tag. A byte of nought, or of one behind such a one, borrows from its highest bit.
        let differs = self.tags ^ (LOW * u64::from(tag));
        differs.wrapping_sub(LOW) & !differs & HIGH
    }

    fn set(&mut self, place: u32, tag: u8) {
        let shift = place % 8 * 8;
        self.tags = self.tags & !(0xFF << shift) | u64::from(tag) << shift;
        *self.touched.get_mut() &= !(0xF << nibble(place));
    }

    fn touched(&self, place: u32) -> u8 {
        four_bits(self.touched.load(Ordering::Relaxed), place)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "four bits are what is wanted")]
#[inline]
fn four_bits(touched: u32, place: u32) -> u8 {
    (touched >> nibble(place)) as u8 & TOUCHED_MAX
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest byte is what is wanted")]
fn tag(hash: u32) -> u8 {
    // Nought is taken.
    (hash as u8).max(1)
}

/// The place of a group that the lowest bit set stands for.
#[expect(clippy::cast_possible_truncation, reason = "who makes the table keeps its places below 2^32")]
#[inline]
fn place(group: usize, bits: u64) -> u32 {
    (group * GROUP) as u32 + bits.trailing_zeros() / 8
}

fn group_of(place: u32) -> usize {
    place as usize / GROUP
}

fn nibble(place: u32) -> u32 {
    place % 8 * 4
}
