//! What is kept so that it need not be asked for again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{ExecSpec, HttpSpec, ModelSpec, StageKind};
use crate::expression::Expression;
use crate::redacted::Redacted;
use crate::settings::{Origin, Setting};

/// Where results are kept. Memory is always the first level.
#[derive(Clone, Debug)]
pub struct CacheSpec {
    /// Whether they are kept in the data folder, for the next run.
    pub disk: bool,
    /// The most bytes there. 1 MiB to 64 GiB.
    pub disk_bytes_max: u64,
    /// Where they are shared with other pipelines, and who said so.
    pub shared: Setting<SharedCacheSpec>,
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self {
            disk: true,
            disk_bytes_max: crate::settings::defaults::CACHE_DISK_BYTES,
            shared: Setting { value: SharedCacheSpec::None, origin: Origin::Default },
        }
    }
}

/// The level that pipelines share. Each form is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedCacheSpec {
    /// There is none.
    None,
    /// A Redis server.
    Redis(Redacted),
    /// Several nodes, as [`aqueduct_cache::NodeList`] reads them: so many in this process, or the addresses of servers.
    Nodes(Redacted),
}

impl fmt::Display for SharedCacheSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Redis(url) => write!(f, "redis {url}"),
            Self::Nodes(nodes) => write!(f, "nodes {nodes}"),
        }
    }
}

/// A stage that is done only for keys that are not in the cache.
#[derive(Clone, Debug)]
pub struct CachedSpec {
    /// What the result depends on.
    pub key: Arc<Expression>,
    /// What its results are called, unique within the pipeline.
    pub namespace: String,
    /// How long they are good for, and how many there are in memory.
    pub kept: KeptSpec,
    /// What they may be invalidated by: an expression that gives a list of texts.
    pub tags: Option<Arc<Expression>>,
    /// What is done for a key that is not there.
    pub of: InnerSpec,
}

/// The stages that a cached one may do.
#[derive(Clone, Debug)]
pub enum InnerSpec {
    /// Makes a call.
    Http(Box<HttpSpec>),
    /// Asks a language model.
    Model(Box<ModelSpec>),
    /// Gives the item to a program.
    Exec(Box<ExecSpec>),
}

impl InnerSpec {
    /// The same as a stage by itself.
    #[must_use]
    pub fn kind(&self) -> StageKind {
        match self {
            Self::Http(http) => StageKind::Http(http.clone()),
            Self::Model(model) => StageKind::Model(model.clone()),
            Self::Exec(exec) => StageKind::Exec(exec.clone()),
        }
    }

    pub(super) fn expressions(&self) -> Vec<&Expression> {
        match self {
            Self::Http(http) => http.expressions(),
            Self::Model(model) => model.expressions(),
            Self::Exec(_) => Vec::new(),
        }
    }
}

/// For how long results are kept, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSpec {
    /// How long a result is good for. 1 ms to a year.
    pub ttl: Duration,
    /// For how long after that it is given where a new one cannot be had. Up to a year.
    pub stale: Duration,
    /// The most results in memory. At least 1.
    pub capacity: u64,
}
