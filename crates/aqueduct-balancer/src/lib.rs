//! Chooses an endpoint for each call, and leaves those alone that are not well.
//!
//! # When to use it
//!
//! Several endpoints can answer the same call (replicas of a service, models behind one name, workers), and you choose
//! among them yourself. Do not use it behind a proxy that chooses already, for one endpoint (a breaker is enough), or to
//! limit how much each gets: it shifts calls and refuses none while anybody is well.
//!
//! # The model
//!
//! An [`Endpoint`] has a name, a weight, a priority and a value of yours. [`Balancer::pick`] gives a [`Lease`] on one;
//! [`Lease::finish`] says what came of the call, and how long it took follows. A lease that is dropped says nothing.
//!
//! Who may be chosen is decided in this order:
//!
//! * One that is *drained* is not chosen, and neither is one that *rests*, because it asked to be left alone (a failure
//!   with `retry_after`).
//! * One is not *well* when its active checks fail (the feature `health` has a `HealthChecker`, and
//!   [`Balancer::set_health`] takes the word of anybody), or when its calls have *ejected* it: too many failures in a
//!   row, or a rate that stands out; see [`Outliers`]. Ejections end by themselves.
//! * The first priority that can take all calls gets them, and what it cannot take goes to the next; where too few are
//!   well everywhere, all are used: *panic*. See [`portions`].
//! * Among those that are left an [`Algorithm`] chooses. [`Balancer::pick_for`] with a hash algorithm sends a key to the
//!   same endpoint each time.
//!
//! The rates and the portions are pure cores that can be used alone: [`Detector`] and [`portions`]. There is no task
//! behind a balancer: what is due is done by the next pick. With the feature `tower`, `Balance` is a service over a set of
//! services, and `EndpointLayer` tells one client which endpoint to call.
//!
//! # Guarantees and limits
//!
//! * The calls under way of an endpoint are its leases, whatever is cancelled, added, drained or removed.
//! * A pick takes no lock, allocates nothing and is O(1); the pick that finds something due (a sweep each interval, the
//!   end of an ejection, a step of a slow start) does it first, which is linear in the endpoints.
//! * An endpoint that fails at once is out after five calls, and comes back when its ejection is over.
//! * Ejections leave one endpoint in any case, and at least `1 - share_max` of them where there are more than two.
//! * No endpoint is an error that says how long to wait, or a [bounded wait](Balancer::pick_within): never a hang.
//! * Shares follow the weights to the hundredth while endpoints are alike. [`Algorithm::LeastResponseTime`] prefers the
//!   faster ones to that, and [`Algorithm::BoundedLoad`] bounds against the calls of all priorities.
//! * A configuration that was built cannot be wrong, and it can be swapped while calls are under way. Nothing panics.
//!
//! # Units
//!
//! Times are [`Duration`](std::time::Duration)s, shares and ratios are from 0 to 1, portions are hundredths.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use aqueduct_balancer::{Balancer, Config, Endpoint};
//! use aqueduct_core::{Clock, Timestamp, Verdict};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (clock, hand) = Clock::manual(Timestamp(0));
//! let endpoints = [
//!     Endpoint::new("10.0.0.1:443", "https://10.0.0.1").with_weight(2),
//!     Endpoint::new("10.0.0.2:443", "https://10.0.0.2"),
//! ];
//! let balancer = Balancer::new(endpoints, Config::default(), clock)?;
//!
//! let busy = balancer.pick()?;
//! let name = busy.name().to_owned();
//! busy.finish(Verdict::Failure { retry_after: Some(Duration::from_secs(3)) });
//!
//! // It asked to be left alone, and is.
//! let other = balancer.pick()?;
//! assert_ne!(other.name(), name);
//! hand.advance(Duration::from_millis(20));
//! other.finish(Verdict::Success);
//! assert_eq!(balancer.snapshot().iter().map(|figures| figures.successes).sum::<u64>(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! [`Metrics`] counts calls by endpoint and outcome, calls under way, ejections by cause, picks that found nothing, and how
//! many endpoints are well. [`Balancer::snapshot`] has the figures of each endpoint, [`Balancer::with_observer`] the
//! changes.
//!
//! # Sources
//!
//! Each algorithm names its own. Ejection, panic, priorities and slow start follow the documentation of Envoy, the ring
//! follows nginx, the peak EWMA Finagle, and the penalty for failures linkerd2-proxy.

mod balancer;
mod config;
mod draw;
mod endpoint;
mod error;
mod event;
mod hash;
#[cfg(feature = "health")]
mod health;
#[cfg(feature = "tower")]
mod layer;
mod lease;
mod load;
mod metrics;
mod node;
mod outlier;
mod priority;
#[cfg(feature = "tower")]
mod service;
mod slow_start;
mod snapshot;
mod strategy;
mod view;

pub use balancer::{Balancer, Health};
pub use config::{Algorithm, Builder, Config, FailureShare, Latency, Outliers, SlowStart, SuccessRate};
pub use endpoint::Endpoint;
pub use error::{CallError, ChangeError, ConfigError, NoEndpoint};
pub use event::Event;
#[cfg(feature = "health")]
pub use health::{HealthCheck, HealthChecker, HealthConfig};
#[cfg(feature = "tower")]
pub use layer::EndpointLayer;
#[cfg(any(feature = "health", feature = "tower"))]
pub use lease::Chosen;
pub use lease::Lease;
pub use metrics::Metrics;
pub use outlier::{Cause, Decision, Detector, Tally};
pub use priority::{Portion, Standing, portions};
#[cfg(feature = "tower")]
pub use service::{Balance, BalanceFuture, Routed};
pub use snapshot::{Figures, State};
