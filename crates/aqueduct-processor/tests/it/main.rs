//! Pools, workers over queues and partitioned workloads, each held to what it promises.

#![cfg(test)]

mod accounts;
mod adaptive;
mod bundles;
mod cpu_pool;
mod full_disk;
mod io_pool;
mod kills;
mod limits;
mod metrics;
mod phases;
mod total_queue;
mod worker;
mod workload;

use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, ManualClock, Timestamp};
use aqueduct_processor::Config;
use aqueduct_retry::{Growth, Schedule};

/// What work in these tests fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) ErrorClass);

pub(crate) const PASSING: Fault = Fault(ErrorClass::Transient);
pub(crate) const FINAL: Fault = Fault(ErrorClass::Permanent);

impl Classified for Fault {
    fn class(&self) -> ErrorClass {
        self.0
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a {} fault", self.0)
    }
}

pub(crate) fn manual() -> (Clock, ManualClock) {
    Clock::manual(Timestamp(0))
}

/// One second between attempts, `retries` times.
pub(crate) fn retries(retries: u32) -> Schedule {
    Schedule::builder(Growth::Constant { delay: Duration::from_secs(1) })
        .retries_max(retries)
        .build()
        .unwrap()
}

pub(crate) fn sized(size: usize) -> Config {
    Config { size, retry: retries(2), ..Config::default() }
}

/// Waits until something is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
