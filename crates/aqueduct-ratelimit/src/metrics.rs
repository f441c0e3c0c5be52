//! The names of this crate's metrics.

use aqueduct_metrics::{Counter, Definition, Histogram, MetricsError, Registry, Scale};

use crate::algorithm::Allowed;
#[cfg(feature = "redis")]
use crate::error::StoreFailure;
use crate::error::{Denied, Reason};

/// What was asked for, by what came of it.
pub(crate) const CHECKS: Definition = Definition {
    name: "aqueduct_ratelimit_checks_total",
    help: "What was asked of a limit: allowed, or denied by limit, too_large, wait, no_reservation, unavailable.",
    labels: &["limit", "outcome"],
};

/// How long those who waited did.
pub(crate) const WAIT: Definition = Definition {
    name: "aqueduct_ratelimit_wait_seconds",
    help: "How long it took to be given what was waited for.",
    labels: &["limit"],
};

/// What a limit that only counts would have denied.
#[cfg(feature = "redis")]
pub(crate) const WOULD_DENY: Definition = Definition {
    name: "aqueduct_ratelimit_would_deny_total",
    help: "What was allowed by a limit in shadow mode and would have been denied.",
    labels: &["limit"],
};

/// Calls of a shared limit that its store did not answer.
#[cfg(feature = "redis")]
pub(crate) const STORE_FAILURES: Definition = Definition {
    name: "aqueduct_ratelimit_store_failures_total",
    help: "What was asked of a shared limit and not answered by its store: unreachable, timed_out, read_only, full, \
           wrong_type, forbidden, other.",
    labels: &["limit", "kind"],
};

/// Where one limit, or all that go by one name, count. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) allowed: Counter,
    by_limit: Counter,
    too_large: Counter,
    by_wait: Counter,
    no_reservation: Counter,
    unavailable: Counter,
    pub(crate) waited: Histogram,
    #[cfg(feature = "redis")]
    pub(crate) would_deny: Counter,
    #[cfg(feature = "redis")]
    failures: [Counter; StoreFailure::ALL.len()],
}

impl Metrics {
    /// Registers the metrics under a name for the limit, and never one for each of many keys.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] when the registry has other metrics by these names, or the name is too long.
    pub fn register(registry: &Registry, name: &str) -> Result<Self, MetricsError> {
        let checks = registry.counter(&CHECKS)?;
        let denied = |reason: Reason| checks.series(&[name, reason.as_str()]);
        Ok(Self {
            allowed: checks.series(&[name, "allowed"])?,
            by_limit: denied(Reason::Limit)?,
            too_large: denied(Reason::TooLarge)?,
            by_wait: denied(Reason::Wait)?,
            no_reservation: denied(Reason::NoReservation)?,
            unavailable: denied(Reason::Unavailable)?,
            waited: registry.histogram(&WAIT, Scale::SECONDS)?.series(&[name])?,
            #[cfg(feature = "redis")]
            would_deny: registry.counter(&WOULD_DENY)?.series(&[name])?,
            #[cfg(feature = "redis")]
            failures: {
                let family = registry.counter(&STORE_FAILURES)?;
                let mut failures: [Counter; StoreFailure::ALL.len()] = Default::default();
                for (counter, failure) in failures.iter_mut().zip(StoreFailure::ALL) {
                    *counter = family.series(&[name, failure.as_str()])?;
                }
                failures
            },
        })
    }

    #[cfg(feature = "redis")]
    pub(crate) fn failed(&self, failure: StoreFailure) {
        if let Some(counter) = StoreFailure::ALL.iter().position(|known| *known == failure) {
            self.failures[counter].increment();
        }
    }

    pub(crate) fn checked(&self, result: &Result<Allowed, Denied>) {
        match result {
            Ok(_) => self.allowed.increment(),
            Err(denied) => match denied.reason {
                Reason::Limit => self.by_limit.increment(),
                Reason::TooLarge => self.too_large.increment(),
                Reason::Wait => self.by_wait.increment(),
                Reason::NoReservation => self.no_reservation.increment(),
                Reason::Unavailable => self.unavailable.increment(),
            },
        }
    }
}
