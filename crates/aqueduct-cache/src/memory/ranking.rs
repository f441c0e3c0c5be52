mod adaptive;
mod choice;
mod s3_fifo;
mod sieve;
mod sorted;
mod tiny_lfu;

pub(crate) use adaptive::{Adaptive, LEADERS, Role};
pub(crate) use choice::Choice;
pub(crate) use s3_fifo::S3Fifo;
pub(crate) use sieve::Sieve;
pub(crate) use sorted::Sorted;
pub(crate) use tiny_lfu::TinyLfu;

use crate::config::Eviction;
use crate::memory::index::TOUCHED_MAX;
use crate::memory::nodes::{List, Moved, Nodes};

/// Who leaves when there is no room.
#[derive(Debug)]
pub(crate) enum Ranking {
    Fifo,
    Lru,
    Lfu(Sorted),
    Ttl(Sorted),
    S3Fifo(S3Fifo),
    Sieve(Sieve),
    Adaptive(Adaptive),
}

/// The list of those orders that have one.
pub(crate) const ONLY: List = List::First;

impl Ranking {
    pub(crate) fn new(eviction: Eviction, capacity: u64, role: Role) -> Self {
        match eviction {
            Eviction::Fifo => Self::Fifo,
            Eviction::Lru => Self::Lru,
            Eviction::Lfu => Self::Lfu(Sorted::default()),
            Eviction::Ttl => Self::Ttl(Sorted::default()),
            Eviction::S3Fifo => Self::S3Fifo(S3Fifo::new(capacity)),
            Eviction::Sieve => Self::Sieve(Sieve::default()),
            Eviction::Adaptive => Self::Adaptive(Adaptive::new(capacity, role)),
        }
    }

    /// Somebody asked for an entry, which has this hash.
    #[inline]
    pub(crate) fn hit<T>(&mut self, nodes: &mut Nodes<T>, at: u32, hash: u32) {
        match self {
            Self::Lru => nodes.put_in_front(at, ONLY),
            Self::Lfu(sorted) => sorted.count(at),
            _ => self.note(nodes, at, hash),
        }
    }

    /// The same for the orders where it [is only noted](Eviction::is_noted).
    #[inline]
    pub(crate) fn note<T>(&self, nodes: &Nodes<T>, at: u32, hash: u32) {
        match self {
            Self::Fifo | Self::Ttl(_) | Self::Lru | Self::Lfu(_) => {}
            Self::S3Fifo(_) => nodes.touch(at, S3Fifo::TOUCHED_MAX),
            Self::Sieve(_) => nodes.touch(at, 1),
            Self::Adaptive(adaptive) => {
                nodes.touch(at, TOUCHED_MAX);
                adaptive.seen(nodes, hash);
            }
        }
    }

    /// An entry with this hash is about to be added, and there is room for it. Gives the list it belongs to.
    pub(crate) fn list_for<T>(&mut self, nodes: &mut Nodes<T>, hash: u32, weight: u32) -> List {
        match self {
            Self::S3Fifo(s3_fifo) => s3_fifo.list_for(hash),
            Self::Adaptive(adaptive) => adaptive.list_for(nodes, weight),
            Self::Fifo | Self::Lru | Self::Lfu(_) | Self::Ttl(_) | Self::Sieve(_) => ONLY,
        }
    }

    /// An entry was added; `expires_at` is when it does, far away if it does not.
    pub(crate) fn added(&mut self, at: u32, expires_at: u64) {
        match self {
            Self::Lfu(sorted) => sorted.add(at, 1),
            Self::Ttl(sorted) => sorted.add(at, expires_at),
            _ => {}
        }
    }

    /// An entry expires at another time.
    pub(crate) fn expires(&mut self, at: u32, expires_at: u64) {
        if let Self::Ttl(sorted) = self {
            sorted.set(at, expires_at);
        }
    }

    /// Somebody wants to add what is not there.
    pub(crate) fn missed<T>(&mut self, nodes: &Nodes<T>, hash: u32) {
        if let Self::Adaptive(adaptive) = self {
            adaptive.missed(nodes, hash);
        }
    }

    /// Chooses who leaves for something of this weight. `None` only where there is nobody.
    pub(crate) fn victim<T>(&mut self, nodes: &mut Nodes<T>, weight: u64) -> Option<u32> {
        match self {
            Self::Fifo | Self::Lru => nodes.tail(ONLY),
            Self::Lfu(sorted) | Self::Ttl(sorted) => sorted.first(),
            Self::S3Fifo(s3_fifo) => s3_fifo.victim(nodes),
            Self::Sieve(sieve) => sieve.victim(nodes),
            Self::Adaptive(adaptive) => adaptive.victim(nodes, weight),
        }
    }

    /// An entry is about to be taken out, for whatever reason.
    pub(crate) fn leaves<T>(&mut self, nodes: &Nodes<T>, at: u32) {
        match self {
            Self::Lfu(sorted) | Self::Ttl(sorted) => sorted.remove(at),
            Self::Sieve(sieve) => sieve.leaves(nodes, at),
            _ => {}
        }
    }

    /// Entries have other places now.
    pub(crate) fn moved(&mut self, moved: &Moved) {
        match self {
            Self::Lfu(sorted) | Self::Ttl(sorted) => sorted.moved(moved),
            Self::Sieve(sieve) => sieve.moved(moved),
            _ => {}
        }
    }

    /// How popular an entry is, for each place: comparable within one order only. O(places).
    pub(crate) fn popularity<T>(&self, nodes: &Nodes<T>) -> Vec<u64> {
        let mut popularity = vec![0; nodes.places()];
        match self {
            // Who leaves last is the most popular, for all that is known.
            Self::Fifo | Self::Lru => {
                let order = std::iter::successors(nodes.tail(ONLY), |&at| nodes.before(at));
                for (rank, at) in (0..).zip(order) {
                    popularity[at as usize] = rank;
                }
            }
            Self::Lfu(sorted) => nodes.iter().for_each(|(at, _)| popularity[at as usize] = sorted.rank(at)),
            Self::Ttl(_) | Self::S3Fifo(_) | Self::Sieve(_) => {
                nodes.iter().for_each(|(at, _)| popularity[at as usize] = nodes.touched(at).into());
            }
            Self::Adaptive(adaptive) => {
                for (at, node) in nodes.iter() {
                    popularity[at as usize] = adaptive.asked_for(node.hash) + u64::from(nodes.touched(at));
                }
            }
        }
        popularity
    }

    /// There is room for another weight from now on.
    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        match self {
            Self::S3Fifo(s3_fifo) => s3_fifo.set_capacity(capacity),
            Self::Adaptive(adaptive) => adaptive.set_capacity(capacity),
            _ => {}
        }
    }
}
