//! The cache over a disk, over nodes, and over all levels at once.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_cache::{
    Cache, Config, Disk, DiskConfig, GuardConfig, Json, Level, Local, Namespace, NamespaceConfig, Nodes,
    SetOptions,
};
use aqueduct_core::{Clock, ManualClock, Timestamp};

use crate::scripted::{Mood, Scripted};

const SECOND: Duration = Duration::from_secs(1);

fn clock() -> (Clock, ManualClock) {
    Clock::manual(Timestamp(1_795_255_200_000))
}

fn space(cache: &Cache, capacity: u64) -> Namespace<Json<u64>> {
    let config = NamespaceConfig::builder().capacity(capacity).shards(1).build().unwrap();
    cache.namespace("n", config).unwrap()
}

/// A cache on a disk, as a process has it from its start to its end.
fn on_disk(folder: &Path, clock: &Clock) -> Cache {
    let disk = Disk::open(folder, DiskConfig::default(), clock.clone()).unwrap();
    let guard = GuardConfig::builder().time_limit(10 * SECOND).build().unwrap();
    Cache::builder().clock(clock.clone()).disk(Arc::new(disk), guard).build()
}

async fn get(space: &Namespace<Json<u64>>, key: &str) -> Option<u64> {
    space.get(key).await.map(|value| *value)
}

#[tokio::test]
async fn a_disk_is_warm_after_a_restart_and_keeps_times_and_invalidations() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = clock();
    {
        let cache = on_disk(folder.path(), &clock);
        let space = space(&cache, 100);
        space.set("kept", Json::new(1)).await;
        space.set_with("short", Json::new(2), SetOptions::new().ttl(10 * SECOND)).await;
        space.set_with("long", Json::new(3), SetOptions::new().ttl(60 * SECOND)).await;
        space.set_with("tagged", Json::new(4), SetOptions::new().tags(&["t"])).await;
        space.set("aeo:1", Json::new(5)).await;
        space.set("removed", Json::new(6)).await;
        space.remove("removed").await;
        space.invalidate_tag("t").await;
        space.invalidate_matching("aeo:*").await.unwrap();
        cache.close().await;
    }
    hand.advance(20 * SECOND);
    {
        let cache = on_disk(folder.path(), &clock);
        let space = space(&cache, 100);
        let keys = ["kept", "short", "long", "tagged", "aeo:1", "removed"];
        let found: Vec<_> =
            space.get_many(&keys).await.into_iter().map(|found| found.map(|value| *value)).collect();
        assert_eq!(found, [Some(1), None, Some(3), None, None, None]);
        assert_eq!(space.stats().level_hits.disk, 2);
        assert_eq!(get(&space, "kept").await, Some(1));
        assert_eq!(space.stats().level_hits.memory, 1, "it was copied up");
        hand.advance(40 * SECOND);
        assert_eq!(
            get(&space, "long").await,
            None,
            "with what was left of its time, and not all of it again"
        );
        space.set_with("tagged", Json::new(7), SetOptions::new().tags(&["t"])).await;
        cache.close().await;
    }
    let cache = on_disk(folder.path(), &clock);
    assert_eq!(get(&space(&cache, 100), "tagged").await, Some(7), "what came after an invalidation is valid");
}

#[tokio::test]
async fn what_memory_has_no_room_for_is_found_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let cache = on_disk(folder.path(), &Clock::system());
    let space = space(&cache, 10);
    for key in 0..200 {
        space.set(key.to_string(), Json::new(key)).await;
    }
    for key in 0..200 {
        assert_eq!(get(&space, &key.to_string()).await, Some(key));
    }
    let stats = space.stats();
    assert!(stats.level_hits.disk >= 180, "{stats:?}");
    assert_eq!((stats.hits, stats.misses, stats.layers), (200, 0, 2));
}

#[tokio::test]
async fn all_who_waited_for_what_was_on_the_disk_have_hit() {
    let folder = tempfile::tempdir().unwrap();
    {
        let cache = on_disk(folder.path(), &Clock::system());
        space(&cache, 10).set("k", Json::new(7)).await;
        cache.close().await;
    }
    let cache = on_disk(folder.path(), &Clock::system());
    let space = space(&cache, 10);
    let load = || async { Err::<Json<u64>, _>("nobody has to load") };
    let all = futures_util::future::join_all((0..100).map(|_| space.get_with("k", load))).await;
    assert!(all.into_iter().all(|value| *value.unwrap() == 7));
    let stats = space.stats();
    assert_eq!((stats.hits, stats.misses, stats.joined, stats.level_hits.disk), (100, 0, 0, 1));
}

#[tokio::test]
async fn what_is_held_is_given_stale_where_the_namespace_of_now_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, hand) = clock();
    let config = |stale| NamespaceConfig::builder().ttl(SECOND).stale(stale).build().unwrap();
    let failing = || async { Err::<Json<u64>, _>("the service is down") };
    {
        let cache = on_disk(folder.path(), &clock);
        let space = cache.namespace("n", config(10 * SECOND)).unwrap();
        space.set("k", Json::new(7)).await;
        hand.advance(2 * SECOND);
        assert_eq!(space.get("k").await.map(|value: Json<u64>| *value), None);
        assert_eq!(space.get_stale("k").await.map(|value| *value), Some(7));
        assert_eq!((space.stats().stale, space.stats().hits), (1, 0));
        assert_eq!(*space.get_with("k", failing).await.unwrap(), 7);
        cache.close().await;
    }
    let cache = on_disk(folder.path(), &clock);
    let space = cache.namespace("n", config(Duration::ZERO)).unwrap();
    assert_eq!(space.get_stale("k").await.map(|value: Json<u64>| *value), None);
    assert!(space.get_with("k", failing).await.is_err());
}

#[tokio::test]
async fn a_value_that_is_too_large_for_the_disk_is_in_memory_and_hides_nothing_old() {
    let folder = tempfile::tempdir().unwrap();
    let cache = on_disk(folder.path(), &Clock::system());
    let config = NamespaceConfig::builder().value_bytes_max(100).build().unwrap();
    let space = cache.namespace::<bytes::Bytes>("large", config).unwrap();
    space.set("k", bytes::Bytes::from_static(b"small")).await;
    space.set("k", vec![0; 101].into()).await;
    assert_eq!(space.get("k").await.map(|value| value.len()), Some(101));
    assert_eq!(space.stats().rejections, 1);
    drop((space, cache));
    let cache = on_disk(folder.path(), &Clock::system());
    let space = cache.namespace::<bytes::Bytes>("large", config).unwrap();
    assert_eq!(space.get("k").await, None);
}

#[tokio::test]
async fn values_of_another_shape_count_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    {
        let cache = on_disk(folder.path(), &Clock::system());
        cache
            .namespace::<Json<String>>("n", NamespaceConfig::default())
            .unwrap()
            .set("k", Json::new("text".to_owned()))
            .await;
        cache.close().await;
    }
    let cache = on_disk(folder.path(), &Clock::system());
    let space = space(&cache, 10);
    assert_eq!(get(&space, "k").await, None);
    assert_eq!(space.stats().unreadable, 1);
}

/// Memory, a disk, and a level that is shared: here in this process.
fn three(folder: &Path, shared: &Arc<Local>, clock: &Clock) -> Cache {
    let disk = Disk::open(folder, DiskConfig::default(), clock.clone()).unwrap();
    let guard = GuardConfig::builder().time_limit(10 * SECOND).build().unwrap();
    let shared = Arc::clone(shared) as Arc<dyn Level>;
    Cache::builder().clock(clock.clone()).disk(Arc::new(disk), guard).shared(shared, guard).build()
}

fn local() -> Arc<Local> {
    Arc::new(Local::new(Config::default()))
}

#[tokio::test]
async fn one_load_is_one_write_on_each_of_three_levels_and_a_removal_is_on_all() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let shared = local();
    let cache = three(folder.path(), &shared, &clock);
    let space = space(&cache, 10);
    let loads = AtomicU64::new(0);
    let load = || async {
        loads.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Json::new(7))
    };
    let all = futures_util::future::join_all((0..1_000).map(|_| space.get_with("k", load))).await;
    assert!(all.into_iter().all(|value| *value.unwrap() == 7));
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(space.stats().layers, 3);
    let place = aqueduct_cache::Place { namespace: "n", key: b"k" };
    assert!(shared.get(place).await.unwrap().is_some());
    space.remove("k").await;
    assert!(shared.get(place).await.unwrap().is_none());
    assert_eq!(get(&space, "k").await, None);
    drop((space, cache));
    let cache = on_disk(folder.path(), &clock);
    assert_eq!(get(&self::space(&cache, 10), "k").await, None);
}

#[tokio::test]
async fn a_disk_of_an_earlier_run_is_not_believed_before_the_shared_level_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let shared = local();
    {
        let cache = three(folder.path(), &shared, &clock);
        let space = space(&cache, 10);
        space.set("removed", Json::new(1)).await;
        space.set("changed", Json::new(1)).await;
        space.set("same", Json::new(1)).await;
        cache.close().await;
    }
    // Somebody else, meanwhile.
    let other =
        Cache::builder().shared(Arc::clone(&shared) as Arc<dyn Level>, GuardConfig::default()).build();
    let space_of_other = space(&other, 10);
    space_of_other.remove("removed").await;
    space_of_other.set("changed", Json::new(2)).await;

    let cache = three(folder.path(), &shared, &clock);
    let space = space(&cache, 10);
    assert_eq!(get(&space, "removed").await, None);
    assert_eq!(get(&space, "changed").await, Some(2));
    assert_eq!(get(&space, "same").await, Some(1));
}

#[tokio::test]
async fn three_nodes_are_one_level() {
    let nodes: Arc<dyn Level> = Arc::new(Nodes::local(3, Config::default()).unwrap());
    let cache = Cache::builder().shared(nodes, GuardConfig::default()).build();
    let space = space(&cache, 1);
    for key in 0..100 {
        space.set_with(key.to_string(), Json::new(key), SetOptions::new().tags(&["t"])).await;
    }
    for key in 0..100 {
        assert_eq!(get(&space, &key.to_string()).await, Some(key));
    }
    assert!(space.stats().level_hits.shared >= 99);
    space.remove("1").await;
    assert_eq!(get(&space, "1").await, None);
    space.invalidate_tag("t").await;
    for key in 0..100 {
        assert_eq!(get(&space, &key.to_string()).await, None);
    }
}

#[tokio::test]
async fn a_disk_that_cannot_say_what_was_invalidated_is_not_believed() {
    let level = Scripted::new();
    let open = || Cache::builder().disk(Arc::clone(&level) as Arc<dyn Level>, GuardConfig::default()).build();
    {
        let space = space(&open(), 10);
        space.set_with("invalid", Json::new(1), SetOptions::new().tags(&["t"])).await;
        space.set("valid", Json::new(2)).await;
        space.invalidate_tag("t").await;
    }
    let space = space(&open(), 10);
    level.is(Mood::Fails);
    assert_eq!(get(&space, "invalid").await, None);
    level.is(Mood::Well);
    assert_eq!(space.get_many(&["invalid"]).await, [None]);
    assert_eq!((get(&space, "invalid").await, get(&space, "valid").await), (None, Some(2)));
}

#[tokio::test]
async fn what_is_never_below_memory_is_not_looked_for_there() {
    let level = Scripted::new();
    let cache = Cache::builder().disk(Arc::clone(&level) as Arc<dyn Level>, GuardConfig::default()).build();
    let in_memory = cache.in_memory::<u64>("m", NamespaceConfig::default()).unwrap();
    let too_long = vec![b'x'; (1 << 16) + 1];
    assert_eq!(in_memory.get("k").await, None);
    assert_eq!(in_memory.get_many(&["k", "l"]).await, [None, None]);
    let space = space(&cache, 10);
    assert_eq!(space.get_many(&[&too_long]).await, [None]);
    assert!(space.get(&too_long).await.is_none());
    assert_eq!(level.calls(), 0);
    assert_eq!((in_memory.stats().misses, space.stats().misses), (3, 2));
}
