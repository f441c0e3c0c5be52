use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_breaker::Breaker;
use aqueduct_core::{Forget, Instant};

use crate::concurrency::Gate;
use crate::config::Settings;
use crate::event::Observer;
use crate::line::Line;
use crate::scope::Scope;

/// What belongs to one key: its circuit, its quota, its gate, and the wait that the other side asked for.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) breaker: Option<Breaker>,
    pub(crate) line: Option<Line>,
    pub(crate) gate: Option<Arc<Gate>>,
    /// Until when it rests, in nanoseconds of the clock. Relaxed: an old value costs an attempt that is refused again.
    rests_until: AtomicU64,
}

impl Lane {
    pub(crate) fn new(settings: &Settings, observer: &Observer, key: &str) -> Self {
        let clock = &settings.clock;
        let own_gate = settings.concurrency.as_ref().filter(|config| config.scope == Scope::PerKey);
        Self {
            breaker: settings.breaker.clone().map(|config| {
                let (observer, name) = (observer.clone(), key.to_owned());
                Breaker::seeded(config, clock.clone(), settings.seed ^ mixed(key))
                    .with_observer(move |transition| observer.circuit(&name, transition))
            }),
            line: settings.key_quota.map(|quota| Line::new(quota, clock.clone())),
            gate: own_gate.map(Gate::new).map(Arc::new),
            rests_until: AtomicU64::new(0),
        }
    }

    /// Leaves the other side alone for so long. A longer rest stays.
    pub(crate) fn rest(&self, now: Instant, wait: Duration) {
        self.rests_until.fetch_max(nanos(now.after(wait)), Ordering::Relaxed);
        if let Some(line) = &self.line {
            line.drain(wait);
        }
    }

    /// How long it still rests.
    pub(crate) fn rest_left(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.rests_until.load(Ordering::Relaxed).saturating_sub(nanos(now)))
    }
}

impl Forget for Lane {
    fn may_forget(&self, now: Instant) -> bool {
        self.breaker.as_ref().is_none_or(|breaker| breaker.may_forget(now))
            && self.line.as_ref().is_none_or(|line| line.may_forget(now))
            && self.gate.as_ref().is_none_or(|gate| !gate.adapts() && gate.level().in_flight == 0)
            && self.rest_left(now).is_zero()
    }
}

/// FNV-1a: the circuits of two keys should not open for the same time, and nobody is hurt by two that do.
fn mixed(key: &str) -> u64 {
    key.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn nanos(at: Instant) -> u64 {
    u64::try_from(at.elapsed_since_start().as_nanos()).unwrap_or(u64::MAX)
}
