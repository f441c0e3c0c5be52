//! Chooses an endpoint for each call, and leaves those alone that are not well.

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
pub use metrics::{Metrics, MetricsError};
pub use outlier::{Cause, Decision, Detector, Tally};
pub use priority::{Portion, Standing, portions};
#[cfg(feature = "tower")]
pub use service::{Balance, BalanceFuture, Judge, ResultJudge, Routed};
pub use snapshot::{Figures, State};
