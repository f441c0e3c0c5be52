//! The orders as their papers have them, in lists that are searched from end to end.

use std::collections::VecDeque;

/// A cache of keys that weigh one each.
pub(crate) trait Model {
    /// Asks for a key that is there.
    fn hit(&mut self, key: u8);
    /// Adds a key that is not there, into a cache with room for `capacity`.
    fn add(&mut self, key: u8, capacity: usize);
    fn remove(&mut self, key: u8);
    fn evict(&mut self, capacity: usize);
    fn keys(&self) -> Vec<u8>;
}

fn without(keys: &mut Vec<u8>, key: u8) -> bool {
    let found = keys.iter().position(|other| *other == key);
    found.map(|at| keys.remove(at)).is_some()
}

/// The last one leaves.
#[derive(Debug, Default)]
pub(crate) struct Fifo(Vec<u8>);

impl Model for Fifo {
    fn hit(&mut self, _: u8) {}

    fn add(&mut self, key: u8, _: usize) {
        self.0.insert(0, key);
    }

    fn remove(&mut self, key: u8) {
        without(&mut self.0, key);
    }

    fn evict(&mut self, _: usize) {
        self.0.pop();
    }

    fn keys(&self) -> Vec<u8> {
        self.0.clone()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Lru(Fifo);

impl Model for Lru {
    fn hit(&mut self, key: u8) {
        self.0.remove(key);
        self.0.add(key, 0);
    }

    fn add(&mut self, key: u8, capacity: usize) {
        self.0.add(key, capacity);
    }

    fn remove(&mut self, key: u8) {
        self.0.remove(key);
    }

    fn evict(&mut self, capacity: usize) {
        self.0.evict(capacity);
    }

    fn keys(&self) -> Vec<u8> {
        self.0.keys()
    }
}

/// A key, how often it was asked for, and when last.
#[derive(Debug, Default)]
pub(crate) struct Lfu(Vec<(u8, u32, u32)>, u32);

impl Model for Lfu {
    fn hit(&mut self, key: u8) {
        self.1 += 1;
        for entry in self.0.iter_mut().filter(|entry| entry.0 == key) {
            (entry.1, entry.2) = (entry.1 + 1, self.1);
        }
    }

    fn add(&mut self, key: u8, _: usize) {
        self.1 += 1;
        self.0.push((key, 1, self.1));
    }

    fn remove(&mut self, key: u8) {
        self.0.retain(|entry| entry.0 != key);
    }

    fn evict(&mut self, _: usize) {
        if let Some(least) = self.0.iter().min_by_key(|entry| (entry.1, entry.2)).map(|entry| entry.0) {
            self.remove(least);
        }
    }

    fn keys(&self) -> Vec<u8> {
        self.0.iter().map(|entry| entry.0).collect()
    }
}

/// The newest first, whether each was asked for, and the key at which the hand stands.
#[derive(Debug, Default)]
pub(crate) struct Sieve(Vec<(u8, bool)>, Option<u8>);

impl Sieve {
    fn at(&self, key: u8) -> Option<usize> {
        self.0.iter().position(|entry| entry.0 == key)
    }
}

impl Model for Sieve {
    fn hit(&mut self, key: u8) {
        if let Some(at) = self.at(key) {
            self.0[at].1 = true;
        }
    }

    fn add(&mut self, key: u8, _: usize) {
        self.0.insert(0, (key, false));
    }

    fn remove(&mut self, key: u8) {
        let Some(at) = self.at(key) else { return };
        if self.1 == Some(key) {
            self.1 = at.checked_sub(1).map(|before| self.0[before].0);
        }
        self.0.remove(at);
    }

    fn evict(&mut self, _: usize) {
        let Some(last) = self.0.len().checked_sub(1) else { return };
        let mut at = self.1.and_then(|key| self.at(key)).unwrap_or(last);
        while self.0[at].1 {
            self.0[at].1 = false;
            at = at.checked_sub(1).unwrap_or(last);
        }
        self.1 = Some(self.0[at].0);
        self.remove(self.0[at].0);
    }

    fn keys(&self) -> Vec<u8> {
        self.0.iter().map(|entry| entry.0).collect()
    }
}

/// The small queue, the large one, and those that left the small one; each with how often a key was asked for, newest
/// first.
#[derive(Debug, Default)]
pub(crate) struct S3Fifo {
    small: VecDeque<(u8, u8)>,
    large: VecDeque<(u8, u8)>,
    ghosts: VecDeque<u8>,
}

impl Model for S3Fifo {
    fn hit(&mut self, key: u8) {
        for entry in self.small.iter_mut().chain(&mut self.large).filter(|entry| entry.0 == key) {
            entry.1 = (entry.1 + 1).min(3);
        }
    }

    fn add(&mut self, key: u8, _: usize) {
        let known = self.ghosts.len();
        self.ghosts.retain(|ghost| *ghost != key);
        if self.ghosts.len() < known {
            self.large.push_front((key, 0));
        } else {
            self.small.push_front((key, 0));
        }
    }

    fn remove(&mut self, key: u8) {
        self.small.retain(|entry| entry.0 != key);
        self.large.retain(|entry| entry.0 != key);
    }

    fn evict(&mut self, capacity: usize) {
        let room = (capacity / 10).max(1);
        while self.small.len() >= room || self.large.is_empty() {
            let held = self.small.len() + self.large.len();
            let Some((key, asked)) = self.small.pop_back() else { return };
            if asked < 2 {
                self.ghosts.retain(|ghost| *ghost != key);
                self.ghosts.push_front(key);
                self.ghosts.truncate(held - held / 10);
                return;
            }
            self.large.push_front((key, 0));
            if self.large.len() > capacity - room {
                break;
            }
        }
        while let Some((key, asked)) = self.large.pop_back() {
            if asked == 0 {
                return;
            }
            self.large.push_front((key, asked - 1));
        }
    }

    fn keys(&self) -> Vec<u8> {
        self.small.iter().chain(&self.large).map(|entry| entry.0).collect()
    }
}
