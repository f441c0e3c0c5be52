use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value as Json};

/// What a stage that calls says of a run. Relaxed: each is right by itself.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    items: AtomicU64,
    failed: AtomicU64,
    attempts: AtomicU64,
    /// Waits for the quota or an open circuit, outside of a call.
    waits: AtomicU64,
    waited_ms: AtomicU64,
}

impl Figures {
    /// Notes how one item fared.
    pub(crate) fn note(&self, attempts: u32, failed: bool) {
        self.items.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
        self.attempts.fetch_add(u64::from(attempts), Ordering::Relaxed);
    }

    /// Notes a wait that was no failure.
    pub(crate) fn waited(&self, wait: Duration) {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.waited_ms.fetch_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Adds them to what a stage says.
    pub(crate) fn write(&self, figures: &mut Map<String, Json>) {
        let all = [
            ("calls", &self.items),
            ("failed_calls", &self.failed),
            ("attempts", &self.attempts),
            ("refusals_waited_for", &self.waits),
            ("refusals_waited_ms", &self.waited_ms),
        ];
        for (name, figure) in all {
            figures.insert(name.to_owned(), figure.load(Ordering::Relaxed).into());
        }
    }
}
