/// The end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// Entries in the order in which they may leave, each with what it carries: a key and its value.
///
/// They stand in as many lists as an order has, each entry in one. An entry's place in the table of nodes is its name;
/// the last one moves into the place of one that is removed, so that there are no gaps.
#[derive(Debug)]
pub(crate) struct Nodes<T> {
    nodes: Vec<Node<T>>,
    /// How often each was asked for since its order looked at it last, up to [`TOUCHED_MAX`]. It is all that most looks write
    /// of an entry: where entries are too many for the processor's caches, a byte for each still fits, and the nodes need
    /// not be written back.
    touched: Vec<u8>,
    /// The weight of each; empty while all weigh one, as in most caches. It is not among what a look reads, and two small
    /// nodes share a cache line without it.
    weights: Vec<u32>,
    lists: [List; LISTS],
}

/// As many as the order with the most has.
const LISTS: usize = 3;

/// What a look reads comes first and together: of entries of 16 bytes it takes 24 of 32. A look writes nothing here.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Node<T> {
    /// The lower half of the hash of its key.
    pub(crate) hash: u32,
    list: u8,
    /// What it carries. Here and not in a table of its own, so that a look takes one cache line and not two.
    pub(crate) carried: T,
    before: u32,
    after: u32,
}

/// What four bits hold, as the counters of the sketch do.
pub(crate) const TOUCHED_MAX: u8 = 15;

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
    len: usize,
    weight: u64,
}

impl<T> Nodes<T> {
    pub(crate) fn new() -> Self {
        let empty = List { head: NONE, tail: NONE, len: 0, weight: 0 };
        Self { nodes: Vec::new(), touched: Vec::new(), weights: Vec::new(), lists: [empty; LISTS] }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn get(&self, at: u32) -> &Node<T> {
        &self.nodes[at as usize]
    }

    pub(crate) fn find(&self, at: u32) -> Option<&Node<T>> {
        self.nodes.get(at as usize)
    }

    pub(crate) fn carried_mut(&mut self, at: u32) -> &mut T {
        &mut self.nodes[at as usize].carried
    }

    /// Takes out all that is carried.
    pub(crate) fn into_carried(self) -> Vec<T> {
        self.nodes.into_iter().map(|node| node.carried).collect()
    }

    #[inline]
    pub(crate) fn touch(&mut self, at: u32, max: u8) {
        let touched = &mut self.touched[at as usize];
        if *touched < max {
            *touched += 1;
        }
    }

    pub(crate) fn touched(&self, at: u32) -> u8 {
        self.touched[at as usize]
    }

    /// Sets what was noted, and gives what was before.
    pub(crate) fn set_touched(&mut self, at: u32, touched: u8) -> u8 {
        std::mem::replace(&mut self.touched[at as usize], touched)
    }

    /// The entry of a list that was put in front longest ago.
    pub(crate) fn tail(&self, list: u8) -> Option<u32> {
        some(self.lists[list as usize].tail)
    }

    /// The next entry of its list towards the front.
    pub(crate) fn before(&self, at: u32) -> Option<u32> {
        some(self.get(at).before)
    }

    pub(crate) fn list_len(&self, list: u8) -> usize {
        self.lists[list as usize].len
    }

    pub(crate) fn list_weight(&self, list: u8) -> u64 {
        self.lists[list as usize].weight
    }

    /// The weight of all.
    pub(crate) fn weight(&self) -> u64 {
        self.lists.iter().map(|list| list.weight).sum()
    }

    /// Makes a place for one more of at most so many, and takes no memory for more than these: doubled as it is by itself, a
    /// table has room for up to twice as many.
    pub(crate) fn grow(&mut self, most: u64) {
        let len = self.nodes.len();
        if len == self.nodes.capacity() {
            let left = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(len);
            let more = len.max(4).min(left).max(1);
            self.nodes.reserve_exact(more);
            self.touched.reserve_exact(more);
        }
    }

    /// Adds an entry at the front of a list, and gives its place.
    pub(crate) fn push(&mut self, carried: T, hash: u32, weight: u32, list: u8) -> u32 {
        // The table refuses more entries than there are names.
        let at = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.touched.push(0);
        self.nodes.push(Node { hash, list, carried, before: NONE, after: NONE });
        self.note_weight(at, weight);
        self.link(at, list);
        at
    }

    /// Puts an entry in front of a list.
    pub(crate) fn put_in_front(&mut self, at: u32, list: u8) {
        if self.lists[list as usize].head == at {
            return;
        }
        self.unlink(at);
        self.link(at, list);
    }

    /// O(n) for the first entry that does not weigh one.
    pub(crate) fn set_weight(&mut self, at: u32, weight: u32) {
        let old = self.weight_of(at);
        let list = &mut self.lists[self.nodes[at as usize].list as usize];
        list.weight = list.weight - old + u64::from(weight);
        self.note_weight(at, weight);
    }

    /// Takes an entry out, and gives what it carries. The last one, if it is another, has its place from now on.
    pub(crate) fn remove(&mut self, at: u32) -> (T, Option<Moved>) {
        self.unlink(at);
        let carried = self.nodes.swap_remove(at as usize).carried;
        self.touched.swap_remove(at as usize);
        if !self.weights.is_empty() {
            self.weights.swap_remove(at as usize);
        }
        let from = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        if from == at {
            return (carried, None);
        }
        let Node { before, after, list, .. } = self.nodes[at as usize];
        match some(before) {
            Some(before) => self.nodes[before as usize].after = at,
            None => self.lists[list as usize].head = at,
        }
        match some(after) {
            Some(after) => self.nodes[after as usize].before = at,
            None => self.lists[list as usize].tail = at,
        }
        (carried, Some(Moved { from, to: at }))
    }

    fn weight_of(&self, at: u32) -> u64 {
        self.weights.get(at as usize).map_or(1, |&weight| weight.into())
    }

    fn note_weight(&mut self, at: u32, weight: u32) {
        if !self.weights.is_empty() || weight != 1 {
            self.weights.resize(self.nodes.len(), 1);
            self.weights[at as usize] = weight;
        }
    }

    fn link(&mut self, at: u32, list: u8) {
        let weight = self.weight_of(at);
        let ends = &mut self.lists[list as usize];
        let head = std::mem::replace(&mut ends.head, at);
        if head == NONE {
            ends.tail = at;
        }
        ends.len += 1;
        ends.weight += weight;
        let node = &mut self.nodes[at as usize];
        (node.before, node.after, node.list) = (NONE, head, list);
        if let Some(head) = some(head) {
            self.nodes[head as usize].before = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let weight = self.weight_of(at);
        let Node { before, after, list, .. } = self.nodes[at as usize];
        let ends = &mut self.lists[list as usize];
        ends.len -= 1;
        ends.weight -= weight;
        match some(before) {
            Some(before) => self.nodes[before as usize].after = after,
            None => ends.head = after,
        }
        match some(after) {
            Some(after) => self.nodes[after as usize].before = before,
            None => ends.tail = before,
        }
    }
}

/// An entry that has another place than before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

fn some(at: u32) -> Option<u32> {
    (at != NONE).then_some(at)
}
