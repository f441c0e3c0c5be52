//! Writing, from the slowest level to the fastest: whoever still finds the old value does not find it faster than the new one.

use std::time::Duration;

use bytes::Bytes;

use crate::flights::Turn;
use crate::level::Place;
use crate::stored::Stored;

use super::held::Held;
use super::{Inner, KEY_BYTES_MAX, Landed, SetOptions};

/// A time that nobody waits for: 292 years, what 63 bits of nanoseconds hold.
const FOR_EVER: Duration = Duration::from_nanos(i64::MAX as u64);

/// What a value carries that begins to be made.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    edition: u64,
    edition_shared: u64,
    session: u64,
}

/// A write that is under way. Unless it comes to its end with nobody in between, this process forgets the key: the shared level
/// knows better then.
struct Writing<'a, V: Clone + Send + Sync + 'static> {
    inner: &'a Inner<V>,
    key: &'a [u8],
    is_done: bool,
}

impl<V: Clone + Send + Sync + 'static> Drop for Writing<'_, V> {
    fn drop(&mut self) {
        if !self.is_done {
            self.inner.forget(self.key);
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    pub(super) async fn set(&self, key: &[u8], value: Option<V>, options: SetOptions<'_>) {
        self.counts.sets.increment();
        self.flights.overtake(key);
        if !self.levels.is_empty() {
            self.ask().await;
        }
        let begun = self.begin();
        self.write(key, value, options, begun, None).await;
        self.flights.overtake(key);
    }

    /// In which editions and session a value is current that is made from now on.
    pub(super) fn begin(&self) -> Begun {
        Begun {
            edition: self.validity.edition(),
            edition_shared: self.validity.edition_shared(),
            session: self.levels.session(),
        }
    }

    /// Writes a value on every level, unless its load has been overtaken at the last moment.
    pub(super) async fn write(
        &self,
        key: &[u8],
        value: Option<V>,
        options: SetOptions<'_>,
        begun: Begun,
        load: Option<&Turn<'_, Landed<V>>>,
    ) {
        let is_old = || load.is_some_and(Turn::is_overtaken);
        let ttl = match (&value, options.terms.ttl) {
            (None, _) => Some(self.config.absent_ttl),
            (Some(_), Some(ttl)) => Some(ttl),
            (Some(_), None) => self.config.ttl.map(|ttl| self.shorter(ttl)),
        };
        let ttl = ttl.filter(|&ttl| ttl < FOR_EVER);
        if key.len() > KEY_BYTES_MAX || ttl.is_some_and(|ttl| ttl.is_zero()) {
            self.counts.rejections.add(value.is_some().into());
            return self.take_out(key).await;
        }
        let tags: Vec<Box<str>> = options.tags.iter().map(|&tag| tag.into()).collect();
        let (fresh_until, refresh_at) = self.times(ttl, ttl);
        let Begun { edition, session, .. } = begun;
        let encoded = self.encode(value.as_ref());
        let held = Held { value, fresh_until, refresh_at, edition, session, tags: tags.clone().into() };
        let Some(value) = encoded else {
            if self.codec.is_some() && !self.levels.is_empty() {
                // What is below is older, and of what is in memory alone nobody else could say that it has changed.
                self.take_out(key).await;
                if self.is_shared() {
                    return;
                }
            }
            self.writes.changed(key);
            if !is_old() {
                self.keep(key, held, options.terms);
                if is_old() {
                    self.memory.remove(key);
                }
            }
            return;
        };
        let stored = Stored {
            value,
            at: self.levels.clock.wall(),
            fresh: ttl,
            held: ttl.map(|ttl| ttl.saturating_add(self.config.stale)),
            edition,
            session,
            tags,
        };
        let _writer = self.writes.write(key).await;
        if is_old() {
            return;
        }
        let mut writing = Writing { inner: self, key, is_done: false };
        let before = self.writes.changes(key);
        let place = Place { namespace: &self.name, key };
        if let Some(shared) = self.levels.shared() {
            shared.set(place, Stored { edition: begun.edition_shared, session: 0, ..stored.clone() }).await;
        }
        if let Some(disk) = self.levels.disk() {
            disk.set(place, stored).await;
        }
        let changes = self.writes.changed(key);
        if changes == before + 1 {
            self.keep(key, held, options.terms);
            writing.is_done = self.writes.changes(key) == changes;
        }
    }

    /// Writes a value for the levels below; `None` where it stays in memory.
    #[expect(clippy::option_option, reason = "whether it is written, and whether there is a value")]
    fn encode(&self, value: Option<&V>) -> Option<Option<Bytes>> {
        let codec = self.codec.as_ref().filter(|_| !self.levels.is_empty())?;
        let Some(value) = value else { return Some(None) };
        match (codec.encode)(value) {
            Ok(bytes) if bytes.len() <= self.config.value_bytes_max => Some(Some(bytes)),
            _ => {
                self.counts.rejections.increment();
                None
            }
        }
    }

    pub(super) async fn remove(&self, key: &[u8]) {
        self.counts.deletes.increment();
        self.flights.overtake(key);
        self.take_out(key).await;
        self.flights.overtake(key);
    }

    async fn take_out(&self, key: &[u8]) {
        if self.levels.is_empty() || self.codec.is_none() {
            self.writes.changed(key);
            self.memory.remove(key);
            return;
        }
        let _writer = self.writes.write(key).await;
        // Whatever becomes of this future, it is forgotten here; the guards see to their levels.
        let mut writing = Writing { inner: self, key, is_done: false };
        let place = Place { namespace: &self.name, key };
        if let Some(shared) = self.levels.shared() {
            shared.remove(place).await;
        }
        if let Some(disk) = self.levels.disk() {
            disk.remove(place).await;
        }
        self.writes.changed(key);
        self.memory.remove(key);
        writing.is_done = true;
    }

    /// Takes a key out of what only this process has, without waiting.
    pub(super) fn forget(&self, key: &[u8]) {
        self.writes.changed(key);
        if let Some(disk) = self.levels.disk() {
            disk.remove_later(Place { namespace: &self.name, key });
        }
        self.memory.remove(key);
    }

    /// Takes off what chance takes off.
    fn shorter(&self, ttl: Duration) -> Duration {
        let ttl = ttl.min(FOR_EVER);
        ttl.saturating_sub(ttl.mul_f64(self.config.ttl_jitter * self.levels.chance()))
    }
}
