//! Several nodes that make one level.

mod config;
mod hot;
mod list;
mod ring;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aqueduct_core::Clock;
use async_trait::async_trait;
use futures_util::future::{join, join_all};

pub use self::config::NodesConfig;
use self::hot::Hot;
pub use self::list::NodeList;
use self::ring::{NODES_MAX, Ring, Walk, hash, hash_of, mix};
use crate::config::Config;
use crate::error::ConfigError;
use crate::guard::{Answer, Guard, GuardStats};
use crate::invalidations::{Invalidations, Scope};
use crate::level::{Level, LevelError, Listener, Place};
use crate::levels::drawn;
use crate::local::Local;
use crate::stored::Stored;

/// A [`Level`] of several nodes, each with its share of the keys.
///
/// # The model
///
/// A key has a home, which consistent hashing gives it, and everybody who knows the same names finds it there. Each node is
/// behind a guard of its own. Where the home is away, the next node on the ring stands in; where a key is hot, the
/// two next nodes have copies, and reads are spread over the three.
///
/// Nothing old is found, because a copy outside of the home is private to this process and has a name that it loses as soon
/// as it might be old:
///
/// * What a stand-in holds is stored under the number of the outage. Its home misses the write and gets a removal instead,
///   before it is asked again; when it is back, nobody looks at the stand-in, and in the next outage the number is another.
/// * A copy of a hot key is stored under a mark that each write of the key changes once it has reached the home. A node
///   that holds an old copy need not be reached for that; where it can be, the copy is removed as well.
///
/// What others write at the home, they tell the [`Listener`]: the mark changes then too.
///
/// # The bound on the load
///
/// Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018) passes a key on when its node has
/// more than (1 + e) times the mean. A cache must find again what it has stored, and how many requests a node has at the
/// moment is known to no other process, so a key with one place is never passed on. A hot key has three: there the first in
/// turn is taken that has no more than 1.25 times the mean of the three in flight. Keys that are not hot cannot make a node much
/// busier, for none of them has more than a twentieth of the requests.
///
/// # Invalidations
///
/// Every node knows all of them: a namespace loses none with a node, and what a collapse of the recovery in the guard of a
/// node invalidates is as new as what is invalidated anywhere. First the node that has the namespace's name gives the
/// edition, then the others are told, all at once.
///
/// # Limits
///
/// * It is away when all its nodes are. A node that fails once gives a miss.
/// * A home and its two successors that are away at once have nobody to stand in for them; what is written meanwhile waits in the
///   guard of the home.
/// * Copies outside of the home are held for 5 minutes at most: nobody removes them when their names are lost.
/// * A look takes three times the time limit of a node at most. The level above has to wait that long.
pub struct Nodes {
    inner: Arc<Inner>,
}

struct Inner {
    /// Itself, for the listeners.
    me: Weak<Self>,
    nodes: Vec<Node>,
    ring: Ring,
    clock: Clock,
    /// Part of the names of all private copies, so that no two processes find each other's.
    origin: u64,
    /// Guards what is known of hot keys. Nothing else is locked under it.
    hot: Mutex<Hot>,
    /// How many hot keys there are, so that where there are none nobody waits for the lock. Set under it; a reader that sees an old
    /// number goes home, which is right at any time.
    hot_keys: AtomicUsize,
    requests: AtomicU64,
    listener: Mutex<Option<Arc<dyn Listener>>>,
    /// By namespace, what each node last said where its memory began.
    origins: Mutex<HashMap<Box<str>, Vec<u64>>>,
}

struct Node {
    name: String,
    level: Arc<dyn Level>,
    guard: Guard,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    failovers: AtomicU64,
    mirrored: AtomicU64,
}

/// What became of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodesStats {
    /// In the order in which they were given.
    pub nodes: Vec<NodeStats>,
    /// How many keys are hot at the moment.
    pub hot_keys: usize,
}

/// What became of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// What it is called.
    pub name: String,
    /// Whether it is asked at the moment.
    pub is_available: bool,
    /// Reads that came to it.
    pub requests: u64,
    /// Those that found something.
    pub hits: u64,
    /// Those that found nothing.
    pub misses: u64,
    /// Reads and writes that came to it because it stood in for another.
    pub failovers: u64,
    /// Reads that found a copy of a hot key.
    pub mirrored: u64,
    /// What its guard says.
    pub guard: GuardStats,
}

impl NodesStats {
    /// Gives the share of the reads that came to a node, of one; nought before the first.
    #[must_use]
    pub fn share(&self, node: usize) -> f64 {
        let all: u64 = self.nodes.iter().map(|node| node.requests).sum();
        self.nodes.get(node).map_or(0.0, |node| node.requests as f64 / all.max(1) as f64)
    }
}

/// One request of eight counts for what is hot: a key with a twentieth of them is found after some thousand.
const SAMPLE: u64 = 8;

/// The e of the bound, 1/4.
const BOUND: (usize, usize) = (5, 4);

/// Longer than most outages; what is asked for still is then loaded anew.
const COPY_HELD: Duration = Duration::from_secs(300);

/// A program names its namespaces; this is far more than it has.
const NAMESPACES_MAX: usize = 10_000;

impl Nodes {
    /// Makes a level of nodes. The name decides which keys a node has, so it says which machine it is and not which number.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] without a node, with more than 1,024, with two of one name, or for a field of the configuration.
    pub fn new(
        nodes: Vec<(String, Arc<dyn Level>)>,
        config: NodesConfig,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        ConfigError::check("nodes", nodes.len(), 1, NODES_MAX)?;
        let mut names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new("nodes", format_args!("{:?} twice", twice[0]), "each name once"));
        }
        let ring = Ring::new(nodes.iter().map(|(name, _)| name.as_str()));
        let inner = Arc::new_cyclic(|me: &Weak<Inner>| {
            let node = |(name, level): (String, Arc<dyn Level>)| {
                let inner = Weak::clone(me);
                let on_back = Box::new(move || {
                    if let Some(inner) = inner.upgrade() {
                        inner.lost();
                    }
                });
                let guard = Guard::new(Arc::clone(&level), config.guard, clock.clone(), on_back);
                Node::new(name, level, guard)
            };
            Inner {
                me: Weak::clone(me),
                nodes: nodes.into_iter().map(node).collect(),
                ring,
                clock: clock.clone(),
                origin: drawn(),
                hot: Mutex::new(Hot::new(config.hot_share)),
                hot_keys: AtomicUsize::new(0),
                requests: AtomicU64::new(0),
                listener: Mutex::default(),
                origins: Mutex::default(),
            }
        });
        // Also where nobody above listens: the marks of hot keys depend on it.
        for node in &inner.nodes {
            node.level.listen(Arc::new(Ear(Weak::clone(&inner.me))));
        }
        Ok(Self { inner })
    }

    /// Makes nodes in the memory of this process, each of which holds `each`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for none, or more than 1,024.
    pub fn local(nodes: usize, each: Config) -> Result<Self, ConfigError> {
        let clock = Clock::system();
        let node = |number: usize| {
            let level: Arc<dyn Level> = Arc::new(Local::with_clock(each, clock.clone()));
            (format!("local-{number}"), level)
        };
        // Checked before as many are made.
        ConfigError::check("nodes", nodes, 1, NODES_MAX)?;
        Self::new((0..nodes).map(node).collect(), NodesConfig::default(), clock)
    }

    /// Gives what became of the nodes: node by node, so that changes meanwhile may show at one and not at another.
    #[must_use]
    pub fn stats(&self) -> NodesStats {
        let nodes = self.inner.nodes.iter().map(Node::stats).collect();
        NodesStats { nodes, hot_keys: self.inner.hot_keys.load(Ordering::Relaxed) }
    }

    /// Gives the name of the node that is the home of a key.
    #[must_use]
    pub fn home(&self, place: Place<'_>) -> &str {
        let walk = self.inner.ring.walk(hash_of(place));
        walk.nodes().next().map_or("", |home| &self.inner.nodes[home].name)
    }
}

#[async_trait]
impl Level for Nodes {
    fn name(&self) -> &'static str {
        "nodes"
    }

    async fn get(&self, place: Place<'_>) -> Result<Option<Stored>, LevelError> {
        let hash = hash_of(place);
        let mark = self.inner.sample(hash);
        let found = self.inner.find(place, &self.inner.ring.walk(hash), mark).await;
        self.inner.said(found)
    }

    async fn get_many(&self, namespace: &str, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, LevelError> {
        let inner = &*self.inner;
        let mut by_home: Vec<Vec<usize>> = vec![Vec::new(); inner.nodes.len()];
        let mut alone = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            let hash = hash_of(Place { namespace, key });
            let walk = inner.ring.walk(hash);
            let mark = inner.sample(hash);
            match walk.nodes().next() {
                Some(home) if mark.is_none() && !inner.nodes[home].guard.is_open() => {
                    by_home[home].push(number)
                }
                _ => alone.push((number, walk, mark)),
            }
        }
        let at_home = by_home.iter().enumerate().filter(|(_, numbers)| !numbers.is_empty());
        let at_home = join_all(at_home.map(|(home, numbers)| async move {
            let wanted: Vec<&[u8]> = numbers.iter().map(|&number| keys[number]).collect();
            let answers = inner.nodes[home].get_many(namespace, &wanted).await;
            numbers.iter().copied().zip(answers).collect::<Vec<_>>()
        }));
        let alone = join_all(alone.iter().map(|(number, walk, mark)| async move {
            (*number, inner.find(Place { namespace, key: keys[*number] }, walk, *mark).await)
        }));
        let (at_home, alone) = join(at_home, alone).await;
        let mut found = vec![None; keys.len()];
        for (number, answer) in at_home.into_iter().flatten().chain(alone) {
            found[number] = inner.said(answer)?;
        }
        Ok(found)
    }

    async fn set(&self, place: Place<'_>, stored: &Stored) -> Result<(), LevelError> {
        self.inner.write(place, Some(stored)).await;
        Ok(())
    }

    async fn remove(&self, place: Place<'_>) -> Result<(), LevelError> {
        self.inner.write(place, None).await;
        Ok(())
    }

    async fn invalidations(&self, namespace: &str) -> Result<Invalidations, LevelError> {
        let nodes = self.inner.nodes.iter();
        let said = join_all(nodes.map(|node| node.guard.invalidations(namespace))).await;
        if said.iter().all(Option::is_none) {
            return Err(away());
        }
        let mut all = Invalidations::default();
        said.iter().flatten().for_each(|said| all.merge(said));
        all.origin = self.inner.origin_of(namespace, &said);
        Ok(all)
    }

    async fn invalidate(&self, namespace: &str, scope: &Scope, edition: u64) -> Result<u64, LevelError> {
        let nodes = &self.inner.nodes;
        let walk = self.inner.ring.walk(hash([namespace.as_bytes()]));
        let first = walk.nodes().find(|&node| !nodes[node].guard.is_open());
        let given = match first {
            Some(first) => nodes[first].guard.invalidate(namespace, scope, edition).await,
            None => None,
        };
        let edition = given.unwrap_or(edition);
        let others = nodes.iter().enumerate().filter(|(number, _)| Some(*number) != first);
        let told = others.map(|(_, node)| node.guard.invalidate(namespace, scope, edition));
        join_all(told).await.into_iter().chain([given]).flatten().max().ok_or_else(away)
    }

    async fn ping(&self) -> Result<(), LevelError> {
        if self.inner.is_away() { Err(away()) } else { Ok(()) }
    }

    fn listen(&self, listener: Arc<dyn Listener>) {
        *lock(&self.inner.listener) = Some(listener);
    }

    async fn close(&self) {
        join_all(self.inner.nodes.iter().map(|node| node.guard.close())).await;
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

// ---- who serves ----

/// The nodes that a key concerns now, and what it is called there.
struct Route<'a> {
    /// Those that are away: what they hold is to be gone before they are asked again.
    skipped: Vec<(usize, Cow<'a, str>)>,
    /// The one to ask, if there is one.
    serving: Option<(usize, Cow<'a, str>)>,
}

impl Inner {
    /// Goes along a walk to the first node that is there. What it holds for others has the numbers of their outages in its
    /// name, so that it is found in these outages only.
    fn route<'a>(&self, walk: &Walk, namespace: &'a str) -> Route<'a> {
        let mut route = Route { skipped: Vec::new(), serving: None };
        let mut name = Cow::Borrowed(namespace);
        let mut outages = self.origin;
        for number in walk.nodes() {
            let Some(outage) = self.nodes[number].guard.outage() else {
                route.serving = Some((number, name));
                break;
            };
            outages = mix(mix(outages ^ hash([self.nodes[number].name.as_bytes()])).wrapping_add(outage));
            route.skipped.push((number, name));
            name = Cow::Owned(format!("{namespace}#{outages:016x}"));
        }
        route
    }

    async fn find(&self, place: Place<'_>, walk: &Walk, mark: Option<u64>) -> Answer {
        let route = self.route(walk, place.namespace);
        let serving = route.serving.as_ref().map(|(number, _)| *number);
        let copy = mark.and_then(|mark| Some((mark, self.lightest(walk).filter(|at| Some(*at) != serving)?)));
        let Some((mark, at)) = copy else { return self.find_by(place, &route).await };
        // The mark was read before the home is asked: a write in between changes it, and what is stored here is not found.
        let namespace = self.name_of_copies(place.namespace, mark);
        let copy = Place { namespace: &namespace, key: place.key };
        let node = &self.nodes[at];
        if let Answer::Found(stored) = node.get(copy).await {
            node.mirrored.fetch_add(1, Ordering::Relaxed);
            return Answer::Found(stored);
        }
        let answer = self.find_by(place, &route).await;
        if let Answer::Found(stored) = &answer {
            node.guard.set(copy, self.briefly(stored)).await;
        }
        answer
    }

    async fn find_by(&self, place: Place<'_>, route: &Route<'_>) -> Answer {
        match &route.serving {
            Some((number, namespace)) => {
                let node = &self.nodes[*number];
                if !route.skipped.is_empty() {
                    node.failovers.fetch_add(1, Ordering::Relaxed);
                }
                node.get(Place { namespace, ..place }).await
            }
            // What waits for the home is known all the same.
            None => match route.skipped.first() {
                Some((home, namespace)) => self.nodes[*home].get(Place { namespace, ..place }).await,
                None => Answer::Away,
            },
        }
    }

    /// Sets or removes at all nodes where the key may be found.
    async fn write(&self, place: Place<'_>, stored: Option<&Stored>) {
        let hash = hash_of(place);
        let walk = self.ring.walk(hash);
        let changed = Changed { inner: self, hash, old: None };
        let route = self.route(&walk, place.namespace);
        let keeper = route.serving.as_ref().or(route.skipped.first()).map(|(number, _)| *number);
        let is_failover = route.serving.is_some() && !route.skipped.is_empty();
        let concerned = route.skipped.iter().chain(&route.serving);
        join_all(concerned.map(|(number, namespace)| async move {
            let node = &self.nodes[*number];
            let place = Place { namespace, ..place };
            match stored.filter(|_| Some(*number) == keeper) {
                None => node.guard.remove(place).await,
                Some(stored) if is_failover => {
                    node.failovers.fetch_add(1, Ordering::Relaxed);
                    node.guard.set(place, self.briefly(stored)).await;
                }
                Some(stored) => node.guard.set(place, stored.clone()).await,
            }
        }))
        .await;
        // From here on nobody finds the copies. That they go is for the room they take.
        let Some(mark) = changed.now() else { return };
        let namespace = self.name_of_copies(place.namespace, mark);
        let holders = walk.nodes().map(|number| &self.nodes[number]).filter(|node| !node.guard.is_open());
        let copy = Place { namespace: &namespace, key: place.key };
        join_all(holders.map(|node| node.guard.remove(copy))).await;
    }

    // ---- hot keys ----

    /// Counts a request, and gives the mark of the key if it is hot.
    fn sample(&self, hash: u64) -> Option<u64> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        // Not every eighth: requests may come in rounds.
        if mix(number).is_multiple_of(SAMPLE) {
            let mut hot = lock(&self.hot);
            hot.count(hash);
            self.hot_keys.store(hot.len(), Ordering::Relaxed);
        }
        if self.hot_keys.load(Ordering::Relaxed) == 0 {
            return None;
        }
        lock(&self.hot).mark(hash)
    }

    /// Chooses a node for a key that is at all of a walk: the next in turn within the bound, else the one with the least.
    fn lightest(&self, walk: &Walk) -> Option<usize> {
        let there: Vec<(usize, usize)> = walk
            .nodes()
            .filter(|&number| !self.nodes[number].guard.is_open())
            .map(|number| (number, self.nodes[number].in_flight.load(Ordering::Relaxed)))
            .collect();
        let all: usize = there.iter().map(|(_, in_flight)| in_flight + 1).sum();
        let bound = (all * BOUND.0).div_ceil(BOUND.1 * there.len().max(1));
        let turn =
            usize::try_from(mix(self.requests.load(Ordering::Relaxed)) % ring::WALK as u64).unwrap_or(0);
        let in_turn = || there.iter().cycle().skip(turn).take(there.len());
        let within = in_turn().find(|(_, in_flight)| *in_flight < bound);
        within.or_else(|| in_turn().min_by_key(|(_, in_flight)| *in_flight)).map(|(number, _)| *number)
    }

    fn name_of_copies(&self, namespace: &str, mark: u64) -> String {
        // Another sequence than that of the outages.
        format!("{namespace}#{:016x}", mix(mix(!self.origin).wrapping_add(mark)))
    }

    /// Holds something no longer than a copy is to be held.
    fn briefly(&self, stored: &Stored) -> Stored {
        let age = self.clock.wall().0.saturating_sub(stored.at.0);
        let until = Duration::from_millis(u64::try_from(age).unwrap_or(0)).saturating_add(COPY_HELD);
        Stored { held: Some(stored.held.map_or(until, |held| held.min(until))), ..stored.clone() }
    }

    // ---- what others say ----

    fn changed(&self, place: Place<'_>) {
        lock(&self.hot).change(hash_of(place));
        self.tell(|listener| listener.changed(place));
    }

    fn lost(&self) {
        lock(&self.hot).change_all();
        self.tell(|listener| listener.lost());
    }

    fn tell(&self, what: impl Fn(&dyn Listener)) {
        let listener = lock(&self.listener).clone();
        if let Some(listener) = listener {
            what(&*listener);
        }
    }

    /// Gives another number when a node has forgotten what was invalidated. A node that is away has forgotten nothing.
    fn origin_of(&self, namespace: &str, said: &[Option<Invalidations>]) -> u64 {
        let mut origins = lock(&self.origins);
        if origins.len() >= NAMESPACES_MAX && !origins.contains_key(namespace) {
            origins.clear();
        }
        let known = origins.entry(namespace.into()).or_insert_with(|| vec![0; self.nodes.len()]);
        for (known, said) in known.iter_mut().zip(said) {
            *known = said.as_ref().map_or(*known, |said| said.origin);
        }
        // The same in every process, in whatever order it knows the nodes.
        let each = self.nodes.iter().zip(&*known).filter(|(_, origin)| **origin != 0);
        each.map(|(node, origin)| mix(hash([node.name.as_bytes()]) ^ origin)).fold(0, u64::wrapping_add)
    }

    fn is_away(&self) -> bool {
        self.nodes.iter().all(|node| node.guard.is_open())
    }

    /// A node that does not answer gives a miss; the level is away when all of them are.
    fn said(&self, answer: Answer) -> Result<Option<Stored>, LevelError> {
        match answer {
            Answer::Found(stored) => Ok(Some(stored)),
            Answer::Away if self.is_away() => Err(away()),
            Answer::Missing | Answer::Away => Ok(None),
        }
    }
}

fn away() -> LevelError {
    LevelError::Away { level: "nodes", source: "all nodes are away".into() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is done under them does not panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the mark of a key when the write of it has ended, in whichever way: a caller that was dropped has left it to the
/// guards.
struct Changed<'a> {
    inner: &'a Inner,
    hash: u64,
    old: Option<u64>,
}

impl Changed<'_> {
    fn now(mut self) -> Option<u64> {
        self.change();
        self.old
    }

    fn change(&mut self) {
        self.old = lock(&self.inner.hot).change(self.hash);
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        if self.old.is_none() {
            self.change();
        }
    }
}

struct Ear(Weak<Inner>);

impl Listener for Ear {
    fn changed(&self, place: Place<'_>) {
        if let Some(inner) = self.0.upgrade() {
            inner.changed(place);
        }
    }

    fn invalidated(&self, namespace: &str) {
        if let Some(inner) = self.0.upgrade() {
            inner.tell(|listener| listener.invalidated(namespace));
        }
    }

    fn lost(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.lost();
        }
    }
}

// ---- a node ----

impl Node {
    fn new(name: String, level: Arc<dyn Level>, guard: Guard) -> Self {
        Self {
            name,
            level,
            guard,
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            failovers: AtomicU64::new(0),
            mirrored: AtomicU64::new(0),
        }
    }

    async fn get(&self, place: Place<'_>) -> Answer {
        let _in_flight = InFlight::new(&self.in_flight);
        let answer = self.guard.get(place).await;
        self.count(&answer);
        answer
    }

    async fn get_many(&self, namespace: &str, keys: &[&[u8]]) -> Vec<Answer> {
        let _in_flight = InFlight::new(&self.in_flight);
        let answers = self.guard.get_many(namespace, keys).await;
        answers.iter().for_each(|answer| self.count(answer));
        answers
    }

    fn count(&self, answer: &Answer) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let counter = if matches!(answer, Answer::Found(_)) { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn stats(&self) -> NodeStats {
        NodeStats {
            name: self.name.clone(),
            is_available: !self.guard.is_open(),
            requests: self.requests.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            failovers: self.failovers.load(Ordering::Relaxed),
            mirrored: self.mirrored.load(Ordering::Relaxed),
            guard: self.guard.stats(),
        }
    }
}

/// A request that counts until it is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
