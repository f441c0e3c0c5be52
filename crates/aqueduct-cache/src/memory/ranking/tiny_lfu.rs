use crate::memory::nodes::{List, Nodes};
use crate::memory::sketch::Sketch;

/// New entries go through a window; those that leave it stay only if they were asked for more often than who leaves the
/// rest (W-TinyLFU: Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions
/// on Storage 13(4), 2017, section 4).
///
/// Ours differs in that a hit is only noted on the entry. Where the paper has LRU lists that a hit changes, there are
/// three clocks here: an entry that comes to the end of its list and was asked for goes to the front again, and its hits
/// into the sketch. That scores as well or better on recorded traces, and costs a hit no more than one byte.
#[derive(Debug)]
pub(crate) struct TinyLfu {
    capacity: u64,
    /// The share of the capacity that the window has.
    share: f64,
    sketch: Sketch,
    /// Counts comparisons, for the one in 128 that lets a newcomer in.
    compared: u32,
}

const WINDOW: List = List::First;
/// Of the rest, those that are to prove themselves,
const PROBATION: List = List::Second;
/// and those that have, up to four fifths.
const PROTECTED: List = List::Third;

/// A newcomer that was asked for so often is let in once in [`CHANCE`] times although it lost: with a chance, nobody can
/// keep it out by asking for others on purpose. As in Caffeine.
const CHANCE_FROM: u8 = 6;
const CHANCE: u32 = 128;

/// So many entries that were asked for go to the front before one leaves that was asked for too. A clock without such a
/// bound passes by all that are done with, and takes those that have just come and are still to be asked for.
const PASSED_MAX: usize = 4;

/// So many entries leave the window at most when one comes in. A window that has become smaller gives up the others as more
/// come, and nobody waits for all of them.
const MOVED_MAX: usize = 4;

impl TinyLfu {
    pub(crate) fn new(capacity: u64, share: f64) -> Self {
        Self { capacity, share, sketch: Sketch::new(), compared: 0 }
    }

    pub(crate) fn set_share(&mut self, share: f64) {
        self.share = share;
    }

    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    pub(crate) fn missed(&mut self, hash: u32) {
        self.sketch.add(hash, 1);
    }

    /// Makes room in the window.
    pub(crate) fn list_for<T>(&mut self, nodes: &mut Nodes<T>, weight: u32) -> List {
        self.sketch.fit(nodes.len() + 1);
        for _ in 0..MOVED_MAX {
            if nodes.list_weight(WINDOW) + u64::from(weight) <= self.window() {
                break;
            }
            let Some(at) = self.passing(nodes, WINDOW) else { break };
            nodes.put_in_front(at, PROBATION);
        }
        WINDOW
    }

    /// Who leaves for something of this weight. O(1) in the long run: each entry that is passed was asked for.
    pub(crate) fn victim<T>(&mut self, nodes: &mut Nodes<T>, weight: u64) -> Option<u32> {
        if nodes.list_weight(WINDOW) + weight <= self.window() {
            // What is asked for goes along into a window that has become larger, as if it had been there all the time. Else it
            // would leave with the rest, before entries of the window that nobody asked for.
            return self.rest_victim(nodes, WINDOW).or_else(|| self.passing(nodes, WINDOW));
        }
        let (candidate, victim) = (self.passing(nodes, WINDOW), self.rest_victim(nodes, PROTECTED));
        let (Some(candidate), Some(victim)) = (candidate, victim) else { return candidate.or(victim) };
        if !self.wins(nodes, candidate, victim) {
            return Some(candidate);
        }
        nodes.put_in_front(candidate, PROBATION);
        Some(victim)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a weight, rounded"
    )]
    fn window(&self) -> u64 {
        ((self.capacity as f64 * self.share) as u64).clamp(1, self.capacity.max(1))
    }

    fn protected(&self) -> u64 {
        (self.capacity - self.window().min(self.capacity)) / 5 * 4
    }

    /// How often was asked for what has this hash, as far as is known.
    pub(crate) fn asked_for(&self, hash: u32) -> u64 {
        self.sketch.count(hash).into()
    }

    fn wins<T>(&mut self, nodes: &Nodes<T>, candidate: u32, victim: u32) -> bool {
        let [candidate, victim] = [candidate, victim].map(|at| self.sketch.count(nodes.hash(at)));
        if candidate > victim {
            return true;
        }
        self.compared = self.compared.wrapping_add(u32::from(candidate >= CHANCE_FROM));
        candidate >= CHANCE_FROM && self.compared.is_multiple_of(CHANCE)
    }

    /// Who leaves a list next: the last one that was not asked for since it came to the front. If several in a row were,
    /// the one behind them.
    fn passing<T>(&mut self, nodes: &mut Nodes<T>, list: List) -> Option<u32> {
        for _ in 0..PASSED_MAX.min(nodes.list_len(list)) {
            let at = nodes.tail(list)?;
            if !self.note(nodes, at) {
                return Some(at);
            }
            nodes.put_in_front(at, list);
        }
        nodes.tail(list)
    }

    /// Who leaves the rest next. What was asked for goes to the front of the list that is given, of the window only while there
    /// is room in it.
    fn rest_victim<T>(&mut self, nodes: &mut Nodes<T>, asked_for: List) -> Option<u32> {
        while let Some(at) = nodes.tail(PROBATION) {
            if !self.note(nodes, at) {
                return Some(at);
            }
            if asked_for == WINDOW && nodes.list_weight(WINDOW) < self.window() {
                nodes.put_in_front(at, WINDOW);
                continue;
            }
            nodes.put_in_front(at, PROTECTED);
            while nodes.list_weight(PROTECTED) > self.protected() {
                let Some(demoted) = self.passing(nodes, PROTECTED) else { break };
                nodes.put_in_front(demoted, PROBATION);
            }
        }
        self.passing(nodes, PROTECTED)
    }

    /// Takes the hits of an entry into the sketch, and tells whether there were any.
    fn note<T>(&mut self, nodes: &mut Nodes<T>, at: u32) -> bool {
        let touched = nodes.set_touched(at, 0);
        self.sketch.add(nodes.hash(at), touched);
        touched > 0
    }
}

#[cfg(test)]
mod tests;
