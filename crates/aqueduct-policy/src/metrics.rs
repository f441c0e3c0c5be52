//! The names of this crate's metrics.

use std::time::Duration;

use aqueduct_metrics::{Counter, Definition, Gauge, Histogram, MetricsError, Registry, Scale};

use crate::call::Kind;
use crate::error::{PolicyError, RefusedBy};

/// Calls by how they ended.
pub(crate) const CALLS: Definition = Definition {
    name: "aqueduct_policy_calls_total",
    help: "Calls by how they ended: success, failed, timed_out, deadline, or refused by concurrency, circuit, \
           rate_limit, too_large, endpoint, service.",
    labels: &["policy", "outcome"],
};

/// Attempts by why they were begun.
pub(crate) const ATTEMPTS: Definition = Definition {
    name: "aqueduct_policy_attempts_total",
    help: "Attempts by why they were begun: first, retry, hedge; and unsent, those of them that the service refused.",
    labels: &["policy", "kind"],
};

/// Attempts that took too long.
pub(crate) const TIMEOUTS: Definition = Definition {
    name: "aqueduct_policy_attempt_timeouts_total",
    help: "Attempts that were dropped because they took longer than an attempt may.",
    labels: &["policy"],
};

/// How long attempts waited for their tokens.
pub(crate) const TOKEN_WAIT: Definition = Definition {
    name: "aqueduct_policy_token_wait_seconds",
    help: "How long attempts waited for the tokens of the rate limits, where they did.",
    labels: &["policy"],
};

/// What the cache gave.
pub(crate) const CACHE: Definition = Definition {
    name: "aqueduct_policy_cache_total",
    help: "Calls that asked the cache: hit, shared (with a call under way), miss.",
    labels: &["policy", "outcome"],
};

/// Calls under way behind the concurrency limit.
pub(crate) const IN_FLIGHT: Definition = Definition {
    name: "aqueduct_policy_in_flight",
    help: "Calls under way, those that wait for a retry or a token among them.",
    labels: &["policy"],
};

/// Where one backend, or all that go by one name, count. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    succeeded: Counter,
    failed: Counter,
    timed_out: Counter,
    deadline: Counter,
    by_concurrency: Counter,
    by_circuit: Counter,
    by_rate_limit: Counter,
    too_large: Counter,
    by_endpoint: Counter,
    by_service: Counter,
    first: Counter,
    retries: Counter,
    hedges: Counter,
    pub(crate) unsent: Counter,
    pub(crate) timeouts: Counter,
    token_wait: Histogram,
    pub(crate) hits: Counter,
    pub(crate) shared: Counter,
    pub(crate) misses: Counter,
    pub(crate) in_flight: Gauge,
}

impl Metrics {
    /// Registers the metrics under a name for the backend, and never one for each of many keys.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] when the registry has other metrics by these names, or the name is too long.
    pub fn register(registry: &Registry, name: &str) -> Result<Self, MetricsError> {
        let calls = registry.counter(&CALLS)?;
        let call = |outcome: &str| calls.series(&[name, outcome]);
        let attempts = registry.counter(&ATTEMPTS)?;
        let cache = registry.counter(&CACHE)?;
        Ok(Self {
            succeeded: call("success")?,
            failed: call("failed")?,
            timed_out: call("timed_out")?,
            deadline: call("deadline")?,
            by_concurrency: call(RefusedBy::Concurrency.as_str())?,
            by_circuit: call(RefusedBy::Circuit.as_str())?,
            by_rate_limit: call(RefusedBy::RateLimit.as_str())?,
            too_large: call(RefusedBy::TooLarge.as_str())?,
            by_endpoint: call(RefusedBy::Endpoint.as_str())?,
            by_service: call(RefusedBy::Service.as_str())?,
            first: attempts.series(&[name, "first"])?,
            retries: attempts.series(&[name, "retry"])?,
            hedges: attempts.series(&[name, "hedge"])?,
            unsent: attempts.series(&[name, "unsent"])?,
            timeouts: registry.counter(&TIMEOUTS)?.series(&[name])?,
            token_wait: registry.histogram(&TOKEN_WAIT, Scale::SECONDS)?.series(&[name])?,
            hits: cache.series(&[name, "hit"])?,
            shared: cache.series(&[name, "shared"])?,
            misses: cache.series(&[name, "miss"])?,
            in_flight: registry.gauge(&IN_FLIGHT)?.series(&[name])?,
        })
    }

    pub(crate) fn ended<T, E>(&self, result: &Result<T, PolicyError<E>>) {
        let counter = match result {
            Ok(_) => &self.succeeded,
            Err(PolicyError::Failed { .. }) => &self.failed,
            Err(PolicyError::TimedOut { .. }) => &self.timed_out,
            Err(PolicyError::Deadline { .. }) => &self.deadline,
            Err(PolicyError::Refused(refusal)) => match refusal.by {
                RefusedBy::Concurrency => &self.by_concurrency,
                RefusedBy::Circuit => &self.by_circuit,
                RefusedBy::RateLimit => &self.by_rate_limit,
                RefusedBy::TooLarge => &self.too_large,
                RefusedBy::Endpoint => &self.by_endpoint,
                RefusedBy::Service => &self.by_service,
            },
        };
        counter.increment();
    }

    pub(crate) fn sent(&self, kind: Kind) {
        let counter = match kind {
            Kind::First => &self.first,
            Kind::Retry => &self.retries,
            Kind::Hedge => &self.hedges,
        };
        counter.increment();
    }

    pub(crate) fn waited(&self, wait: Duration) {
        self.token_wait.record_duration(wait);
    }
}
