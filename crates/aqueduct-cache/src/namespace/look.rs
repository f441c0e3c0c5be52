//! Reading, from the fastest level to the slowest.

use std::time::Duration;

use aqueduct_core::Instant;

use crate::guard::{Answer, Guard};
use crate::level::Place;
use crate::memory::Terms;
use crate::report::Source;
use crate::stored::Stored;

use super::held::{Found, Held, for_ever};
use super::{Inner, KEY_BYTES_MAX};

/// A key on its way down the levels, and what was found of it until now.
struct Sought<'a, V> {
    key: &'a [u8],
    /// How often it had been written when the search below memory began.
    seen: u64,
    found: Found<V>,
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(crate) async fn get(&self, key: &[u8]) -> Option<V> {
        let found = self.look(key).await;
        self.count(found)
    }

    pub(super) async fn get_stale(&self, key: &[u8]) -> Option<V> {
        let held = match self.look(key).await {
            Found::Fresh(held, _) => held,
            Found::Stale(held) if !self.config.stale.is_zero() => held,
            _ => return None,
        };
        self.counts.stale.increment();
        held.value
    }

    pub(super) async fn get_many(&self, keys: &[&[u8]]) -> Vec<Option<V>> {
        let mut sought: Vec<Sought<'_, V>> = keys.iter().map(|key| self.seek(key)).collect();
        self.look_below(&mut sought).await;
        sought.into_iter().map(|one| self.count(one.found)).collect()
    }

    /// Looks for a key from the fastest level to the slowest, and copies what it finds into the faster ones.
    pub(super) async fn look(&self, key: &[u8]) -> Found<V> {
        let mut sought = self.seek(key);
        self.look_below(std::slice::from_mut(&mut sought)).await;
        sought.found
    }

    fn seek<'a>(&self, key: &'a [u8]) -> Sought<'a, V> {
        let found = self.look_in_memory(key);
        // What is fresh goes no further, and most is: it is not worth another hash of the key.
        let seen = if let Found::Fresh(..) = found { 0 } else { self.writes.changes(key) };
        Sought { key, seen, found }
    }

    /// Counts what came of a request, and gives its answer.
    fn count(&self, found: Found<V>) -> Option<V> {
        if let Found::Fresh(held, source) = found {
            self.counts.hit(source);
            return held.value;
        }
        self.counts.misses.increment();
        None
    }

    /// Looks for what is not fresh in memory on the levels below: each is asked once for all that is missing.
    async fn look_below(&self, sought: &mut [Sought<'_, V>]) {
        if self.codec.is_none() || self.levels.is_empty() || !sought.iter().any(Sought::is_open) {
            return;
        }
        let is_heard = self.ask().await;
        for one in sought.iter_mut().filter(|one| matches!(one.found, Found::Unsure(_))) {
            // Perhaps it was only that.
            one.found = self.look_in_memory(one.key);
        }
        if let Some(disk) = self.levels.disk()
            && self.validity.knows_disk()
        {
            for (one, answer) in self.answers(Some(disk), sought).await {
                one.found = one.take().or(self.judge_disk(one.key, answer));
                if let Found::Fresh(held, _) = &one.found {
                    self.copy_up(one.key, held.clone(), one.seen, None).await;
                }
            }
        }
        if let Some(shared) = self.levels.shared() {
            let begun = (self.validity.edition(), self.levels.session());
            for (one, answer) in self.answers(is_heard.then_some(shared), sought).await {
                let (found, stored) = self.by_shared(one.key, one.take(), answer, begun);
                if let (Found::Fresh(held, _), Some(stored)) = (&found, stored) {
                    self.copy_up(one.key, held.clone(), one.seen, Some(stored)).await;
                }
                one.found = found;
            }
        }
    }

    /// Asks a level for what is not fresh yet; without one, it is away.
    async fn answers<'s, 'k>(
        &self,
        level: Option<&Guard>,
        sought: &'s mut [Sought<'k, V>],
    ) -> Vec<(&'s mut Sought<'k, V>, Answer)> {
        let open: Vec<&mut Sought<'k, V>> = sought.iter_mut().filter(|one| one.is_open()).collect();
        let keys: Vec<&[u8]> = open.iter().map(|one| one.key).collect();
        let answers = match (level, &*keys) {
            (None, keys) => keys.iter().map(|_| Answer::Away).collect(),
            (Some(_), []) => Vec::new(),
            (Some(level), [key]) => vec![level.get(Place { namespace: &self.name, key }).await],
            (Some(level), keys) => level.get_many(&self.name, keys).await,
        };
        open.into_iter().zip(answers).collect()
    }

    pub(super) fn look_in_memory(&self, key: &[u8]) -> Found<V> {
        let Some(held) = self.memory.get(key) else { return Found::Nothing };
        if !self.validity.is_valid(held.edition, key, &held.tags) {
            return Found::Nothing;
        }
        if held.fresh_until != for_ever() && held.fresh_until <= self.levels.clock.coarse() {
            return Found::Stale(held);
        }
        let session = self.levels.session();
        let is_heard = !self.is_shared() || held.session == session && self.validity.is_up_to_date(session);
        if is_heard { Found::Fresh(held, Source::Memory) } else { Found::Unsure(held) }
    }

    fn judge_disk(&self, key: &[u8], answer: Answer) -> Found<V> {
        let Answer::Found(stored) = answer else { return Found::Nothing };
        if !self.validity.is_valid(stored.edition, key, &stored.tags) {
            return Found::Nothing;
        }
        let (edition, session) = (stored.edition, stored.session);
        match self.read(stored, edition, session, Source::Disk) {
            Found::Fresh(held, _) if session != self.levels.session() => Found::Unsure(held),
            found => found,
        }
    }

    /// What is the answer, after the shared level has given its own. What is to be copied up comes with it.
    fn by_shared(
        &self,
        key: &[u8],
        was: Found<V>,
        answer: Answer,
        (edition, session): (u64, u64),
    ) -> (Found<V>, Option<Stored>) {
        match (answer, was) {
            (Answer::Away, Found::Unsure(held)) => {
                self.counts.unsure.increment();
                (Found::Fresh(held, Source::Memory), None)
            }
            (Answer::Away, was) => (was, None),
            // Somebody has removed it.
            (Answer::Missing, _) => (Found::Nothing, None),
            (Answer::Found(stored), _) => {
                if !self.validity.is_valid_shared(stored.edition, key, &stored.tags) {
                    return (Found::Nothing, None);
                }
                let copy = Stored { edition, session, ..stored.clone() };
                (self.read(stored, edition, session, Source::Shared), Some(copy))
            }
        }
    }

    /// Reads what is stored; what cannot be read is as if it were not there.
    fn read(&self, stored: Stored, edition: u64, session: u64, source: Source) -> Found<V> {
        let value = match (stored.value.clone(), &self.codec) {
            (None, _) => None,
            (Some(bytes), Some(codec)) => match (codec.decode)(bytes) {
                Ok(value) => Some(value),
                Err(_) => {
                    self.counts.unreadable.increment();
                    return Found::Nothing;
                }
            },
            (Some(_), None) => return Found::Nothing,
        };
        let fresh = stored.fresh_still(self.levels.clock.wall());
        let (fresh_until, refresh_at) = self.times(fresh, stored.fresh);
        let tags = stored.tags.into();
        let held = Held { value, fresh_until, refresh_at, edition, session, tags };
        if fresh.is_some_and(|fresh| fresh.is_zero()) {
            Found::Stale(held)
        } else {
            Found::Fresh(held, source)
        }
    }

    /// Until when a value is fresh, and when it is loaded again ahead of that, which has so much of its time still.
    pub(super) fn times(&self, still: Option<Duration>, ttl: Option<Duration>) -> (Instant, Instant) {
        let (Some(still), Some(ttl)) = (still, ttl) else { return (for_ever(), for_ever()) };
        let now = self.levels.clock.coarse();
        (now.after(still), now.after(still.saturating_sub(ttl.mul_f64(self.config.refresh_ahead))))
    }

    /// Copies what was found below into memory, and onto the disk what was found below that, unless somebody has written
    /// meanwhile.
    pub(super) async fn copy_up(&self, key: &[u8], held: Held<V>, seen: u64, to_disk: Option<Stored>) {
        let Some(_writer) = self.writes.try_write(key) else { return };
        if self.writes.changes(key) != seen {
            return;
        }
        self.keep(key, held, Terms::new());
        let place = Place { namespace: &self.name, key };
        if let (Some(disk), Some(stored)) = (self.levels.disk(), to_disk) {
            disk.set(place, stored).await;
        }
        // Others are not held up by the lock of this process: what they changed meanwhile is gone again.
        if self.writes.changes(key) != seen {
            self.memory.remove(key);
            if let Some(disk) = self.levels.disk() {
                disk.remove(place).await;
            }
        }
    }

    pub(super) fn keep(&self, key: &[u8], held: Held<V>, mut terms: Terms) {
        if held.fresh_until != for_ever() {
            let still = held.fresh_until.since(self.levels.clock.coarse());
            terms = terms.ttl(still.saturating_add(self.config.stale));
        }
        self.memory.insert_on(key.into(), held, terms);
    }
}

impl<V> Sought<'_, V> {
    /// Tells whether it is worth looking further down.
    fn is_open(&self) -> bool {
        !matches!(self.found, Found::Fresh(..)) && self.key.len() <= KEY_BYTES_MAX
    }

    fn take(&mut self) -> Found<V> {
        std::mem::replace(&mut self.found, Found::Nothing)
    }
}
