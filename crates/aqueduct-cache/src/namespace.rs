mod held;
mod load;
mod look;
mod resident;
mod write;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use self::held::Held;
pub(crate) use self::resident::Resident;
use crate::config::NamespaceConfig;
use crate::error::{LoadError, PatternError};
use crate::flights::Flights;
use crate::invalidations::Scope;
use crate::levels::Levels;
use crate::memory::{Memory, Terms};
use crate::report::{Counts, NamespaceStats};
use crate::validity::Validity;
use crate::value::Codec;
use crate::writes::Writes;

/// One kind of thing in a [`Cache`](crate::Cache): values of one type, under keys of any bytes. Cheap to clone.
pub struct Namespace<V>(Arc<Inner<V>>);

pub(crate) struct Inner<V> {
    name: Box<str>,
    config: NamespaceConfig,
    memory: Memory<Box<[u8]>, Held<V>>,
    flights: Flights<Landed<V>>,
    writes: Writes,
    validity: Validity,
    levels: Arc<Levels>,
    /// Without one, values stay in memory.
    codec: Option<Codec<V>>,
    counts: Counts,
}

/// What is said of one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetOptions<'a> {
    terms: Terms,
    tags: &'a [&'a str],
}

impl<'a> SetOptions<'a> {
    /// Nothing: what the namespace says of all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long it is good for; chance takes none of it off. Nought keeps it not at all, and takes out what is there;
    /// centuries are for ever.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { terms: self.terms.ttl(ttl), ..self }
    }

    /// Sets how much of the capacity of memory it takes. Default 1; nothing weighs less.
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        Self { terms: self.terms.weight(weight), ..self }
    }

    /// Sets what it may be invalidated by.
    #[must_use]
    pub fn tags(self, tags: &'a [&'a str]) -> Self {
        Self { tags, ..self }
    }
}

/// What comes of a load: the value, none, or an error.
type Outcome<V> = Result<Option<V>, LoadError>;

/// What somebody has left for those who waited.
#[derive(Clone)]
struct Landed<V> {
    outcome: Outcome<V>,
    /// It was there, on a level below memory: whoever waited for it has hit.
    is_found: bool,
}

/// A key that is longer is not kept.
const KEY_BYTES_MAX: usize = 1 << 16;

impl<V: Clone + Send + Sync + 'static> Namespace<V> {
    pub(crate) fn new(
        name: &str,
        config: NamespaceConfig,
        levels: Arc<Levels>,
        codec: Option<Codec<V>>,
    ) -> Self {
        let memory = Memory::with_clock(config.memory, levels.clock.clone());
        Self(Arc::new(Inner {
            name: name.into(),
            config,
            memory,
            flights: Flights::new(),
            writes: Writes::new(),
            validity: Validity::new(),
            levels,
            codec,
            counts: Counts::default(),
        }))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner<V>> {
        &self.0
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Gives the value under a key, from the fastest level that has it; the faster ones have it from then on too.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing has changed.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Option<V> {
        self.0.get(key.as_ref()).await
    }

    /// Gives the value under a key even where its time is over, as long as it is [held](crate::NamespaceBuilder::stale): for one
    /// whose own load has failed. It counts as stale, and neither as hit nor as miss.
    ///
    /// # Cancel safety
    ///
    /// As [`get`](Self::get).
    pub async fn get_stale(&self, key: impl AsRef<[u8]>) -> Option<V> {
        self.0.get_stale(key.as_ref()).await
    }

    /// Gives the values under several keys, in their order: each level is asked once for all that is missing.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing has changed.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<V>> {
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        self.0.get_many(&keys).await
    }

    /// Stores a value on every level.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the old value or the new one is there, or none: on all levels the same, in the end.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: V) {
        self.0.set(key.as_ref(), Some(value), SetOptions::new()).await;
    }

    /// The same on terms of its own.
    ///
    /// # Cancel safety
    ///
    /// As [`set`](Self::set).
    pub async fn set_with(&self, key: impl AsRef<[u8]>, value: V, options: SetOptions<'_>) {
        self.0.set(key.as_ref(), Some(value), options).await;
    }

    /// Removes a value from every level. When this returns nobody finds it any more who asks here, nor elsewhere as soon as
    /// the shared level has told; a level that is away is told when it is back, and not believed before.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may be there or not.
    pub async fn remove(&self, key: impl AsRef<[u8]>) {
        self.0.remove(key.as_ref()).await;
    }

    /// Gives the value under a key, and loads it where there is none. However many ask at once, one of them loads, and all
    /// have what comes of it; if that one is dropped, or panics, the next one loads.
    ///
    /// # Errors
    ///
    /// [`LoadError`] with what the load said, where there is no value that is stale and better than none.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops its load, and somebody else of those who wait begins one.
    pub async fn get_with<F, E>(
        &self,
        key: impl AsRef<[u8]>,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError>
    where
        F: Future<Output = Result<V, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut load = Some(load);
        loop {
            let loading = async {
                match load.take() {
                    Some(load) => load().await.map(Some).map_err(Into::into),
                    None => Err("it was loaded before, and there was nothing".into()),
                }
            };
            match self.0.get_or_load(key.as_ref(), SetOptions::new(), loading).await? {
                Some(value) => return Ok(value),
                // It was known that there is none, which this one does not take for an answer.
                None => self.0.remove(key.as_ref()).await,
            }
        }
    }

    /// The same where there may be no value, on terms of its own for what is loaded.
    /// [`absent_ttl`](crate::NamespaceBuilder::absent_ttl) says how long it is remembered that there is none.
    ///
    /// # Errors
    ///
    /// As [`get_with`](Self::get_with).
    ///
    /// # Cancel safety
    ///
    /// As [`get_with`](Self::get_with).
    pub async fn try_get_with<F, E>(
        &self,
        key: impl AsRef<[u8]>,
        options: SetOptions<'_>,
        load: impl FnOnce() -> F,
    ) -> Result<Option<V>, LoadError>
    where
        F: Future<Output = Result<Option<V>, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let loading = async { load().await.map_err(Into::into) };
        self.0.get_or_load(key.as_ref(), options, loading).await
    }

    /// Invalidates what carries a tag. O(1): what it covers is not found from now on, and leaves by itself.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is invalidated in memory; other levels may not know.
    pub async fn invalidate_tag(&self, tag: &str) {
        self.0.invalidate(&Scope::Tag(tag.into())).await;
    }

    /// Invalidates the keys that a pattern covers: those that begin with what is before the `*` at its end, or the one key
    /// that it is. O(1).
    ///
    /// # Errors
    ///
    /// [`PatternError`] where there is a `*` elsewhere.
    ///
    /// # Cancel safety
    ///
    /// As [`invalidate_tag`](Self::invalidate_tag).
    pub async fn invalidate_matching(&self, pattern: &str) -> Result<(), PatternError> {
        match Scope::matching(pattern)? {
            Some(scope) => self.0.invalidate(&scope).await,
            None => self.0.remove(pattern.as_bytes()).await,
        }
        Ok(())
    }

    /// Invalidates everything in the namespace. O(1).
    ///
    /// # Cancel safety
    ///
    /// As [`invalidate_tag`](Self::invalidate_tag).
    pub async fn invalidate_all(&self) {
        self.0.invalidate(&Scope::All).await;
    }

    /// Gives the `count` most popular keys in memory, the most popular one first: to be [saved](crate::HotKeys), and
    /// to be [warmed](crate::Loading::warm) after a restart. O(n log n).
    #[must_use]
    pub fn hottest(&self, count: usize) -> Vec<Box<[u8]>> {
        self.0.memory.hottest(count)
    }

    /// Gives what it has done and what it holds.
    #[must_use]
    pub fn stats(&self) -> NamespaceStats {
        self.0.stats()
    }
}

impl<V: Clone + Send + Sync + 'static> Inner<V> {
    /// Tells whether others may change what is here.
    fn is_shared(&self) -> bool {
        self.codec.is_some() && self.levels.shared().is_some()
    }

    pub(super) async fn ask(&self) -> bool {
        self.validity.ask(&self.levels, &self.name).await
    }

    pub(crate) async fn invalidate(&self, scope: &Scope) {
        self.counts.invalidations.increment();
        self.validity.invalidate(&self.levels, &self.name, scope).await;
        self.flights.overtake_all();
    }

    pub(super) fn stats(&self) -> NamespaceStats {
        let layers = 1
            + u32::from(self.levels.disk().is_some() && self.codec.is_some())
            + u32::from(self.levels.shared().is_some() && self.codec.is_some());
        self.counts.stats(layers, self.memory.stats())
    }
}

impl<V> Clone for Namespace<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> fmt::Debug for Namespace<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("name", &self.0.name).finish_non_exhaustive()
    }
}
