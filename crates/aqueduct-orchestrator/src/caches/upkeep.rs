//! Looking at what a pipeline has cached, and taking it away.

use std::path::PathBuf;

use aqueduct_cache::{LevelError, PatternError, Scope};
use aqueduct_core::{Classified, Clock, ErrorClass};
use serde_json::{Map, Value as Json};

use super::totals::{CacheTotals, NamespaceTotals, Totals};
use super::{MEANING_MARK, disk_folder, shared};
use crate::connectors::answers;
use crate::spec::{PipelineSpec, StageKind};
use crate::suggest;
use crate::upkeep::{UpkeepError, hold};

/// What the runs of a pipeline have counted, and what is on its disk.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CacheAccount {
    /// How many runs have counted.
    pub runs: u64,
    /// How many levels the file asks for, memory included.
    pub layers: u32,
    /// All namespaces together.
    pub total: CacheTotals,
    /// Each, by its name: those of the file, and those that it had once.
    pub namespaces: Vec<NamespaceTotals>,
    /// What the disk holds.
    pub disk: DiskAccount,
}

/// What the level on disk holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DiskAccount {
    /// There is nothing: the file wants none, or no run has kept anything yet.
    None,
    /// Somebody has it open, a run most likely, so that nobody else can look.
    InUse,
    /// So much.
    Holds {
        /// Results, those among them that have expired and not left yet as well.
        entries: usize,
        /// How long its files are.
        bytes: u64,
        /// How long they may be.
        bytes_max: u64,
    },
}

/// What of the cached results is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// Everything.
    All,
    /// What carries this tag.
    Tag(String),
    /// The keys that begin with what is before the `*` at its end, or the one key that it is.
    Pattern(String),
}

/// Something that was not done. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A run holds the pipeline, or its data folder cannot be used.
    #[error(transparent)]
    Held(#[from] UpkeepError),
    /// The level on disk is in use or cannot be used. Nothing was invalidated.
    #[cfg(unix)]
    #[error(transparent)]
    Disk(#[from] aqueduct_cache::DiskError),
    /// A level could not be told. Those before it were.
    #[error(
        "invalidate namespace {namespace} on the level {level}: it may still give what is old; do it again"
    )]
    Level {
        /// The namespace.
        namespace: String,
        /// Where.
        level: &'static str,
        /// Why.
        source: LevelError,
    },
    /// The pattern is neither a key nor the beginning of keys.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The pipeline keeps nothing under this name.
    #[error("there is no namespace {name:?}; {hint}")]
    Namespace {
        /// The name.
        name: String,
        /// Which there are.
        hint: String,
    },
    /// The statistics cannot be removed.
    #[error("{} cannot be removed", path.display())]
    Statistics {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Classified for CacheError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Held(error) => error.class(),
            #[cfg(unix)]
            Self::Disk(error) => error.class(),
            Self::Level { .. } => ErrorClass::Transient,
            Self::Pattern(_) | Self::Namespace { .. } => ErrorClass::Invalid,
            Self::Statistics { .. } => ErrorClass::Permanent,
        }
    }
}

/// The namespaces in which a pipeline keeps results, in the order of the file: those of stages, then those of backends.
#[must_use]
pub fn cache_namespaces(spec: &PipelineSpec) -> Vec<String> {
    let stages = spec.stages.iter().filter_map(|stage| match &stage.kind {
        StageKind::Cached(cached) => Some(cached.namespace.clone()),
        _ => None,
    });
    let backends = spec.backends.iter().filter(|backend| backend.cache.is_some());
    stages.chain(backends.map(|backend| answers::namespace(&backend.name))).collect()
}

impl CacheAccount {
    /// Reads what the runs have counted, while one is under way or after. Changes nothing. It waits for the disk: call it
    /// where that is allowed.
    #[must_use]
    pub fn read(spec: &PipelineSpec) -> Self {
        let kept = Totals::read(&spec.path(&spec.settings.data_dir.value));
        let mut totals = kept.namespaces;
        for name in cache_namespaces(spec) {
            totals.entry(name).or_default();
        }
        let mut total = CacheTotals::default();
        totals.values().for_each(|one| total.add(one));
        let is_shared = spec.cache.shared.value != crate::spec::SharedCacheSpec::None;
        Self {
            runs: kept.runs,
            layers: 1 + u32::from(spec.cache.disk) + u32::from(is_shared),
            total,
            namespaces: totals
                .into_iter()
                .map(|(namespace, totals)| NamespaceTotals { namespace, totals })
                .collect(),
            disk: disk_account(spec),
        }
    }

    /// All by their names, as requirement A3 has them.
    #[must_use]
    pub fn figures(&self) -> Map<String, Json> {
        let mut figures = self.total.figures();
        figures.insert("layers".to_owned(), self.layers.into());
        figures
    }
}

#[cfg(unix)]
fn disk_account(spec: &PipelineSpec) -> DiskAccount {
    let folder = disk_folder(spec);
    if !folder.is_dir() {
        return DiskAccount::None;
    }
    match super::open_disk(&folder, spec.cache.disk_bytes_max, Clock::system()) {
        Ok(disk) => {
            let stats = disk.stats();
            DiskAccount::Holds { entries: stats.entries, bytes: stats.bytes, bytes_max: stats.bytes_max }
        }
        Err(aqueduct_cache::DiskError::InUse { .. }) => DiskAccount::InUse,
        Err(error) => {
            tracing::warn!(%error, "the cache on disk cannot be read");
            DiskAccount::None
        }
    }
}

#[cfg(not(unix))]
fn disk_account(_: &PipelineSpec) -> DiskAccount {
    DiskAccount::None
}

/// Sets what the runs have counted to nought; what is cached stays. `false` where nothing was counted yet.
///
/// # Errors
///
/// [`CacheError::Held`] when a run is under way, which would write its own at its end.
pub fn reset_cache_statistics(spec: &PipelineSpec) -> Result<bool, CacheError> {
    let path = Totals::path(&spec.path(&spec.settings.data_dir.value));
    if !path.exists() {
        return Ok(false);
    }
    let _lock = hold(spec)?;
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CacheError::Statistics { path, source }),
    }
}

/// Makes results count as gone, on disk and on the shared level: nobody finds them from then on, and they leave by
/// themselves. A run that shares the level is told and forgets them, too. Gives the namespaces and the levels.
///
/// # Errors
///
/// [`CacheError`]; with [`CacheError::Level`] some of it is done, with every other nothing.
///
/// # Cancel safety
///
/// Dropped, some of it may be done. Doing it again does no harm.
pub async fn invalidate_cache(
    spec: &PipelineSpec,
    namespace: Option<&str>,
    what: &Invalidation,
) -> Result<(Vec<String>, Vec<&'static str>), CacheError> {
    let scope = scope(what)?;
    let mut namespaces = cache_namespaces(spec);
    if let Some(name) = namespace {
        if !namespaces.iter().any(|known| known == name) {
            let hint = match suggest::nearest(name, namespaces.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None if namespaces.is_empty() => "the pipeline caches nothing".to_owned(),
                None => format!("there is {}", namespaces.join(", ")),
            };
            return Err(CacheError::Namespace { name: name.to_owned(), hint });
        }
        namespaces.retain(|known| known == name);
    }
    let mut levels: Vec<std::sync::Arc<dyn aqueduct_cache::Level>> = Vec::new();
    // First, so that nothing is done when it is in use. What no run has made is not made for this.
    #[cfg(unix)]
    if spec.cache.disk && disk_folder(spec).is_dir() {
        let disk = super::open_disk(&disk_folder(spec), spec.cache.disk_bytes_max, Clock::system())?;
        levels.push(std::sync::Arc::new(disk));
    }
    levels.extend(shared(&spec.cache.shared.value, &Clock::system()));
    for level in &levels {
        for namespace in &namespaces {
            level.invalidate(namespace, &scope, 0).await.map_err(|source| CacheError::Level {
                namespace: namespace.clone(),
                level: level.name(),
                source,
            })?;
        }
        level.close().await;
    }
    Ok((namespaces, levels.iter().map(|level| level.name()).collect()))
}

/// What is meant, in the keys as they are stored: behind each stands whose result it is.
fn scope(what: &Invalidation) -> Result<Scope, PatternError> {
    Ok(match what {
        Invalidation::All => Scope::All,
        Invalidation::Tag(tag) => Scope::Tag(tag.as_str().into()),
        Invalidation::Pattern(pattern) => match pattern.split_once('*') {
            None => Scope::Prefix(format!("{pattern}{MEANING_MARK}").into_bytes().into()),
            Some(("", "")) => Scope::All,
            Some((prefix, "")) => Scope::Prefix(prefix.as_bytes().into()),
            Some(_) => return Err(PatternError { pattern: pattern.clone() }),
        },
    })
}
