//! Nobody finds what was there before a removal, a change or an invalidation that has returned.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_cache::{
    Cache, Config, GuardConfig, Json, Level, Local, Namespace, NamespaceConfig, SetOptions,
};
use aqueduct_core::{Clock, Random, Timestamp};
use proptest::prelude::*;

const KEYS: usize = 4;

/// What the values are made from: the versions of a few rows.
#[derive(Default)]
struct Source([AtomicU64; KEYS]);

/// Readers read, writers write the source and then take back what the cache has. No reader may find a version older than the
/// one that was taken back before it began to look.
async fn nobody_finds_the_past(space: Namespace<Json<u64>>, rounds: u64) {
    let source = Arc::new(Source::default());
    // What a read that begins now must find at least.
    let floors = Arc::new(Source::default());
    let mut tasks = tokio::task::JoinSet::new();
    for reader in 0..6 {
        let (space, source, floors) = (space.clone(), Arc::clone(&source), Arc::clone(&floors));
        tasks.spawn(async move {
            let mut chance = Random::seeded(reader);
            for _ in 0..rounds {
                let row = usize::try_from(chance.below(KEYS as u64)).unwrap();
                let key = format!("row {row}");
                let floor = floors.0[row].load(Ordering::SeqCst);
                let found = if chance.below(2) == 0 {
                    space.get(&key).await.map(|version| *version)
                } else {
                    let pauses = chance.below(4);
                    let load = || async {
                        let version = source.0[row].load(Ordering::SeqCst);
                        // Between reading and having read there is time.
                        for _ in 0..pauses {
                            tokio::task::yield_now().await;
                        }
                        Ok::<_, Infallible>(Some(Json::new(version)))
                    };
                    let options = SetOptions::new().tags(&["rows"]);
                    space.try_get_with(&key, options, load).await.unwrap().map(|version| *version)
                };
                if let Some(version) = found {
                    assert!(version >= floor, "{key}: found {version}, and {floor} was known to be over");
                }
            }
        });
    }
    for writer in 0..2 {
        let (space, source, floors) = (space.clone(), Arc::clone(&source), Arc::clone(&floors));
        tasks.spawn(async move {
            let mut chance = Random::seeded(100 + writer);
            for _ in 0..rounds / 4 {
                let row = usize::try_from(chance.below(KEYS as u64)).unwrap();
                let key = format!("row {row}");
                let version = source.0[row].fetch_add(1, Ordering::SeqCst) + 1;
                match chance.below(3) {
                    0 => space.remove(&key).await,
                    1 => space.invalidate_tag("rows").await,
                    _ => space.invalidate_matching(&format!("{key}*")).await.unwrap(),
                }
                floors.0[row].fetch_max(version, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

fn config() -> NamespaceConfig {
    NamespaceConfig::builder().capacity(3).build().unwrap()
}

fn guard() -> GuardConfig {
    GuardConfig::builder().time_limit(Duration::from_secs(10)).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    let cache = Cache::builder().build();
    nobody_finds_the_past(cache.namespace("n", config()).unwrap(), 20_000).await;
}

#[cfg(all(feature = "disk", unix))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = aqueduct_cache::Disk::open(folder.path(), Default::default(), Clock::system()).unwrap();
    let cache = Cache::builder().disk(Arc::new(disk), guard()).build();
    nobody_finds_the_past(cache.namespace("n", config()).unwrap(), 3_000).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_server() {
    use aqueduct_cache::{Redis, RedisConfig};
    let server = aqueduct_testkit::RedisServer::start().unwrap_or_else(|error| panic!("{error}"));
    let limit = Duration::from_secs(10);
    let level = RedisConfig::builder().connect_timeout(limit).response_timeout(limit).build().unwrap();
    let redis = Redis::new(&server.url(), level, Clock::system()).unwrap();
    let cache = Cache::builder().shared(Arc::new(redis), guard()).build();
    nobody_finds_the_past(cache.namespace("n", config()).unwrap(), 1_000).await;
}

#[cfg(all(feature = "disk", unix))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_levels() {
    let folder = tempfile::tempdir().unwrap();
    let disk = aqueduct_cache::Disk::open(folder.path(), Default::default(), Clock::system()).unwrap();
    let shared = Arc::new(Local::new(Config::default()));
    let cache = Cache::builder().disk(Arc::new(disk), guard()).shared(shared, guard()).build();
    nobody_finds_the_past(cache.namespace("n", config()).unwrap(), 2_000).await;
}

#[derive(Clone, Debug)]
enum Act {
    Set(u8, u8, bool),
    Remove(u8),
    Tag,
    Prefix(u8),
    All,
    Wait(u8),
    Get(u8),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..8_u8, any::<u8>(), any::<bool>()).prop_map(|(key, value, tagged)| Act::Set(key, value, tagged)),
        2 => (0..8_u8).prop_map(Act::Remove),
        1 => Just(Act::Tag),
        1 => (0..4_u8).prop_map(Act::Prefix),
        1 => Just(Act::All),
        1 => (1..20_u8).prop_map(Act::Wait),
        6 => (0..8_u8).prop_map(Act::Get),
        1 => Just(Act::Restart),
    ]
}

/// Keys with two prefixes in common, so that a pattern covers some of them.
fn key(number: u8) -> String {
    format!("{}:{number}", number % 4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is done, a look finds the last value or none; and that value is never past its time.
    #[test]
    fn a_look_finds_the_last_value_or_none(acts in proptest::collection::vec(act(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (clock, hand) = Clock::manual(Timestamp(1_795_255_200_000));
            let shared = Arc::new(Local::with_clock(Config::default(), clock.clone()));
            let config = NamespaceConfig::builder().capacity(3).ttl(Duration::from_secs(30)).build().unwrap();
            let open = || {
                let level = Arc::clone(&shared) as Arc<dyn Level>;
                let cache = Cache::builder().clock(clock.clone()).shared(level, guard()).build();
                cache.namespace::<Json<u8>>("n", config).unwrap()
            };
            let mut space = open();
            let mut model: HashMap<u8, (u8, bool, u64)> = HashMap::new();
            let mut now = 0;
            for act in acts {
                match act {
                    Act::Set(number, value, tagged) => {
                        let tags: &[&str] = if tagged { &["t"] } else { &[] };
                        space.set_with(key(number), Json::new(value), SetOptions::new().tags(tags)).await;
                        model.insert(number, (value, tagged, now));
                    }
                    Act::Remove(number) => {
                        space.remove(key(number)).await;
                        model.remove(&number);
                    }
                    Act::Tag => {
                        space.invalidate_tag("t").await;
                        model.retain(|_, (_, tagged, _)| !*tagged);
                    }
                    Act::Prefix(prefix) => {
                        space.invalidate_matching(&format!("{prefix}:*")).await.unwrap();
                        model.retain(|number, _| number % 4 != prefix);
                    }
                    Act::All => {
                        space.invalidate_all().await;
                        model.clear();
                    }
                    Act::Wait(seconds) => {
                        hand.advance(Duration::from_secs(seconds.into()));
                        now += u64::from(seconds);
                    }
                    Act::Get(number) => {
                        let found = space.get(key(number)).await.map(|value| *value);
                        let wanted = model.get(&number).filter(|(.., at)| now < at + 30).map(|(value, ..)| *value);
                        // The shared level has room for all of them, so none is lost here.
                        assert_eq!(found, wanted);
                    }
                    Act::Restart => space = open(),
                }
            }
        });
    }
}
