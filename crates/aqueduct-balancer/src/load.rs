use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_core::Instant;

use crate::config::Latency;
use crate::outlier::Tally;

/// What is known of one endpoint, moved without a lock. What a pick reads comes first, beside the count of references
/// that it moves too: among many endpoints a cache line is what a pick costs most.
///
/// Relaxed where nothing is said: each figure stands alone, and an old one makes one choice a little worse.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Load {
    /// Leases out. Sequentially consistent together with `draining`: whoever drains sets the flag and then looks for
    /// leases, whoever picks adds a lease and then looks for the flag, and one of them must see the other.
    in_flight: AtomicU32,
    pub(crate) draining: AtomicBool,
    /// Whether its calls are counted in metrics too, which are further away.
    pub(crate) metered: AtomicBool,
    /// Whether the last active checks say that it is not well.
    pub(crate) unhealthy: AtomicBool,
    pub(crate) ejected: AtomicBool,
    estimate: Estimate,
    /// When the last failure without a success after it was, in nanoseconds and one; 0 for never.
    failed_at: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) successes: AtomicU64,
    consecutive_failures: AtomicU32,
    pub(crate) failures: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) ejections: AtomicU64,
    /// Until when it asked to be left alone, in nanoseconds; 0 for never.
    pub(crate) resting_until: AtomicU64,
    /// Since when it counts as new, in nanoseconds.
    pub(crate) started_at: AtomicU64,
}

/// A moment, as the loads read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) nanos: u64,
    /// Milliseconds, from 0 again after 49 days.
    millis: u32,
}

impl Moment {
    pub(crate) fn of(now: Instant) -> Self {
        Self::at(nanos(now.elapsed_since_start()))
    }

    pub(crate) fn at(nanos: u64) -> Self {
        let millis = nanos / 1_000_000 % (u64::from(u32::MAX) + 1);
        Self { nanos, millis: u32::try_from(millis).unwrap_or(0) }
    }

    pub(crate) fn instant(self) -> Instant {
        Instant::ZERO.after(Duration::from_nanos(self.nanos))
    }
}

/// How times are judged, in the units of the loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    seed_nanos: f32,
    /// One over the decay in milliseconds.
    per_milli: f32,
    penalty_nanos: f32,
    fade_nanos: u64,
}

impl Tuning {
    pub(crate) fn of(latency: Latency) -> Self {
        Self {
            seed_nanos: in_nanos(latency.seed),
            per_milli: 1e-3 / latency.decay.as_secs_f32(),
            penalty_nanos: in_nanos(latency.failure_penalty),
            fade_nanos: nanos(latency.decay),
        }
    }
}

impl Load {
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Adds a lease, and tells whether it may stay: if not, it must [end](Self::end).
    pub(crate) fn begin(&self) -> bool {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        !self.draining.load(Ordering::SeqCst)
    }

    /// Takes a lease away. Tells whether that was the last one of a drained endpoint.
    pub(crate) fn end(&self) -> bool {
        self.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && self.draining.load(Ordering::SeqCst)
    }

    /// Lets nobody in any more, and tells whether nobody is in.
    pub(crate) fn close(&self) -> bool {
        self.draining.store(true, Ordering::SeqCst);
        self.is_idle()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) == 0
    }

    /// A call that began at `begun` went well.
    pub(crate) fn succeeded(&self, begun: u64, now: Moment, tuning: &Tuning) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        // A store is dearer than a load, and most calls follow one that went well.
        if self.consecutive_failures.load(Ordering::Relaxed) != 0 {
            self.consecutive_failures.store(0, Ordering::Relaxed);
        }
        // A call from before the failure does not know of it.
        let failed_at = self.failed_at.load(Ordering::Relaxed);
        if failed_at != 0 && begun >= failed_at - 1 {
            self.failed_at.store(0, Ordering::Relaxed);
        }
        self.estimate.record(now, now.nanos.saturating_sub(begun), tuning);
    }

    /// A call failed. Tells how many did in a row.
    pub(crate) fn failed(&self, begun: u64, now: Moment, tuning: &Tuning) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed_at.store(now.nanos + 1, Ordering::Relaxed);
        // A failure that takes no time says nothing good about the time.
        let took = now.nanos.saturating_sub(begun);
        if nanos_f32(took) > self.estimate(now, tuning) {
            self.estimate.record(now, took, tuning);
        }
        self.consecutive_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Forgets what it held against the endpoint, which has been out and may be well again.
    pub(crate) fn forgive(&self) {
        self.consecutive_failures.store(0, Ordering::Relaxed);
        self.failed_at.store(0, Ordering::Relaxed);
        self.estimate.0.store(0, Ordering::Relaxed);
    }

    /// The time that an answer is thought to take, in nanoseconds, recent failures included. Changes nothing.
    pub(crate) fn latency(&self, now: Moment, tuning: &Tuning) -> f32 {
        let estimate = self.estimate(now, tuning);
        match self.failed_at.load(Ordering::Relaxed) {
            0 => estimate,
            failed_at => {
                let age = now.nanos.saturating_sub(failed_at - 1);
                let left = tuning.fade_nanos.saturating_sub(age);
                estimate + tuning.penalty_nanos * (nanos_f32(left) / nanos_f32(tuning.fade_nanos))
            }
        }
    }

    /// The part of it that was measured.
    pub(crate) fn measured(&self, now: Moment, tuning: &Tuning) -> Option<Duration> {
        let estimate = self.estimate.at(now, tuning)?;
        Some(Duration::from_secs_f64(f64::from(estimate) / 1e9))
    }

    /// What was measured. Before that an endpoint seems as fast as can be until it has a call, and then as the seed
    /// says: so it is tried soon, and not by everybody at once.
    fn estimate(&self, now: Moment, tuning: &Tuning) -> f32 {
        let unknown = || if self.in_flight() == 0 { 0.0 } else { tuning.seed_nanos };
        self.estimate.at(now, tuning).unwrap_or_else(unknown)
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally {
            successes: self.successes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// A peak EWMA of answer times and when it was moved last, in one word: nanoseconds as the bits of an `f32` above
/// milliseconds. 0 is no estimate.
///
/// Source: Finagle's `PeakEwma`, through linkerd's and tower's. Theirs is behind a lock and moves when it is read; this
/// one is a word that only answers move. In one millisecond only a slower answer counts after the first.
#[derive(Debug, Default)]
struct Estimate(AtomicU64);

impl Estimate {
    fn at(&self, now: Moment, tuning: &Tuning) -> Option<f32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            word => {
                let (value, idle) = read(word, now);
                Some(if idle == 0.0 { value } else { value * fading(idle, tuning) })
            }
        }
    }

    fn record(&self, now: Moment, took: u64, tuning: &Tuning) {
        let took = nanos_f32(took);
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let next = match word {
                0 => took,
                _ => {
                    let (value, idle) = read(word, now);
                    if took >= value {
                        took
                    } else if idle == 0.0 {
                        return;
                    } else {
                        took + (value - took) * fading(idle, tuning)
                    }
                }
            };
            let packed = u64::from(next.max(1.0).to_bits()) << 32 | u64::from(now.millis);
            match self.0.compare_exchange_weak(word, packed, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => word = current,
            }
        }
    }
}

/// The estimate and how many milliseconds it is old.
fn read(word: u64, now: Moment) -> (f32, f32) {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
    // Another thread may have been here with a later moment.
    let idle = now.millis.wrapping_sub(half(word));
    let idle = if idle > u32::MAX / 2 { 0 } else { idle };
    (f32::from_bits(half(word >> 32)), whole(idle))
}

fn fading(idle_millis: f32, tuning: &Tuning) -> f32 {
    let age = idle_millis * tuning.per_milli;
    // Under traffic an estimate is young, and the start of the series is within 0.3 % of the curve.
    if age < 0.5 { 1.0 - age * (1.0 - age * (0.5 - age * (1.0 / 6.0))) } else { (-age).exp() }
}

fn whole(number: u32) -> f32 {
    number as f32
}

pub(crate) fn nanos_f32(nanos: u64) -> f32 {
    nanos as f32
}

fn in_nanos(duration: Duration) -> f32 {
    nanos_f32(nanos(duration))
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
