use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_balancer::{Balancer, Endpoint, Figures, Health, Lease, NoEndpoint};
use aqueduct_breaker::{Breaker, Permit};
use aqueduct_core::{Clock, ConfigError, Instant, Verdict};

use crate::config::Settings;
use crate::event::Event;

/// The endpoints of a backend: one without a choice, or several behind a balancer.
pub(crate) enum Endpoints<S> {
    One(Node<S>),
    Many(Many<S>),
}

/// What a call is sent to.
pub(crate) struct Node<S> {
    service: S,
    breaker: Option<Arc<Breaker>>,
}

pub(crate) struct Many<S> {
    balancer: Balancer<Node<S>>,
    clock: Clock,
    /// Guards the names of those that the balancer was told to leave alone because their circuit is open, with the moment
    /// from which on it is asked again. Nothing waits under it.
    closed_off: Mutex<Vec<(String, Instant)>>,
    /// The earliest of those moments in nanoseconds of the clock; the largest number where there is none. Relaxed: whoever
    /// sees it a moment later lets the endpoint back a moment later.
    next_back: AtomicU64,
}

/// An endpoint that was chosen for one call. Dropped without a verdict, it says nothing about the endpoint.
pub(crate) enum Chosen<'a, S> {
    One(&'a Node<S>, Option<Permit<Arc<Breaker>>>),
    Many(&'a Many<S>, Lease<Node<S>>, Option<Permit<Arc<Breaker>>>),
}

/// How long an endpoint is left alone whose circuit does not say: its probes are under way.
const PROBES_OUT: Duration = Duration::from_millis(100);

/// A pick that finds an open circuit is made again so often at most. Each tells the balancer, so none comes back.
const PICKS_MAX: usize = 64;

const NEVER: u64 = u64::MAX;

impl<S> Endpoints<S> {
    pub(crate) fn one(service: S, settings: &Settings) -> Self {
        Self::One(Node::new(service, settings, 0))
    }

    pub(crate) fn many(
        endpoints: impl IntoIterator<Item = Endpoint<S>>,
        settings: &Settings,
    ) -> Result<Self, ConfigError>
    where
        S: Clone,
    {
        let nodes = endpoints.into_iter().enumerate().map(|(number, endpoint)| {
            let node = Node::new(endpoint.value().clone(), settings, number as u64);
            Endpoint::new(endpoint.name(), node)
                .with_weight(endpoint.weight())
                .with_priority(endpoint.priority())
        });
        let config = settings.balancer.clone().unwrap_or_default();
        let clock = settings.clock.clone();
        let observer = settings.observer.clone();
        let balancer = Balancer::seeded(nodes, config, clock.clone(), settings.seed)?
            .with_observer(move |event| observer.tell(&Event::Endpoint(event)));
        let next_back = AtomicU64::new(NEVER);
        Ok(Self::Many(Many { balancer, clock, closed_off: Mutex::default(), next_back }))
    }

    /// Chooses one for a call with this key.
    pub(crate) fn choose(&self, key: &str) -> Result<Chosen<'_, S>, NoEndpoint> {
        match self {
            Self::One(node) => match node.breaker.as_ref().map(Breaker::try_acquire_owned).transpose() {
                Ok(permit) => Ok(Chosen::One(node, permit)),
                Err(refusal) => Err(NoEndpoint { retry_after: refusal.retry_after }),
            },
            Self::Many(many) => many.choose(key),
        }
    }

    pub(crate) fn figures(&self) -> Vec<Figures> {
        match self {
            Self::One(_) => Vec::new(),
            Self::Many(many) => many.balancer.snapshot(),
        }
    }
}

impl<S> Node<S> {
    fn new(service: S, settings: &Settings, number: u64) -> Self {
        let breaker = settings.endpoint_breaker.clone().map(|config| {
            Arc::new(Breaker::seeded(config, settings.clock.clone(), settings.seed.wrapping_add(number)))
        });
        Self { service, breaker }
    }
}

impl<S> Many<S> {
    fn choose(&self, key: &str) -> Result<Chosen<'_, S>, NoEndpoint> {
        if self.next_back.load(Ordering::Relaxed) != NEVER {
            self.let_back(self.clock.now());
        }
        for _ in 0..PICKS_MAX {
            let lease = self.balancer.pick_for(key.as_bytes())?;
            let Some(breaker) = &lease.value().breaker else { return Ok(Chosen::Many(self, lease, None)) };
            match breaker.try_acquire_owned() {
                Ok(permit) => return Ok(Chosen::Many(self, lease, Some(permit))),
                // The lease says nothing when it is dropped: nothing was sent.
                Err(refusal) => self.close_off(lease.name(), refusal.retry_after),
            }
            // In a panic the balancer chooses among all again, so all may be closed off.
            if self.closed_off().len() >= self.balancer.snapshot().len() {
                break;
            }
        }
        let back = Instant::ZERO.after(Duration::from_nanos(self.next_back.load(Ordering::Relaxed)));
        Err(NoEndpoint { retry_after: Some(back.since(self.clock.now())) })
    }

    /// Tells the balancer to leave an endpoint alone while its circuit is open.
    fn close_off(&self, name: &str, wait: Option<Duration>) {
        let back = self.clock.now().after(wait.unwrap_or(PROBES_OUT).max(Duration::from_nanos(1)));
        let mut closed_off = self.closed_off();
        match closed_off.iter_mut().find(|(other, _)| other == name) {
            Some((_, at)) => *at = back,
            None => {
                closed_off.push((name.to_owned(), back));
                // An endpoint that has been taken out needs no telling.
                let _ = self.balancer.set_health(name, Health::Unhealthy);
            }
        }
        self.publish(&closed_off);
    }

    /// Lets those back whose time has come.
    fn let_back(&self, now: Instant) {
        if nanos(now) < self.next_back.load(Ordering::Relaxed) {
            return;
        }
        self.keep(|_, back| back > now);
    }

    /// Lets everybody back but those to keep.
    fn keep(&self, stays: impl Fn(&str, Instant) -> bool) {
        let mut closed_off = self.closed_off();
        closed_off.retain(|(name, back)| {
            let stays = stays(name, *back);
            if !stays {
                let _ = self.balancer.set_health(name, Health::Healthy);
            }
            stays
        });
        self.publish(&closed_off);
    }

    fn publish(&self, closed_off: &[(String, Instant)]) {
        let next = closed_off.iter().map(|(_, back)| nanos(*back)).min().unwrap_or(NEVER);
        self.next_back.store(next, Ordering::Relaxed);
    }

    /// Nothing under this lock panics, so a poisoned one still guards a whole list.
    fn closed_off(&self) -> MutexGuard<'_, Vec<(String, Instant)>> {
        self.closed_off.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Chosen<'_, S> {
    pub(crate) fn service(&self) -> &S {
        match self {
            Self::One(node, _) => &node.service,
            Self::Many(_, lease, _) => &lease.value().service,
        }
    }

    /// Says what came of the call, to the endpoint's own circuit and to the balancer.
    pub(crate) fn finish(self, circuit: Verdict, endpoint: Verdict) {
        match self {
            Self::One(_, permit) => {
                if let Some(permit) = permit {
                    permit.finish(circuit);
                }
            }
            Self::Many(many, lease, permit) => {
                if let Some(permit) = permit {
                    permit.finish(circuit);
                    match lease.value().breaker.as_ref().and_then(|breaker| breaker.refuses()) {
                        Some(refusal) => many.close_off(lease.name(), refusal.retry_after),
                        None if many.next_back.load(Ordering::Relaxed) != NEVER => {
                            many.keep(|name, _| name != lease.name());
                        }
                        None => {}
                    }
                }
                lease.finish(endpoint);
            }
        }
    }
}

impl<S> fmt::Debug for Endpoints<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(_) => f.write_str("One"),
            Self::Many(many) => f.debug_tuple("Many").field(&many.balancer).finish(),
        }
    }
}

fn nanos(at: Instant) -> u64 {
    u64::try_from(at.elapsed_since_start().as_nanos()).unwrap_or(u64::MAX)
}
