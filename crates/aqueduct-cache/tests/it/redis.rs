//! The level in Redis against a real redis-server.

#![cfg(feature = "redis")]

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_cache::{
    Invalidations, Level, LevelError, Listener, Place, Redis, RedisBuilder, RedisConfig, Scope, Stored,
};
use aqueduct_core::{Clock, Timestamp};
use aqueduct_testkit::RedisServer;
use redis::Value;

const HOUR: Duration = Duration::from_hours(1);

fn server() -> RedisServer {
    server_with(&[])
}

fn server_with(args: &[&str]) -> RedisServer {
    RedisServer::start_with(args).unwrap_or_else(|error| panic!("{error}"))
}

/// A machine that does many things at once is slower than a Redis should be. With no heartbeat to speak of, a loss that is
/// noticed was told by the connection itself.
fn patient() -> RedisBuilder {
    let long = Duration::from_secs(20);
    RedisConfig::builder().connect_timeout(long).response_timeout(long).heartbeat(Duration::from_mins(1))
}

fn level_at(url: &str, builder: RedisBuilder) -> Redis {
    Redis::new(url, builder.build().expect("a test's own"), Clock::system()).expect("the address is one")
}

fn level(server: &RedisServer) -> Redis {
    level_at(&server.url(), patient())
}

fn place(key: &[u8]) -> Place<'_> {
    Place { namespace: "n", key }
}

fn value(text: &str) -> Stored {
    Stored { value: Some(text.to_owned().into()), ..Stored::default() }
}

/// Asks the server itself.
async fn command(server: &RedisServer, words: &[&str]) -> Value {
    let client = redis::Client::open(server.url()).expect("the address is one");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it listens");
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.expect("it does as it is told")
}

async fn number(server: &RedisServer, words: &[&str]) -> i64 {
    redis::from_redis_value(command(server, words).await).expect("a number")
}

/// Waits for what comes soon, and gives up after a time that no test needs.
async fn soon(what: &str, work: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(30), work)
        .await
        .unwrap_or_else(|_| panic!("waited for: {what}"));
}

/// Looks again and again.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let looked = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    soon(what, looked).await;
}

/// Calls again and again until it succeeds.
async fn until_it_answers(level: &Redis) {
    let asked = async {
        while level.ping().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon("an answer", asked).await;
}

fn text(error: &LevelError) -> String {
    format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default())
}

fn assert_away<T: std::fmt::Debug>(result: Result<T, LevelError>) {
    assert!(matches!(result, Err(LevelError::Away { level: "redis", .. })), "{result:?}");
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, LevelError>, with: &str) {
    match result {
        Err(error @ LevelError::Refused { .. }) => assert!(text(&error).contains(with), "{}", text(&error)),
        other => panic!("{other:?}"),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Changed(String, Vec<u8>),
    Invalidated(String),
    Lost,
}

#[derive(Default)]
struct Ear(Mutex<Vec<Heard>>);

impl Ear {
    fn on(level: &Redis) -> Arc<Self> {
        let ear = Arc::new(Self::default());
        level.listen(Arc::clone(&ear) as Arc<dyn Listener>);
        ear
    }

    /// Listens, and forgets what came with the connection.
    async fn on_connected(level: &Redis) -> Arc<Self> {
        let ear = Self::on(level);
        level.ping().await.expect("it answers");
        assert_eq!(ear.take(), [Heard::Lost], "before anything was asked");
        ear
    }

    fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics"))
    }

    fn lost(&self) -> usize {
        self.0.lock().expect("nobody panics").iter().filter(|heard| **heard == Heard::Lost).count()
    }

    fn heard(&self, what: &Heard) -> bool {
        self.0.lock().expect("nobody panics").contains(what)
    }

    fn note(&self, heard: Heard) {
        self.0.lock().expect("nobody panics").push(heard);
    }
}

impl Listener for Ear {
    fn changed(&self, place: Place<'_>) {
        self.note(Heard::Changed(place.namespace.to_owned(), place.key.to_owned()));
    }

    fn invalidated(&self, namespace: &str) {
        self.note(Heard::Invalidated(namespace.to_owned()));
    }

    fn lost(&self) {
        self.note(Heard::Lost);
    }
}

// ---- What is stored ----

#[tokio::test]
async fn every_field_comes_back() {
    let server = server();
    let config = RedisConfig::builder().build().expect("the defaults");
    // A clock that stands still, so that dates can be compared.
    let (clock, _) = Clock::manual(Timestamp(1_763_740_800_000));
    let level = Redis::new(&server.url(), config, clock.clone()).expect("the address is one");
    for stored in [
        Stored {
            value: Some("a value\nof two lines".into()),
            at: clock.wall(),
            fresh: Some(Duration::from_secs(30)),
            held: Some(HOUR),
            edition: u64::MAX,
            session: 7,
            tags: vec!["projects".into(), "a \"quoted\" one".into()],
        },
        Stored { at: Timestamp(clock.wall().0 - 60_000), held: Some(HOUR), ..Stored::default() },
        Stored { value: Some("".into()), at: clock.wall(), ..Stored::default() },
    ] {
        level.set(place(b"k"), &stored).await.expect("it answers");
        assert_eq!(level.get(place(b"k")).await.expect("it answers"), Some(stored));
    }
    level.remove(place(b"k")).await.expect("it answers");
    assert_eq!(level.get(place(b"k")).await.expect("it answers"), None);
    assert_eq!(level.name(), "redis");
}

#[tokio::test]
async fn the_server_removes_what_has_expired() {
    let server = server();
    let level = level(&server);
    let now = Clock::system().wall();
    let held = |held: Duration, at: Timestamp| Stored { held: Some(held), at, ..value("v") };
    level.set(place(b"k"), &held(HOUR, now)).await.expect("it answers");
    let left = number(&server, &["PTTL", "aqueduct:{n}:k"]).await;
    assert!(left > 3_500_000 && left <= 3_600_000, "{left}");
    // What was stored elsewhere before has only the rest of its time.
    level.set(place(b"k"), &held(HOUR, Timestamp(now.0 - 3_000_000))).await.expect("it answers");
    let left = number(&server, &["PTTL", "aqueduct:{n}:k"]).await;
    assert!(left > 500_000 && left <= 600_000, "{left}");
    level.set(place(b"k"), &value("for ever")).await.expect("it answers");
    assert_eq!(number(&server, &["PTTL", "aqueduct:{n}:k"]).await, -1);
    level.set(place(b"k"), &held(Duration::MAX, now)).await.expect("it answers");
    assert!(number(&server, &["PTTL", "aqueduct:{n}:k"]).await > 0);
    // With no time left it is not there, and neither is what was there before.
    level.set(place(b"k"), &held(HOUR, Timestamp(now.0 - 4_000_000))).await.expect("it answers");
    assert_eq!(number(&server, &["EXISTS", "aqueduct:{n}:k"]).await, 0);
    level
        .set(place(b"k"), &held(Duration::from_millis(20), Clock::system().wall()))
        .await
        .expect("it answers");
    soon("the end of its time", async { while number(&server, &["EXISTS", "aqueduct:{n}:k"]).await == 1 {} })
        .await;
    assert_eq!(level.get(place(b"k")).await.expect("it answers"), None);
}

#[tokio::test]
async fn clocks_that_differ_by_hours_do_not_change_a_lifetime() {
    let server = server();
    let real = Clock::system().wall().0;
    let at = |wall| {
        let (clock, _) = Clock::manual(Timestamp(wall));
        let config = RedisConfig::builder().build().expect("the defaults");
        (Redis::new(&server.url(), config, clock.clone()).expect("the address is one"), clock)
    };
    let (writer, writers) = at(real - 7_200_000);
    let fresh = Duration::from_secs(600);
    let stored = Stored { at: writers.wall(), fresh: Some(fresh), held: Some(HOUR), ..value("v") };
    writer.set(place(b"k"), &stored).await.expect("it answers");
    writer.set(place(b"for ever"), &Stored { held: None, ..stored }).await.expect("it answers");
    for wall in [real - 7_200_000, real, real + 3_600_000] {
        let (reader, readers) = at(wall);
        for key in [&b"k"[..], b"for ever"] {
            let found = reader.get(place(key)).await.expect("it answers").expect("it is there");
            let left = found.fresh_still(readers.wall()).expect("it does not stay fresh");
            // The clocks of this test stand still while the server's goes on.
            assert!(left > fresh / 2 && left <= fresh, "{left:?} of {fresh:?}");
        }
    }
}

#[tokio::test]
async fn keys_are_any_bytes_and_values_of_any_size() {
    let server = server();
    let level = level(&server);
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = vec![b'x'; 64 << 10];
    let mut other = long.clone();
    other[60_000] = b'y';
    let keys = [&b""[..], b"a:b}{%", b"\r\n\0", &every_byte, &long, &other];
    for namespace in ["n", "", "a}:{b%"] {
        for (index, key) in keys.iter().enumerate() {
            let stored = value(&format!("{namespace}{index}"));
            level.set(Place { namespace, key }, &stored).await.expect("it answers");
        }
    }
    for namespace in ["n", "", "a}:{b%"] {
        let found = level.get_many(namespace, &keys).await.expect("it answers");
        for (index, (key, found)) in keys.iter().zip(found).enumerate() {
            let wanted = Some(value(&format!("{namespace}{index}")).value);
            assert_eq!(found.map(|stored| stored.value), wanted, "{index}");
            let found = level.get(Place { namespace, key }).await.expect("it answers");
            assert_eq!(found.map(|stored| stored.value), wanted, "{index}");
        }
    }
    for size in [0, 5 << 20] {
        let big: Vec<u8> = (0..=255).cycle().take(size).collect();
        let stored = Stored { value: Some(big.clone().into()), ..Stored::default() };
        level.set(place(b"big"), &stored).await.expect("it answers");
        let found = level.get(place(b"big")).await.expect("it answers").expect("it is there");
        assert!(found.value.expect("a value") == big);
    }
}

#[tokio::test]
async fn many_keys_come_in_their_order() {
    let server = server();
    let level = level(&server);
    let keys: Vec<Vec<u8>> = (0..1_300_u32).map(|number| number.to_string().into_bytes()).collect();
    for (number, key) in keys.iter().enumerate().filter(|(number, _)| number % 3 != 0) {
        level.set(place(key), &value(&number.to_string())).await.expect("it answers");
    }
    command(&server, &["SET", "aqueduct:{n}:0", "somebody else's"]).await;
    command(&server, &["LPUSH", "aqueduct:{n}:3", "somebody else's"]).await;
    let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let found = level.get_many("n", &asked).await.expect("it answers");
    for (number, found) in found.iter().enumerate() {
        let wanted = (number % 3 != 0).then(|| number.to_string().into());
        assert_eq!(found.as_ref().and_then(|stored| stored.value.clone()), wanted, "{number}");
    }
    assert_eq!(found.len(), 1_300);
    assert_eq!(level.get_many("n", &[]).await.expect("nobody is asked"), []);
}

#[tokio::test]
async fn what_somebody_else_has_stored_is_missing_and_gives_way() {
    let server = server();
    let level = level(&server);
    command(&server, &["LPUSH", "aqueduct:{n}:list", "a"]).await;
    command(&server, &["SET", "aqueduct:{n}:text", "no header"]).await;
    command(&server, &["SET", "aqueduct:{n}:json", "{\"at\":1}\nanother header"]).await;
    command(&server, &["SET", "aqueduct:{n}:next", "aqueduct2 at=1\na later form"]).await;
    command(&server, &["SET", "aqueduct:{n}:field", "aqueduct1 at=1 of=2\nother fields"]).await;
    for key in [&b"list"[..], b"text", b"json", b"next", b"field"] {
        assert_eq!(level.get(place(key)).await.expect("it answers"), None);
        level.set(place(key), &value("ours")).await.expect("it answers");
        assert!(level.get(place(key)).await.expect("it answers").is_some());
    }
    command(&server, &["SET", "aqueduct:{n}!", "no hash"]).await;
    assert_refused(level.invalidations("n").await, "WRONGTYPE");
    assert_refused(level.invalidate("n", &Scope::All, 1).await, "WRONGTYPE");
}

#[tokio::test]
async fn a_value_that_is_too_large_leaves_nothing_under_its_key() {
    let server = server();
    let level = level_at(&server.url(), patient().value_bytes_max(1 << 10));
    level.set(place(b"k"), &value(&"x".repeat(1 << 10))).await.expect("it is just small enough");
    assert_refused(level.set(place(b"k"), &value(&"x".repeat((1 << 10) + 1))).await, "1025 bytes");
    assert_eq!(level.get(place(b"k")).await.expect("it answers"), None);
}

// ---- What is invalid ----

#[tokio::test]
async fn eight_clients_at_once_get_distinct_and_growing_editions() {
    let server = server();
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let level = level(&server);
            tokio::spawn(async move {
                let mut given = Vec::new();
                for number in 0..50 {
                    let scope = Scope::Tag(format!("{client}-{number}").into());
                    given.push(level.invalidate("n", &scope, 0).await.expect("it answers"));
                }
                assert!(given.is_sorted_by(|one, next| one < next), "{given:?}");
                given
            })
        })
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.append(&mut client.await.expect("it ends"));
    }
    all.sort_unstable();
    assert_eq!(all, (1..=400).collect::<Vec<_>>());
    let known = level(&server).invalidations("n").await.expect("it answers");
    assert_eq!((known.edition(), known.scopes().count()), (400, 400));
}

#[tokio::test]
async fn a_edition_is_at_least_what_was_asked_for_and_exact_beyond_what_a_double_holds() {
    let server = server();
    let level = level(&server);
    let tag = |tag: &str| Scope::Tag(tag.into());
    assert_eq!(level.invalidate("n", &tag("a"), 9).await.expect("it answers"), 9);
    assert_eq!(level.invalidate("n", &tag("b"), 10).await.expect("it answers"), 10);
    assert_eq!(level.invalidate("n", &tag("c"), 3).await.expect("it answers"), 11);
    let large = (1 << 53) + 1;
    assert_eq!(level.invalidate("n", &tag("d"), large).await.expect("it answers"), large);
    assert_eq!(level.invalidate("n", &tag("e"), 0).await.expect("it answers"), large + 1);
    assert_refused(level.invalidate("n", &tag("f"), (1 << 62) + 1).await, "too large");
    assert_eq!(level.invalidate("n", &Scope::All, 0).await.expect("it answers"), large + 2);
    let known = level.invalidations("n").await.expect("it answers");
    assert_eq!(known.scopes().collect::<Vec<_>>(), [(Scope::All, large + 2)]);
    assert_eq!(level.invalidations("other").await.expect("it answers"), Invalidations::default());
}

#[tokio::test]
async fn scopes_of_any_bytes_come_back_and_long_ones_cover_more() {
    let server = server();
    let level = level(&server);
    let prefix = |bytes: &[u8]| Scope::Prefix(bytes.into());
    level.invalidate("n", &prefix(b"\0\xff\r\n"), 0).await.expect("it answers");
    level.invalidate("n", &prefix(&[b'x'; 600]), 0).await.expect("it answers");
    let known = level.invalidations("n").await.expect("it answers");
    assert!(!known.is_valid(0, b"\0\xff\r\nkey", []) && known.is_valid(0, b"\0\xff", []));
    assert!(!known.is_valid(1, &[b'x'; 512], []) && known.is_valid(1, &[b'x'; 511], []));
    level.invalidate("n", &Scope::Tag("t".repeat(600).into()), 0).await.expect("it answers");
    let known = level.invalidations("n").await.expect("it answers");
    assert!(!known.is_valid(2, b"anything", []) && known.is_valid(3, b"anything", []));
}

#[tokio::test]
async fn scopes_are_bounded_and_the_older_half_becomes_one_of_everything() {
    let server = server();
    let level = level(&server);
    level.invalidate("n", &Scope::Tag("t1".into()), 0).await.expect("it answers");
    let max = Invalidations::SCOPES_MAX;
    let mut words = vec!["HSET".to_owned(), "aqueduct:{n}!".to_owned()];
    for number in 1..=max {
        words.extend([format!("#t{number}"), number.to_string()]);
    }
    words.extend(["*".to_owned(), "0".to_owned(), "edition".to_owned(), max.to_string()]);
    command(&server, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(number(&server, &["HLEN", "aqueduct:{n}!"]).await, 10_003);
    let last = level.invalidate("n", &Scope::Prefix("p".as_bytes().into()), 0).await.expect("it answers");
    assert_eq!(last, 10_001);
    // Half of 10,001 scopes, rounded up, are gone.
    assert_eq!(number(&server, &["HLEN", "aqueduct:{n}!"]).await, 5_003);
    let known = level.invalidations("n").await.expect("it answers");
    assert_eq!(known.edition(), last);
    assert!(!known.is_valid(5_000, b"k", []) && known.is_valid(5_001, b"k", []));
    assert!(!known.is_valid(9_999, b"k", ["t10000"]) && known.is_valid(10_000, b"k", ["t10000"]));
    assert!(!known.is_valid(10_000, b"p1", []));
}

#[tokio::test]
async fn a_server_that_has_forgotten_has_another_origin() {
    let server = server();
    // Time alone does not tell two origins apart.
    let (clock, _) = Clock::manual(Timestamp(0));
    let level = Redis::new(&server.url(), RedisConfig::default(), clock).expect("the address is one");
    assert_eq!(level.invalidations("n").await.expect("it answers").origin, 0);
    level.invalidate("n", &Scope::All, 0).await.expect("it answers");
    let first = level.invalidations("n").await.expect("it answers").origin;
    level.invalidate("n", &Scope::All, 0).await.expect("it answers");
    assert_eq!(level.invalidations("n").await.expect("it answers").origin, first);
    command(&server, &["FLUSHALL"]).await;
    level.invalidate("n", &Scope::All, 0).await.expect("it answers");
    let second = level.invalidations("n").await.expect("it answers").origin;
    assert!(first != 0 && second != 0 && first != second);
}

// ---- What is told ----

#[tokio::test]
async fn a_change_by_one_reaches_the_others_and_not_itself() {
    let server = server();
    let (one, two) = (level(&server), level(&server));
    let (ear, other_ear) = (Ear::on_connected(&one).await, Ear::on_connected(&two).await);
    assert!(one.pushes() && two.pushes());
    let odd = Place { namespace: "a}{%b", key: b"\0:}k" };
    two.set(odd, &value("v")).await.expect("it answers");
    two.remove(odd).await.expect("it answers");
    two.invalidate("m", &Scope::All, 0).await.expect("it answers");
    let invalidated = Heard::Invalidated("m".to_owned());
    until("the invalidation", || ear.heard(&invalidated)).await;
    let changed = Heard::Changed("a}{%b".to_owned(), b"\0:}k".to_vec());
    let heard = ear.take();
    assert!(heard.contains(&changed) && !heard.contains(&Heard::Lost), "{heard:?}");
    // What comes after all that has come, tells that nothing else will.
    one.set(place(b"last"), &value("v")).await.expect("it answers");
    let last = Heard::Changed("n".to_owned(), b"last".to_vec());
    until("the last change", || other_ear.heard(&last)).await;
    // Redis takes the script of an invalidation for somebody else.
    assert_eq!(other_ear.take(), [invalidated, last], "its own changes are not told");
}

#[tokio::test]
async fn what_expires_is_told() {
    let server = server();
    let level = level(&server);
    let ear = Ear::on_connected(&level).await;
    let stored = Stored { held: Some(Duration::from_millis(20)), at: Clock::system().wall(), ..value("v") };
    level.set(place(b"k"), &stored).await.expect("it answers");
    until("the end of its time", || ear.heard(&Heard::Changed("n".to_owned(), b"k".to_vec()))).await;
}

#[tokio::test]
async fn a_flush_and_a_change_of_a_long_key_are_told_as_lost() {
    let server = server();
    let (level, other) = (level(&server), level(&server));
    let ear = Ear::on_connected(&level).await;
    command(&server, &["FLUSHALL"]).await;
    until("the flush", || ear.lost() == 1).await;
    other.set(place(&[b'x'; 513]), &value("v")).await.expect("it answers");
    until("the change", || ear.lost() == 2).await;
    assert_eq!(ear.take(), [Heard::Lost, Heard::Lost]);
}

#[tokio::test]
async fn every_key_of_a_crowd_is_told() {
    let server = server();
    let level = level(&server);
    let ear = Ear::on_connected(&level).await;
    let mut words = vec!["MSET".to_owned()];
    words.extend((0..5_000).flat_map(|number| [format!("aqueduct:{{n}}:{number}"), String::new()]));
    command(&server, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    until("all of them", || ear.0.lock().expect("nobody panics").len() == 5_000).await;
    assert_eq!(ear.lost(), 0);
}

#[tokio::test]
async fn a_server_without_pushes_is_a_cache_that_says_so() {
    for args in [
        // Before version 6.
        &["--rename-command", "HELLO", ""][..],
        // A proxy.
        &["--rename-command", "CLIENT", ""],
        // A user that may not.
        &["--user", "default", "on", "nopass", "~*", "&*", "+@all", "-client|tracking", "-time"],
    ] {
        let server = server_with(args);
        let level = level(&server);
        let ear = Ear::on(&level);
        level.set(place(b"k"), &value("v")).await.expect("it answers");
        assert!(level.get(place(b"k")).await.expect("it answers").is_some());
        assert_eq!(level.invalidate("n", &Scope::Tag("t".into()), 4).await.expect("it answers"), 4);
        assert_eq!(level.invalidations("n").await.expect("it answers").edition(), 4);
        assert!(!level.pushes(), "{args:?}");
        assert_eq!(ear.take(), [Heard::Lost]);
    }
}

// ---- What fails ----

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_is_used_again() {
    let mut server = server();
    let level = level(&server);
    let ear = Ear::on_connected(&level).await;
    level.set(place(b"k"), &value("v")).await.expect("it answers");
    server.kill().expect("it was running");
    until("the loss", || ear.lost() == 1).await;
    assert!(!level.pushes());
    assert_away(level.get(place(b"k")).await);
    assert_away(level.set(place(b"k"), &value("v")).await);
    assert_away(level.get_many("n", &[b"k"]).await);
    assert_away(level.remove(place(b"k")).await);
    assert_away(level.invalidations("n").await);
    assert_away(level.invalidate("n", &Scope::All, 0).await);
    assert_away(level.ping().await);
    assert_eq!(ear.take(), [Heard::Lost], "it was told once");
    server.restart().expect("its port is free again");
    // With nobody asking.
    until("a new connection", || level.pushes()).await;
    assert_eq!(ear.take(), [Heard::Lost], "nobody knows what happened meanwhile");
    level.set(place(b"k"), &value("v")).await.expect("it answers");
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_with_the_next_call() {
    let mut server = server();
    // Less than a rest of those that come at last.
    let level = level_at(&server.url(), patient().connect_timeout(Duration::from_secs(1)));
    server.kill().expect("it was running");
    for _ in 0..20 {
        assert_away(level.ping().await);
    }
    server.restart().expect("its port is free again");
    level.ping().await.expect("it is asked at once, rest or no rest");
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again() {
    let server = server();
    let (level, other) = (level(&server), level(&server));
    let ear = Ear::on_connected(&level).await;
    other.ping().await.expect("it answers");
    command(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until("the loss and the new connection", || ear.lost() == 2 && level.pushes()).await;
    assert_eq!(ear.take(), [Heard::Lost, Heard::Lost]);
    until_it_answers(&other).await;
    other.set(place(b"k"), &value("v")).await.expect("it answers");
    until("a change", || ear.heard(&Heard::Changed("n".to_owned(), b"k".to_vec()))).await;
}

#[tokio::test]
async fn a_frozen_server_holds_nobody_up_and_the_silence_is_noticed() {
    let server = server();
    let config = RedisConfig::builder().heartbeat(Duration::from_millis(100));
    let level = level_at(&server.url(), config);
    until_it_answers(&level).await;
    let ear = Ear::on(&level);
    server.freeze().expect("it is running");
    let in_time = |call| tokio::time::timeout(Duration::from_secs(5), call);
    for _ in 0..3 {
        assert_away(in_time(level.get(place(b"k"))).await.expect("it ends"));
    }
    until("the loss", || ear.lost() >= 1).await;
    assert_away(in_time(level.get(place(b"k"))).await.expect("it ends"));
    server.thaw().expect("it is running");
    until_it_answers(&level).await;
    until("the new connection", || ear.lost() >= 2 && level.pushes()).await;
}

#[tokio::test]
async fn a_connection_that_is_silent_is_noticed_with_nobody_asking() {
    let server = server();
    let level = level_at(&server.url(), patient().heartbeat(Duration::from_millis(50)));
    let ear = Ear::on_connected(&level).await;
    server.freeze().expect("it is running");
    until("the loss", || ear.lost() == 1).await;
    server.thaw().expect("it is running");
    until("the new connection", || level.pushes()).await;
}

#[tokio::test]
async fn a_replica_is_read_and_refuses_to_be_written() {
    let primary = server();
    let level_of_primary = level(&primary);
    level_of_primary.set(place(b"k"), &value("v")).await.expect("it answers");
    let replica = server_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let level = level(&replica);
    assert_refused(level.set(place(b"k"), &value("v")).await, "read only replica");
    assert_refused(level.remove(place(b"k")).await, "read only replica");
    assert_refused(level.invalidate("n", &Scope::All, 0).await, "read only replica");
    let found = async {
        // It takes a while until it has what its primary has.
        while level.get(place(b"k")).await.ok().flatten().is_none() {
            tokio::task::yield_now().await;
        }
    };
    soon("the copy", found).await;
}

#[tokio::test]
async fn a_full_server_refuses_and_can_still_be_read() {
    let server = server_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let level = level(&server);
    assert_refused(level.set(place(b"k"), &value("v")).await, "OOM");
    assert_refused(level.invalidate("n", &Scope::All, 0).await, "OOM");
    assert_eq!(level.get(place(b"k")).await.expect("it answers"), None);
    level.remove(place(b"k")).await.expect("it answers");
}

#[tokio::test]
async fn a_server_that_will_do_it_later_is_away() {
    // One that has no slots yet, and one that has not heard of its primary.
    for args in [
        &["--cluster-enabled", "yes"][..],
        &["--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "no"],
    ] {
        let server = server_with(args);
        assert_away(level(&server).get(place(b"k")).await);
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_shown_nowhere() {
    let mut server = server_with(&["--requirepass", "open-sesame"]);
    let with = |user: &str| format!("redis://{user}127.0.0.1:{}/", server.port());
    assert_refused(level_at(&with(""), patient()).get(place(b"k")).await, "NOAUTH");
    let url = with(":wrong-sesame@");
    let level = level_at(&url, patient());
    let error = level.get(place(b"k")).await.expect_err("it is wrong");
    assert!(!format!("{level:?} {error:?} {}", text(&error)).contains("sesame"));
    let connections = async || {
        let client = redis::Client::open(with(":open-sesame@")).expect("the address is one");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it listens");
        let info: String =
            redis::cmd("INFO").arg("stats").query_async(&mut connection).await.expect("it tells");
        let figure = info.split("total_connections_received:").nth(1).and_then(|rest| rest.lines().next());
        figure.and_then(|figure| figure.parse::<u64>().ok()).expect("a number")
    };
    let before = connections().await;
    for _ in 0..20 {
        assert_refused(level.get(place(b"k")).await, "WRONGPASS");
    }
    let tried = connections().await - before;
    assert!(tried < 20, "it is not tried with every call: {tried}");
    let level = level_at(&with(":open-sesame@"), patient());
    level.ping().await.expect("it is right");
    assert!(!format!("{level:?}").contains("sesame"));
    let error = Redis::new("redis://u:open-sesame@[/", RedisConfig::default(), Clock::system())
        .expect_err("no address");
    assert!(!format!("{error:?} {error}").contains("sesame"));
    server.kill().expect("it was running");
    let error = level.get(place(b"k")).await.expect_err("it is gone");
    assert!(!format!("{error:?} {}", text(&error)).contains("sesame"));
}

#[tokio::test]
async fn a_closed_level_says_so_and_leaves_no_connection() {
    let server = server();
    let level = level(&server);
    let ear = Ear::on_connected(&level).await;
    let connections = async || {
        let list: String =
            redis::from_redis_value(command(&server, &["CLIENT", "LIST"]).await).expect("a text");
        list.lines().count()
    };
    assert_eq!(connections().await, 2);
    level.close().await;
    assert_eq!(ear.take(), [Heard::Lost]);
    assert_away(level.get(place(b"k")).await);
    soon("its end", async { while connections().await > 1 {} }).await;
    let dropped = self::level(&server);
    dropped.ping().await.expect("it answers");
    drop(dropped);
    soon("its end", async { while connections().await > 1 {} }).await;
}

#[test]
fn a_runtime_that_ends_takes_the_connection_and_another_one_makes_its_own() {
    let server = server();
    let level = level(&server);
    let ear = Ear::on(&level);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it can");
    for round in 1..=3 {
        runtime().block_on(level.set(place(b"k"), &value("v"))).expect("it answers");
        assert_eq!(ear.lost(), 2 * round, "one for the connection, one for its end");
    }
}

#[test]
fn bad_configuration_is_named() {
    let name = |builder: RedisBuilder| builder.build().expect_err("it is out of range").field;
    let builder = RedisConfig::builder;
    assert_eq!(name(builder().prefix("")), "prefix");
    assert_eq!(name(builder().prefix("a{b")), "prefix");
    assert_eq!(name(builder().prefix("x".repeat(257))), "prefix");
    assert_eq!(name(builder().connect_timeout(Duration::ZERO)), "connect_timeout");
    assert_eq!(name(builder().response_timeout(HOUR)), "response_timeout");
    assert_eq!(name(builder().heartbeat(Duration::from_millis(9))), "heartbeat");
    assert_eq!(name(builder().value_bytes_max(512 << 20)), "value_bytes_max");
    for url in ["", "http://127.0.0.1/", "127.0.0.1:6379", "rediss://127.0.0.1/"] {
        let error = Redis::new(url, RedisConfig::default(), Clock::system()).expect_err("not an address");
        assert_eq!(error.field, "url", "{url}");
    }
}
