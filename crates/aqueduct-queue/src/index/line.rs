use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use super::Entry;
use crate::message::MessageId;

/// Messages of one tenant and one priority, in the order of their numbers.
///
/// Nearly all come in that order and go out at the front; those that come back stand in a heap beside them.
#[derive(Debug, Default)]
pub(super) struct Line {
    fresh: VecDeque<Entry>,
    back: BinaryHeap<Reverse<ByNumber>>,
}

#[derive(Debug)]
struct ByNumber(Entry);

impl PartialEq for ByNumber {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for ByNumber {}
impl PartialOrd for ByNumber {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByNumber {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

/// A line this long gives memory back once three quarters of it are empty.
const SHRINK_FROM: usize = 4096;

impl Line {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.fresh.back().is_none_or(|last| last.id < entry.id) {
            self.fresh.push_back(entry);
        } else {
            self.back.push(Reverse(ByNumber(entry)));
        }
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        match (self.fresh.front(), self.back.peek()) {
            (Some(fresh), Some(Reverse(ByNumber(back)))) => {
                Some(if back.id < fresh.id { back } else { fresh })
            }
            (fresh, back) => fresh.or(back.map(|Reverse(ByNumber(back))| back)),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let from_back = match (self.fresh.front(), self.back.peek()) {
            (Some(fresh), Some(Reverse(ByNumber(back)))) => back.id < fresh.id,
            (fresh, _) => fresh.is_none(),
        };
        if from_back {
            return self.back.pop().map(|Reverse(ByNumber(entry))| entry);
        }
        let entry = self.fresh.pop_front();
        if self.fresh.capacity() > SHRINK_FROM && self.fresh.len() < self.fresh.capacity() / 4 {
            self.fresh.shrink_to(self.fresh.len() * 2);
        }
        entry
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.fresh.iter().chain(self.back.iter().map(|Reverse(ByNumber(entry))| entry))
    }

    /// Takes out these.
    pub(super) fn remove(&mut self, ids: &HashSet<MessageId>) -> Vec<Entry> {
        let all = self.drain();
        let (removed, stay): (Vec<Entry>, Vec<Entry>) =
            all.into_iter().partition(|entry| ids.contains(&entry.id));
        stay.into_iter().for_each(|entry| self.push(entry));
        removed
    }

    pub(super) fn drain(&mut self) -> Vec<Entry> {
        let back = std::mem::take(&mut self.back).into_iter().map(|Reverse(ByNumber(entry))| entry);
        std::mem::take(&mut self.fresh).into_iter().chain(back).collect()
    }
}
