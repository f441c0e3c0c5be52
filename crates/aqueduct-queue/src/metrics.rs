//! The names of this crate's metrics.

use std::time::Duration;

use aqueduct_core::Timestamp;
use aqueduct_metrics::{Counter, Definition, Gauge, Histogram, MetricsError, Registry, Scale};

use crate::contract::Depth;
use crate::error::SettleError;
use crate::message::{Delivered, Settlement};

/// Messages that were published.
pub(crate) const PUBLISHED: Definition = Definition {
    name: "aqueduct_queue_published_total",
    help: "Messages that were published, in all groups.",
    labels: &["queue"],
};

/// Messages that were not published.
pub(crate) const REFUSED: Definition = Definition {
    name: "aqueduct_queue_refused_total",
    help: "Messages that could not be published: no room in time, not allowed, or a store that does not work.",
    labels: &["queue"],
};

/// How long receipts took.
pub(crate) const RECEIPT: Definition = Definition {
    name: "aqueduct_queue_receipt_seconds",
    help: "Time from a call that publishes to its receipts, the wait for room included.",
    labels: &["queue"],
};

/// Messages that were handed out.
pub(crate) const DELIVERED: Definition = Definition {
    name: "aqueduct_queue_delivered_total",
    help: "Messages that were handed out, later attempts included.",
    labels: &["queue", "group"],
};

/// How long messages waited.
pub(crate) const WAIT: Definition = Definition {
    name: "aqueduct_queue_wait_seconds",
    help: "Time from the publication of a message to its first attempt, its delay included.",
    labels: &["queue", "group"],
};

/// What became of deliveries.
pub(crate) const SETTLED: Definition = Definition {
    name: "aqueduct_queue_settled_total",
    help: "Deliveries by what became of them: acknowledged, failed, released, dead_lettered, stale.",
    labels: &["queue", "group", "outcome"],
};

/// What is in a group.
pub(crate) const MESSAGES: Definition = Definition {
    name: "aqueduct_queue_messages",
    help: "Messages in a group, as they were counted last: ready, delayed, leased, dead.",
    labels: &["queue", "group", "state"],
};

/// How long the oldest message has waited.
pub(crate) const OLDEST: Definition = Definition {
    name: "aqueduct_queue_oldest_wait_seconds",
    help: "How long the oldest message that is ready has waited, as it was looked at last.",
    labels: &["queue", "group"],
};

/// Where one group of a queue counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    published: Counter,
    refused: Counter,
    receipt: Histogram,
    delivered: Counter,
    wait: Histogram,
    acknowledged: Counter,
    failed: Counter,
    released: Counter,
    dead_lettered: Counter,
    stale: Counter,
    ready: Gauge,
    delayed: Gauge,
    leased: Gauge,
    dead: Gauge,
    oldest: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry, queue: &str, group: &str) -> Result<Self, MetricsError> {
        let settled = registry.counter(&SETTLED)?;
        let messages = registry.gauge(&MESSAGES)?;
        Ok(Self {
            published: registry.counter(&PUBLISHED)?.series(&[queue])?,
            refused: registry.counter(&REFUSED)?.series(&[queue])?,
            receipt: registry.histogram(&RECEIPT, Scale::SECONDS)?.series(&[queue])?,
            delivered: registry.counter(&DELIVERED)?.series(&[queue, group])?,
            wait: registry.histogram(&WAIT, Scale::SECONDS)?.series(&[queue, group])?,
            acknowledged: settled.series(&[queue, group, "acknowledged"])?,
            failed: settled.series(&[queue, group, "failed"])?,
            released: settled.series(&[queue, group, "released"])?,
            dead_lettered: settled.series(&[queue, group, "dead_lettered"])?,
            stale: settled.series(&[queue, group, "stale"])?,
            ready: messages.series(&[queue, group, "ready"])?,
            delayed: messages.series(&[queue, group, "delayed"])?,
            leased: messages.series(&[queue, group, "leased"])?,
            dead: messages.series(&[queue, group, "dead"])?,
            oldest: registry.gauge(&OLDEST)?.series(&[queue, group])?,
        })
    }

    /// A call that published, or did not.
    pub(crate) fn published(&self, messages: usize, is_published: bool, took: Duration) {
        let counter = if is_published { &self.published } else { &self.refused };
        counter.add(messages as u64);
        self.receipt.record_duration(took);
    }

    pub(crate) fn delivered(&self, delivered: &[Delivered], now: Timestamp) {
        self.delivered.add(delivered.len() as u64);
        for first in delivered.iter().filter(|delivered| delivered.attempt == 1) {
            // A date that was set back makes no wait.
            let wait = u64::try_from(now.0.saturating_sub(first.published.0)).unwrap_or(0);
            self.wait.record_duration(Duration::from_millis(wait));
        }
    }

    /// Where a settlement is counted once it is known what came of it.
    pub(crate) fn outcome(&self, settlement: &Settlement) -> Outcome<'_> {
        let settled = match settlement {
            Settlement::Ack => &self.acknowledged,
            Settlement::Nack { .. } => &self.failed,
            Settlement::Release => &self.released,
            Settlement::DeadLetter { .. } => &self.dead_lettered,
        };
        Outcome { settled, stale: &self.stale }
    }

    /// Messages that are known to be done without their leases.
    pub(crate) fn discarded(&self, messages: u64) {
        self.acknowledged.add(messages);
    }

    pub(crate) fn counted(&self, depth: &Depth) {
        let gauges = [
            (&self.ready, depth.ready),
            (&self.delayed, depth.delayed),
            (&self.leased, depth.leased),
            (&self.dead, depth.dead),
        ];
        for (gauge, count) in gauges {
            gauge.set(count as f64);
        }
        self.oldest.set(depth.oldest_wait.as_secs_f64());
    }
}

/// A settlement on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome<'m> {
    settled: &'m Counter,
    stale: &'m Counter,
}

impl Outcome<'_> {
    pub(crate) fn note<T>(self, result: &Result<T, SettleError>) {
        match result {
            Ok(_) => self.settled.increment(),
            Err(SettleError::StaleLease { .. }) => self.stale.increment(),
            // It is still leased, or nobody knows.
            Err(_) => {}
        }
    }
}
