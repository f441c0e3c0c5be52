//! The names of this crate's metrics.

use aqueduct_core::Verdict;
use aqueduct_metrics::{Counter, Definition, Gauge, MetricsError, Registry};

use crate::machine::{State, Transition};

/// Calls by what came of them.
pub(crate) const CALLS: Definition = Definition {
    name: "aqueduct_breaker_calls_total",
    help: "Calls by what came of them: success, failure, ignored (given up, or wrong by themselves), refused (not made).",
    labels: &["breaker", "outcome"],
};

/// Changes of circuits.
pub(crate) const TRANSITIONS: Definition = Definition {
    name: "aqueduct_breaker_transitions_total",
    help: "Changes of circuits by the state they changed to: closed, open, half_open.",
    labels: &["breaker", "to"],
};

/// Circuits that are not closed.
pub(crate) const NOT_CLOSED: Definition = Definition {
    name: "aqueduct_breaker_not_closed",
    help: "Circuits that are open or half-open now.",
    labels: &["breaker"],
};

/// Where one breaker, or all that go by one name, count. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    succeeded: Counter,
    failed: Counter,
    ignored: Counter,
    pub(crate) refused: Counter,
    to_closed: Counter,
    to_open: Counter,
    to_half_open: Counter,
    not_closed: Gauge,
}

impl Metrics {
    /// Registers the metrics under a name for the breaker: that of a service, and never one of many hosts.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] when the registry has other metrics by these names, or the name is too long.
    pub fn register(registry: &Registry, name: &str) -> Result<Self, MetricsError> {
        let calls = registry.counter(&CALLS)?;
        let transitions = registry.counter(&TRANSITIONS)?;
        Ok(Self {
            succeeded: calls.series(&[name, "success"])?,
            failed: calls.series(&[name, "failure"])?,
            ignored: calls.series(&[name, "ignored"])?,
            refused: calls.series(&[name, "refused"])?,
            to_closed: transitions.series(&[name, "closed"])?,
            to_open: transitions.series(&[name, "open"])?,
            to_half_open: transitions.series(&[name, "half_open"])?,
            not_closed: registry.gauge(&NOT_CLOSED)?.series(&[name])?,
        })
    }

    pub(crate) fn ended(&self, verdict: Verdict) {
        match verdict {
            Verdict::Success => self.succeeded.increment(),
            Verdict::Failure { .. } => self.failed.increment(),
            Verdict::Ignore => self.ignored.increment(),
        }
    }

    /// A closed circuit opens, an open one becomes half-open, and what was not closed closes: so the level follows
    /// from what it changed to, and an open circuit that opens again comes from a half-open one.
    pub(crate) fn changed(&self, transition: &Transition) {
        if !transition.real {
            return;
        }
        match transition.to {
            State::Closed => self.to_closed.increment(),
            State::Open => self.to_open.increment(),
            State::HalfOpen => self.to_half_open.increment(),
        }
        match (transition.from, transition.to) {
            (State::Closed, State::Open | State::HalfOpen) => self.not_closed.add(1.0),
            (State::Open | State::HalfOpen, State::Closed) => self.not_closed.add(-1.0),
            _ => {}
        }
    }

    pub(crate) fn gone(&self, state: State) {
        if state != State::Closed {
            self.not_closed.add(-1.0);
        }
    }
}
