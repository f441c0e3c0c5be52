use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A level that goes up and down. Cheap to clone; clones move the same figure.
///
/// For a level that moves with every item, two counters (in and out) cost less and tell more.
#[derive(Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the level.
    #[inline]
    pub fn set(&self, level: f64) {
        // Relaxed here and below: only this figure matters, and it orders nothing.
        self.0.store(level.to_bits(), Ordering::Relaxed);
    }

    /// Moves the level by `step`, which may be negative. No step is lost, whichever threads move it.
    #[inline]
    pub fn add(&self, step: f64) {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let moved = (f64::from_bits(seen) + step).to_bits();
            match self.0.compare_exchange_weak(seen, moved, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives the level.
    #[must_use]
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.value()).finish()
    }
}
