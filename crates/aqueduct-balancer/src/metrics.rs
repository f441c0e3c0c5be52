//! The names of this crate's metrics.

use aqueduct_core::Verdict;
use aqueduct_metrics::{Counter, Definition, Family, Gauge, MetricsError, Registry, SeriesError};

use crate::outlier::Cause;

/// Calls by endpoint and by what came of them.
pub(crate) const CALLS: Definition = Definition {
    name: "aqueduct_balancer_calls_total",
    help: "Calls by what came of them: success, failure, ignored (they say nothing), cancelled (given up).",
    labels: &["balancer", "endpoint", "outcome"],
};

/// Calls under way.
pub(crate) const IN_FLIGHT: Definition = Definition {
    name: "aqueduct_balancer_in_flight",
    help: "Calls under way.",
    labels: &["balancer", "endpoint"],
};

/// Ejections by endpoint and cause.
pub(crate) const EJECTIONS: Definition = Definition {
    name: "aqueduct_balancer_ejections_total",
    help: "Ejections by cause: consecutive_failures, success_rate, failure_share.",
    labels: &["balancer", "endpoint", "cause"],
};

/// Picks that found nothing.
pub(crate) const NO_ENDPOINT: Definition = Definition {
    name: "aqueduct_balancer_no_endpoint_total",
    help: "Picks for which no endpoint could be chosen.",
    labels: &["balancer"],
};

/// Endpoints that are well.
pub(crate) const WELL: Definition = Definition {
    name: "aqueduct_balancer_well_endpoints",
    help: "Endpoints that are well, of all priorities.",
    labels: &["balancer"],
};

/// Where one balancer counts. An endpoint that is removed keeps its series; the cap of the registry bounds how many
/// names it takes over time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    name: String,
    calls: Family<Counter>,
    in_flight: Family<Gauge>,
    ejections: Family<Counter>,
    pub(crate) no_endpoint: Counter,
    pub(crate) well: Gauge,
}

/// Where one endpoint counts.
#[derive(Debug)]
pub(crate) struct EndpointMetrics {
    succeeded: Counter,
    failed: Counter,
    ignored: Counter,
    cancelled: Counter,
    consecutive_failures: Counter,
    success_rate: Counter,
    failure_share: Counter,
    in_flight: Gauge,
}

impl Metrics {
    /// Registers the metrics under a name for the balancer: that of the service that the endpoints give.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] when the registry has other metrics by these names, or the name is too long.
    pub fn register(registry: &Registry, name: &str) -> Result<Self, MetricsError> {
        Ok(Self {
            name: name.to_owned(),
            calls: registry.counter(&CALLS)?,
            in_flight: registry.gauge(&IN_FLIGHT)?,
            ejections: registry.counter(&EJECTIONS)?,
            no_endpoint: registry.counter(&NO_ENDPOINT)?.series(&[name])?,
            well: registry.gauge(&WELL)?.series(&[name])?,
        })
    }

    /// Names of endpoints are within the length that labels may have, so this gives an error to nobody.
    pub(crate) fn endpoint(&self, endpoint: &str) -> Result<EndpointMetrics, SeriesError> {
        let calls = |outcome| self.calls.series(&[&self.name, endpoint, outcome]);
        let ejections = |cause| self.ejections.series(&[&self.name, endpoint, cause]);
        Ok(EndpointMetrics {
            succeeded: calls("success")?,
            failed: calls("failure")?,
            ignored: calls("ignored")?,
            cancelled: calls("cancelled")?,
            consecutive_failures: ejections("consecutive_failures")?,
            success_rate: ejections("success_rate")?,
            failure_share: ejections("failure_share")?,
            in_flight: self.in_flight.series(&[&self.name, endpoint])?,
        })
    }
}

impl EndpointMetrics {
    pub(crate) fn begun(&self) {
        self.in_flight.add(1.0);
    }

    /// What began was not meant.
    #[cfg(feature = "tower")]
    pub(crate) fn never_mind(&self) {
        self.in_flight.add(-1.0);
    }

    /// Without a verdict it was cancelled.
    pub(crate) fn ended(&self, verdict: Option<Verdict>) {
        self.in_flight.add(-1.0);
        match verdict {
            Some(Verdict::Success) => self.succeeded.increment(),
            Some(Verdict::Failure { .. }) => self.failed.increment(),
            Some(Verdict::Ignore) => self.ignored.increment(),
            None => self.cancelled.increment(),
        }
    }

    pub(crate) fn ejected(&self, cause: Cause) {
        match cause {
            Cause::ConsecutiveFailures => self.consecutive_failures.increment(),
            Cause::SuccessRate => self.success_rate.increment(),
            Cause::FailureShare => self.failure_share.increment(),
        }
    }
}
