//! The names of this crate's metrics.

use std::time::Duration;

use aqueduct_metrics::{Counter, Definition, Gauge, Histogram, MetricsError, Registry, Scale};

use crate::end::End;

/// Jobs by how they ended.
pub(crate) const JOBS: Definition = Definition {
    name: "aqueduct_processor_jobs_total",
    help: "Jobs by how they ended: done, failed, panicked, late, cancelled.",
    labels: &["pool", "outcome"],
};

/// How long jobs waited for their turn.
pub(crate) const WAIT: Definition = Definition {
    name: "aqueduct_processor_wait_seconds",
    help: "Time from the submission of a job to its first attempt.",
    labels: &["pool"],
};

/// How long attempts took.
pub(crate) const RUN: Definition = Definition {
    name: "aqueduct_processor_run_seconds",
    help: "Time that an attempt of a job took; the sum is the time that workers were busy.",
    labels: &["pool"],
};

/// Work that did not return.
pub(crate) const ABANDONED: Definition = Definition {
    name: "aqueduct_processor_abandoned_total",
    help: "Jobs that did not return when they were cancelled, and whose place was given up.",
    labels: &["pool"],
};

/// How many workers there are.
pub(crate) const WORKERS: Definition = Definition {
    name: "aqueduct_processor_workers",
    help: "Workers that there are: threads of a pool for computing, the size of a pool for waiting.",
    labels: &["pool"],
};

/// Where one pool, or all that go by one name, count. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    done: Counter,
    failed: Counter,
    panicked: Counter,
    late: Counter,
    cancelled: Counter,
    abandoned: Counter,
    wait: Histogram,
    run: Histogram,
    workers: Gauge,
}

impl Metrics {
    /// Registers the metrics under a name for the pool.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] when the registry has other metrics by these names, or the name is too long.
    pub fn register(registry: &Registry, name: &str) -> Result<Self, MetricsError> {
        let jobs = registry.counter(&JOBS)?;
        Ok(Self {
            done: jobs.series(&[name, "done"])?,
            failed: jobs.series(&[name, "failed"])?,
            panicked: jobs.series(&[name, "panicked"])?,
            late: jobs.series(&[name, "late"])?,
            cancelled: jobs.series(&[name, "cancelled"])?,
            abandoned: registry.counter(&ABANDONED)?.series(&[name])?,
            wait: registry.histogram(&WAIT, Scale::SECONDS)?.series(&[name])?,
            run: registry.histogram(&RUN, Scale::SECONDS)?.series(&[name])?,
            workers: registry.gauge(&WORKERS)?.series(&[name])?,
        })
    }

    pub(crate) fn ended(&self, end: &End) {
        match end {
            End::Done => self.done.increment(),
            End::Failed(_) => self.failed.increment(),
            End::Panicked(_) => self.panicked.increment(),
            End::Late { .. } => self.late.increment(),
            End::Cancelled { .. } => self.cancelled.increment(),
        }
        if let End::Late { abandoned: true } | End::Cancelled { abandoned: true } = end {
            self.abandoned.increment();
        }
    }

    pub(crate) fn waited(&self, wait: Duration) {
        self.wait.record_duration(wait);
    }

    /// There are other workers in place of so many. Pools of one name add up.
    pub(crate) fn workers(&self, before: usize, now: usize) {
        self.workers.add(now as f64 - before as f64);
    }

    pub(crate) fn ran(&self, run: Duration) {
        self.run.record_duration(run);
    }
}
