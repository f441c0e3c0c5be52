//! How many calls may be under way, and who is next when there is room.

mod aimd;
mod gradient;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{ConfigError, Instant};
use tokio::sync::oneshot;

pub use self::aimd::{Aimd, AimdConfig};
pub use self::gradient::{Gradient, GradientConfig};
use crate::scope::Scope;

/// How many calls may be under way at once, and how many may wait for their turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concurrency {
    pub(crate) rule: Rule,
    pub(crate) scope: Scope,
    pub(crate) queue_max: usize,
}

/// What the limit follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Fixed(u32),
    Aimd(AimdConfig),
    Gradient(GradientConfig),
}

/// What is known of an attempt that has ended, or of a round of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How long it took, or they did on average.
    pub took: Duration,
    /// How many calls were under way at most, this one among them.
    pub in_flight: u32,
    /// Whether it failed or was given up because it took too long.
    pub dropped: bool,
}

/// Enough for the window of a pipeline, which holds 10,000 items by default, and little memory: 200 bytes for each.
const QUEUE_MAX: usize = 10_000;

/// More calls under way than that want several processes.
const LIMIT_MAX: u32 = 1_000_000;

impl Concurrency {
    /// Always so many, from 1 to 1,000,000.
    #[must_use]
    pub fn fixed(limit: u32) -> Self {
        Self::of(Rule::Fixed(limit))
    }

    /// As many as the backend takes without failing; see [`Aimd`].
    #[must_use]
    pub fn aimd(config: AimdConfig) -> Self {
        Self::of(Rule::Aimd(config))
    }

    /// As many as the backend takes without getting slower; see [`Gradient`].
    #[must_use]
    pub fn gradient(config: GradientConfig) -> Self {
        Self::of(Rule::Gradient(config))
    }

    /// One limit for all keys, or one for each. Default: [`Scope::Shared`].
    #[must_use]
    pub fn scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// Sets how many calls may wait for their turn, of all tenants together; with 0 none does. Default 10,000.
    #[must_use]
    pub fn queue_max(self, queue_max: usize) -> Self {
        Self { queue_max, ..self }
    }

    fn of(rule: Rule) -> Self {
        Self { rule, scope: Scope::Shared, queue_max: QUEUE_MAX }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match &self.rule {
            Rule::Fixed(limit) => ConfigError::check("concurrency.limit", *limit, 1, LIMIT_MAX),
            Rule::Aimd(config) => config.check(),
            Rule::Gradient(config) => config.check(),
        }
    }
}

pub(crate) fn check_limits(initial: u32, min: u32, max: u32) -> Result<(), ConfigError> {
    ConfigError::check("concurrency.max", max, 1, LIMIT_MAX)?;
    ConfigError::check("concurrency.min", min, 1, max)?;
    ConfigError::check("concurrency.initial", initial, min, max)
}

/// A limit that moves or does not.
#[derive(Debug)]
enum Core {
    Fixed(u32),
    Aimd(Aimd),
    Gradient(Gradient),
}

impl Core {
    fn new(rule: &Rule) -> Self {
        match rule {
            Rule::Fixed(limit) => Self::Fixed(*limit),
            Rule::Aimd(config) => Self::Aimd(Aimd::checked(*config)),
            Rule::Gradient(config) => Self::Gradient(Gradient::checked(*config)),
        }
    }

    fn limit(&self) -> u32 {
        match self {
            Self::Fixed(limit) => *limit,
            Self::Aimd(aimd) => aimd.limit(),
            Self::Gradient(gradient) => gradient.limit(),
        }
    }

    fn update(&mut self, sample: Sample) {
        match self {
            Self::Fixed(_) => {}
            Self::Aimd(aimd) => drop(aimd.update(sample)),
            Self::Gradient(gradient) => drop(gradient.update(sample)),
        }
    }
}

/// The gate before the calls. Tenants take turns, and within a tenant the first who came is the first who goes.
pub(crate) struct Gate {
    /// Guards the queue and the limit. Nothing waits under it, and no permit is sent or dropped.
    state: Mutex<State>,
    queue_max: usize,
    /// Whether the limit moves.
    adapts: bool,
}

struct State {
    core: Core,
    in_flight: u32,
    /// Attempts since the limit was looked at last, how long they took together, and the most that were under way.
    round: u32,
    round_took: Duration,
    round_most: u32,
    /// When the limit was lowered last.
    lowered_at: Instant,
    /// How many wait, of all tenants.
    waiting: usize,
    /// The number of the next who waits; it only grows, so it is the order of coming.
    next: u64,
    queues: HashMap<Arc<str>, BTreeMap<u64, oneshot::Sender<Permit>>>,
    /// The tenants with a queue, the one whose turn is next in front.
    turns: VecDeque<Arc<str>>,
}

/// The right to be under way. It gives itself back.
pub(crate) struct Permit(Option<Arc<Gate>>);

/// Figures of a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) limit: u32,
    pub(crate) in_flight: u32,
    pub(crate) waiting: usize,
}

/// As many wait as may.
#[derive(Debug)]
pub(crate) struct QueueFull;

impl Gate {
    /// A gate through which nobody has gone. The policy has checked the configuration.
    pub(crate) fn new(config: &Concurrency) -> Self {
        let state = State {
            core: Core::new(&config.rule),
            in_flight: 0,
            round: 0,
            round_took: Duration::ZERO,
            round_most: 0,
            lowered_at: Instant::ZERO,
            waiting: 0,
            next: 0,
            queues: HashMap::new(),
            turns: VecDeque::new(),
        };
        let adapts = !matches!(config.rule, Rule::Fixed(_));
        Self { state: Mutex::new(state), queue_max: config.queue_max, adapts }
    }

    /// Waits for a turn.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it leaves the queue; a permit that was on its way goes to the next.
    pub(crate) async fn enter(self: &Arc<Self>, tenant: &str) -> Result<Permit, QueueFull> {
        let mut place = {
            let mut state = self.lock();
            // Whoever waits goes first, even where there is room for a moment.
            if state.waiting == 0 && state.in_flight < state.core.limit() {
                state.in_flight += 1;
                return Ok(Permit(Some(Arc::clone(self))));
            }
            if state.waiting >= self.queue_max {
                return Err(QueueFull);
            }
            let (sender, receiver) = oneshot::channel();
            let (tenant, number) = state.join(tenant, sender);
            Place { gate: self, tenant, number, receiver }
        };
        // The sender is in the queue until it sends, and the queue lives as long as the gate.
        (&mut place.receiver).await.map_err(|_| QueueFull)
    }

    /// Takes what is known of an attempt. It is about attempts and not about calls, which also wait between them.
    pub(crate) fn record(self: &Arc<Self>, begun: Instant, ended: Instant, dropped: bool) {
        if self.lock().record(begun, ended, dropped) {
            self.let_in();
        }
    }

    pub(crate) fn level(&self) -> Level {
        let state = self.lock();
        Level { limit: state.core.limit(), in_flight: state.in_flight, waiting: state.waiting }
    }

    pub(crate) fn adapts(&self) -> bool {
        self.adapts
    }

    /// Lets in as many as there is room for.
    fn let_in(self: &Arc<Self>) {
        loop {
            let sender = {
                let mut state = self.lock();
                if state.in_flight >= state.core.limit() {
                    return;
                }
                let Some(sender) = state.pop() else { return };
                state.in_flight += 1;
                sender
            };
            // Outside of the lock: a permit whose receiver has just gone comes back, and takes the lock when it is dropped.
            if let Err(permit) = sender.send(Permit(Some(Arc::clone(self)))) {
                permit.leave();
            }
        }
    }

    fn leave(&self) {
        self.lock().in_flight -= 1;
    }

    /// Nothing under this lock panics, so a poisoned one still guards a whole queue.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Moves the limit when a round is over: as many attempts as the limit, or one that failed. Failures of attempts that
    /// began before the limit was last lowered are of the old limit: many that fail together lower it once.
    fn record(&mut self, begun: Instant, ended: Instant, dropped: bool) -> bool {
        if begun < self.lowered_at {
            return false;
        }
        self.round += 1;
        self.round_took += ended.since(begun);
        self.round_most = self.round_most.max(self.in_flight);
        if !dropped && self.round < self.core.limit() {
            return false;
        }
        let took = if dropped { ended.since(begun) } else { self.round_took / self.round };
        let before = self.core.limit();
        self.core.update(Sample { took, in_flight: self.round_most, dropped });
        (self.round, self.round_took, self.round_most) = (0, Duration::ZERO, 0);
        if self.core.limit() < before {
            self.lowered_at = ended;
        }
        self.core.limit() > before
    }

    fn join(&mut self, tenant: &str, sender: oneshot::Sender<Permit>) -> (Arc<str>, u64) {
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        if let Some((tenant, _)) = self.queues.get_key_value(tenant) {
            let tenant = Arc::clone(tenant);
            if let Some(queue) = self.queues.get_mut(&tenant) {
                queue.insert(number, sender);
            }
            return (tenant, number);
        }
        let tenant: Arc<str> = Arc::from(tenant);
        self.queues.insert(Arc::clone(&tenant), BTreeMap::from([(number, sender)]));
        self.turns.push_back(Arc::clone(&tenant));
        (tenant, number)
    }

    /// The first of the tenant whose turn it is.
    fn pop(&mut self) -> Option<oneshot::Sender<Permit>> {
        let tenant = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&tenant)?;
        let (_, sender) = queue.pop_first()?;
        self.waiting -= 1;
        if queue.is_empty() {
            self.queues.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        Some(sender)
    }

    /// Takes somebody out who no longer waits. O(log waiting), and O(tenants) for the last of a tenant.
    fn remove(&mut self, tenant: &Arc<str>, number: u64) {
        let Some(queue) = self.queues.get_mut(tenant) else { return };
        if queue.remove(&number).is_none() {
            return;
        }
        self.waiting -= 1;
        if queue.is_empty() {
            self.queues.remove(tenant);
            self.turns.retain(|other| other != tenant);
        }
    }
}

/// A place in the queue.
struct Place<'a> {
    gate: &'a Arc<Gate>,
    tenant: Arc<str>,
    number: u64,
    receiver: oneshot::Receiver<Permit>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // A permit that is in the receiver goes with it, after this lock is free again.
        self.gate.lock().remove(&self.tenant, self.number);
    }
}

impl Permit {
    /// Gives the place back without looking for the next, for somebody who looks anyway.
    fn leave(mut self) {
        if let Some(gate) = self.0.take() {
            gate.leave();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.leave();
            gate.let_in();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("level", &self.level()).finish_non_exhaustive()
    }
}
