use std::collections::HashMap;

use aqueduct_core::Timestamp;

use crate::invalidations::Scope;
use crate::level::Place;
use crate::stored::Stored;

/// The writes that a level has missed: of each key the last one, and of each namespace what was invalidated.
///
/// It is bounded. Where it would become too long, all of a namespace gives way to one invalidation of everything in it:
/// values are lost from this level, and nothing old survives. Until that invalidation is written nothing of the namespace
/// is believed, and afterwards nothing that is of an earlier edition.
#[derive(Debug)]
pub(crate) struct Recovery {
    namespaces: HashMap<Box<str>, Backlog>,
    /// Of the namespaces that gave way: the edition from which on the level is believed again.
    floors: HashMap<Box<str>, u64>,
    entries: usize,
    bytes: usize,
    limits: Limits,
    /// Given to each write, so that one is not taken for done when it was another that was done.
    ticket: u64,
    /// The greatest edition that anybody has mentioned.
    edition: u64,
    /// More namespaces gave way than may be remembered: the level is not believed any more.
    is_lost: bool,
    pub(crate) collapses: u64,
    pub(crate) given_up: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Backlog {
    changes: HashMap<Box<[u8]>, Entry>,
    /// With the edition and the ticket.
    scopes: HashMap<Scope, (u64, u64)>,
    /// The ticket, where all of it has given way.
    collapsed: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    change: Change,
    ticket: u64,
    refusals: u8,
}

/// What is to become of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Set(Stored),
    Remove,
}

/// What is known of a place without asking the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known<'a> {
    Set(&'a Stored),
    Removed,
    /// That what the level says is not to be believed.
    Doubtful,
}

/// Something that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) namespace: Box<str>,
    pub(crate) target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Everything in the namespace, which has given way.
    Everything,
    Scope(Scope),
    Key(Box<[u8]>),
}

/// How it is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Change(Change),
    Invalidate(Scope, u64),
}

/// A level that has refused a write so often does not want it.
const REFUSALS_MAX: u8 = 3;

/// What an entry takes beside its bytes: its place in the map and the headers of what it holds.
const ENTRY_BYTES: usize = 160;

impl Recovery {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            namespaces: HashMap::new(),
            floors: HashMap::new(),
            entries: 0,
            bytes: 0,
            limits,
            ticket: 0,
            edition: 0,
            is_lost: false,
            collapses: 0,
            given_up: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The ticket of the last write that came in.
    pub(crate) fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Notes an edition that values may have. What a collapse invalidates is older than the next one.
    pub(crate) fn saw(&mut self, edition: u64) {
        self.edition = self.edition.max(edition);
    }

    /// Takes a write in, in the place of an earlier one of the key. O(1), but for a collapse.
    pub(crate) fn record(&mut self, place: Place<'_>, change: Change, refusals: u8) {
        if self.is_lost {
            return;
        }
        self.ticket += 1;
        let ticket = self.ticket;
        let bytes = weight(place.key, &change);
        let backlog = self.namespaces.entry(place.namespace.into()).or_default();
        if let Some(since) = &mut backlog.collapsed {
            // Another time, as it may be under way: somebody else may have stored something behind it.
            *since = ticket;
            return;
        }
        self.bytes += bytes;
        let entry = Entry { change, ticket, refusals };
        match backlog.changes.insert(place.key.into(), entry) {
            Some(before) => self.bytes -= weight(place.key, &before.change),
            None => self.entries += 1,
        }
        self.fit(place.namespace);
    }

    /// Takes an invalidation in. O(n) in the writes that wait.
    pub(crate) fn invalidate(&mut self, namespace: &str, scope: &Scope, edition: u64) {
        self.saw(edition);
        if self.is_lost {
            return;
        }
        self.ticket += 1;
        let backlog = self.namespaces.entry(namespace.into()).or_default();
        if let Some(since) = &mut backlog.collapsed {
            *since = self.ticket;
            return;
        }
        // What waits is older than this, and is to be found neither here nor there.
        for (key, entry) in &mut backlog.changes {
            if let Change::Set(stored) = &entry.change
                && scope.covers(key, stored.tags.iter().map(|tag| &**tag))
            {
                self.bytes -= weight(key, &entry.change);
                entry.change = Change::Remove;
                self.bytes += weight(key, &entry.change);
            }
        }
        match backlog.scopes.get_mut(scope) {
            Some(known) => *known = (known.0.max(edition), self.ticket),
            None => {
                self.bytes += scope_weight(scope);
                self.entries += 1;
                backlog.scopes.insert(scope.clone(), (edition, self.ticket));
                self.fit(namespace);
            }
        }
    }

    /// Gives what is known of a place. O(1).
    pub(crate) fn known(&self, place: Place<'_>) -> Option<Known<'_>> {
        if self.is_lost {
            return Some(Known::Doubtful);
        }
        let backlog = self.namespaces.get(place.namespace)?;
        if backlog.collapsed.is_some() {
            return Some(Known::Doubtful);
        }
        match backlog.changes.get(place.key).map(|entry| &entry.change) {
            Some(Change::Set(stored)) => Some(Known::Set(stored)),
            Some(Change::Remove) => Some(Known::Removed),
            // The level does not know yet what it has that is invalid.
            None => (!backlog.scopes.is_empty()).then_some(Known::Doubtful),
        }
    }

    /// Tells whether what the level has found may be believed.
    pub(crate) fn believes(&self, namespace: &str, stored: &Stored) -> bool {
        !self.is_lost && self.floors.get(namespace).is_none_or(|&floor| stored.edition >= floor)
    }

    /// Gives all that is to be written: invalidations first, the oldest first, so that a level that counts on from the
    /// last one changes no edition. O(n log n).
    pub(crate) fn pending(&self) -> Vec<Missed> {
        let mut pending = Vec::with_capacity(self.entries);
        for (namespace, backlog) in &self.namespaces {
            let all = backlog.collapsed.map(|ticket| (0, 0, ticket, Target::Everything));
            let scopes = backlog
                .scopes
                .iter()
                .map(|(scope, &(edition, ticket))| (0, edition, ticket, Target::Scope(scope.clone())));
            let keys =
                backlog.changes.iter().map(|(key, entry)| (1, 0, entry.ticket, Target::Key(key.clone())));
            pending.extend(all.into_iter().chain(scopes).chain(keys).map(|order| (namespace, order)));
        }
        pending.sort_unstable_by_key(|(_, (kind, edition, ticket, _))| (*kind, *edition, *ticket));
        pending
            .into_iter()
            .map(|(namespace, (.., target))| Missed { namespace: namespace.clone(), target })
            .collect()
    }

    /// Gives how something is to be written now, and the ticket to say with it that it is done. An expired value is to be
    /// removed: what was there before it may be good for longer.
    pub(crate) fn work(&self, missed: &Missed, now: Timestamp) -> Option<(u64, Work)> {
        let backlog = self.namespaces.get(&missed.namespace)?;
        match &missed.target {
            Target::Everything => {
                let ticket = backlog.collapsed?;
                Some((ticket, Work::Invalidate(Scope::All, self.edition.saturating_add(1))))
            }
            Target::Scope(scope) => {
                let &(edition, ticket) = backlog.scopes.get(scope)?;
                Some((ticket, Work::Invalidate(scope.clone(), edition)))
            }
            Target::Key(key) => {
                let entry = backlog.changes.get(key)?;
                let change = match &entry.change {
                    Change::Set(stored) if !is_expired(stored, now) => Change::Set(stored.clone()),
                    Change::Set(_) | Change::Remove => Change::Remove,
                };
                Some((entry.ticket, Work::Change(change)))
            }
        }
    }

    /// Notes that something was written, an invalidation in an edition; nothing if there is a later write by now.
    pub(crate) fn done(&mut self, missed: &Missed, ticket: u64, edition: u64) {
        self.saw(edition);
        let Some(backlog) = self.namespaces.get_mut(&missed.namespace) else { return };
        match &missed.target {
            Target::Everything => {
                // Also where it is to be done again: what is older stays doubtful.
                if self.floors.len() >= self.limits.entries && !self.floors.contains_key(&missed.namespace) {
                    return self.lose();
                }
                self.floors.insert(missed.namespace.clone(), edition);
                if backlog.collapsed != Some(ticket) {
                    return;
                }
                backlog.collapsed = None;
                self.entries -= 1;
                self.bytes -= ENTRY_BYTES;
            }
            Target::Scope(scope) => {
                if backlog.scopes.get(scope).is_none_or(|known| known.1 != ticket) {
                    return;
                }
                backlog.scopes.remove(scope);
                self.entries -= 1;
                self.bytes -= scope_weight(scope);
            }
            Target::Key(key) => {
                if backlog.changes.get(key).is_none_or(|entry| entry.ticket != ticket) {
                    return;
                }
                if let Some(entry) = backlog.changes.remove(key) {
                    self.entries -= 1;
                    self.bytes -= weight(key, &entry.change);
                }
            }
        }
        if backlog.collapsed.is_none() && backlog.scopes.is_empty() && backlog.changes.is_empty() {
            self.namespaces.remove(&missed.namespace);
        }
    }

    /// Notes that the level refused something. A value that it does not want is given up, and what was there before it is to
    /// go as well. A removal or an invalidation stays: without it something old would be found.
    pub(crate) fn refused(&mut self, missed: &Missed, ticket: u64) {
        let Target::Key(key) = &missed.target else { return };
        let backlog = self.namespaces.get_mut(&missed.namespace);
        let Some(entry) = backlog.and_then(|backlog| backlog.changes.get_mut(key)) else { return };
        if entry.ticket != ticket {
            return;
        }
        entry.refusals = entry.refusals.saturating_add(1);
        if entry.refusals >= REFUSALS_MAX && matches!(entry.change, Change::Set(_)) {
            self.bytes -= weight(key, &entry.change);
            entry.change = Change::Remove;
            self.bytes += weight(key, &entry.change);
            self.given_up += 1;
        }
    }

    /// Makes room: first of the namespace that was written to, then of the one with the most.
    fn fit(&mut self, namespace: &str) {
        let mut namespace: Box<str> = namespace.into();
        while self.entries > self.limits.entries || self.bytes > self.limits.bytes {
            self.collapse(&namespace);
            let longest = self
                .namespaces
                .iter()
                .filter(|(_, backlog)| backlog.collapsed.is_none())
                .max_by_key(|(_, backlog)| backlog.changes.len() + backlog.scopes.len());
            match longest {
                Some((longest, _)) => namespace = longest.clone(),
                None if self.entries > self.limits.entries || self.bytes > self.limits.bytes => {
                    return self.lose();
                }
                None => return,
            }
        }
    }

    fn collapse(&mut self, namespace: &str) {
        let Some(backlog) = self.namespaces.get_mut(namespace) else { return };
        for (key, entry) in backlog.changes.drain() {
            if let Change::Set(stored) = &entry.change {
                self.edition = self.edition.max(stored.edition);
            }
            self.entries -= 1;
            self.bytes -= weight(&key, &entry.change);
        }
        for (scope, _) in backlog.scopes.drain() {
            self.entries -= 1;
            self.bytes -= scope_weight(&scope);
        }
        if backlog.collapsed.is_none() {
            self.entries += 1;
            self.bytes += ENTRY_BYTES;
        }
        backlog.collapsed = Some(self.ticket);
        self.collapses += 1;
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.namespaces.clear();
        self.floors.clear();
        (self.entries, self.bytes) = (0, 0);
    }
}

pub(crate) fn is_expired(stored: &Stored, now: Timestamp) -> bool {
    stored.held_still(now).is_some_and(|still| still.is_zero())
}

fn weight(key: &[u8], change: &Change) -> usize {
    let value = match change {
        Change::Set(stored) => {
            let tags: usize = stored.tags.iter().map(|tag| tag.len() + size_of::<Box<str>>()).sum();
            stored.value.as_ref().map_or(0, bytes::Bytes::len) + tags
        }
        Change::Remove => 0,
    };
    ENTRY_BYTES + key.len() + value
}

fn scope_weight(scope: &Scope) -> usize {
    ENTRY_BYTES
        + match scope {
            Scope::All => 0,
            Scope::Tag(tag) => tag.len(),
            Scope::Prefix(prefix) => prefix.len(),
        }
}
