use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::message::MessageId;

use super::Entry;

/// The place of a key in [`Keys`], one more than its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyId(NonZeroU32);

/// Lets one message of each key go at a time, the others in the order of their numbers.
///
/// A key is there as long as a message of it is.
#[derive(Debug, Default)]
pub(super) struct Keys {
    ids: HashMap<Arc<str>, KeyId>,
    keys: Vec<Option<Key>>,
    free: Vec<KeyId>,
    waiting: u64,
}

#[derive(Debug)]
struct Key {
    name: Arc<str>,
    /// The message that goes or has gone: no other one goes before it is settled for good.
    holder: Option<MessageId>,
    waiting: BTreeMap<MessageId, Entry>,
    /// How many messages there are of it, in whatever state.
    messages: u32,
}

impl Keys {
    /// Counts a message of this key.
    pub(super) fn intern(&mut self, name: &str) -> KeyId {
        if let Some(id) = self.ids.get(name) {
            let id = *id;
            self.key(id).messages += 1;
            return id;
        }
        let name: Arc<str> = name.into();
        let key = Key { name: Arc::clone(&name), holder: None, waiting: BTreeMap::new(), messages: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                self.keys[index(id)] = Some(key);
                id
            }
            None => {
                self.keys.push(Some(key));
                let count = u32::try_from(self.keys.len()).ok().and_then(NonZeroU32::new);
                KeyId(count.expect("a group has at most 1,000,000,000 messages, and so keys"))
            }
        };
        self.ids.insert(name, id);
        id
    }

    pub(super) fn name(&self, id: KeyId) -> &str {
        self.keys[index(id)].as_ref().map_or("", |key| &key.name)
    }

    /// Messages that wait for another one.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Whether a message goes now; if not, it waits here.
    pub(super) fn enter(&mut self, id: KeyId, entry: Entry) -> bool {
        let key = self.key(id);
        match key.holder {
            Some(holder) if holder != entry.id => {
                key.waiting.insert(entry.id, entry);
                self.waiting += 1;
                false
            }
            _ => {
                key.holder = Some(entry.id);
                true
            }
        }
    }

    /// A message is gone for good; gives the one that goes next.
    pub(super) fn leave(&mut self, id: KeyId, message: MessageId) -> Option<Entry> {
        let key = self.key(id);
        key.messages -= 1;
        if key.messages == 0 {
            let name = Arc::clone(&key.name);
            self.ids.remove(&name);
            self.keys[index(id)] = None;
            self.free.push(id);
            return None;
        }
        if key.holder != Some(message) {
            return None;
        }
        key.holder = None;
        let (next, waiting) = key.waiting.pop_first()?;
        key.holder = Some(next);
        self.waiting -= 1;
        Some(waiting)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.keys.iter().flatten().flat_map(|key| key.waiting.values())
    }

    /// Takes out all that wait for another one.
    pub(super) fn drain(&mut self) -> Vec<Entry> {
        self.waiting = 0;
        let keys = self.keys.iter_mut().flatten();
        keys.flat_map(|key| std::mem::take(&mut key.waiting).into_values()).collect()
    }

    /// Takes out these of those that wait for another one.
    pub(super) fn remove(&mut self, ids: &HashSet<MessageId>) -> Vec<Entry> {
        let mut removed = Vec::new();
        for key in self.keys.iter_mut().flatten() {
            removed.extend(key.waiting.extract_if(.., |id, _| ids.contains(id)).map(|(_, entry)| entry));
        }
        self.waiting -= removed.len() as u64;
        removed
    }

    fn key(&mut self, id: KeyId) -> &mut Key {
        self.keys[index(id)].as_mut().expect("a message of the key is there")
    }
}

fn index(id: KeyId) -> usize {
    id.0.get() as usize - 1
}
