//! A cache in memory that finds out by itself what to keep.
//!
//! # When to use it
//!
//! You ask for the same things again, and asking costs time or money: rows of a database, answers of a service, parsed
//! files. Do not use it for what must be there (what is in it may leave at any time), for what fits into memory as a whole
//! (that is a map), or to share values between processes.
//!
//! # The model
//!
//! A [`Memory`] holds entries up to a weight; an entry weighs 1 unless you say otherwise. Where there is no room, somebody
//! leaves; an [`Eviction`] says who. [`Eviction::Adaptive`], the default, needs to know nothing of you: new entries go
//! through a window, and what leaves the window stays only if it was asked for more often than who would leave instead. A
//! small window serves what is popular, and loops and scans that are larger than the cache; a large one serves what is
//! asked for soon or never. Eight miniatures, small caches of hashes beside the real one, try as many sizes on a sample of the keys, and
//! the window gets the size that serves best.
//!
//! An entry may have a time, from the [`Config`] or its own [`Terms`], after which nobody gets it. It leaves when its slot
//! of a timer wheel comes by, as entries are inserted; there is no thread in the background.
//!
//! # Guarantees and limits
//!
//! * The weight of what is held is never more than the capacity, at no moment.
//! * Nobody gets a value after its time, but for one tick of the system's timer, at most 10 ms.
//! * The fixed orders are those of the textbook: every one is tested against a naive model, and its hit ratio on recorded
//!   traces against a simulator. The adaptive one is nowhere more than a point below LRU on them, and far above it on most.
//! * A look and an insertion are O(1) in the long run; with [`Eviction::Lfu`] and [`Eviction::Ttl`] they are O(log n). An
//!   insertion takes out at most 16 entries that have expired, so that none pays for thousands of others.
//! * What leaves is dropped with nothing locked: a destructor may take long, and may use the cache.
//! * A look takes the lock of one of several shards. Each has its share of the capacity, and an entry that is heavier
//!   than that is not kept; a cache of few heavy entries wants [one shard](Builder::shards).
//! * Keys are hashed with a seed of their own in each cache: nobody can choose keys that collide.
//! * Nothing here panics. Where your own code does (a hash, a comparison, a clone), the cache stays whole.
//!
//! # Units
//!
//! Weights are yours: entries, bytes. Times are [`Duration`](std::time::Duration)s.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use aqueduct_cache::{Config, Memory, Terms};
//!
//! # fn main() -> Result<(), aqueduct_cache::ConfigError> {
//! let config = Config::builder().capacity(10_000).ttl(Duration::from_secs(30)).ttl_jitter(0.1).build()?;
//! let cache = Memory::new(config);
//! cache.insert("training_data_latest_10".to_owned(), vec![3, 1, 4]);
//! cache.insert_on("pi".to_owned(), vec![3], Terms::new().ttl(Duration::from_secs(3_600)).weight(2));
//!
//! assert_eq!(cache.get("training_data_latest_10"), Some(vec![3, 1, 4]));
//! assert_eq!(cache.get("training_data_latest_99"), None);
//! assert_eq!(cache.stats().hit_rate_percent(), 50.0);
//! # Ok(())
//! # }
//! ```
//!
//! # Sources
//!
//! The window and the admission are W-TinyLFU (Einziger, Friedman and Manes, ACM Transactions on Storage 13(4), 2017), with
//! clocks in the place of its lists; the miniatures are those of Waldspurger et al., USENIX ATC 2017. S3-FIFO: Yang et
//! al., SOSP 2023. SIEVE: Zhang et al., NSDI 2024. The wheel: Varghese and Lauck, SOSP 1987.

mod cache;
mod cluster;
mod config;
#[cfg(all(feature = "disk", unix))]
mod disk;
mod error;
mod flights;
mod guard;
mod invalidations;
mod level;
mod levels;
mod loading;
mod local;
mod memory;
mod namespace;
mod prediction;
#[cfg(feature = "redis")]
mod redis;
mod report;
mod stats;
mod stored;
mod validity;
mod value;
mod writes;

pub use cache::{Cache, CacheBuilder};
pub use cluster::{NodeList, NodeStats, Nodes, NodesConfig, NodesStats};
pub use config::{Builder, Config, Eviction, NamespaceBuilder, NamespaceConfig};
#[cfg(all(feature = "disk", unix))]
pub use disk::{Disk, DiskConfig, DiskError, DiskStats, Opened};
pub use error::{ConfigError, LoadError, PatternError};
pub use guard::{GuardBuilder, GuardConfig, GuardStats};
pub use invalidations::{Invalidations, Scope};
pub use level::{Level, LevelError, Listener, Place};
pub use loading::{Loading, LoadingStats, Warmed};
pub use local::Local;
pub use memory::{Memory, Terms};
pub use namespace::{Namespace, SetOptions};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisBuilder, RedisConfig};
pub use report::{CacheStats, LevelHits, NamespaceStats};
pub use stats::Stats;
pub use stored::Stored;
pub use value::{Json, Value};

/// Makes 64 bits of half a hash, as good in the upper as in the lower ones.
fn spread(hash: u32) -> u64 {
    // The odd number next to 2^64 over the golden ratio (Knuth, "The Art of Computer Programming", volume 3, section 6.4).
    let spread = u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    spread ^ (spread >> 32)
}
