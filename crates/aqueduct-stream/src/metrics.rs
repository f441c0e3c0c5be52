//! The names of this crate's metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_metrics::{Counter, Definition, Histogram, MetricsError, Registry, Scale};

/// Items that a stage took.
pub(crate) const STAGE_IN: Definition = Definition {
    name: "aqueduct_stream_stage_in_total",
    help: "Items that a stage worked on, repeated attempts included.",
    labels: &["pipeline", "stage"],
};

/// Items that a stage gave.
pub(crate) const STAGE_OUT: Definition = Definition {
    name: "aqueduct_stream_stage_out_total",
    help: "Items that a stage gave, to the next stage or to a sink.",
    labels: &["pipeline", "stage"],
};

/// Attempts of a stage that failed.
pub(crate) const STAGE_FAILED: Definition = Definition {
    name: "aqueduct_stream_stage_failed_total",
    help: "Attempts of a stage that failed, those that succeeded later included.",
    labels: &["pipeline", "stage"],
};

/// Time of a stage for one item.
pub(crate) const STAGE_SECONDS: Definition = Definition {
    name: "aqueduct_stream_stage_seconds",
    help: "Time of a stage for one item; for stages that do not wait, the mean of each batch.",
    labels: &["pipeline", "stage"],
};

/// The figures of one stage, or of the source's decoding.
#[derive(Debug)]
pub(crate) struct StepStats {
    taken: Counter,
    given: Counter,
    failures: Counter,
    seconds: Histogram,
    /// Nanoseconds of work. Relaxed: read once, at the end.
    busy: AtomicU64,
}

impl StepStats {
    pub(crate) fn register(registry: &Registry, pipeline: &str, stage: &str) -> Result<Self, MetricsError> {
        let labels = [pipeline, stage];
        Ok(Self {
            taken: registry.counter(&STAGE_IN)?.series(&labels)?,
            given: registry.counter(&STAGE_OUT)?.series(&labels)?,
            failures: registry.counter(&STAGE_FAILED)?.series(&labels)?,
            seconds: registry.histogram(&STAGE_SECONDS, Scale::SECONDS)?.series(&labels)?,
            busy: AtomicU64::new(0),
        })
    }

    /// Notes `items` items that took `time` together.
    pub(crate) fn worked(&self, items: u64, time: Duration) {
        if items == 0 {
            return;
        }
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.taken.add(items);
        self.seconds.record(nanos / items);
        self.busy.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn gave(&self, items: u64) {
        self.given.add(items);
    }

    pub(crate) fn failed(&self, items: u64) {
        self.failures.add(items);
    }

    pub(crate) fn report(&self, name: &str, elapsed: Duration, workers: usize) -> crate::StageReport {
        let times = self.seconds.read();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
        let millis = |q: f64| times.quantile(q).unwrap_or(0) as f64 / 1e6;
        let busy = Duration::from_nanos(self.busy.load(Ordering::Relaxed)).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a share for people; at most 1,024 workers")]
        let capacity = elapsed.as_secs_f64() * workers as f64;
        crate::StageReport {
            name: name.to_owned(),
            taken: self.taken.value(),
            given: self.given.value(),
            failed: self.failures.value(),
            busy_share: if capacity > 0.0 { busy / capacity } else { 0.0 },
            p50_ms: millis(0.50),
            p95_ms: millis(0.95),
            p99_ms: millis(0.99),
            figures: serde_json::Map::new(),
        }
    }
}
