use std::collections::BTreeMap;

use aqueduct_metrics::Counter;
use serde::Serialize;

use crate::guard::{Guard, GuardStats};
use crate::levels::Levels;
use crate::stats::{Stats, hit_rate_percent};

/// What a namespace has done since it was made. Always counted; about two nanoseconds a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NamespaceStats {
    /// Requests that found a value, or that it is known that there is none.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Values that were set, those that were loaded not among them.
    pub sets: u64,
    /// Values that were removed by their key.
    pub deletes: u64,
    /// Hits and misses.
    pub total_requests: u64,
    /// How many of a hundred requests were hits, to two decimals; nought before the first.
    pub hit_rate_percent: f64,
    /// How many levels there are, memory included.
    pub layers: u32,
    /// The hits of each level: memory, disk, shared.
    pub level_hits: LevelHits,
    /// Loads that were begun.
    pub loads: u64,
    /// Those of them that failed.
    pub load_failures: u64,
    /// Misses that another's load has answered.
    pub joined: u64,
    /// Failed loads that a stale value has answered.
    pub stale: u64,
    /// Hits of values that somebody may have changed while the shared level was away.
    pub unsure: u64,
    /// Invalidations, of any scope.
    pub invalidations: u64,
    /// Values that were not kept: too large, without time, or not to be written as bytes.
    pub rejections: u64,
    /// Values below memory that could not be read.
    pub unreadable: u64,
    /// Entries that left memory to make room.
    pub evictions: u64,
    /// Entries that left memory because their time was over.
    pub expirations: u64,
    /// Entries in memory; those among them that are no longer valid and have not left yet as well.
    pub entries: u64,
}

/// The hits of each level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LevelHits {
    /// In memory.
    pub memory: u64,
    /// On disk.
    pub disk: u64,
    /// On the shared level.
    pub shared: u64,
}

/// What a cache has done: all its namespaces together, and each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// All together.
    #[serde(flatten)]
    pub total: NamespaceStats,
    /// Each by its name.
    pub namespaces: BTreeMap<String, NamespaceStats>,
    /// What became of the disk, where there is one.
    pub disk: Option<GuardStats>,
    /// What became of the shared level, where there is one.
    pub shared: Option<GuardStats>,
}

/// Which level answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Memory,
    Disk,
    Shared,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    memory_hits: Counter,
    disk_hits: Counter,
    shared_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) sets: Counter,
    pub(crate) deletes: Counter,
    pub(crate) loads: Counter,
    pub(crate) load_failures: Counter,
    pub(crate) joined: Counter,
    pub(crate) stale: Counter,
    pub(crate) unsure: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) rejections: Counter,
    pub(crate) unreadable: Counter,
}

impl Counts {
    pub(crate) fn hit(&self, source: Source) {
        let counter = match source {
            Source::Memory => &self.memory_hits,
            Source::Disk => &self.disk_hits,
            Source::Shared => &self.shared_hits,
        };
        counter.increment();
    }

    pub(crate) fn stats(&self, layers: u32, memory: Stats) -> NamespaceStats {
        let level_hits = LevelHits {
            memory: self.memory_hits.value(),
            disk: self.disk_hits.value(),
            shared: self.shared_hits.value(),
        };
        NamespaceStats {
            misses: self.misses.value(),
            sets: self.sets.value(),
            deletes: self.deletes.value(),
            layers,
            level_hits,
            loads: self.loads.value(),
            load_failures: self.load_failures.value(),
            joined: self.joined.value(),
            stale: self.stale.value(),
            unsure: self.unsure.value(),
            invalidations: self.invalidations.value(),
            rejections: self.rejections.value(),
            unreadable: self.unreadable.value(),
            evictions: memory.evictions,
            expirations: memory.expirations,
            entries: memory.entries,
            ..NamespaceStats::default()
        }
        .summed()
    }
}

impl NamespaceStats {
    /// Fills in what follows from the rest.
    fn summed(mut self) -> Self {
        self.hits = self.level_hits.memory + self.level_hits.disk + self.level_hits.shared;
        self.total_requests = self.hits + self.misses;
        self.hit_rate_percent = hit_rate_percent(self.hits, self.total_requests);
        self
    }

    fn add(&mut self, other: &Self) {
        self.level_hits.memory += other.level_hits.memory;
        self.level_hits.disk += other.level_hits.disk;
        self.level_hits.shared += other.level_hits.shared;
        self.layers = self.layers.max(other.layers);
        let sums: [(&mut u64, u64); 14] = [
            (&mut self.misses, other.misses),
            (&mut self.sets, other.sets),
            (&mut self.deletes, other.deletes),
            (&mut self.loads, other.loads),
            (&mut self.load_failures, other.load_failures),
            (&mut self.joined, other.joined),
            (&mut self.stale, other.stale),
            (&mut self.unsure, other.unsure),
            (&mut self.invalidations, other.invalidations),
            (&mut self.rejections, other.rejections),
            (&mut self.unreadable, other.unreadable),
            (&mut self.evictions, other.evictions),
            (&mut self.expirations, other.expirations),
            (&mut self.entries, other.entries),
        ];
        for (sum, more) in sums {
            *sum += more;
        }
    }
}

impl CacheStats {
    pub(crate) fn of(levels: &Levels, namespaces: impl Iterator<Item = (String, NamespaceStats)>) -> Self {
        let (disk, shared) = (levels.disk().map(Guard::stats), levels.shared().map(Guard::stats));
        let layers = 1 + u32::from(disk.is_some()) + u32::from(shared.is_some());
        let namespaces: BTreeMap<String, NamespaceStats> = namespaces.collect();
        let mut total = NamespaceStats { layers, ..NamespaceStats::default() };
        for stats in namespaces.values() {
            total.add(stats);
        }
        Self { total: total.summed(), namespaces, disk, shared }
    }
}
