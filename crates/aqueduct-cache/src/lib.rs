//! A cache of up to three levels: memory, a disk, and servers that many processes share.
//!
//! # When to use it
//!
//! You ask for the same things again, and asking costs time or money: rows of a database, answers of a service, parsed
//! files. Do not use it for what must be there (what is in it may leave at any time), for what fits into memory as a whole
//! (that is a map), or as the only place of anything.
//!
//! # The model
//!
//! A [`Cache`] has [`Namespace`]s, each with its own type of values, its own limits and its own statistics. A namespace looks in
//! memory, then on the disk, then on the shared level, and copies what it finds into the faster ones;
//! [`get_with`](Namespace::get_with) loads what nobody has, once for all who ask. A value may have a time, tags, and more time for when
//! loading fails. [`Loading`] knows how values are loaded, and does so before anybody asks: ahead of their end, in the order
//! in which keys come, and after a restart.
//!
//! What is below memory is a [`Level`]: `Disk` (feature `disk`) is a folder of its own, `Redis` (feature `redis`) a server, and
//! [`Nodes`] are several of either kind as one, by consistent hashing. Each stands behind a guard: a level that fails or is slow is left
//! alone for a while, and what it misses is kept and written before it is asked again.
//!
//! Invalidations are numbered. A value carries the number of the last one before its load began, its edition, and is not found
//! once it is within the scope of a later one: a tag, a prefix of keys, the namespace. So taking back a hundred thousand
//! values costs as much as one, on every level.
//!
//! [`Memory`] is the first level alone, for values of any type and without a runtime. It holds entries up to a weight; where
//! there is no room somebody leaves, and an [`Eviction`] says who. [`Eviction::Adaptive`], the default, needs to know nothing of
//! you: new entries go through a window, and what leaves the window stays only if it was asked for more often than who would leave
//! instead. A small window serves what is popular, and loops and scans that are larger than the cache; a large one serves what is
//! asked for soon or never. Eight miniatures, small caches of hashes beside the real one, try as many sizes on a sample of the
//! keys, and the window goes towards the size that serves best. They rest where nothing has been evicted for long.
//!
//! # Guarantees and limits
//!
//! * What was removed, set or invalidated by a call that has returned is not found in its old form by anybody who asks this process
//!   later, on any level, whatever was being loaded. Other processes know when the shared level has told them; one that has not
//!   heard from it for a while asks it about what it has.
//! * A level below memory is never an error and never a wait of more than its time limit. While the shared one is away, memory and
//!   disk answer; what was changed there meanwhile is known when it is back.
//! * One load for a key at a time in a process. It survives that whoever leads it is dropped or panics.
//! * The weight in memory is never more than the capacity, at no moment. What expires leaves as others come; there is no thread in the
//!   background, and a task only while a guard has something to write.
//! * Nobody gets a value after its time, but for one tick of the system's timer, at most 10 ms. A date that goes back gives
//!   what is on a disk its time again once, and never more.
//! * The fixed orders are those of the textbook: every one is tested against a naive model, and its hit ratio on recorded
//!   traces against a simulator. The adaptive one is nowhere more than a point below LRU on them, and far above it on most.
//! * A look and an insertion in memory are O(1) in the long run; with [`Eviction::Lfu`] and [`Eviction::Ttl`] they are O(log n).
//!   What leaves is dropped with nothing locked: a destructor may take long, and may use the cache.
//! * Keys have 64 KiB at most, and are hashed with a seed of their own in memory: nobody can choose keys that collide there.
//! * What is large stays where it is cheap: a value over 1 MiB is kept in memory only, and not at all where there is a shared level,
//!   which could not say that somebody else has changed it.
//! * Nothing here panics. Where your own code does (a hash, a comparison, a clone, a load), the cache stays whole.
//!
//! # Units
//!
//! Weights are yours: entries, bytes. Times are [`Duration`](std::time::Duration)s.
//!
//! # Example
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use aqueduct_cache::{Cache, Json, NamespaceConfig, SetOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let cache = Cache::builder().build();
//! let config = NamespaceConfig::builder().ttl(Duration::from_secs(30)).ttl_jitter(0.1).build()?;
//! let rows = cache.namespace::<Json<Vec<u32>>>("training_data", config)?;
//!
//! let loaded = rows.get_with("latest_10", || async { Ok::<_, Infallible>(Json::new(vec![3, 1, 4])) }).await?;
//! assert_eq!(*loaded, [3, 1, 4]);
//! rows.set_with("latest_2", Json::new(vec![3, 1]), SetOptions::new().tags(&["projects"])).await;
//!
//! rows.invalidate_tag("projects").await;
//! assert_eq!(rows.get("latest_2").await, None);
//! assert!(rows.get("latest_10").await.is_some());
//! assert_eq!(cache.stats().total.hit_rate_percent, 33.33);
//! # Ok(())
//! # }
//! ```
//!
//! # Sources
//!
//! The window and the admission are W-TinyLFU (Einziger, Friedman and Manes, ACM Transactions on Storage 13(4), 2017), with
//! clocks in the place of its lists; the miniatures are those of Waldspurger et al., USENIX ATC 2017. S3-FIFO: Yang et
//! al., SOSP 2023. SIEVE: Zhang et al., NSDI 2024. The wheel: Varghese and Lauck, SOSP 1987. The ring: Karger et al., STOC 1997;
//! its bound: Mirrokni, Thorup and Zadimoghaddam, SODA 2018. The log on disk: Sheehy and Smith, "Bitcask", 2010.

mod cache;
mod cluster;
mod config;
#[cfg(all(feature = "disk", unix))]
mod disk;
mod error;
mod flights;
mod guard;
mod hot_keys;
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
pub use hot_keys::HotKeys;
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
