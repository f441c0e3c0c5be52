//! The cache of one run, shared by all that keep results.

mod totals;
mod upkeep;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_cache::{
    Cache, Config, GuardConfig, Level, Local, Namespace, NamespaceConfig, NodeList, Nodes, NodesConfig,
    Redis, RedisConfig, Value,
};
use aqueduct_core::Clock;
use serde_json::{Map, Value as Json};
use tokio::sync::OnceCell;

pub(crate) use self::totals::Totals;
pub use self::totals::{CacheTotals, NamespaceTotals};
pub use self::upkeep::{
    CacheAccount, CacheError, DiskAccount, Invalidation, cache_namespaces, invalidate_cache,
    reset_cache_statistics,
};
use crate::request::{CacheReach, RunRequest};
use crate::spec::{CacheSpec, KeptSpec, PipelineSpec, SharedCacheSpec};

/// The cache of a run. It is opened when somebody asks it for the first time: the run has its data folder by then, and a
/// look at the pipeline changes nothing.
pub(crate) struct Caches {
    spec: CacheSpec,
    reach: CacheReach,
    data_dir: PathBuf,
    clock: Clock,
    opened: OnceCell<Opened>,
    /// What namespaces have counted whose own figures do not say it. Guards nothing else.
    said: Mutex<BTreeMap<String, CacheTotals>>,
}

/// What was there when it was opened.
struct Opened {
    cache: Cache,
    /// What the runs before have counted.
    before: Totals,
}

/// A disk that takes longer than this for one value is not faster than most of what is cached.
const DISK_TIME_LIMIT: Duration = Duration::from_secs(1);

/// The folder of the level on disk, within the data folder.
pub(crate) fn disk_folder(spec: &PipelineSpec) -> PathBuf {
    spec.path(&spec.settings.data_dir.value).join(FOLDER)
}

const FOLDER: &str = "cache";

impl Caches {
    pub(crate) fn new(spec: &PipelineSpec, request: &RunRequest) -> Arc<Self> {
        Arc::new(Self {
            spec: spec.cache.clone(),
            reach: request.cache,
            data_dir: spec.path(&spec.settings.data_dir.value),
            clock: request.clock.clone(),
            opened: OnceCell::new(),
            said: Mutex::default(),
        })
    }

    /// Opens a namespace. The reader of the file has seen to it that each name is there once.
    pub(crate) async fn namespace<V: Value>(&self, name: &str, kept: KeptSpec) -> Namespace<V> {
        let config =
            NamespaceConfig::builder().ttl(kept.ttl).stale(kept.stale).capacity(kept.capacity).build();
        let config = config.expect("the file's ranges lie within those of the cache");
        let opened = self.opened.get_or_init(|| self.open()).await;
        opened.cache.namespace(name, config).expect("the reader has refused a name that is there twice")
    }

    async fn open(&self) -> Opened {
        let mut builder = Cache::builder().clock(self.clock.clone());
        if self.reach == CacheReach::Memory {
            return Opened { cache: builder.build(), before: Totals::default() };
        }
        let (disk, before) = self.read().await;
        if let Some(disk) = disk {
            let guard = GuardConfig::builder().time_limit(DISK_TIME_LIMIT).build().unwrap_or_default();
            builder = builder.disk(disk, guard);
        }
        if let Some(shared) = shared(&self.spec.shared.value, &self.clock) {
            builder = builder.shared(shared, GuardConfig::default());
        }
        Opened { cache: builder.build(), before }
    }

    /// Reads what is in the data folder, on a thread that may wait. A cache that cannot be had is no reason to stop.
    async fn read(&self) -> (Option<Arc<dyn Level>>, Totals) {
        let (folder, bytes_max, clock) =
            (self.data_dir.clone(), self.spec.disk_bytes_max, self.clock.clone());
        let wants_disk = self.spec.disk;
        let read = move || {
            let disk = if wants_disk { disk(&folder.join(FOLDER), bytes_max, clock) } else { None };
            (disk, Totals::read(&folder))
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    /// Takes what a namespace has counted in this run, in the place of its own figures.
    pub(crate) fn say(&self, namespace: &str, totals: CacheTotals) {
        self.said().insert(namespace.to_owned(), totals);
    }

    fn said(&self) -> MutexGuard<'_, BTreeMap<String, CacheTotals>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is not written yet, and what was counted. May be called more than once.
    pub(crate) async fn close(&self) {
        let Some(opened) = self.opened.get() else { return };
        opened.cache.close().await;
        if self.reach == CacheReach::Memory {
            return;
        }
        let mut counted: BTreeMap<String, CacheTotals> = opened
            .cache
            .stats()
            .namespaces
            .iter()
            .map(|(name, stats)| (name.clone(), stats.into()))
            .collect();
        counted.extend(self.said().iter().map(|(name, totals)| (name.clone(), *totals)));
        let totals = opened.before.with(&counted);
        let folder = self.data_dir.clone();
        // Counts for people: without them the run was still all right.
        let written = tokio::task::spawn_blocking(move || totals.write(&folder)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "the statistics of the cache cannot be written");
        }
    }
}

#[cfg(unix)]
fn disk(folder: &std::path::Path, bytes_max: u64, clock: Clock) -> Option<Arc<dyn Level>> {
    match open_disk(folder, bytes_max, clock) {
        Ok(disk) => Some(Arc::new(disk)),
        Err(error) => {
            tracing::warn!(%error, "the cache on disk cannot be used; the run goes on without it");
            None
        }
    }
}

#[cfg(not(unix))]
fn disk(_: &std::path::Path, _: u64, _: Clock) -> Option<Arc<dyn Level>> {
    tracing::warn!("there is no cache on disk on this system; the run goes on without it");
    None
}

/// The level on disk, as a file says it.
#[cfg(unix)]
pub(crate) fn open_disk(
    folder: &std::path::Path,
    bytes_max: u64,
    clock: Clock,
) -> Result<aqueduct_cache::Disk, aqueduct_cache::DiskError> {
    let config = aqueduct_cache::DiskConfig::default().with_bytes_max(bytes_max);
    let config = config.expect("the file's range is that of the disk");
    aqueduct_cache::Disk::open(folder, config, clock)
}

/// The level that is shared, as a file says it. Nothing is connected yet.
pub(crate) fn shared(spec: &SharedCacheSpec, clock: &Clock) -> Option<Arc<dyn Level>> {
    let redis = |url: &str| Redis::new(url, RedisConfig::default(), clock.clone()).ok();
    match spec {
        SharedCacheSpec::None => None,
        SharedCacheSpec::Redis(url) => Some(Arc::new(redis(url.expose())?)),
        SharedCacheSpec::Nodes(list) => {
            let nodes: Vec<(String, Arc<dyn Level>)> = match NodeList::from_str(list.expose()).ok()? {
                NodeList::Local(count) => (0..count)
                    .map(|node| {
                        let local: Arc<dyn Level> =
                            Arc::new(Local::with_clock(Config::default(), clock.clone()));
                        (format!("local-{node}"), local)
                    })
                    .collect(),
                NodeList::Redis(addresses) => addresses
                    .into_iter()
                    .map(|address| {
                        let level: Arc<dyn Level> = Arc::new(redis(&address)?);
                        Some((address, level))
                    })
                    .collect::<Option<_>>()?,
            };
            Some(Arc::new(Nodes::new(nodes, NodesConfig::default(), clock.clone()).ok()?))
        }
    }
}

/// What a result is kept under: the key, and behind it whose result it is. The key comes first, so that patterns find it.
pub(crate) fn stored_key(key: &str, meaning: &str) -> String {
    format!("{key}{MEANING_MARK}{meaning}")
}

/// Between a key and whose result it is.
pub(crate) const MEANING_MARK: char = '#';

/// What requirement A3 counts, under its names, and where the hits were.
pub(crate) fn figures(totals: &CacheTotals, layers: u32, namespace: &str) -> Map<String, Json> {
    let mut figures = Map::new();
    figures.insert("name".to_owned(), namespace.into());
    figures.extend(totals.figures());
    figures.insert("layers".to_owned(), layers.into());
    figures
}

impl std::fmt::Debug for Caches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caches").field("spec", &self.spec).field("reach", &self.reach).finish_non_exhaustive()
    }
}
