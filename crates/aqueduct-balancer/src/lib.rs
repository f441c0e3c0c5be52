//! Chooses an endpoint for each call, and leaves those alone that are not well.

mod balancer;
mod config;
mod draw;
mod endpoint;
mod error;
mod event;
mod hash;
mod lease;
mod load;
mod metrics;
mod node;
mod outlier;
mod priority;
mod slow_start;
mod snapshot;
mod strategy;
mod view;

pub use balancer::{Balancer, Health};
pub use config::{Algorithm, Builder, Config, FailureShare, Latency, Outliers, SlowStart, SuccessRate};
pub use endpoint::Endpoint;
pub use error::{CallError, ChangeError, ConfigError, NoEndpoint};
pub use event::Event;
pub use lease::Lease;
pub use metrics::{Metrics, MetricsError};
pub use outlier::{Cause, Decision, Detector, Tally};
pub use priority::{Portion, Standing, portions};
pub use snapshot::{Figures, State};
