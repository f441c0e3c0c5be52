//! The names of this crate's metrics.

use aqueduct_metrics::{Counter, Definition, MetricsError, Registry};

use crate::{Ended, Limit};

/// Calls by how they ended.
pub(crate) const CALLS: Definition = Definition {
    name: "aqueduct_retry_calls_total",
    help: "Calls by how they ended: success, final (another attempt would not help), refused (not made), or the limit \
           that ended the retries: retries, elapsed, retry_after, budget, deadline.",
    labels: &["retry", "outcome"],
};

/// Attempts by why they were made.
pub(crate) const ATTEMPTS: Definition = Definition {
    name: "aqueduct_retry_attempts_total",
    help: "Attempts by why they were made: first, retry, hedge.",
    labels: &["retry", "kind"],
};

/// Hedges that paid.
pub(crate) const HEDGES_WON: Definition = Definition {
    name: "aqueduct_retry_hedges_won_total",
    help: "Hedges that answered before the attempt that they stood beside.",
    labels: &["retry"],
};

/// Where the calls that go by one name count. Cheap to clone; clones count together.
///
/// Give the same to a [`Retry`](crate::Retry) and the [`Hedge`](crate::Hedge) within it.
#[derive(Clone, Debug)]
pub struct Metrics {
    succeeded: Counter,
    stopped: Counter,
    refused: Counter,
    retries: Counter,
    elapsed: Counter,
    retry_after: Counter,
    budget: Counter,
    deadline: Counter,
    first: Counter,
    retry: Counter,
    hedge: Counter,
    hedges_won: Counter,
}

impl Metrics {
    /// Registers the metrics under a name for what is called: that of a service, and never one of many hosts.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] when the registry has other metrics by these names, or the name is too long.
    pub fn register(registry: &Registry, name: &str) -> Result<Self, MetricsError> {
        let calls = registry.counter(&CALLS)?;
        let attempts = registry.counter(&ATTEMPTS)?;
        Ok(Self {
            succeeded: calls.series(&[name, "success"])?,
            stopped: calls.series(&[name, "final"])?,
            refused: calls.series(&[name, "refused"])?,
            retries: calls.series(&[name, "retries"])?,
            elapsed: calls.series(&[name, "elapsed"])?,
            retry_after: calls.series(&[name, "retry_after"])?,
            budget: calls.series(&[name, "budget"])?,
            deadline: calls.series(&[name, "deadline"])?,
            first: attempts.series(&[name, "first"])?,
            retry: attempts.series(&[name, "retry"])?,
            hedge: attempts.series(&[name, "hedge"])?,
            hedges_won: registry.counter(&HEDGES_WON)?.series(&[name])?,
        })
    }

    pub(crate) fn attempted(&self, number: u32) {
        if number == 1 { self.first.increment() } else { self.retry.increment() }
    }

    pub(crate) fn hedged(&self) {
        self.hedge.increment();
    }

    pub(crate) fn hedge_won(&self) {
        self.hedges_won.increment();
    }

    pub(crate) fn succeeded(&self) {
        self.succeeded.increment();
    }

    pub(crate) fn ended(&self, ended: Ended) {
        let counter = match ended {
            Ended::Final => &self.stopped,
            Ended::Refused => &self.refused,
            Ended::Limit(Limit::Retries) => &self.retries,
            Ended::Limit(Limit::Elapsed) => &self.elapsed,
            Ended::Limit(Limit::RetryAfter) => &self.retry_after,
            Ended::Limit(Limit::Budget) => &self.budget,
            Ended::Limit(Limit::Deadline) => &self.deadline,
        };
        counter.increment();
    }
}
