use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_balancer::Figures;
use aqueduct_breaker::State;
use aqueduct_metrics::Gauge;

use crate::call::Kind;
use crate::error::{PolicyError, RefusedBy};
use crate::metrics::Metrics;

/// The figures of each layer. Figures of one snapshot are not of one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Calls that have ended, whatever came of them; a dropped one has not.
    pub calls: u64,
    /// Calls that ended with an answer.
    pub succeeded: u64,
    /// Calls that ended with an error of the backend.
    pub failed: u64,
    /// Calls whose deadline was over.
    pub deadlines: u64,
    /// Attempts that were sent, the first ones and hedges among them.
    pub attempts: u64,
    /// Attempts that were sent after one had failed.
    pub retries: u64,
    /// Attempts that were sent beside one that took long.
    pub hedges: u64,
    /// Attempts that took longer than an attempt may.
    pub timeouts: u64,
    /// Calls that the concurrency queue refused.
    pub refused_by_concurrency: u64,
    /// Calls that a circuit refused.
    pub refused_by_circuit: u64,
    /// Calls that a rate limit refused, for the wait or for their cost.
    pub refused_by_quota: u64,
    /// Calls for which there was no endpoint.
    pub refused_by_endpoint: u64,
    /// Calls that the service itself did not let pass.
    pub refused_by_service: u64,
    /// Attempts that waited for their tokens.
    pub token_waits: u64,
    /// How long they did, all together.
    pub token_waited: Duration,
    /// Calls that the cache answered.
    pub cache_hits: u64,
    /// Calls that a call under way answered.
    pub cache_shared: u64,
    /// Calls that were made because the cache had no answer.
    pub cache_misses: u64,
    /// How many calls may be under way: of the shared limit, or of all keys together.
    pub concurrency_limit: Option<u64>,
    /// How many are, as far as there is a limit.
    pub in_flight: u64,
    /// How many wait for their turn.
    pub queued: u64,
    /// How many retries and hedges the budget allows now.
    pub budget_left: Option<u64>,
    /// How many keys are remembered.
    pub keys: u64,
    /// How many keys had to go while something was lost with them; see [`Builder::keys_max`](crate::Builder::keys_max).
    pub keys_displaced: u64,
    /// How often circuits have opened.
    pub circuits_opened: u64,
    /// How many circuits are open or half-open now.
    pub circuits_open: u64,
    /// The first of them by their keys; at most [`Snapshot::CIRCUITS_MAX`].
    pub circuits: Vec<(String, State)>,
    /// The endpoints, where there is a choice of them.
    pub endpoints: Vec<Figures>,
}

impl Snapshot {
    /// More circuits than that fit on no screen.
    pub const CIRCUITS_MAX: usize = 32;
}

/// What is counted while calls run. All of it relaxed: it is only added up.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    succeeded: AtomicU64,
    failed: AtomicU64,
    deadlines: AtomicU64,
    first: AtomicU64,
    retries: AtomicU64,
    hedges: AtomicU64,
    timeouts: AtomicU64,
    by_concurrency: AtomicU64,
    by_circuit: AtomicU64,
    by_rate_limit: AtomicU64,
    by_endpoint: AtomicU64,
    by_service: AtomicU64,
    token_waits: AtomicU64,
    token_nanos: AtomicU64,
    hits: AtomicU64,
    shared: AtomicU64,
    misses: AtomicU64,
    pub(crate) metrics: Option<Metrics>,
}

impl Counts {
    pub(crate) fn new(metrics: Option<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

    pub(crate) fn ended<T, E>(&self, result: &Result<T, PolicyError<E>>) {
        let counter = match result {
            Ok(_) => &self.succeeded,
            Err(PolicyError::Failed { .. } | PolicyError::TimedOut { .. }) => &self.failed,
            Err(PolicyError::Deadline { .. }) => &self.deadlines,
            Err(PolicyError::Refused(refusal)) => match refusal.by {
                RefusedBy::Concurrency => &self.by_concurrency,
                RefusedBy::Circuit => &self.by_circuit,
                RefusedBy::RateLimit | RefusedBy::TooLarge => &self.by_rate_limit,
                RefusedBy::Endpoint => &self.by_endpoint,
                RefusedBy::Service => &self.by_service,
            },
        };
        one(counter);
        if let Some(metrics) = &self.metrics {
            metrics.ended(result);
        }
    }

    /// Counts a call as under way until the guard is dropped.
    pub(crate) fn under_way(&self) -> UnderWay<'_> {
        let gauge = self.metrics.as_ref().map(|metrics| &metrics.in_flight);
        if let Some(gauge) = gauge {
            gauge.add(1.0);
        }
        UnderWay(gauge)
    }

    pub(crate) fn sent(&self, kind: Kind) {
        one(match kind {
            Kind::First => &self.first,
            Kind::Retry => &self.retries,
            Kind::Hedge => &self.hedges,
        });
        if let Some(metrics) = &self.metrics {
            metrics.sent(kind);
        }
    }

    /// It was not sent after all: the service refused it.
    pub(crate) fn unsent(&self, kind: Kind) {
        let counter = match kind {
            Kind::First => &self.first,
            Kind::Retry => &self.retries,
            Kind::Hedge => &self.hedges,
        };
        counter.fetch_sub(1, Ordering::Relaxed);
        if let Some(metrics) = &self.metrics {
            metrics.unsent.increment();
        }
    }

    pub(crate) fn timed_out(&self) {
        one(&self.timeouts);
        if let Some(metrics) = &self.metrics {
            metrics.timeouts.increment();
        }
    }

    pub(crate) fn waited(&self, wait: Duration) {
        one(&self.token_waits);
        self.token_nanos.fetch_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(metrics) = &self.metrics {
            metrics.waited(wait);
        }
    }

    pub(crate) fn hit(&self) {
        one(&self.hits);
        if let Some(metrics) = &self.metrics {
            metrics.hits.increment();
        }
    }

    pub(crate) fn shared(&self) {
        one(&self.shared);
        if let Some(metrics) = &self.metrics {
            metrics.shared.increment();
        }
    }

    pub(crate) fn missed(&self) {
        one(&self.misses);
        if let Some(metrics) = &self.metrics {
            metrics.misses.increment();
        }
    }

    /// The part of a snapshot that is counted.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut snapshot = Snapshot {
            succeeded: read(&self.succeeded),
            failed: read(&self.failed),
            deadlines: read(&self.deadlines),
            retries: read(&self.retries),
            hedges: read(&self.hedges),
            timeouts: read(&self.timeouts),
            refused_by_concurrency: read(&self.by_concurrency),
            refused_by_circuit: read(&self.by_circuit),
            refused_by_quota: read(&self.by_rate_limit),
            refused_by_endpoint: read(&self.by_endpoint),
            refused_by_service: read(&self.by_service),
            token_waits: read(&self.token_waits),
            token_waited: Duration::from_nanos(read(&self.token_nanos)),
            cache_hits: read(&self.hits),
            cache_shared: read(&self.shared),
            cache_misses: read(&self.misses),
            ..Snapshot::default()
        };
        snapshot.attempts = read(&self.first) + snapshot.retries + snapshot.hedges;
        snapshot.calls = snapshot.succeeded
            + snapshot.failed
            + snapshot.deadlines
            + snapshot.refused_by_concurrency
            + snapshot.refused_by_circuit
            + snapshot.refused_by_quota
            + snapshot.refused_by_endpoint
            + snapshot.refused_by_service;
        snapshot
    }
}

/// A call under way.
pub(crate) struct UnderWay<'a>(Option<&'a Gauge>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(gauge) = self.0 {
            gauge.add(-1.0);
        }
    }
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
