use hashbrown::HashTable;

use crate::memory::nodes::{Moved, Nodes};
use crate::spread;

/// Finds an entry's place by the hash of its key.
#[derive(Debug, Default)]
pub(crate) struct Index(HashTable<u32>);

impl Index {
    #[inline]
    pub(crate) fn find<T>(&self, nodes: &Nodes<T>, hash: u32, is_it: impl Fn(&T) -> bool) -> Option<u32> {
        let found = self.0.find(spread(hash), |&at| {
            let node = nodes.get(at);
            node.hash == hash && is_it(&node.carried)
        });
        found.copied()
    }

    pub(crate) fn insert<T>(&mut self, nodes: &Nodes<T>, at: u32) {
        self.0.insert_unique(spread(nodes.get(at).hash), at, |&at| spread(nodes.get(at).hash));
    }

    /// Forgets an entry that is still among the nodes.
    pub(crate) fn remove<T>(&mut self, nodes: &Nodes<T>, at: u32) {
        if let Ok(found) = self.0.find_entry(spread(nodes.get(at).hash), |&found| found == at) {
            found.remove();
        }
    }

    pub(crate) fn moved<T>(&mut self, nodes: &Nodes<T>, moved: Moved) {
        let found = self.0.find_mut(spread(nodes.get(moved.to).hash), |&found| found == moved.from);
        if let Some(at) = found {
            *at = moved.to;
        }
    }
}
