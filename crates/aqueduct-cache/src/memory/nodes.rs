use crate::memory::index::Index;

/// The end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// So many entries at most, so that each has a name below [`NONE`].
pub(crate) const ENTRIES_MAX: usize = (NONE / 2) as usize;

/// Entries in the order in which they may leave, each with what it carries: a key and its value.
///
/// They stand in as many lists as an order has, each entry in one. An entry's place is its name, and stays it until the table
/// grows, which tells the new ones.
#[derive(Debug)]
pub(crate) struct Nodes<T> {
    index: Index,
    /// By place.
    nodes: Vec<Option<Node<T>>>,
    /// By place: the neighbours of each in its list. A hit reads none of them.
    links: Vec<Links>,
    /// By place; empty while all weigh one, as in most caches.
    weights: Vec<u32>,
    lists: [Ends; LISTS],
    len: usize,
}

/// One of the lists of an order.
///
/// An enumeration, so that a place without an entry takes no byte more than one with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    First,
    Second,
    Third,
}

/// As many as the order with the most has.
const LISTS: usize = 3;

#[derive(Debug)]
pub(crate) struct Node<T> {
    /// The lower half of the hash of its key.
    pub(crate) hash: u32,
    list: List,
    /// What it carries. Here and not in a table of its own, so that a look takes one cache line and not two.
    pub(crate) carried: T,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    before: u32,
    after: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    head: u32,
    tail: u32,
    len: usize,
    weight: u64,
}

impl<T> Nodes<T> {
    pub(crate) fn new() -> Self {
        let empty = Ends { head: NONE, tail: NONE, len: 0, weight: 0 };
        Self {
            index: Index::default(),
            nodes: Vec::new(),
            links: Vec::new(),
            weights: Vec::new(),
            lists: [empty; LISTS],
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are, with an entry or without.
    pub(crate) fn places(&self) -> usize {
        self.nodes.len()
    }

    /// Finds an entry by the hash of its key.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(&T) -> bool) -> Option<u32> {
        self.index.find(hash, |at| self.get(at).is_some_and(|node| node.hash == hash && is_it(&node.carried)))
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> Option<&Node<T>> {
        self.nodes[at as usize].as_ref()
    }

    /// The hash of an entry.
    pub(crate) fn hash(&self, at: u32) -> u32 {
        self.get(at).map_or(0, |node| node.hash)
    }

    pub(crate) fn carried_mut(&mut self, at: u32) -> Option<&mut T> {
        self.nodes[at as usize].as_mut().map(|node| &mut node.carried)
    }

    /// All entries with their places. O(places).
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Node<T>)> {
        (0..).zip(&self.nodes).filter_map(|(at, node)| Some((at, node.as_ref()?)))
    }

    /// Takes out all that is carried.
    pub(crate) fn into_carried(self) -> Vec<T> {
        self.nodes.into_iter().flatten().map(|node| node.carried).collect()
    }

    #[inline]
    pub(crate) fn touch(&self, at: u32, max: u8) {
        self.index.touch(at, max);
    }

    pub(crate) fn touched(&self, at: u32) -> u8 {
        self.index.touched(at)
    }

    /// Sets what was noted, and gives what was before.
    pub(crate) fn set_touched(&mut self, at: u32, touched: u8) -> u8 {
        self.index.set_touched(at, touched)
    }

    /// The entry of a list that was put in front longest ago.
    pub(crate) fn tail(&self, list: List) -> Option<u32> {
        some(self.lists[list as usize].tail)
    }

    /// The next entry of its list towards the front.
    pub(crate) fn before(&self, at: u32) -> Option<u32> {
        some(self.links[at as usize].before)
    }

    pub(crate) fn list_len(&self, list: List) -> usize {
        self.lists[list as usize].len
    }

    pub(crate) fn list_weight(&self, list: List) -> u64 {
        self.lists[list as usize].weight
    }

    /// The weight of all.
    pub(crate) fn weight(&self) -> u64 {
        self.lists.iter().map(|list| list.weight).sum()
    }

    /// Makes a place for one more of at most so many, and takes no memory for more than these. Where the table had to grow for it,
    /// each entry has another place: O(n) then, O(1) in the long run.
    pub(crate) fn grow(&mut self, most: u64) -> Option<Moved> {
        (self.len >= self.index.room()).then(|| {
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(ENTRIES_MAX);
            self.make_room((self.len + self.len / 2).max(4).min(most).max(self.len + 1))
        })
    }

    /// Adds an entry at the front of a list, and gives its place. There has to be one: see [`grow`](Self::grow).
    pub(crate) fn push(&mut self, carried: T, hash: u32, weight: u32, list: List) -> Option<u32> {
        let at = self.index.take(hash)?;
        self.nodes[at as usize] = Some(Node { hash, list, carried });
        self.len += 1;
        self.note_weight(at, weight);
        self.link(at, list);
        Some(at)
    }

    /// Puts an entry in front of a list.
    pub(crate) fn put_in_front(&mut self, at: u32, list: List) {
        if self.lists[list as usize].head == at {
            return;
        }
        self.unlink(at);
        self.link(at, list);
    }

    /// O(n) for the first entry that does not weigh one.
    pub(crate) fn set_weight(&mut self, at: u32, weight: u32) {
        let Some(list) = self.get(at).map(|node| node.list) else { return };
        let old = self.weight_of(at);
        let ends = &mut self.lists[list as usize];
        ends.weight = ends.weight - old + u64::from(weight);
        self.note_weight(at, weight);
    }

    /// Takes an entry out, and gives what it carries.
    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        self.unlink(at);
        let node = self.nodes[at as usize].take()?;
        self.index.give_back(node.hash, at);
        self.len -= 1;
        Some(node.carried)
    }

    /// Moves all entries into a table for so many. In the order of their places, which is that of their hashes: both tables are read
    /// and written from front to back.
    fn make_room(&mut self, entries: usize) -> Moved {
        let mut index = Index::for_entries(entries);
        let places = index.places();
        let mut nodes = Vec::new();
        nodes.resize_with(places, || None);
        let mut moved = Moved { to: vec![NONE; self.places()], places };
        for (from, node) in self.nodes.iter_mut().enumerate() {
            let Some(node) = node.take() else { continue };
            let Some(to) = index.take(node.hash) else { continue };
            index.set_touched(to, self.index.touched(name(from)));
            nodes[to as usize] = Some(node);
            moved.to[from] = to;
        }
        self.links = moved.table(&self.links, Links { before: NONE, after: NONE });
        for Links { before, after } in &mut self.links {
            (*before, *after) = (moved.to(*before), moved.to(*after));
        }
        for ends in &mut self.lists {
            (ends.head, ends.tail) = (moved.to(ends.head), moved.to(ends.tail));
        }
        if !self.weights.is_empty() {
            self.weights = moved.table(&self.weights, 1);
        }
        (self.index, self.nodes) = (index, nodes);
        moved
    }

    fn weight_of(&self, at: u32) -> u64 {
        self.weights.get(at as usize).map_or(1, |&weight| weight.into())
    }

    fn note_weight(&mut self, at: u32, weight: u32) {
        if !self.weights.is_empty() || weight != 1 {
            self.weights.resize(self.places(), 1);
            self.weights[at as usize] = weight;
        }
    }

    fn link(&mut self, at: u32, list: List) {
        let weight = self.weight_of(at);
        let ends = &mut self.lists[list as usize];
        let head = std::mem::replace(&mut ends.head, at);
        if head == NONE {
            ends.tail = at;
        }
        ends.len += 1;
        ends.weight += weight;
        self.links[at as usize] = Links { before: NONE, after: head };
        if let Some(node) = &mut self.nodes[at as usize] {
            node.list = list;
        }
        if let Some(head) = some(head) {
            self.links[head as usize].before = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(list) = self.get(at).map(|node| node.list) else { return };
        let weight = self.weight_of(at);
        let Links { before, after } = self.links[at as usize];
        let ends = &mut self.lists[list as usize];
        ends.len -= 1;
        ends.weight -= weight;
        match some(before) {
            Some(before) => self.links[before as usize].after = after,
            None => ends.head = after,
        }
        match some(after) {
            Some(after) => self.links[after as usize].before = before,
            None => ends.tail = before,
        }
    }
}

/// Which places entries have from now on.
#[derive(Debug)]
pub(crate) struct Moved {
    /// By the place before.
    to: Vec<u32>,
    places: usize,
}

impl Moved {
    /// The new place of an entry; [`NONE`] stays [`NONE`].
    pub(crate) fn to(&self, from: u32) -> u32 {
        self.to.get(from as usize).copied().unwrap_or(NONE)
    }

    /// A table by place in the new order; places without an entry have what is given.
    pub(crate) fn table<T: Copy>(&self, old: &[T], without: T) -> Vec<T> {
        let mut new = vec![without; self.places];
        for (&to, &of) in self.to.iter().zip(old) {
            if to != NONE {
                new[to as usize] = of;
            }
        }
        new
    }
}

fn some(at: u32) -> Option<u32> {
    (at != NONE).then_some(at)
}

fn name(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}

#[cfg(test)]
mod tests;
