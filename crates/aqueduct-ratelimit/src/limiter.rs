use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use aqueduct_core::{Clock, Forget, Instant};

use crate::algorithm::{Algorithm, Allowed, Limit, Promised, instant_nanos, nanos};
use crate::config::Config;
use crate::error::{CallError, ConfigError, Denied, Reason};
use crate::metrics::Metrics;
use crate::quota::Quota;
use crate::shared_bucket::SharedBucket;
use crate::turn;

/// A rate limiter that threads and tasks share.
///
/// A bucket is one word and is asked without a lock; a window takes a lock for as long as it counts.
pub struct RateLimiter {
    clock: Clock,
    counted: Counted,
    /// Whoever holds it is the next to be given something; tokio's mutex hands it on in the order of asking.
    turn: tokio::sync::Mutex<()>,
    observer: Option<Box<Observer>>,
    metrics: Option<Metrics>,
    /// Whether there is an observer, or metrics.
    is_told: bool,
}

type Observer = dyn Fn(&Event) + Send + Sync;

/// What a limiter tells its observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It gave nothing.
    Denied(Denied),
    /// Somebody got what was waited for.
    Waited(Duration),
    /// It gives nothing for so long, because somebody was told so.
    Drained(Duration),
    /// It holds to another quota.
    QuotaChanged(Quota),
}

#[derive(Debug)]
enum Counted {
    Bucket(SharedBucket),
    /// Guards the counts. Nothing under it waits.
    Window(Mutex<Limit>),
}

impl RateLimiter {
    /// A limiter of which nothing has been used.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the quota does not go with the algorithm.
    pub fn new(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        let counted = match config.algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => {
                Counted::Bucket(SharedBucket::new(config.quota))
            }
            Algorithm::SlidingLog | Algorithm::SlidingCounter => {
                Counted::Window(Mutex::new(Limit::new(config.quota, config.algorithm)?))
            }
        };
        Ok(Self {
            clock,
            counted,
            turn: tokio::sync::Mutex::default(),
            observer: None,
            metrics: None,
            is_told: false,
        })
    }

    /// A token bucket with this quota, which goes with every quota.
    #[must_use]
    pub fn token_bucket(quota: Quota, clock: Clock) -> Self {
        let counted = Counted::Bucket(SharedBucket::new(quota));
        Self {
            clock,
            counted,
            turn: tokio::sync::Mutex::default(),
            observer: None,
            metrics: None,
            is_told: false,
        }
    }

    /// Tells `observer` what happens, on the thread on which it happens.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self.is_told = true;
        self
    }

    /// Counts what is given and what is not. Limiters may share one.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self.is_told = true;
        self
    }

    /// Uses one token.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the time after which it would be given.
    #[inline]
    pub fn check(&self) -> Result<Allowed, Denied> {
        self.check_n(1)
    }

    /// Uses so many tokens, all or none.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[inline]
    pub fn check_n(&self, tokens: u64) -> Result<Allowed, Denied> {
        self.check_at(self.clock.now(), tokens)
    }

    /// The same at a moment of the limiter's clock, for a caller who has read it already.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[inline]
    pub fn check_at(&self, now: Instant, tokens: u64) -> Result<Allowed, Denied> {
        match &self.counted {
            Counted::Bucket(bucket) if !self.is_told => bucket.take(instant_nanos(now), tokens),
            _ => self.check_and_tell(now, tokens),
        }
    }

    /// Out of line, so that a bucket that tells nobody stays small.
    #[inline(never)]
    fn check_and_tell(&self, now: Instant, tokens: u64) -> Result<Allowed, Denied> {
        let result = self.take(now, tokens);
        self.tell(&result);
        result
    }

    /// Says what [`check_n`](Self::check_n) would say, and uses nothing.
    ///
    /// # Errors
    ///
    /// As `check_n`.
    pub fn peek(&self, tokens: u64) -> Result<Allowed, Denied> {
        let now = self.clock.now();
        match &self.counted {
            Counted::Bucket(bucket) => bucket.peek(instant_nanos(now), tokens),
            Counted::Window(window) => lock(window).peek(now, tokens),
        }
    }

    /// Uses tokens that come within `wait_max`. Wait as long as the reservation says and then [keep](Reservation::keep)
    /// it; dropped, it gives them back.
    ///
    /// # Errors
    ///
    /// [`Denied`] when they come later, when there are never so many, or when a counter cannot promise.
    pub fn reserve(&self, tokens: u64, wait_max: Duration) -> Result<Reservation<'_>, Denied> {
        let now = self.clock.now();
        let Promised { wait } = match &self.counted {
            Counted::Bucket(bucket) => bucket.reserve(instant_nanos(now), tokens, nanos(wait_max))?,
            Counted::Window(window) => lock(window).reserve(now, tokens, wait_max)?,
        };
        Ok(Reservation { limiter: self, tokens, wait })
    }

    /// Gives tokens back that were not used after all.
    pub fn refund(&self, tokens: u64) {
        match &self.counted {
            Counted::Bucket(bucket) => bucket.refund(tokens),
            Counted::Window(window) => lock(window).refund(self.clock.now(), tokens),
        }
    }

    /// Gives nothing for so long, as after an answer that said "too many requests". A longer wait stays.
    pub fn drain(&self, wait: Duration) {
        let now = self.clock.now();
        match &self.counted {
            Counted::Bucket(bucket) => bucket.drain(instant_nanos(now), nanos(wait)),
            Counted::Window(window) => lock(window).drain(now, wait),
        }
        self.observe(&Event::Drained(wait));
    }

    /// Takes a verdict over a call that was let through: one that failed and asked to be left alone
    /// [drains](Self::drain) the limiter.
    pub fn record(&self, verdict: aqueduct_core::Verdict) {
        if let aqueduct_core::Verdict::Failure { retry_after: Some(wait) } = verdict {
            self.drain(wait);
        }
    }

    /// Forgets what was used.
    pub fn reset(&self) {
        match &self.counted {
            Counted::Bucket(bucket) => bucket.reset(),
            Counted::Window(window) => lock(window).reset(),
        }
    }

    /// The quota that it holds to.
    #[must_use]
    pub fn quota(&self) -> Quota {
        match &self.counted {
            Counted::Bucket(bucket) => bucket.quota(),
            Counted::Window(window) => lock(window).quota(),
        }
    }

    /// Holds to another quota from now on. As many tokens are missing as before.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the quota does not go with the algorithm; the old one stays then.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        let now = self.clock.now();
        match &self.counted {
            Counted::Bucket(bucket) => bucket.set_quota(instant_nanos(now), quota),
            Counted::Window(window) => lock(window).set_quota(now, quota)?,
        }
        self.observe(&Event::QuotaChanged(quota));
        Ok(())
    }

    /// Waits for one token.
    ///
    /// # Errors
    ///
    /// None for a quota that gives one at a time, and every quota does.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire_n`](Self::acquire_n).
    pub async fn acquire(&self) -> Result<Allowed, Denied> {
        self.acquire_n(1).await
    }

    /// Waits for so many tokens, all at once.
    ///
    /// Those who wait are served in the order in which they asked, and only the first of them waits for a time; the
    /// others wait for their turn. Whoever [checks](Self::check) does not stand in the line and may be faster. A timer that
    /// is late delays its own call and no other, so calls that were given at the rate may come up to one token closer.
    ///
    /// # Errors
    ///
    /// [`Denied`] when there are never so many.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait has used nothing, and the next in line moves up.
    pub async fn acquire_n(&self, tokens: u64) -> Result<Allowed, Denied> {
        let asked = self.clock.now();
        let _turn = self.turn.lock().await;
        let waited = turn::wait(&self.clock, |now| self.take(now, tokens)).await;
        let (allowed, now) = waited.inspect_err(|never| self.tell(&Err(*never)))?;
        let waited = now.since(asked);
        if let Some(metrics) = &self.metrics {
            metrics.allowed.increment();
            metrics.waited.record_duration(waited);
        }
        self.observe(&Event::Waited(waited));
        Ok(allowed)
    }

    /// Waits for so many tokens, but no longer than `wait_max`.
    ///
    /// # Errors
    ///
    /// [`Denied`] when there are never so many, or when the wait is over.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire_n`](Self::acquire_n).
    pub async fn acquire_within(&self, tokens: u64, wait_max: Duration) -> Result<Allowed, Denied> {
        let mut acquire = pin!(self.acquire_n(tokens));
        let mut over = pin!(self.clock.sleep(wait_max));
        let result = std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = acquire.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            over.as_mut().poll(cx).map(|()| None)
        });
        match result.await {
            Some(result) => result,
            None => {
                let retry_after = self.peek(tokens).err().and_then(|denied| denied.retry_after);
                let denied = Denied { retry_after, reason: Reason::Wait };
                self.tell(&Err(denied));
                Err(denied)
            }
        }
    }

    /// Makes a call if there is a token for it now.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] when it was not made, [`CallError::Failed`] with its own error.
    pub async fn call<T, E, F>(&self, call: F) -> Result<T, CallError<E>>
    where
        F: AsyncFnOnce() -> Result<T, E>,
    {
        self.check()?;
        call().await.map_err(CallError::Failed)
    }

    fn take(&self, now: Instant, tokens: u64) -> Result<Allowed, Denied> {
        match &self.counted {
            Counted::Bucket(bucket) => bucket.take(instant_nanos(now), tokens),
            Counted::Window(window) => lock(window).check(now, tokens),
        }
    }

    fn tell(&self, result: &Result<Allowed, Denied>) {
        if let Some(metrics) = &self.metrics {
            metrics.checked(result);
        }
        if let Err(denied) = result {
            self.observe(&Event::Denied(*denied));
        }
    }

    fn observe(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

impl Forget for RateLimiter {
    /// When it is as if nothing had been used, and nobody waits.
    fn may_forget(&self, now: Instant) -> bool {
        self.turn.try_lock().is_ok()
            && match &self.counted {
                Counted::Bucket(bucket) => bucket.is_settled(instant_nanos(now)),
                Counted::Window(window) => lock(window).is_settled(now),
            }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("counted", &self.counted).finish_non_exhaustive()
    }
}

/// No code under this lock panics, so a poisoned one still guards whole counts.
fn lock(window: &Mutex<Limit>) -> MutexGuard<'_, Limit> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tokens that were promised. Dropped, they are given back.
#[must_use = "a reservation that is dropped gives its tokens back"]
#[derive(Debug)]
pub struct Reservation<'a> {
    limiter: &'a RateLimiter,
    tokens: u64,
    wait: Duration,
}

impl Reservation<'_> {
    /// How long to wait before they may be used.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// Uses them: they are not given back.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Waits as long as it takes, and uses them.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait gives the tokens back.
    pub async fn ready(self) {
        self.limiter.clock.sleep(self.wait).await;
        self.keep();
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.limiter.refund(self.tokens);
    }
}

/// A place in the line that owns its limiter.
#[cfg(feature = "tower")]
pub(crate) type Turn = std::pin::Pin<Box<dyn Future<Output = Result<Allowed, Denied>> + Send>>;

#[cfg(feature = "tower")]
impl RateLimiter {
    pub(crate) fn turn(this: &std::sync::Arc<Self>) -> Turn {
        let this = std::sync::Arc::clone(this);
        Box::pin(async move { this.acquire().await })
    }

    pub(crate) fn somebody_waits(&self) -> bool {
        self.turn.try_lock().is_err()
    }
}
