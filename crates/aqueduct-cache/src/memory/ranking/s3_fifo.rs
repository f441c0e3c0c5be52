use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::memory::nodes::{List, Nodes};
use crate::spread;

/// A small queue that most entries only pass through, a large one for those that were asked for twice meanwhile, and
/// the hashes of those that left the small one lately (Yang et al., "FIFO Queues are All You Need for Cache Eviction",
/// SOSP 2023, algorithm 1).
///
/// A tenth for the small queue and as many hashes as there is room in the large one, as in the paper's figures. 12 bytes
/// more an entry than the other orders, for the hashes.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    capacity: u64,
    ghosts: Ghosts,
}

const SMALL: List = List::First;
const LARGE: List = List::Second;

/// An entry of the small queue that was asked for so often goes to the large one.
const TO_LARGE: u8 = 2;

impl S3Fifo {
    /// What is counted of how often an entry was asked for: two bits.
    pub(crate) const TOUCHED_MAX: u8 = 3;

    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, ghosts: Ghosts::default() }
    }

    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    pub(crate) fn list_for(&mut self, hash: u32) -> List {
        if self.ghosts.remove(hash) { LARGE } else { SMALL }
    }

    /// O(1) in the long run: each entry that is passed was asked for.
    pub(crate) fn victim<T>(&mut self, nodes: &mut Nodes<T>) -> Option<u32> {
        let small = (self.capacity / 10).max(1);
        loop {
            let is_small = nodes.list_weight(SMALL) >= small || nodes.list_len(LARGE) == 0;
            let Some(at) = nodes.tail(SMALL).filter(|_| is_small) else { return large_victim(nodes) };
            if nodes.touched(at) < TO_LARGE {
                let room = nodes.len().saturating_sub(nodes.len() / 10);
                self.ghosts.add(nodes.hash(at), room);
                return Some(at);
            }
            nodes.set_touched(at, 0);
            nodes.put_in_front(at, LARGE);
            if nodes.list_weight(LARGE) > self.capacity - small {
                return large_victim(nodes);
            }
        }
    }
}

fn large_victim<T>(nodes: &mut Nodes<T>) -> Option<u32> {
    loop {
        let at = nodes.tail(LARGE)?;
        let touched = nodes.touched(at);
        if touched == 0 {
            return Some(at);
        }
        nodes.set_touched(at, touched - 1);
        nodes.put_in_front(at, LARGE);
    }
}

/// Hashes in the order they came, up to a number.
#[derive(Debug, Default)]
struct Ghosts {
    /// With the number of each: one that came back is out of the table, and may leave its place here later.
    queue: VecDeque<(u32, u32)>,
    known: HashTable<(u32, u32)>,
    number: u32,
}

impl Ghosts {
    fn add(&mut self, hash: u32, room: usize) {
        self.remove(hash);
        self.number = self.number.wrapping_add(1);
        let entry = (hash, self.number);
        self.known.insert_unique(spread(hash), entry, |entry| spread(entry.0));
        self.queue.push_back(entry);
        while self.known.len() > room
            && let Some(oldest) = self.queue.pop_front()
        {
            if let Ok(found) = self.known.find_entry(spread(oldest.0), |entry| *entry == oldest) {
                found.remove();
            }
        }
        // Each that is passed came back since the last time, so this is O(1) in the long run.
        if self.queue.len() > self.known.len().saturating_mul(2) {
            self.queue.retain(|kept| self.known.find(spread(kept.0), |entry| entry == kept).is_some());
        }
    }

    fn remove(&mut self, hash: u32) -> bool {
        let found = self.known.find_entry(spread(hash), |entry| entry.0 == hash);
        found.map(hashbrown::hash_table::OccupiedEntry::remove).is_ok()
    }
}
