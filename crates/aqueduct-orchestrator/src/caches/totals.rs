use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aqueduct_cache::NamespaceStats;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// What a namespace has counted over runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CacheTotals {
    /// Requests that found a result.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Results that were made and kept.
    pub sets: u64,
    /// Results that were removed by their key.
    pub deletes: u64,
    /// Hits in memory.
    pub memory_hits: u64,
    /// Hits on disk.
    pub disk_hits: u64,
    /// Hits on the shared level.
    pub shared_hits: u64,
    /// Misses that waited for the result of another request and made none of their own.
    pub joined: u64,
    /// Results that could not be made.
    pub failures: u64,
    /// Failures that an old result has answered.
    pub stale: u64,
}

/// The totals of a namespace, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceTotals {
    /// The namespace.
    pub namespace: String,
    /// What it has counted.
    pub totals: CacheTotals,
}

impl CacheTotals {
    /// Hits and misses.
    #[must_use]
    pub fn total_requests(&self) -> u64 {
        self.hits + self.misses
    }

    /// How many of a hundred requests were hits, to two decimals; nought before the first.
    #[must_use]
    pub fn hit_rate_percent(&self) -> f64 {
        let (hits, requests) = (u128::from(self.hits), u128::from(self.total_requests()));
        let hundredths = (hits * 20_000 + requests) / (requests * 2).max(1);
        u32::try_from(hundredths).map_or(0.0, |hundredths| f64::from(hundredths) / 100.0)
    }

    /// Everything by its name, what follows from the rest included.
    #[must_use]
    pub fn figures(&self) -> Map<String, Json> {
        let mut figures = Map::new();
        let mut put = |name: &str, value: Json| figures.insert(name.to_owned(), value);
        put("hits", self.hits.into());
        put("misses", self.misses.into());
        put("sets", self.sets.into());
        put("deletes", self.deletes.into());
        put("total_requests", self.total_requests().into());
        put("hit_rate_percent", self.hit_rate_percent().into());
        put("memory_hits", self.memory_hits.into());
        put("disk_hits", self.disk_hits.into());
        put("shared_hits", self.shared_hits.into());
        put("joined", self.joined.into());
        put("failures", self.failures.into());
        put("stale", self.stale.into());
        figures
    }

    /// Adds those of another namespace or run.
    pub fn add(&mut self, other: &Self) {
        let sums: [(&mut u64, u64); 10] = [
            (&mut self.hits, other.hits),
            (&mut self.misses, other.misses),
            (&mut self.sets, other.sets),
            (&mut self.deletes, other.deletes),
            (&mut self.memory_hits, other.memory_hits),
            (&mut self.disk_hits, other.disk_hits),
            (&mut self.shared_hits, other.shared_hits),
            (&mut self.joined, other.joined),
            (&mut self.failures, other.failures),
            (&mut self.stale, other.stale),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

impl From<&NamespaceStats> for CacheTotals {
    fn from(stats: &NamespaceStats) -> Self {
        Self {
            hits: stats.hits,
            misses: stats.misses,
            // What was loaded was kept, too: nobody sets anything here in another way.
            sets: stats.sets + stats.loads.saturating_sub(stats.load_failures),
            deletes: stats.deletes,
            memory_hits: stats.level_hits.memory,
            disk_hits: stats.level_hits.disk,
            shared_hits: stats.level_hits.shared,
            joined: stats.joined,
            failures: stats.load_failures,
            stale: stats.stale,
        }
    }
}

/// What all runs of a pipeline have counted, as it is kept in the data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// How many runs have added to it.
    pub(crate) runs: u64,
    pub(crate) namespaces: BTreeMap<String, CacheTotals>,
}

/// A few kilobytes at most; what is larger is not ours.
const BYTES_MAX: u64 = 16 << 20;

impl Totals {
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("cache-statistics.json")
    }

    /// What is there; nothing where it cannot be read, since it is only counted.
    pub(crate) fn read(data_dir: &Path) -> Self {
        let path = Self::path(data_dir);
        let is_ours = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= BYTES_MAX);
        let bytes = if is_ours { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Puts it in the place of what is there, as a whole.
    pub(crate) fn write(&self, data_dir: &Path) -> io::Result<()> {
        let path = Self::path(data_dir);
        let new = path.with_extension("json.new");
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        fs::write(&new, bytes)?;
        fs::rename(&new, &path)
    }

    /// The same with what this run has counted.
    pub(crate) fn with(&self, counted: &BTreeMap<String, CacheTotals>) -> Self {
        let mut totals = self.clone();
        totals.runs += 1;
        for (namespace, counted) in counted {
            totals.namespaces.entry(namespace.clone()).or_default().add(counted);
        }
        totals
    }
}
