//! Worker pools for waiting and for computing, workers over a queue, and partitioned workloads.
//!
//! # When to use it
//!
//! You have work that fails now and then, takes too long, panics or does not return, and want it done all the same, on so
//! many workers, with an account of it. Do not use it for items of a stream, which `aqueduct-stream` moves in batches for
//! less, or for work on other machines: a pool is one process, and only a queue outlives it.
//!
//! # The model
//!
//! * A [`Pool`] runs jobs, so many at once: [`IoPool`] futures, [`CpuPool`] closures on threads of its own. A [`Job`] has a
//!   priority, a key, bytes and a time; its work is called once for each attempt. Jobs stand in one line, ordered by the
//!   time of their coming minus what their priority is worth, so that nobody waits for ever. Between two attempts a job
//!   takes no worker. A [`Ticket`] brings the result.
//! * The threads of a [`CpuPool`] are as many as [`Config::size`], or adapt between [`Config::size_min`] and that: one is
//!   begun when a job waits and none is free, and ends when there was one too many for [`Config::idle_max`].
//! * A [`Worker`] runs a handler over the messages of a queue, one by one or in bundles. It reserves what it has slots
//!   for, keeps the leases while handlers run, and settles by what came of them: done, again after a delay, set aside, or
//!   given back.
//! * [`CpuPool::map`] and [`IoPool::map`] run a function over the parts of a data set and say where the time went.
//! * [`Phases`] takes the items of a batch through functions in order, each on a pool, and lets none wait for another.
//!
//! Handing out a job is O(log n) in those that wait, under one lock that no code of a job runs under.
//!
//! What comes of a handler decides about its message:
//!
//! | of the handler | of the message |
//! |---|---|
//! | succeeds | acked |
//! | fails in passing, or is refused, or gives up by itself | comes again after a delay, and this was an attempt |
//! | fails for good | set aside with the reason |
//! | panics, or its time is over | comes again after a delay, and this was an attempt |
//! | is cancelled by a drain | given back, and this was no attempt |
//! | its lease is somebody else's | nothing: it is not this worker's to settle |
//!
//! # Guarantees and limits
//!
//! * A job that was taken ends exactly once, and its ticket tells how: also when its work panics, its thread dies, or the
//!   runtime goes. Its attempts never overlap, but for work that was given up and goes on.
//! * A pool never has more than [`Config::jobs_max`] jobs, runs more than its size, more than so many of a key, or jobs of
//!   more bytes than it may, as they state them. Nothing measures the memory of a job; only a process of its own could be
//!   held to it.
//! * A future is dropped when its time is over. A thread cannot be: it is asked to end, and after
//!   [`Config::cancel_grace`] its place is given to a new one, [`Config::abandoned_max`] times at most; then the pool gets
//!   smaller and [`Pool::health`] says so.
//! * A worker never has more messages than slots, or than bundles of [`WorkerConfig::bundle_max`] in all of them. Each one
//!   that it takes is settled, given back, or counted as stale or unsettled. It delivers at least once: a lease is no lock, and [`Work::token`] is the fence.
//! * A message that kills its process costs what runs beside it one attempt: on its next one it runs alone ([`Suspects`]),
//!   until the queue sets it aside.
//! * A store that fails is asked again, up to every 10 s, for as long as it takes; only its closing ends a worker. Health
//!   turns bad meanwhile.
//! * A drain ends within its grace and `cancel_grace`, and a worker's within twice the grace and `cancel_grace`, whatever
//!   handlers and the store do.
//!
//! # Units
//!
//! Times are [`Duration`](std::time::Duration)s, sizes bytes, shares from 0 to 1, attempts counted from 1.
//!
//! # Example
//!
//! ```
//! use aqueduct_core::{Classified, Clock, ErrorClass};
//! use aqueduct_processor::{Config, Job, Pool};
//!
//! #[derive(Debug)]
//! struct Unreadable;
//!
//! impl Classified for Unreadable {
//!     fn class(&self) -> ErrorClass {
//!         ErrorClass::Permanent
//!     }
//! }
//!
//! # async fn story() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::cpu(Config { size: 2, ..Config::default() }, Clock::system())?;
//! let square = pool.submit(Job::default(), |_| Ok::<_, Unreadable>(7 * 7)).await?;
//! let broken = pool.submit(Job::default(), |_| Err::<u64, _>(Unreadable)).await?;
//! assert_eq!(square.await.ok(), Some(49));
//! assert_eq!(broken.await.unwrap_err().attempts(), 1);
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(story()).unwrap();
//! ```
//!
//! # Metrics
//!
//! [`Metrics`] counts jobs by how they ended and places that were given up, times waits and attempts, and shows how many
//! workers there are, under a name that you give. [`Pool::figures`], [`WorkerHandle::report`] and [`WorkloadReport`] need no
//! registry.
//!
//! # Sources
//!
//! The line orders by the time of coming plus what a priority is behind: the urgency numbers of Jackson, "Queues with
//! dynamic priority discipline", Management Science 8(1), 1961. Fences are those of
//! Burrows, "The Chubby lock service", OSDI 2006, section 2.4. The account of the tests is the checker `total-queue` of
//! Jepsen.

mod account;
mod cancel;
mod config;
mod end;
mod error;
mod figures;
mod job;
mod limits;
mod line;
mod metrics;
mod phases;
mod pool;
mod report;
mod usage;
mod worker;
mod workload;

pub use cancel::Cancel;
pub use config::Config;
pub use error::{
    ConfigError, JobError, MapError, PhaseError, RunError, StartError, SubmitError, UnknownPhase,
};
pub use figures::{Drained, Figures, Health};
pub use job::{Context, Job};
pub use limits::{Limit, Limits};
pub use metrics::Metrics;
pub use phases::{PhaseReport, Phased, Phases, PhasesReport};
pub use pool::{CpuPool, IoPool, Pool, Ticket};
pub use report::{Identity, RunEnd, RunReport};
pub use worker::{Suspects, Work, Worker, WorkerConfig, WorkerHandle, WorkerHealth};
pub use workload::{Items, Mapped, Partition, PartitionError, Workload, WorkloadReport};
