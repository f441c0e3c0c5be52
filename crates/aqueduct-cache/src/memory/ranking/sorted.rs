use std::collections::BTreeSet;

use crate::memory::nodes::Moved;

/// Entries in the order of a rank; of those with one rank, who got it first is the first.
///
/// O(log n), and some 60 bytes an entry: for the orders that need one exactly.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    order: BTreeSet<(u64, u64, u32)>,
    /// By place: the rank of each entry, and its number among those of one rank.
    ranks: Vec<(u64, u64)>,
    numbers: u64,
}

impl Sorted {
    pub(crate) fn add(&mut self, at: u32, rank: u64) {
        self.numbers += 1;
        let places = self.ranks.len().max(at as usize + 1);
        self.ranks.resize(places, (0, 0));
        self.ranks[at as usize] = (rank, self.numbers);
        self.order.insert((rank, self.numbers, at));
    }

    /// Gives an entry the next rank.
    pub(crate) fn count(&mut self, at: u32) {
        self.set(at, self.ranks[at as usize].0.saturating_add(1));
    }

    pub(crate) fn set(&mut self, at: u32, rank: u64) {
        let (old, number) = self.ranks[at as usize];
        self.order.remove(&(old, number, at));
        self.numbers += 1;
        self.ranks[at as usize] = (rank, self.numbers);
        self.order.insert((rank, self.numbers, at));
    }

    pub(crate) fn first(&self) -> Option<u32> {
        self.order.first().map(|first| first.2)
    }

    pub(crate) fn rank(&self, at: u32) -> u64 {
        self.ranks[at as usize].0
    }

    pub(crate) fn remove(&mut self, at: u32) {
        let (rank, number) = self.ranks[at as usize];
        self.order.remove(&(rank, number, at));
    }

    /// Entries have other places now; their order is what it was.
    pub(crate) fn moved(&mut self, moved: &Moved) {
        self.ranks = moved.table(&self.ranks, (0, 0));
        let order = std::mem::take(&mut self.order);
        self.order = order.into_iter().map(|(rank, number, at)| (rank, number, moved.to(at))).collect();
    }
}
