//! Reading, from the fastest level to the slowest.

use std::time::Duration;

use aqueduct_core::Instant;

use crate::guard::Answer;
use crate::level::Place;
use crate::memory::Terms;
use crate::report::Source;
use crate::stored::Stored;

use super::held::{Found, Held, for_ever};
use super::{Inner, KEY_BYTES_MAX};

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(crate) async fn get(&self, key: &[u8]) -> Option<V> {
        match self.look(key).await {
            Found::Fresh(held, source) => {
                self.counts.hit(source);
                held.value
            }
            _ => {
                self.counts.misses.increment();
                None
            }
        }
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
        let mut values = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let found = self.look_in_memory(key);
            if let Found::Fresh(held, source) = found {
                self.counts.hit(source);
                values.push(held.value);
            } else {
                missing.push((at, *key, self.writes.changes(key), found));
                values.push(None);
            }
        }
        let is_heard = missing.is_empty() || self.ask().await;
        let mut still = Vec::new();
        for (at, key, seen, was) in missing {
            match if let Found::Unsure(_) = was { self.look_in_memory(key) } else { was } {
                Found::Fresh(held, source) => {
                    self.counts.hit(source);
                    values[at] = held.value;
                }
                found => still.push((at, key, seen, found)),
            }
        }
        let mut missing = still;
        if let Some(disk) = self.levels.disk()
            && !missing.is_empty()
        {
            let wanted: Vec<&[u8]> = missing.iter().map(|(_, key, ..)| *key).collect();
            let answers = disk.get_many(&self.name, &wanted).await;
            let mut still = Vec::new();
            for ((at, key, seen, was), answer) in missing.into_iter().zip(answers) {
                match was.or(self.judge_disk(key, answer)) {
                    Found::Fresh(held, source) => {
                        self.counts.hit(source);
                        values[at].clone_from(&held.value);
                        self.copy_up(key, held, seen, None).await;
                    }
                    found => still.push((at, key, seen, found)),
                }
            }
            missing = still;
        }
        if let Some(shared) = self.levels.shared()
            && !missing.is_empty()
        {
            let wanted: Vec<&[u8]> = missing.iter().map(|(_, key, ..)| *key).collect();
            let (edition, session) = (self.validity.edition(), self.levels.session());
            let answers = if is_heard {
                shared.get_many(&self.name, &wanted).await
            } else {
                wanted.iter().map(|_| Answer::Away).collect()
            };
            let mut still = Vec::new();
            for ((at, key, seen, was), answer) in missing.into_iter().zip(answers) {
                match self.by_shared(key, was, answer, (edition, session)) {
                    (Found::Fresh(held, source), stored) => {
                        self.counts.hit(source);
                        values[at].clone_from(&held.value);
                        self.copy_up(key, held, seen, stored).await;
                    }
                    (found, _) => still.push((at, key, seen, found)),
                }
            }
            missing = still;
        }
        self.counts.misses.add(missing.len() as u64);
        values
    }

    /// Looks for a key from the fastest level to the slowest, and copies what it finds into the faster ones.
    pub(super) async fn look(&self, key: &[u8]) -> Found<V> {
        let mut found = self.look_in_memory(key);
        if let Found::Fresh(..) = found {
            return found;
        }
        if self.codec.is_none() || self.levels.is_empty() || key.len() > KEY_BYTES_MAX {
            return found;
        }
        let place = Place { namespace: &self.name, key };
        let seen = self.writes.changes(key);
        let is_heard = self.ask().await;
        if let Found::Unsure(_) = found {
            // Perhaps it was only that.
            found = self.look_in_memory(key);
            if let Found::Fresh(..) = found {
                return found;
            }
        }
        if let Some(disk) = self.levels.disk() {
            found = found.or(self.judge_disk(key, disk.get(place).await));
            if let Found::Fresh(held, source) = found {
                self.copy_up(key, held.clone(), seen, None).await;
                return Found::Fresh(held, source);
            }
        }
        if let Some(shared) = self.levels.shared() {
            let begun = (self.validity.edition(), self.levels.session());
            let answer = if is_heard { shared.get(place).await } else { Answer::Away };
            let (now_found, stored) = self.by_shared(key, found, answer, begun);
            found = now_found;
            if let (Found::Fresh(held, _), Some(stored)) = (&found, stored) {
                self.copy_up(key, held.clone(), seen, Some(stored)).await;
            }
        }
        found
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

    pub(super) fn judge_disk(&self, key: &[u8], answer: Answer) -> Found<V> {
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
    pub(super) fn by_shared(
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
    pub(super) fn read(&self, stored: Stored, edition: u64, session: u64, source: Source) -> Found<V> {
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
        self.keep(key, held, None);
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

    pub(super) fn keep(&self, key: &[u8], held: Held<V>, weight: Option<u32>) {
        let mut terms = Terms::new();
        if held.fresh_until != for_ever() {
            let still = held.fresh_until.since(self.levels.clock.coarse());
            terms = terms.ttl(still.saturating_add(self.config.stale));
        }
        if let Some(weight) = weight {
            terms = terms.weight(weight);
        }
        self.memory.insert_on(key.into(), held, terms);
    }
}
