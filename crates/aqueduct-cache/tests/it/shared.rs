//! The cache over a real Redis: what others see of it, and what becomes of it when Redis does not answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_cache::{
    Cache, GuardConfig, Json, Level, Namespace, NamespaceConfig, Redis, RedisConfig, SetOptions,
};
use aqueduct_core::Clock;
use aqueduct_testkit::RedisServer;
use redis::Value;

fn server_with(args: &[&str]) -> RedisServer {
    RedisServer::start_with(args).unwrap_or_else(|error| panic!("{error}"))
}

/// A process of its own, as far as the server can tell.
struct Process {
    space: Namespace<Json<u64>>,
    cache: Cache,
}

impl Process {
    fn on(server: &RedisServer) -> Self {
        Self::at(&server.url())
    }

    fn at(url: &str) -> Self {
        // Two processors that do much else are slower than a server should be.
        let limit = Duration::from_secs(5);
        let config = RedisConfig::builder().connect_timeout(limit).response_timeout(limit);
        let guard = GuardConfig::builder().time_limit(limit);
        Self::with(url, config.build().unwrap(), guard.build().unwrap())
    }

    fn with(url: &str, config: RedisConfig, guard: GuardConfig) -> Self {
        let level: Arc<dyn Level> = Arc::new(Redis::new(url, config, Clock::system()).unwrap());
        let cache = Cache::builder().shared(level, guard).build();
        let config = NamespaceConfig::builder().capacity(100_000).build().unwrap();
        Self { space: cache.namespace("n", config).unwrap(), cache }
    }

    async fn get(&self, key: &str) -> Option<u64> {
        self.space.get(key).await.map(|value| *value)
    }

    async fn set(&self, key: &str, value: u64) {
        self.space.set(key, Json::new(value)).await;
    }

    /// Asks again and again until the answer is this one. Gives up after a time that no test needs.
    async fn until(&self, key: &str, wanted: Option<u64>) {
        let asked = async {
            while self.get(key).await != wanted {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), asked).await;
        assert!(waited.is_ok(), "{key} never came to be {wanted:?}");
    }
}

async fn command(server: &RedisServer, words: &[&str]) -> Value {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.unwrap()
}

/// How often the server was asked to do something.
async fn calls(server: &RedisServer, what: &str) -> u64 {
    let info: String = redis::from_redis_value(command(server, &["INFO", "commandstats"]).await).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{what}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_sets_the_other_finds_and_what_one_takes_back_is_gone_for_both() {
    let server = server_with(&[]);
    let (one, other) = (Process::on(&server), Process::on(&server));
    one.set("a", 1).await;
    assert_eq!(other.get("a").await, Some(1));
    one.set("a", 2).await;
    other.until("a", Some(2)).await;
    one.space.remove("a").await;
    assert_eq!(one.get("a").await, None);
    other.until("a", None).await;

    one.space.set_with("b", Json::new(1), SetOptions::new().tags(&["t"])).await;
    one.set("c:1", 2).await;
    one.set("d", 3).await;
    for (key, value) in [("b", 1), ("c:1", 2), ("d", 3)] {
        assert_eq!(other.get(key).await, Some(value));
    }
    one.space.invalidate_tag("t").await;
    one.space.invalidate_matching("c:*").await.unwrap();
    for key in ["b", "c:1"] {
        assert_eq!(one.get(key).await, None, "{key}");
        other.until(key, None).await;
    }
    assert_eq!((one.get("d").await, other.get("d").await), (Some(3), Some(3)));
    one.space.invalidate_all().await;
    other.until("d", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_comes_later_knows_what_was_invalidated_before() {
    let server = server_with(&[]);
    let one = Process::on(&server);
    one.space.set_with("a", Json::new(1), SetOptions::new().tags(&["t"])).await;
    one.set("b", 2).await;
    one.space.invalidate_tag("t").await;
    let later = Process::on(&server);
    assert_eq!((later.get("a").await, later.get("b").await), (None, Some(2)));
    later.space.set_with("a", Json::new(3), SetOptions::new().tags(&["t"])).await;
    one.until("a", Some(3)).await;
}

/// Who came second found the question under way, took that for an answer, and was given what is old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_ask_a_process_that_comes_later_at_once_know_it() {
    let server = server_with(&[]);
    let one = Process::on(&server);
    let keys: Vec<String> = (0..200).map(|key| key.to_string()).collect();
    for key in &keys {
        one.set(key, 1).await;
    }
    one.space.invalidate_all().await;
    for round in 0..20 {
        let later = Process::on(&server);
        let mut askers = tokio::task::JoinSet::new();
        for key in keys.clone() {
            let space = later.space.clone();
            askers.spawn(async move { space.get(key).await.map(|value| *value) });
        }
        assert_eq!(askers.join_all().await, [None; 200], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_want_the_same_make_one_load_and_one_write() {
    let server = server_with(&[]);
    let process = Process::on(&server);
    process.get("warm").await;
    command(&server, &["CONFIG", "RESETSTAT"]).await;
    let loads = Arc::new(AtomicU64::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (space, loads) = (process.space.clone(), Arc::clone(&loads));
        callers.spawn(async move {
            let load = || async {
                loads.fetch_add(1, Ordering::Relaxed);
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                Ok::<_, Infallible>(Json::new(7))
            };
            *space.get_with("k", load).await.unwrap()
        });
    }
    assert_eq!(callers.join_all().await, [7; 1_000]);
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!((calls(&server, "set").await, calls(&server, "get").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_is_on_the_server_when_it_returns() {
    let server = server_with(&[]);
    let process = Process::on(&server);
    for round in 0..100 {
        process.set("k", round).await;
        process.space.remove("k").await;
        let left = command(&server, &["KEYS", "*:k"]).await;
        assert_eq!(left, Value::Array(Vec::new()), "round {round}");
        assert_eq!(process.get("k").await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_asked_for_at_once_and_found_on_either_level() {
    let server = server_with(&[]);
    let (one, other) = (Process::on(&server), Process::on(&server));
    let keys: Vec<String> = (0..500).map(|key| key.to_string()).collect();
    for (key, number) in keys.iter().zip(0..) {
        if number % 5 != 0 {
            one.set(key, number).await;
        }
    }
    other.get("1").await;
    command(&server, &["CONFIG", "RESETSTAT"]).await;
    let found: Vec<Option<u64>> =
        other.space.get_many(&keys).await.into_iter().map(|value| value.map(|value| *value)).collect();
    let wanted: Vec<Option<u64>> = (0..500).map(|number| (number % 5 != 0).then_some(number)).collect();
    assert_eq!(found, wanted);
    assert_eq!((calls(&server, "mget").await, calls(&server, "get").await), (1, 0));
    let stats = other.space.stats();
    assert_eq!((stats.level_hits.memory, stats.level_hits.shared, stats.misses), (1, 400, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_under_load_is_no_error_to_anybody_and_learns_what_it_missed() {
    let mut server = server_with(&[]);
    let process = Process::on(&server);
    let other = Process::on(&server);
    process.set("removed", 1).await;
    process.set("changed", 1).await;
    other.get("removed").await;
    other.get("changed").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16_u64 {
        let (space, is_over) = (process.space.clone(), Arc::clone(&is_over));
        callers.spawn(async move {
            let mut asked = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let key = format!("load {}", (asked + caller) % 50);
                let load = || async { Ok::<_, Infallible>(Json::new(asked)) };
                space.get_with(&key, load).await.expect("whoever asks gets a value");
                space.set(&key, Json::new(asked)).await;
                space.remove(&key).await;
                asked += 1;
                tokio::task::yield_now().await;
            }
            asked
        });
    }
    server.kill().unwrap();
    process.space.remove("removed").await;
    process.set("changed", 2).await;
    assert_eq!((process.get("removed").await, process.get("changed").await), (None, Some(2)));
    server.restart().unwrap();
    // The server has kept nothing; what it was not told while it was away it is told now.
    other.until("changed", Some(2)).await;
    other.until("removed", None).await;
    is_over.store(true, Ordering::Relaxed);
    assert!(callers.join_all().await.into_iter().all(|asked| asked > 0));
    let values = command(&server, &["KEYS", "*:changed"]).await;
    assert!(matches!(values, Value::Array(keys) if keys.len() == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_serves_while_the_server_is_away() {
    let mut server = server_with(&[]);
    let process = Process::on(&server);
    process.set("k", 1).await;
    server.kill().unwrap();
    assert_eq!(process.get("k").await, Some(1));
    assert_eq!(process.get("none").await, None);
    process.set("l", 2).await;
    assert_eq!(process.get("l").await, Some(2));
    process.space.invalidate_all().await;
    assert_eq!((process.get("k").await, process.get("l").await), (None, None));
    assert_eq!(
        *process.space.get_with("k", || async { Ok::<_, Infallible>(Json::new(3)) }).await.unwrap(),
        3
    );
    assert_eq!(process.get("k").await, Some(3));
    server.restart().unwrap();
    process.until("k", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_lost_leaves_nothing_old_to_be_found() {
    let server = server_with(&[]);
    let (one, other) = (Process::on(&server), Process::on(&server));
    for round in 0..20 {
        other.set("k", round).await;
        one.until("k", Some(round)).await;
        // Of both, and whatever was on its way in them.
        command(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        let key = server_key(&server).await;
        let entry = format!("aqueduct1 at=0\n{}", round + 1_000);
        command(&server, &["SET", &key, &entry]).await;
        one.until("k", Some(round + 1_000)).await;
        for _ in 0..50 {
            assert_eq!(one.get("k").await, Some(round + 1_000), "nothing old comes back");
        }
    }
}

async fn server_key(server: &RedisServer) -> String {
    let keys: Vec<String> = redis::from_redis_value(command(server, &["KEYS", "*:k"]).await).unwrap();
    keys.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_frozen_keeps_nobody_waiting_after_a_few_calls() {
    let server = server_with(&[]);
    let process =
        Process::with(&server.url(), RedisConfig::builder().build().unwrap(), GuardConfig::default());
    process.set("k", 1).await;
    server.freeze().unwrap();
    for key in 0..1_000 {
        assert_eq!(process.get(&key.to_string()).await, None);
    }
    let guard = process.cache.stats().shared.unwrap();
    assert!(guard.is_open && guard.failures < 10, "a few have waited, and nobody after them: {guard:?}");
    assert_eq!(process.get("k").await, Some(1));
    process.set("k", 2).await;
    server.thaw().unwrap();
    Process::on(&server).until("k", Some(2)).await;
}

/// Whatever the server refuses, callers have what memory has.
async fn works_without(url: &str) {
    let process = Process::at(url);
    process.set("k", 1).await;
    assert_eq!(process.get("k").await, Some(1));
    process.set("k", 2).await;
    assert_eq!(process.get("k").await, Some(2));
    process.space.remove("k").await;
    assert_eq!(process.get("k").await, None);
    let value = process.space.get_with("k", || async { Ok::<_, Infallible>(Json::new(3)) }).await.unwrap();
    assert_eq!((*value, process.get("k").await), (3, Some(3)));
    process.space.invalidate_all().await;
    assert_eq!(process.get("k").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_not_be_written_to_is_no_error() {
    let first = server_with(&[]);
    let replica = server_with(&["--replicaof", "127.0.0.1", &first.port().to_string()]);
    works_without(&replica.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_is_no_error() {
    let server = server_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    works_without(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_another_password_is_no_error() {
    let server = server_with(&["--requirepass", "right"]);
    works_without(&server.url()).await;
    works_without(&server.url().replace("redis://", "redis://:wrong@")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn something_else_under_a_key_is_no_error_and_gives_way() {
    let server = server_with(&[]);
    let process = Process::on(&server);
    process.set("k", 1).await;
    let key = server_key(&server).await;
    command(&server, &["DEL", &key]).await;
    command(&server, &["LPUSH", &key, "x"]).await;
    process.until("k", None).await;
    process.set("k", 2).await;
    assert_eq!(Process::on(&server).get("k").await, Some(2));
    command(&server, &["SET", &key, "not of a cache"]).await;
    process.until("k", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_lost_everything_does_not_bring_anything_back() {
    let server = server_with(&[]);
    let (one, other) = (Process::on(&server), Process::on(&server));
    for _ in 0..5 {
        one.space.invalidate_tag("t").await;
    }
    one.space.set_with("k", Json::new(1), SetOptions::new().tags(&["t"])).await;
    assert_eq!(other.get("k").await, Some(1));
    command(&server, &["FLUSHALL"]).await;
    one.until("k", None).await;
    other.until("k", None).await;
    // What is stored now is invalidated by what is invalidated from now on, though the server counts from the start.
    one.space.set_with("k", Json::new(2), SetOptions::new().tags(&["t"])).await;
    other.until("k", Some(2)).await;
    other.space.invalidate_tag("t").await;
    assert_eq!(other.get("k").await, None);
    one.until("k", None).await;
}
