//! Decides what is handed out next. Time is an argument, and nothing here waits or writes.
//!
//! One [`Index`] for each group. A message is in one place: in a line of its tenant, behind another message of its key,
//! delayed, or leased. What happens to it in between is on its way to the log and back, in the hands of the broker.

mod keys;
mod line;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use aqueduct_core::Timestamp;

use crate::config::Config;
use crate::contract::TenantShare;
use crate::message::{MessageId, Priority, Token};

use keys::{KeyId, Keys};
use shares::Shares;

use shares::TenantId;

/// A moment on the broker's clock, in microseconds; before zero for what came before the opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(pub(crate) i64);

impl Tick {
    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    pub(crate) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// What the index knows of a message: 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: MessageId,
    /// From when on it waits: its publication, or the end of the delay that it was published with. Attempts do not
    /// change it, so what fails goes on ageing.
    pub(crate) since: Tick,
    pub(crate) published: Timestamp,
    pub(crate) bytes: u32,
    key: Option<KeyId>,
    pub(crate) tenant: TenantId,
    pub(crate) attempts: u16,
    pub(crate) priority: Priority,
    /// The last attempt had begun and was not settled when the store was opened.
    pub(crate) after_crash: bool,
}

/// A message that a worker has.
#[derive(Clone, Debug)]
pub(crate) struct Leased {
    pub(crate) entry: Entry,
    lease: u64,
    began: Tick,
    until: Tick,
    /// What its tenant was charged for it in advance.
    charged: u64,
}

/// What the broker tells of a message that comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) id: MessageId,
    pub(crate) priority: Priority,
    pub(crate) attempts: u16,
    pub(crate) after_crash: bool,
    pub(crate) published: Timestamp,
    pub(crate) bytes: u32,
    pub(crate) key: Option<&'a str>,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) since: Tick,
    /// Nobody gets it before.
    pub(crate) due: Option<Tick>,
}

/// The messages of one group, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Index {
    ageing: Option<Duration>,
    shares: Shares,
    keys: Keys,
    delayed: BTreeMap<(Tick, MessageId), Entry>,
    leased: HashMap<MessageId, Leased>,
    expiring: BTreeSet<(Tick, MessageId)>,
    /// Messages that a settlement has taken out and that are not gone yet.
    settling: u64,
    /// The bytes of all messages, those that are settled included.
    bytes: u64,
}

impl Index {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            ageing: config.ageing,
            shares: Shares::new(config),
            keys: Keys::default(),
            delayed: BTreeMap::new(),
            leased: HashMap::new(),
            expiring: BTreeSet::new(),
            settling: 0,
            bytes: 0,
        }
    }

    /// Behaves as another configuration says from now on, also with what waits.
    pub(crate) fn configure(&mut self, config: &Config) {
        self.ageing = config.ageing;
        self.shares.configure(config);
    }

    /// Messages that can be handed out, or wait for another one of their key.
    pub(crate) fn ready(&self) -> u64 {
        self.shares.ready() + self.keys.waiting()
    }

    /// Whether one can be handed out now.
    pub(crate) fn has_next(&self) -> bool {
        self.shares.ready() > 0
    }

    pub(crate) fn delayed(&self) -> u64 {
        self.delayed.len() as u64
    }

    /// Messages that workers have, or whose settlement is being written.
    pub(crate) fn leased(&self) -> u64 {
        self.leased.len() as u64 + self.settling
    }

    pub(crate) fn len(&self) -> u64 {
        self.ready() + self.delayed() + self.leased()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Since when the message waits that can be handed out and has waited longest.
    pub(crate) fn oldest(&self) -> Option<Tick> {
        self.shares.oldest()
    }

    /// Takes a message in. O(log n) in the messages that are delayed or behind the same key, else O(1).
    pub(crate) fn insert(&mut self, arrival: &Arrival<'_>) {
        let entry = Entry {
            id: arrival.id,
            since: arrival.due.unwrap_or(arrival.since),
            published: arrival.published,
            bytes: arrival.bytes,
            key: arrival.key.map(|key| self.keys.intern(key)),
            tenant: self.shares.tenant(arrival.tenant.unwrap_or("")),
            attempts: arrival.attempts,
            priority: arrival.priority,
            after_crash: arrival.after_crash,
        };
        self.bytes += u64::from(entry.bytes);
        match arrival.due {
            Some(due) => {
                self.delayed.insert((due, entry.id), entry);
            }
            None => self.line_up(entry),
        }
    }

    /// Hands out the next message, if there is one: the tenant that is furthest behind, then what goes first in it.
    /// O(log t) in the tenants that have messages.
    pub(crate) fn grant(&mut self, lease: u64, now: Tick, until: Tick) -> Option<(Token, Entry)> {
        let (mut entry, charged) = self.shares.take(self.ageing, now)?;
        entry.attempts = entry.attempts.saturating_add(1);
        self.expiring.insert((until, entry.id));
        self.leased.insert(entry.id, Leased { entry, lease, began: now, until, charged });
        Some((Token { id: entry.id, lease }, entry))
    }

    /// The size of the message that would be handed out next.
    pub(crate) fn next_bytes(&self, now: Tick) -> Option<u32> {
        self.shares.peek(self.ageing, now).map(|entry| entry.bytes)
    }

    /// Whether this lease holds.
    pub(crate) fn holds(&self, token: Token) -> bool {
        self.leased.get(&token.id).is_some_and(|leased| leased.lease == token.lease)
    }

    /// Lets a lease last until another moment. `false` where it is stale.
    pub(crate) fn extend(&mut self, token: Token, until: Tick) -> bool {
        let Some(leased) = self.leased.get_mut(&token.id).filter(|leased| leased.lease == token.lease) else {
            return false;
        };
        self.expiring.remove(&(leased.until, token.id));
        leased.until = until;
        self.expiring.insert((until, token.id));
        true
    }

    /// Ends a lease: the message is in the caller's hands until it [`finish`](Self::finish)es it or
    /// [`give`s it back](Self::give_back). `None` where the lease is stale.
    pub(crate) fn end(&mut self, token: Token, now: Tick) -> Option<Leased> {
        if !self.holds(token) {
            return None;
        }
        let mut leased = self.leased.remove(&token.id)?;
        // How this attempt ends is known.
        leased.entry.after_crash = false;
        self.expiring.remove(&(leased.until, token.id));
        self.settling += 1;
        let spent = u64::try_from(now.0.saturating_sub(leased.began.0)).unwrap_or(0);
        self.shares.spent(leased.entry.tenant, leased.charged, spent, now);
        Some(leased)
    }

    /// Ends whatever lease there is on a message; see [`end`](Self::end).
    pub(crate) fn end_any(&mut self, id: MessageId, now: Tick) -> Option<Leased> {
        let lease = self.leased.get(&id)?.lease;
        self.end(Token { id, lease }, now)
    }

    /// Ends a lease as if it had not been: no attempt, no time. `None` where it is stale.
    pub(crate) fn release(&mut self, token: Token) -> Option<Entry> {
        if !self.holds(token) {
            return None;
        }
        let mut leased = self.leased.remove(&token.id)?;
        self.expiring.remove(&(leased.until, token.id));
        self.shares.refund(leased.entry.tenant, leased.charged);
        leased.entry.attempts = leased.entry.attempts.saturating_sub(1);
        self.shares.push(leased.entry);
        Some(leased.entry)
    }

    /// The message is gone, and the next one of its key may go.
    pub(crate) fn finish(&mut self, leased: Leased) {
        self.settling -= 1;
        self.forget(leased.entry);
    }

    /// The message comes again. It keeps its key meanwhile, so that none of the same key goes past it.
    pub(crate) fn give_back(&mut self, leased: Leased, due: Option<Tick>) {
        self.settling -= 1;
        let entry = leased.entry;
        match due {
            Some(due) => {
                self.delayed.insert((due, entry.id), entry);
            }
            None => self.line_up(entry),
        }
    }

    /// Moves what is due into its line, and gives the leases that ran out: the caller finishes or gives back each.
    pub(crate) fn advance(&mut self, now: Tick) -> Vec<Leased> {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                break;
            }
            let entry = first.remove();
            self.line_up(entry);
        }
        let mut expired = Vec::new();
        while let Some(&(until, id)) = self.expiring.first() {
            if until > now {
                break;
            }
            let lease = self.leased.get(&id).map(|leased| leased.lease);
            let ended = lease.and_then(|lease| self.end(Token { id, lease }, now));
            expired.extend(ended);
        }
        expired
    }

    /// When something happens by itself: a delay or a lease ends.
    pub(crate) fn next_due(&self) -> Option<Tick> {
        let delayed = self.delayed.first_key_value().map(|((due, _), _)| *due);
        let expiring = self.expiring.first().map(|(until, _)| *until);
        match (delayed, expiring) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// The key of a message.
    pub(crate) fn key(&self, entry: &Entry) -> Option<&str> {
        entry.key.map(|key| self.keys.name(key))
    }

    /// The tenant of a message; empty for one without.
    pub(crate) fn tenant(&self, entry: &Entry) -> &str {
        self.shares.name(entry.tenant)
    }

    /// How the tenants fare. Linear in them.
    pub(crate) fn tenants(&self, now: Tick) -> Vec<TenantShare> {
        self.shares.report(now)
    }

    /// All messages that can be handed out or wait behind their key. Linear in them; for people.
    pub(crate) fn ready_entries(&self) -> impl Iterator<Item = &Entry> {
        self.shares.entries().chain(self.keys.entries())
    }

    /// All messages whose time has not come.
    pub(crate) fn delayed_entries(&self) -> impl Iterator<Item = &Entry> {
        self.delayed.values()
    }

    /// All messages that workers have.
    pub(crate) fn leased_entries(&self) -> impl Iterator<Item = &Entry> {
        self.leased.values().map(|leased| &leased.entry)
    }

    /// Takes out all that can be handed out or waits behind a key, and tells what it was.
    pub(crate) fn purge_ready(&mut self) -> Vec<MessageId> {
        let mut gone = self.keys.drain();
        gone.extend(self.shares.drain());
        self.gone(gone)
    }

    /// Takes out all whose time has not come, and tells what it was.
    pub(crate) fn purge_delayed(&mut self) -> Vec<MessageId> {
        let gone = std::mem::take(&mut self.delayed).into_values().collect();
        self.gone(gone)
    }

    /// Takes out messages that nobody has, and tells which there were. Linear in all that wait.
    pub(crate) fn discard(&mut self, ids: &HashSet<MessageId>) -> Vec<MessageId> {
        let mut gone = self.keys.remove(ids);
        gone.extend(self.shares.remove(ids));
        self.delayed.retain(|(_, id), entry| {
            let stays = !ids.contains(id);
            if !stays {
                gone.push(*entry);
            }
            stays
        });
        self.gone(gone)
    }

    fn gone(&mut self, entries: Vec<Entry>) -> Vec<MessageId> {
        let ids = entries.iter().map(|entry| entry.id).collect();
        entries.into_iter().for_each(|entry| self.forget(entry));
        ids
    }

    /// What a message leaves behind it: room, and its key for the next one.
    fn forget(&mut self, entry: Entry) {
        self.bytes -= u64::from(entry.bytes);
        self.shares.leave(entry.tenant);
        if let Some(key) = entry.key
            && let Some(next) = self.keys.leave(key, entry.id)
        {
            self.shares.push(next);
        }
    }

    fn line_up(&mut self, entry: Entry) {
        let goes = match entry.key {
            Some(key) => self.keys.enter(key, entry),
            None => true,
        };
        if goes {
            self.shares.push(entry);
        }
    }
}
