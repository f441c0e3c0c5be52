use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use aqueduct_cache::{
    Config, GuardConfig, Level, Listener, Local, NodeList, Nodes, NodesConfig, Place, Scope, Stored,
};
use aqueduct_core::{Clock, ManualClock, Timestamp};
use proptest::prelude::*;

use crate::scripted::{MOODS, Mood, Scripted, settle, until, value};

const LIMIT: Duration = Duration::from_millis(30);
const COOL_DOWN: Duration = Duration::from_millis(500);

struct Cluster {
    nodes: Nodes,
    levels: Vec<Arc<Scripted>>,
    time: ManualClock,
}

fn cluster(size: usize, guard: GuardConfig) -> Cluster {
    let (clock, time) = Clock::manual(Timestamp(1_000_000));
    let levels: Vec<_> = (0..size).map(|_| Scripted::new()).collect();
    let named = levels.iter().enumerate();
    let named = named.map(|(number, level)| (format!("n{number}"), Arc::clone(level) as Arc<dyn Level>));
    let config = NodesConfig::default().with_guard(guard);
    Cluster { nodes: Nodes::new(named.collect(), config, clock).unwrap(), levels, time }
}

fn three() -> Cluster {
    cluster(3, GuardConfig::builder().time_limit(LIMIT).build().unwrap())
}

fn place(key: &[u8]) -> Place<'_> {
    Place { namespace: "n", key }
}

impl Cluster {
    fn home(&self, place: Place<'_>) -> usize {
        self.nodes.home(place)[1..].parse().unwrap()
    }

    async fn get(&self, place: Place<'_>) -> Option<Stored> {
        self.through(self.nodes.get(place)).await.unwrap_or(None)
    }

    async fn set(&self, place: Place<'_>, stored: &Stored) {
        self.through(self.nodes.set(place, stored)).await.unwrap();
    }

    async fn remove(&self, place: Place<'_>) {
        self.through(self.nodes.remove(place)).await.unwrap();
    }

    /// Waits for something, and lets its time limits run out.
    async fn through<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        for round in 0..2_000 {
            let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            if let Poll::Ready(said) = polled {
                return said;
            }
            tokio::task::yield_now().await;
            if round % 20 == 19 {
                self.time.advance(LIMIT);
            }
        }
        panic!("it never ended");
    }

    /// Lets a node fail until it is left alone.
    async fn lose(&self, node: usize) {
        self.levels[node].is(Mood::Fails);
        for key in 0..10_000_u32 {
            if !self.nodes.stats().nodes[node].is_available {
                return;
            }
            let key = format!("lost {key}");
            if self.home(place(key.as_bytes())) == node {
                self.get(place(key.as_bytes())).await;
            }
        }
        panic!("it never opened");
    }

    async fn come_back(&self) {
        self.levels.iter().for_each(|level| level.is(Mood::Well));
        for _ in 0..100 {
            self.time.advance(COOL_DOWN);
            settle().await;
            if self.nodes.stats().nodes.iter().all(|node| node.is_available && node.guard.waiting == 0) {
                return;
            }
        }
        panic!("they never came back: {:?}", self.nodes);
    }
}

/// A value without the time that a copy is held.
fn text(stored: Option<Stored>) -> Option<String> {
    Some(String::from_utf8(stored?.value?.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_set_is_found_at_its_home_and_nowhere_else() {
    let cluster = three();
    for key in 0..100_u32 {
        let key = key.to_string();
        let place = place(key.as_bytes());
        cluster.set(place, &value(&key, 3)).await;
        assert_eq!(cluster.get(place).await, Some(value(&key, 3)));
        for (number, level) in cluster.levels.iter().enumerate() {
            assert_eq!(level.value(place).is_some(), number == cluster.home(place));
        }
    }
    let keys: Vec<String> = (0..120).map(|key| key.to_string()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    let calls = || cluster.levels.iter().map(|level| level.calls()).sum::<u64>();
    let before = calls();
    let found = cluster.nodes.get_many("n", &keys).await.unwrap();
    assert_eq!(calls() - before, 3, "one call of each node");
    for (number, found) in found.into_iter().enumerate() {
        assert_eq!(found, (number < 100).then(|| value(number, 3)), "{number}");
    }
}

#[tokio::test]
async fn another_node_stands_in_and_nothing_old_is_found_when_the_home_is_back() {
    let cluster = three();
    let a = place(b"a");
    let home = cluster.home(a);
    cluster.set(a, &value("old", 0)).await;
    cluster.lose(home).await;
    assert_eq!(cluster.get(a).await, None, "its home has it, and is away");
    cluster.set(a, &value("new", 0)).await;
    assert_eq!(text(cluster.get(a).await).as_deref(), Some("new"), "from the one that stands in");
    let stats = cluster.nodes.stats();
    assert!(!stats.nodes[home].is_available);
    assert!(stats.nodes.iter().map(|node| node.failovers).sum::<u64>() >= 3);
    cluster.come_back().await;
    assert_ne!(text(cluster.get(a).await).as_deref(), Some("old"));

    // And what stood in is not believed the next time.
    cluster.set(a, &value("newest", 0)).await;
    assert_eq!(text(cluster.get(a).await).as_deref(), Some("newest"));
    cluster.lose(home).await;
    assert_eq!(cluster.get(a).await, None);
}

#[tokio::test]
async fn a_stand_in_that_was_away_itself_shows_nothing_old() {
    let cluster = three();
    let a = place(b"a");
    let home = cluster.home(a);
    cluster.lose(home).await;
    cluster.set(a, &value("first", 0)).await;
    let stand_in = (0..3).find(|&node| !cluster.levels[node].values.lock().unwrap().is_empty()).unwrap();
    cluster.levels[stand_in].is(Mood::Fails);
    for _ in 0..3 {
        cluster.get(a).await;
    }
    assert!(!cluster.nodes.stats().nodes[stand_in].is_available);
    cluster.set(a, &value("second", 0)).await;
    assert_eq!(text(cluster.get(a).await).as_deref(), Some("second"), "from the last of the three");
    cluster.levels[stand_in].is(Mood::Well);
    for _ in 0..10 {
        cluster.time.advance(COOL_DOWN);
        settle().await;
    }
    let stats = cluster.nodes.stats();
    assert!(stats.nodes[stand_in].is_available && !stats.nodes[home].is_available);
    assert_ne!(text(cluster.get(a).await).as_deref(), Some("first"));
}

#[tokio::test]
async fn it_is_away_when_all_nodes_are_and_not_before() {
    let cluster = three();
    cluster.lose(0).await;
    cluster.lose(1).await;
    assert!(cluster.nodes.ping().await.is_ok());
    assert_eq!(cluster.nodes.get(place(b"a")).await.unwrap(), None);
    cluster.lose(2).await;
    assert!(cluster.nodes.ping().await.is_err());
    assert!(cluster.nodes.get(place(b"a")).await.is_err());
    assert!(cluster.nodes.invalidations("n").await.is_err());
    cluster.set(place(b"a"), &value("kept", 0)).await;
    assert_eq!(text(cluster.get(place(b"a")).await).as_deref(), Some("kept"), "it waits for its home");
    cluster.come_back().await;
    assert_eq!(text(cluster.get(place(b"a")).await).as_deref(), Some("kept"));
}

#[tokio::test]
async fn reads_of_a_hot_key_are_spread_and_a_write_reaches_all_of_them() {
    let cluster = three();
    let a = place(b"hot");
    cluster.set(a, &value("old", 0)).await;
    for _ in 0..10_000 {
        assert_eq!(text(cluster.get(a).await).as_deref(), Some("old"));
    }
    let stats = cluster.nodes.stats();
    assert_eq!(stats.hot_keys, 1);
    for node in 0..3 {
        assert!(stats.share(node) > 0.25, "{stats:?}");
    }
    cluster.set(a, &value("new", 0)).await;
    for _ in 0..100 {
        assert_eq!(text(cluster.get(a).await).as_deref(), Some("new"));
    }
    cluster.remove(a).await;
    for level in &cluster.levels {
        assert!(level.values.lock().unwrap().is_empty(), "no copy is left");
    }
    assert_eq!(cluster.get(a).await, None);
}

#[tokio::test]
async fn a_removal_that_cannot_reach_a_copy_hides_it_all_the_same() {
    let cluster = three();
    let a = place(b"hot");
    cluster.set(a, &value("old", 0)).await;
    for _ in 0..5_000 {
        cluster.get(a).await;
    }
    let home = cluster.home(a);
    let copies: Vec<usize> = (0..3).filter(|&node| node != home).collect();
    assert!(copies.iter().all(|&node| !cluster.levels[node].values.lock().unwrap().is_empty()));
    copies.iter().for_each(|&node| cluster.levels[node].is(Mood::Hangs));
    cluster.remove(a).await;
    copies.iter().for_each(|&node| cluster.levels[node].is(Mood::Well));
    for _ in 0..100 {
        assert_eq!(cluster.get(a).await, None);
    }
}

#[tokio::test]
async fn no_invalidation_is_lost_with_a_node() {
    let cluster = three();
    let tag = Scope::Tag("t".into());
    let first = cluster.nodes.invalidate("n", &tag, 5).await.unwrap();
    assert_eq!(first, 5);
    let origin = cluster.nodes.invalidations("n").await.unwrap().origin;
    for node in 0..3 {
        cluster.lose(node).await;
        let known = cluster.nodes.invalidations("n").await.unwrap();
        assert!(!known.is_valid(4, b"a", ["t"]), "without {node}");
        assert_eq!(known.origin, origin, "nothing was forgotten");
        let next = cluster.nodes.invalidate("n", &Scope::All, 0).await.unwrap();
        cluster.come_back().await;
        assert!(!cluster.nodes.invalidations("n").await.unwrap().is_valid(next - 1, b"a", []));
    }
    cluster.levels[1].invalidations.lock().unwrap().clear();
    assert_ne!(cluster.nodes.invalidations("n").await.unwrap().origin, origin, "one has forgotten");
}

struct Heard(AtomicU64);

impl Listener for Heard {
    fn changed(&self, _: Place<'_>) {}
    fn invalidated(&self, _: &str) {}
    fn lost(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn whoever_listens_hears_that_a_node_is_back() {
    let cluster = three();
    let heard = Arc::new(Heard(AtomicU64::new(0)));
    cluster.nodes.listen(Arc::clone(&heard) as Arc<dyn Listener>);
    cluster.lose(1).await;
    assert_eq!(heard.0.load(Ordering::SeqCst), 0);
    cluster.come_back().await;
    assert_eq!(heard.0.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_tasks_at_once_read_what_they_wrote() {
    let nodes = Arc::new(Nodes::local(3, Config::builder().capacity(10_000).build().unwrap()).unwrap());
    let task = |task: u32| {
        let nodes = Arc::clone(&nodes);
        async move {
            for round in 0..500_u32 {
                let key = format!("{task}:{}", round % 7);
                let place = place(key.as_bytes());
                nodes.set(place, &value(round, 0)).await.unwrap();
                assert_eq!(nodes.get(place).await.unwrap(), Some(value(round, 0)));
                nodes.get(Place { namespace: "n", key: b"shared" }).await.unwrap();
                if round % 3 == 0 {
                    nodes.remove(place).await.unwrap();
                    assert_eq!(nodes.get(place).await.unwrap(), None);
                }
            }
        }
    };
    let tasks: Vec<_> = (0..16).map(|number| tokio::spawn(task(number))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = nodes.stats();
    assert_eq!(stats.nodes.iter().map(|node| node.guard.failures).sum::<u64>(), 0);
    let requests: u64 = stats.nodes.iter().map(|node| node.requests).sum();
    assert_eq!(requests, stats.nodes.iter().map(|node| node.hits + node.misses).sum::<u64>());
}

#[tokio::test]
async fn a_local_node_forgets_what_has_expired_and_keeps_what_was_invalidated() {
    let (clock, time) = Clock::manual(Timestamp(1_000_000));
    let node = Local::with_clock(Config::default(), clock);
    let short = Stored { held: Some(Duration::from_secs(1)), at: Timestamp(1_000_000), ..value("a", 0) };
    node.set(place(b"short"), &short).await.unwrap();
    node.set(place(b"long"), &value("b", 0)).await.unwrap();
    // The same bytes one after the other, and another place.
    node.set(Place { namespace: "nl", key: b"ong" }, &value("c", 0)).await.unwrap();
    time.advance(Duration::from_secs(1));
    assert_eq!(node.get(place(b"short")).await.unwrap(), None);
    assert_eq!(node.get(place(b"long")).await.unwrap(), Some(value("b", 0)));
    assert_eq!(node.invalidations("n").await.unwrap().origin, 0, "nothing is remembered yet");
    assert_eq!(node.invalidate("n", &Scope::All, 0).await.unwrap(), 1);
    assert_eq!(node.invalidate("n", &Scope::All, 0).await.unwrap(), 2);
    assert_eq!(node.invalidate("n", &Scope::All, 9).await.unwrap(), 9);
    let known = node.invalidations("n").await.unwrap();
    assert!(known.origin != 0 && !known.is_valid(8, b"long", []));
}

#[test]
fn a_list_of_nodes_says_what_is_meant_or_what_is_wrong() {
    assert_eq!("local:3".parse(), Ok(NodeList::Local(3)));
    let servers = ["redis://a:6379".to_owned(), "rediss://b:6380/1".to_owned()];
    assert_eq!(" redis://a:6379, rediss://b:6380/1 ".parse(), Ok(NodeList::Redis(servers.into())));
    for wrong in [
        "",
        "local",
        "local:0",
        "local:-1",
        "local:1025",
        "a:6379",
        "redis://",
        "redis://a,,",
        "redis://a,redis://a",
    ] {
        let error = wrong.parse::<NodeList>().unwrap_err();
        assert_eq!((error.field, error.value), ("nodes", format!("{wrong:?}")));
    }
}

#[test]
fn what_cannot_be_a_cluster_is_refused() {
    let level = || Scripted::new() as Arc<dyn Level>;
    let make = |nodes, config| Nodes::new(nodes, config, Clock::system()).map(drop).unwrap_err();
    make(vec![], NodesConfig::default());
    make(vec![("a".to_owned(), level()), ("a".to_owned(), level())], NodesConfig::default());
    make(vec![("a".to_owned(), level())], NodesConfig::default().with_hot_share(0.001));
    assert!(Nodes::local(0, Config::default()).is_err());
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8),
    Remove(u8),
    /// So often that it becomes hot.
    Get(u8, u16),
    GetMany,
    RemoveAndGo(u8, usize),
    Become(usize, Mood),
    Advance(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..5_u8;
    let step = prop_oneof![
        4 => key.clone().prop_map(Step::Set),
        3 => key.clone().prop_map(Step::Remove),
        4 => (key.clone(), 1..4_u16).prop_map(|(key, times)| Step::Get(key, times)),
        1 => key.clone().prop_map(|key| Step::Get(key, 1_500)),
        1 => Just(Step::GetMany),
        1 => (key, 1..4_usize).prop_map(|(key, polls)| Step::RemoveAndGo(key, polls)),
        3 => (0..4_usize, 0..MOODS.len()).prop_map(|(node, mood)| Step::Become(node, MOODS[mood])),
        2 => (0..4_usize).prop_map(|node| Step::Become(node, Mood::Well)),
        3 => (1..700_u16).prop_map(Step::Advance),
    ];
    proptest::collection::vec(step, 1..60)
}

async fn follow(cluster: &Cluster, steps: &[Step]) {
    let mut model: HashMap<u8, String> = HashMap::new();
    let keys: Vec<[u8; 1]> = (0..5).map(|key| [key]).collect();
    let at = |key: u8| place(&keys[usize::from(key)]);
    let check = |key: u8, found: Option<Stored>, model: &HashMap<u8, String>| {
        if let Some(found) = text(found) {
            assert_eq!(Some(&found), model.get(&key), "of {key}");
        }
    };
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Set(key) => {
                cluster.set(at(key), &value(number, 0)).await;
                model.insert(key, number.to_string());
            }
            Step::Remove(key) => {
                cluster.remove(at(key)).await;
                model.remove(&key);
            }
            Step::Get(key, times) => {
                for _ in 0..times {
                    check(key, cluster.get(at(key)).await, &model);
                }
            }
            Step::GetMany => {
                let all: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                let found = cluster.through(cluster.nodes.get_many("n", &all)).await.unwrap_or_default();
                found.into_iter().zip(0..).for_each(|(found, key)| check(key, found, &model));
            }
            Step::RemoveAndGo(key, polls) => {
                let mut call = pin!(cluster.nodes.remove(at(key)));
                for _ in 0..polls {
                    if std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                model.remove(&key);
            }
            Step::Become(node, mood) => cluster.levels[node].is(mood),
            Step::Advance(millis) => {
                cluster.time.advance(Duration::from_millis(u64::from(millis)));
                settle().await;
            }
        }
    }
    cluster.come_back().await;
    for key in 0..5 {
        check(key, cluster.get(at(key)).await, &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn once_a_write_has_returned_nothing_older_is_found_whatever_the_nodes_do(
        steps in steps(),
        entries in prop_oneof![Just(3_usize), Just(1_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let guard = GuardConfig::builder().time_limit(LIMIT).recovery_entries_max(entries).build().unwrap();
            follow(&cluster(4, guard), &steps).await;
        });
    }
}

#[tokio::test]
async fn closing_writes_what_waits() {
    let cluster = three();
    let a = place(b"a");
    cluster.set(a, &value("old", 0)).await;
    let home = cluster.home(a);
    cluster.lose(home).await;
    cluster.remove(a).await;
    cluster.levels[home].is(Mood::Well);
    cluster.through(cluster.nodes.close()).await;
    until(|| cluster.levels[home].value(a).is_none()).await;
}
