use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::load::{Moment, Tuning};
use crate::node::Node;

/// Whether an endpoint is chosen. Where several are true, the first of this list that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is not chosen any more.
    Draining,
    /// Active checks say that it is not well.
    Unhealthy,
    /// Its calls took it out.
    Ejected,
    /// It asked to be left alone.
    Resting,
    /// It is chosen.
    Active,
}

/// The figures of one endpoint. Figures of one snapshot are not of one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Its name.
    pub name: Arc<str>,
    /// Its weight.
    pub weight: u32,
    /// Its priority.
    pub priority: u8,
    /// Whether it is chosen.
    pub state: State,
    /// Calls under way.
    pub in_flight: u32,
    /// Calls for which it was chosen, those under way included.
    pub requests: u64,
    /// Calls that succeeded.
    pub successes: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Calls that said nothing about it.
    pub ignored: u64,
    /// Leases that were dropped without a verdict.
    pub cancelled: u64,
    /// How often it was ejected.
    pub ejections: u64,
    /// The estimate of its answer time; nothing before the first answer.
    pub latency: Option<Duration>,
}

impl Figures {
    pub(crate) fn of<E>(node: &Node<E>, now: Moment, tuning: &Tuning) -> Self {
        let load = &node.load;
        let read = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
        let state = if node.is_draining() {
            State::Draining
        } else if load.unhealthy.load(Ordering::Relaxed) {
            State::Unhealthy
        } else if load.ejected.load(Ordering::Relaxed) {
            State::Ejected
        } else if node.is_resting(now) {
            State::Resting
        } else {
            State::Active
        };
        let (successes, failures) = (read(&load.successes), read(&load.failures));
        let (ignored, cancelled, in_flight) = (read(&load.ignored), read(&load.cancelled), load.in_flight());
        Self {
            name: Arc::clone(node.endpoint.shared_name()),
            weight: node.endpoint.weight(),
            priority: node.endpoint.priority(),
            state,
            in_flight,
            requests: successes + failures + ignored + cancelled + u64::from(in_flight),
            successes,
            failures,
            ignored,
            cancelled,
            ejections: read(&load.ejections),
            latency: load.measured(now, tuning),
        }
    }
}
