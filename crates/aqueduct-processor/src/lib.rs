//! Worker pools for waiting and for computing, workers over a queue, and partitioned workloads.

mod cancel;
mod config;
mod error;
mod figures;
mod job;
mod line;
mod metrics;
mod pool;

pub use cancel::Cancel;
pub use config::Config;
pub use error::{ConfigError, JobError, StartError, SubmitError};
pub use figures::{Drained, Figures, Health};
pub use job::{Context, Job};
pub use metrics::Metrics;
pub use pool::{CpuPool, IoPool, Pool, Ticket};
