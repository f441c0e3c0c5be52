use std::collections::BTreeSet;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use aqueduct_core::{Clock, Forget, Instant, Random, Verdict};
use arc_swap::ArcSwap;

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::error::{CallError, ChangeError, ConfigError, NoEndpoint};
use crate::event::Event;
use crate::hash::{GAMMA, mix};
use crate::lease::Lease;
use crate::load::Moment;
use crate::metrics::Metrics;
use crate::node::{Core, Node, Settings};
use crate::outlier::{Decision, Tally};
use crate::snapshot::Figures;
use crate::strategy::Ask;
use crate::view::View;

/// A set of endpoints from which it picks one for each call. Cheap to clone; clones are one balancer.
///
/// A pick reads a view that is made anew when something about the endpoints changes, takes no lock, and allocates
/// nothing. Whoever picks when something is due (the end of an ejection, a sweep, a step of a slow start) does that
/// first; others go on meanwhile with the view that there is. There is no task behind it.
pub struct Balancer<E>(Arc<Shared<E>>);

struct Shared<E> {
    core: Arc<Core>,
    view: ArcSwap<View<E>>,
    /// Guards who is in the set, and is held by whoever makes a view. In the order of their ids.
    members: Mutex<Vec<Arc<Node<E>>>>,
    /// Where round robin stands.
    turn: Arc<AtomicUsize>,
    /// The seed of the next pick's chance, a step of SplitMix64's sequence further each time. Relaxed: every step is
    /// taken once.
    chance: AtomicU64,
    ids: AtomicU64,
}

/// Whether an endpoint is well, as somebody found out who asked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Healthy,
    /// It is not.
    Unhealthy,
}

type Members<'a, E> = MutexGuard<'a, Vec<Arc<Node<E>>>>;

impl<E> Balancer<E> {
    /// A balancer of these endpoints.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there are none, when two have one name, and for a weight or a name that cannot be.
    pub fn new(
        endpoints: impl IntoIterator<Item = Endpoint<E>>,
        config: Config,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        Self::seeded(endpoints, config, clock, 0)
    }

    /// The same, with the seed of its chance. Balancers of one service on many machines want different seeds.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn seeded(
        endpoints: impl IntoIterator<Item = Endpoint<E>>,
        config: Config,
        clock: Clock,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let shared = Shared {
            view: ArcSwap::from_pointee(View::empty(config.algorithm)),
            core: Arc::new(Core::new(config, clock, seed)),
            members: Mutex::new(Vec::new()),
            turn: Arc::new(AtomicUsize::new(0)),
            chance: AtomicU64::new(mix(seed.wrapping_add(GAMMA))),
            ids: AtomicU64::new(0),
        };
        {
            let mut members = shared.members();
            let mut names = BTreeSet::new();
            let now = shared.core.now();
            for endpoint in endpoints {
                endpoint.check()?;
                if !names.insert(Arc::clone(endpoint.shared_name())) {
                    return Err(taken(endpoint.name()));
                }
                shared.admit(&mut members, endpoint, now);
            }
            if members.is_empty() {
                let allowed = "at least one".to_owned();
                return Err(ConfigError { field: "endpoints", value: "none".to_owned(), allowed });
            }
            shared.settle(members, now, Vec::new());
        }
        Ok(Self(Arc::new(shared)))
    }

    /// Tells every change to `observer`, on the thread that caused it and outside of the locks. The first observer of a
    /// balancer stays.
    #[must_use]
    pub fn with_observer(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let _ = self.0.core.observer.set(Box::new(observer));
        self
    }

    /// Counts there. The first metrics of a balancer stay.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        if self.0.core.metrics.set(metrics.clone()).is_ok() {
            let members = self.0.members();
            members.iter().for_each(|node| node.count_in(&metrics));
            self.0.count_well(&members, self.0.core.now());
        }
        self
    }

    /// Picks an endpoint for a call. A hash strategy takes any of them, as for a key that nobody else has.
    ///
    /// # Errors
    ///
    /// [`NoEndpoint`] when there is none.
    ///
    /// # Complexity
    ///
    /// O(1), but for what is due, which is linear in the endpoints and happens about once an interval.
    pub fn pick(&self) -> Result<Lease<E>, NoEndpoint> {
        self.0.pick(None)
    }

    /// Picks the endpoint that this key belongs to, under a hash strategy; the others take no notice of keys. A key
    /// stays where it is while its endpoint is well.
    ///
    /// # Errors
    ///
    /// [`NoEndpoint`] when there is none.
    pub fn pick_for(&self, key: &[u8]) -> Result<Lease<E>, NoEndpoint> {
        self.0.pick(Some(key))
    }

    /// Picks an endpoint, and waits for one that comes back if there is none, for `limit` at most.
    ///
    /// # Errors
    ///
    /// [`NoEndpoint`] when there was none all the time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future picks nothing.
    pub async fn pick_within(&self, limit: Duration) -> Result<Lease<E>, NoEndpoint> {
        self.0.wait(None, limit).await
    }

    /// Picks the endpoint that this key belongs to, and waits as [`pick_within`](Self::pick_within) does.
    ///
    /// # Errors
    ///
    /// [`NoEndpoint`] when there was none all the time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future picks nothing.
    pub async fn pick_for_within(&self, key: &[u8], limit: Duration) -> Result<Lease<E>, NoEndpoint> {
        self.0.wait(Some(key), limit).await
    }

    /// Makes a call to an endpoint. An error counts as a failure; [`call_with`](Self::call_with) lets you say otherwise.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] when it was not made, [`CallError::Failed`] with its own error.
    ///
    /// # Cancel safety
    ///
    /// A dropped call ends its lease and says nothing about the endpoint.
    pub async fn call<T, F, R>(&self, call: R) -> Result<T, CallError<F>>
    where
        R: AsyncFnOnce(&Endpoint<E>) -> Result<T, F>,
    {
        self.call_with(Verdict::of_result, call).await
    }

    /// Makes a call to an endpoint, and judges what came of it.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_with<T, F, R, J>(&self, judge: J, call: R) -> Result<T, CallError<F>>
    where
        R: AsyncFnOnce(&Endpoint<E>) -> Result<T, F>,
        J: FnOnce(&Result<T, F>) -> Verdict,
    {
        let lease = self.pick()?;
        let result = call(&lease).await;
        lease.finish(judge(&result));
        result.map_err(CallError::Failed)
    }

    /// Adds an endpoint. With a slow start it gets its calls little by little.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is one of this name, and for a weight or a name that cannot be.
    pub fn add(&self, endpoint: Endpoint<E>) -> Result<(), ConfigError> {
        endpoint.check()?;
        let mut members = self.0.members();
        if members.iter().any(|node| node.endpoint.name() == endpoint.name()) {
            return Err(taken(endpoint.name()));
        }
        let now = self.0.core.now();
        let added = Event::Added { endpoint: Arc::clone(endpoint.shared_name()) };
        self.0.admit(&mut members, endpoint, now);
        self.0.settle(members, now, vec![added]);
        Ok(())
    }

    /// Lets no new call go to an endpoint; those under way go on, and [`drained`](Self::drained) waits for them. It
    /// stays in the set until it is [removed](Self::remove).
    ///
    /// # Errors
    ///
    /// [`ChangeError::Unknown`] when there is none of this name.
    pub fn drain(&self, name: &str) -> Result<(), ChangeError> {
        let members = self.0.members();
        let node = find(&members, name)?;
        if node.is_draining() {
            return Ok(());
        }
        node.load.close();
        let events = vec![Event::Draining { endpoint: Arc::clone(node.endpoint.shared_name()) }];
        let decisions = self.0.core.detector().remove(node.id);
        self.0.settle_with(members, decisions, events);
        Ok(())
    }

    /// Waits until an endpoint that is being drained has no call under way. One that is not drained, or that there is
    /// not, is not waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait and nothing else.
    pub async fn drained(&self, name: &str) {
        let Ok(node) = find(&self.0.members(), name).map(Arc::clone) else { return };
        loop {
            let mut told = pin!(self.0.core.drained.notified());
            told.as_mut().enable();
            if !node.is_draining() || node.load.is_idle() {
                return;
            }
            told.await;
        }
    }

    /// Forgets an endpoint at once. Calls under way go on.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Unknown`] when there is none of this name.
    pub fn remove(&self, name: &str) -> Result<(), ChangeError> {
        let mut members = self.0.members();
        let node = Arc::clone(find(&members, name)?);
        node.load.close();
        members.retain(|other| other.id != node.id);
        let events = vec![Event::Removed { endpoint: Arc::clone(node.endpoint.shared_name()) }];
        let decisions = self.0.core.detector().remove(node.id);
        self.0.settle_with(members, decisions, events);
        Ok(())
    }

    /// Gives an endpoint another share of the calls.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] when there is none of this name, and for a weight that cannot be.
    pub fn set_weight(&self, name: &str, weight: u32) -> Result<(), ChangeError> {
        let members = self.0.members();
        find(&members, name)?.endpoint.set_weight(weight)?;
        self.0.settle_with(members, Vec::new(), Vec::new());
        Ok(())
    }

    /// Takes the word of somebody who asked the endpoint. One that is not healthy is not chosen, unless its priority
    /// panics; one that is healthy again also comes back from an ejection.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Unknown`] when there is none of this name.
    pub fn set_health(&self, name: &str, health: Health) -> Result<(), ChangeError> {
        let members = self.0.members();
        let node = find(&members, name)?;
        let unhealthy = health == Health::Unhealthy;
        let was = node.load.unhealthy.swap(unhealthy, Ordering::Relaxed);
        let endpoint = Arc::clone(node.endpoint.shared_name());
        let mut events = Vec::new();
        let mut decisions = Vec::new();
        match (was, unhealthy) {
            (false, true) => events.push(Event::Unhealthy { endpoint }),
            (true, false) => {
                let now = self.0.core.now();
                node.load.started_at.store(now.nanos, Ordering::Relaxed);
                node.load.forgive();
                decisions.extend(self.0.core.detector().pardon(node.id));
                events.push(Event::Healthy { endpoint });
            }
            // Nothing new.
            _ => return Ok(()),
        }
        self.0.settle_with(members, decisions, events);
        Ok(())
    }

    /// Behaves differently from now on. What is known of the endpoints is kept.
    pub fn set_config(&self, config: Config) {
        let members = self.0.members();
        let decisions = self.0.core.detector().set_config(config.outliers);
        self.0.core.settings.store(Arc::new(Settings::of(config)));
        self.0.settle_with(members, decisions, Vec::new());
    }

    /// The figures of every endpoint, in the order in which they were added.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Figures> {
        let now = self.0.core.now();
        if self.0.core.is_due(now) {
            self.0.settle(self.0.members(), now, Vec::new());
        }
        let tuning = self.0.core.settings.load().tuning;
        self.0.members().iter().map(|node| Figures::of(node, now, &tuning)).collect()
    }

    /// A lease of each endpoint that may be chosen, wherever it begins; those that are not used are given back as if
    /// they had not been.
    #[cfg(feature = "tower")]
    pub(crate) fn leases(&self) -> Vec<Lease<E>> {
        let (view, now) = (self.0.view.load(), self.0.core.now());
        let nodes = view.open().filter(|node| node.enter());
        nodes.map(|node| Lease::new(Arc::clone(node), now.nanos, view.counts_all)).collect()
    }

    /// Wakes once when there is another view.
    #[cfg(feature = "tower")]
    pub(crate) fn wake_on_change(&self, waker: &std::task::Waker) {
        let mut wakers = self.0.core.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    #[cfg(feature = "health")]
    pub(crate) fn nodes(&self) -> Vec<Arc<Node<E>>> {
        self.0.members().iter().filter(|node| !node.is_draining()).map(Arc::clone).collect()
    }

    #[cfg(feature = "health")]
    pub(crate) fn core(&self) -> &Core {
        &self.0.core
    }
}

impl<E> Shared<E> {
    fn pick(&self, key: Option<&[u8]>) -> Result<Lease<E>, NoEndpoint> {
        let now = self.core.now();
        // Each further round is because somebody has drained what was chosen, and their view is on its way.
        for _ in 0..ROUNDS_MAX {
            if self.core.is_due(now)
                && let Ok(members) = self.members.try_lock()
            {
                self.settle(members, now, Vec::new());
            }
            let view = self.view.load();
            let chance = self.chance.fetch_add(GAMMA, Ordering::Relaxed);
            let mut ask = Ask { key, random: Random::seeded(chance), now };
            match view.choose(&mut ask) {
                Some(node) if node.enter() => {
                    return Ok(Lease::new(Arc::clone(node), now.nanos, view.counts_all));
                }
                Some(_) => std::thread::yield_now(),
                None => break,
            }
        }
        Err(self.refuse(now))
    }

    #[cold]
    fn refuse(&self, now: Moment) -> NoEndpoint {
        if let Some(metrics) = self.core.metrics.get() {
            metrics.no_endpoint.increment();
        }
        let back_at = self.view.load().back_at;
        NoEndpoint { retry_after: back_at.map(|at| Duration::from_nanos(at.saturating_sub(now.nanos))) }
    }

    async fn wait(&self, key: Option<&[u8]>, limit: Duration) -> Result<Lease<E>, NoEndpoint> {
        let deadline = self.core.clock.now().after(limit);
        loop {
            // Before the pick, so that a change right after it is not missed.
            let mut changed = pin!(self.core.changed.notified());
            changed.as_mut().enable();
            let refusal = match self.pick(key) {
                Ok(lease) => return Ok(lease),
                Err(refusal) => refusal,
            };
            let left = deadline.since(self.core.clock.now());
            if left.is_zero() {
                return Err(refusal);
            }
            // A view that is late by a moment must not make it spin.
            let nap = refusal.retry_after.map_or(left, |wait| wait.max(Duration::from_millis(1)).min(left));
            let mut nap = pin!(self.core.clock.sleep(nap));
            poll_fn(|cx| match (changed.as_mut().poll(cx), nap.as_mut().poll(cx)) {
                (Poll::Pending, Poll::Pending) => Poll::Pending,
                _ => Poll::Ready(()),
            })
            .await;
        }
    }

    fn admit(&self, members: &mut Vec<Arc<Node<E>>>, endpoint: Endpoint<E>, now: Moment) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let node = Node::new(endpoint, id, Arc::clone(&self.core));
        node.load.started_at.store(now.nanos, Ordering::Relaxed);
        if let Some(metrics) = self.core.metrics.get() {
            node.count_in(metrics);
        }
        self.core.detector().add(id);
        self.core.make_stale();
        members.push(Arc::new(node));
    }

    /// After a change that the detector has decided about.
    fn settle_with(&self, members: Members<'_, E>, decisions: Vec<Decision>, mut events: Vec<Event>) {
        self.core.make_stale();
        events.extend(decisions.into_iter().filter_map(|decision| come_back(&members, decision)));
        let now = self.core.now();
        self.settle(members, now, events);
    }

    /// Does what is due, makes a view if anything has changed, and tells what has.
    fn settle(&self, members: Members<'_, E>, now: Moment, mut events: Vec<Event>) {
        let before = self.view.load_full();
        let tally = |id: u64| by_id(&members, id).map_or_else(Tally::default, |node| node.load.tally());
        let (decisions, next) = {
            let mut detector = self.core.detector();
            (detector.advance(now.instant(), tally), detector.next())
        };
        let mut ejected = Vec::new();
        for decision in decisions {
            match decision {
                Decision::Ejected { id, cause, lasts } => {
                    ejected.extend(by_id(&members, id).map(|node| (Arc::clone(node), cause, lasts)));
                    if let Some(node) = by_id(&members, id) {
                        node.load.ejected.store(true, Ordering::Relaxed);
                    }
                }
                Decision::Returned { .. } => events.extend(come_back(&members, decision)),
            }
            self.core.make_stale();
        }
        let mut until = before.until;
        if self.core.take_stale() || now.nanos >= before.until {
            let settings = self.core.settings.load();
            let view = View::of(&members, &self.core, &settings, &self.turn, now, &before);
            let (was, is): (BTreeSet<u8>, BTreeSet<u8>) =
                (before.panics().collect(), view.panics().collect());
            events.extend(is.difference(&was).map(|priority| Event::Panic { priority: *priority }));
            events.extend(was.difference(&is).map(|priority| Event::Calm { priority: *priority }));
            until = view.until;
            self.view.store(Arc::new(view));
            self.count_well(&members, now);
        }
        self.core.settled(next.map_or(until, |next| until.min(Moment::of(next).nanos)));
        drop(members);
        self.core.wake();
        for (node, cause, lasts) in ejected {
            node.report_ejection(cause, lasts);
        }
        events.iter().for_each(|event| self.core.tell(event));
    }

    fn count_well(&self, members: &[Arc<Node<E>>], now: Moment) {
        if let Some(metrics) = self.core.metrics.get() {
            let well = members.iter().filter(|node| !node.is_draining() && node.is_well(now)).count();
            metrics.well.set(well as f64);
        }
    }

    /// Nothing under this lock panics, so a poisoned one still guards a whole list.
    fn members(&self) -> Members<'_, E> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More threads than this would have to be draining just what is chosen.
const ROUNDS_MAX: u32 = 64;

fn find<'a, E>(members: &'a [Arc<Node<E>>], name: &str) -> Result<&'a Arc<Node<E>>, ChangeError> {
    members.iter().find(|node| node.endpoint.name() == name).ok_or(ChangeError::Unknown)
}

fn by_id<E>(members: &[Arc<Node<E>>], id: u64) -> Option<&Arc<Node<E>>> {
    members.get(members.binary_search_by_key(&id, |node| node.id).ok()?)
}

fn come_back<E>(members: &[Arc<Node<E>>], decision: Decision) -> Option<Event> {
    let Decision::Returned { id } = decision else { return None };
    let node = by_id(members, id)?;
    node.load.ejected.store(false, Ordering::Relaxed);
    node.load.forgive();
    Some(Event::Returned { endpoint: Arc::clone(node.endpoint.shared_name()) })
}

fn taken(name: &str) -> ConfigError {
    ConfigError::new("name", format!("{name:?}"), "a name that no other endpoint has")
}

impl<E> Forget for Balancer<E> {
    /// When all its endpoints are well and have no call under way: then only what is known of their speed is lost.
    fn may_forget(&self, _: Instant) -> bool {
        let now = self.0.core.now();
        self.0.members().iter().all(|node| node.is_well(now) && node.load.is_idle())
    }
}

impl<E> Clone for Balancer<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Balancer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("endpoints", &self.snapshot()).finish_non_exhaustive()
    }
}
