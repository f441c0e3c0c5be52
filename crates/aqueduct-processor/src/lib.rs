//! Worker pools for waiting and for computing, workers over a queue, and partitioned workloads.

mod cancel;
mod config;
mod error;
mod figures;
mod job;
mod limits;
mod line;
mod metrics;
mod pool;
mod usage;
mod worker;
mod workload;

pub use cancel::Cancel;
pub use config::Config;
pub use error::{ConfigError, JobError, MapError, RunError, StartError, SubmitError};
pub use figures::{Drained, Figures, Health};
pub use job::{Context, Job};
pub use limits::{Limit, Limits};
pub use metrics::Metrics;
pub use pool::{CpuPool, IoPool, Pool, Ticket};
pub use worker::{Identity, RunEnd, RunReport, Work, Worker, WorkerConfig, WorkerHandle, WorkerHealth};
pub use workload::{Mapped, Partition, PartitionError, Workload, WorkloadReport};
