use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use aqueduct_core::Clock;

use crate::config::NamespaceConfig;
use crate::error::ConfigError;
use crate::guard::{Guard, GuardConfig};
use crate::invalidations::Scope;
use crate::level::{Level, Listener, Place};
use crate::levels::{Levels, drawn};
use crate::namespace::{Namespace, Resident};
use crate::report::CacheStats;
use crate::value::{Codec, Value};

/// A cache of up to three levels: memory, a disk of its own, and one that it shares with other processes. Cheap to clone.
///
/// What it holds is in [`Namespace`]s, each with its own type of value, its own limits and its own statistics.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    levels: Arc<Levels>,
    residents: Arc<Residents>,
}

/// The namespaces, for what the shared level tells of them.
#[derive(Default)]
struct Residents {
    /// Guards the table. Nothing waits under it.
    by_name: RwLock<HashMap<Box<str>, Weak<dyn Resident>>>,
    session: Arc<AtomicU64>,
}

/// What a [`Cache`] is made of.
#[must_use = "a builder does nothing until it is built"]
pub struct CacheBuilder {
    clock: Clock,
    disk: Option<(Arc<dyn Level>, GuardConfig)>,
    shared: Option<(Arc<dyn Level>, GuardConfig)>,
}

impl Cache {
    /// Starts with memory alone.
    pub fn builder() -> CacheBuilder {
        CacheBuilder { clock: Clock::system(), disk: None, shared: None }
    }

    /// A namespace whose values are on all levels.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is one of this name: clone that.
    pub fn namespace<V: Value>(
        &self,
        name: &str,
        config: NamespaceConfig,
    ) -> Result<Namespace<V>, ConfigError> {
        self.open(name, config, Some(Codec::new()))
    }

    /// A namespace whose values stay in memory, of any type.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is one of this name: clone that.
    pub fn in_memory<V: Clone + Send + Sync + 'static>(
        &self,
        name: &str,
        config: NamespaceConfig,
    ) -> Result<Namespace<V>, ConfigError> {
        self.open(name, config, None)
    }

    fn open<V: Clone + Send + Sync + 'static>(
        &self,
        name: &str,
        config: NamespaceConfig,
        codec: Option<Codec<V>>,
    ) -> Result<Namespace<V>, ConfigError> {
        let mut by_name = self.0.residents.by_name.write().unwrap_or_else(PoisonError::into_inner);
        if by_name.get(name).is_some_and(|known| known.strong_count() > 0) {
            return Err(ConfigError::new(
                "namespace",
                name,
                "a name that no other namespace of the cache has",
            ));
        }
        let namespace = Namespace::new(name, config, Arc::clone(&self.0.levels), codec);
        let resident: Arc<dyn Resident> = Arc::clone(namespace.inner()) as _;
        by_name.insert(name.into(), Arc::downgrade(&resident));
        Ok(namespace)
    }

    /// Invalidates something in the namespace of this name, whatever its values are; `false` where there is none. O(1).
    ///
    /// # Cancel safety
    ///
    /// As [`Namespace::invalidate_tag`].
    pub async fn invalidate(&self, namespace: &str, scope: &Scope) -> bool {
        match self.0.residents.find(namespace) {
            Some(resident) => {
                resident.invalidate(scope).await;
                true
            }
            None => false,
        }
    }

    /// Gives what it has done and what it holds.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let residents = self.0.residents.all();
        CacheStats::of(
            &self.0.levels,
            residents.iter().map(|resident| (resident.name().to_owned(), resident.stats())),
        )
    }

    /// Writes what is not written yet on the levels below memory.
    pub async fn close(&self) {
        self.0.levels.close().await;
    }
}

impl CacheBuilder {
    /// Sets the clock. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Adds a level that this process has for itself.
    pub fn disk(mut self, level: Arc<dyn Level>, guard: GuardConfig) -> Self {
        self.disk = Some((level, guard));
        self
    }

    /// Adds a level that it shares with others.
    pub fn shared(mut self, level: Arc<dyn Level>, guard: GuardConfig) -> Self {
        self.shared = Some((level, guard));
        self
    }

    /// Puts it together. Nothing is connected yet.
    #[must_use]
    pub fn build(self) -> Cache {
        let residents = Arc::new(Residents::default());
        let disk =
            self.disk.map(|(level, config)| Guard::new(level, config, self.clock.clone(), Box::new(|| {})));
        let shared = self.shared.map(|(level, config)| {
            residents.session.store(drawn(), Ordering::SeqCst);
            let ears = Arc::downgrade(&residents);
            level.listen(Arc::new(Ears(ears.clone())));
            let on_back = Box::new(move || Ears(ears.clone()).lost());
            Guard::new(level, config, self.clock.clone(), on_back)
        });
        let levels = Arc::new(Levels::new(self.clock, disk, shared, Arc::clone(&residents.session)));
        Cache(Arc::new(Inner { levels, residents }))
    }
}

impl Residents {
    fn all(&self) -> Vec<Arc<dyn Resident>> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.values().filter_map(Weak::upgrade).collect()
    }

    fn find(&self, name: &str) -> Option<Arc<dyn Resident>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name)?.upgrade()
    }
}

/// What a shared level tells goes to the namespace that it is about.
struct Ears(Weak<Residents>);

impl Listener for Ears {
    fn changed(&self, place: Place<'_>) {
        if let Some(resident) = self.0.upgrade().and_then(|residents| residents.find(place.namespace)) {
            resident.changed(place.key);
        }
    }

    fn invalidated(&self, namespace: &str) {
        if let Some(resident) = self.0.upgrade().and_then(|residents| residents.find(namespace)) {
            resident.invalidated();
        }
    }

    fn lost(&self) {
        if let Some(residents) = self.0.upgrade() {
            residents.session.store(drawn(), Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> =
            self.0.residents.all().iter().map(|resident| resident.name().to_owned()).collect();
        f.debug_struct("Cache").field("namespaces", &names).finish_non_exhaustive()
    }
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("disk", &self.disk)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
