use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, Verdict};
use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::load::{Load, Moment, Tuning, nanos};
use crate::metrics::{EndpointMetrics, Metrics};
use crate::outlier::{Cause, Decision, Detector};

/// An endpoint in a balancer, which leases keep alive when the balancer has forgotten it. Its load comes first; see there.
#[repr(C)]
pub(crate) struct Node<E> {
    pub(crate) load: Load,
    pub(crate) endpoint: Endpoint<E>,
    /// Unlike a name never given twice. Members are in its order.
    pub(crate) id: u64,
    pub(crate) core: Arc<Core>,
    metrics: OnceLock<EndpointMetrics>,
}

/// What a balancer and its endpoints share, whatever is balanced.
pub(crate) struct Core {
    pub(crate) clock: Clock,
    /// Swapped as a whole when the configuration changes.
    pub(crate) settings: ArcSwap<Settings>,
    /// Guards who is ejected. Taken after the lock of the members, where both are.
    detector: Mutex<Detector>,
    /// When somebody must look at the endpoints again, in nanoseconds. Sequentially consistent, with `stale`: see
    /// [`Core::settled`].
    due: AtomicU64,
    /// Whether something has changed that the view does not show.
    stale: AtomicBool,
    /// Leases out, where the algorithm counts them. Relaxed: an old figure moves a bound by a call.
    pub(crate) leased: AtomicUsize,
    /// Told when there is a new view.
    pub(crate) changed: Notify,
    /// The callers of services that wait for another view; see `Balance`. Held to copy or to take them.
    #[cfg(feature = "tower")]
    pub(crate) wakers: Mutex<Vec<std::task::Waker>>,
    /// Told when the last lease of a drained endpoint ends.
    pub(crate) drained: Notify,
    pub(crate) observer: OnceLock<Box<Observer>>,
    pub(crate) metrics: OnceLock<Metrics>,
}

pub(crate) type Observer = dyn Fn(&Event) + Send + Sync;

/// A configuration, and what is made of it for those who look often.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) tuning: Tuning,
}

impl Settings {
    pub(crate) fn of(config: Config) -> Self {
        Self { tuning: Tuning::of(config.latency), config }
    }
}

impl Core {
    pub(crate) fn new(config: Config, clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            detector: Mutex::new(Detector::new(config.outliers, seed)),
            settings: ArcSwap::from_pointee(Settings::of(config)),
            due: AtomicU64::new(0),
            stale: AtomicBool::new(true),
            leased: AtomicUsize::new(0),
            changed: Notify::new(),
            #[cfg(feature = "tower")]
            wakers: Mutex::new(Vec::new()),
            drained: Notify::new(),
            observer: OnceLock::new(),
            metrics: OnceLock::new(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::of(self.clock.now())
    }

    pub(crate) fn is_due(&self, now: Moment) -> bool {
        now.nanos >= self.due.load(Ordering::SeqCst)
    }

    /// The view does not show something; the next pick makes another one.
    pub(crate) fn make_stale(&self) {
        self.stale.store(true, Ordering::SeqCst);
        self.due.store(0, Ordering::SeqCst);
    }

    pub(crate) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::SeqCst)
    }

    /// The view is right until `due`. Whoever made it stale meanwhile set the flag before the time, so that either they
    /// overwrite this time or it is seen here that they did.
    pub(crate) fn settled(&self, due: u64) {
        self.due.store(due, Ordering::SeqCst);
        if self.stale.load(Ordering::SeqCst) {
            self.due.store(0, Ordering::SeqCst);
        }
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole figures.
    pub(crate) fn detector(&self) -> MutexGuard<'_, Detector> {
        self.detector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits that there is a new view.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
        #[cfg(feature = "tower")]
        {
            let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
            wakers.into_iter().for_each(std::task::Waker::wake);
        }
    }

    pub(crate) fn tell(&self, event: &Event) {
        if let Some(observer) = self.observer.get() {
            observer(event);
        }
    }
}

impl<E> Node<E> {
    pub(crate) fn new(endpoint: Endpoint<E>, id: u64, core: Arc<Core>) -> Self {
        Self { load: Load::default(), endpoint, id, core, metrics: OnceLock::new() }
    }

    /// Acquire pairs with the release of whoever attached them.
    pub(crate) fn metrics(&self) -> Option<&EndpointMetrics> {
        if self.load.metered.load(Ordering::Acquire) { self.metrics.get() } else { None }
    }

    /// Ends a lease that began at `begun`. Without a verdict it was cancelled.
    pub(crate) fn end(&self, begun: u64, verdict: Option<Verdict>) {
        match verdict {
            Some(Verdict::Success) => {
                let (now, settings) = (self.core.now(), self.core.settings.load());
                self.load.succeeded(begun, now, &settings.tuning);
            }
            Some(Verdict::Failure { retry_after }) => self.failed(begun, retry_after),
            Some(Verdict::Ignore) => {
                self.load.ignored.fetch_add(1, Ordering::Relaxed);
            }
            None => {
                self.load.cancelled.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(metrics) = self.metrics() {
            metrics.ended(verdict);
        }
        self.leave();
    }

    /// Adds a lease, unless it is drained.
    pub(crate) fn enter(&self) -> bool {
        let stays = self.load.begin();
        if !stays {
            // Whoever waits for the last one may have seen this one.
            self.leave();
        }
        stays
    }

    /// Ends a lease that was never used.
    #[cfg(feature = "tower")]
    pub(crate) fn never_mind(&self) {
        if let Some(metrics) = self.metrics() {
            metrics.never_mind();
        }
        self.leave();
    }

    fn leave(&self) {
        if self.load.end() {
            self.core.drained.notify_waiters();
        }
    }

    #[cold]
    fn failed(&self, begun: u64, retry_after: Option<Duration>) {
        let (now, settings) = (self.core.now(), self.core.settings.load());
        let in_a_row = self.load.failed(begun, now, &settings.tuning);
        let most = settings.config.outliers.and_then(|outliers| outliers.consecutive_failures);
        // Where there was no room, it is asked again after as many more.
        if most.is_some_and(|most| in_a_row.is_multiple_of(most)) {
            let decision = self.core.detector().eject(now.instant(), self.id);
            if let Some(Decision::Ejected { cause, lasts, .. }) = decision {
                self.load.ejected.store(true, Ordering::Relaxed);
                self.core.make_stale();
                self.report_ejection(cause, lasts);
            }
        }
        if let Some(wait) = retry_after.map(|wait| wait.min(settings.config.retry_after_max)) {
            if wait.is_zero() {
                return;
            }
            self.load.resting_until.fetch_max(now.nanos.saturating_add(nanos(wait)), Ordering::Relaxed);
            self.core.make_stale();
            self.core
                .tell(&Event::Resting { endpoint: Arc::clone(self.endpoint.shared_name()), lasts: wait });
        }
    }

    /// Counts and tells an ejection, outside of the locks.
    pub(crate) fn report_ejection(&self, cause: Cause, lasts: Duration) {
        self.load.ejections.fetch_add(1, Ordering::Relaxed);
        if let Some(metrics) = self.metrics() {
            metrics.ejected(cause);
        }
        self.core.tell(&Event::Ejected { endpoint: Arc::clone(self.endpoint.shared_name()), cause, lasts });
    }

    pub(crate) fn count_in(&self, metrics: &Metrics) {
        if let Ok(series) = metrics.endpoint(self.endpoint.name()) {
            // Attached once; a second balancer's metrics would count the same calls twice.
            let _ = self.metrics.set(series);
            self.load.metered.store(true, Ordering::Release);
        }
    }

    /// Whether it may be chosen where nobody panics.
    pub(crate) fn is_well(&self, now: Moment) -> bool {
        !self.load.unhealthy.load(Ordering::Relaxed)
            && !self.load.ejected.load(Ordering::Relaxed)
            && !self.is_resting(now)
    }

    pub(crate) fn is_resting(&self, now: Moment) -> bool {
        self.load.resting_until.load(Ordering::Relaxed) > now.nanos
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.load.draining.load(Ordering::Relaxed)
    }
}
