mod config;
mod store;
mod units;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, Instant};

pub use self::config::{Enforcement, OnFailure, RedisBuilder, RedisConfig};
use self::store::Store;
use crate::algorithm::{Allowed, instant_nanos};
use crate::error::{ConfigError, Denied, Reason, StoreFailure};
use crate::keyed::KeyedRateLimiter;
use crate::metrics::Metrics;

/// A token bucket for each key that many processes share: the buckets are in Redis, and Redis has the clock.
///
/// Each question is one script, so that nothing comes between look and use, in whole numbers, so that nothing is rounded.
/// A key that was denied is not asked about again before its time, as far as this process knows: what another process
/// refunds or resets meanwhile it learns then.
///
/// A Redis that does not answer never becomes a wait of more than the time-out, nor an error: what happens then is
/// [`OnFailure`]. After a failure it is asked again once in a while, by one caller at a time, and the others are answered at
/// once. A Redis that comes back without its data, as one that keeps nothing on disk does, begins with full buckets.
///
/// # Example
///
/// ```no_run
/// use aqueduct_core::Clock;
/// use aqueduct_ratelimit::{OnFailure, Quota, RedisConfig, RedisLimiter};
///
/// # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
/// let config = RedisConfig::builder(Quota::per_minute(60)?).prefix("model:").on_failure(OnFailure::Closed).build()?;
/// let limiter = RedisLimiter::new("redis://127.0.0.1:6379/", config, Clock::system())?;
/// if let Err(denied) = limiter.check("key-1", 1).await {
///     println!("{denied}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct RedisLimiter {
    config: RedisConfig,
    clock: Clock,
    store: Store,
    /// Until when what was denied stays denied, and how many tokens that were. Nothing under it waits.
    denied: Mutex<HashMap<Box<str>, (u64, Instant)>>,
    /// When Redis is asked again, in nanoseconds of the clock; 0 while it answers.
    ask_again: AtomicU64,
    local: Option<KeyedRateLimiter<String>>,
    observer: Option<Box<Observer>>,
    metrics: Option<Metrics>,
}

type Observer = dyn Fn(&RedisEvent) + Send + Sync;

/// What a shared limiter tells its observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisEvent {
    /// It gave nothing.
    Denied(Denied),
    /// It would have given nothing, and only counts.
    WouldDeny(Denied),
    /// Redis did not answer, and the rule for that was followed.
    Failed(StoreFailure),
    /// Redis answers again.
    Back,
}

impl RedisLimiter {
    /// A limiter over the Redis at `url`, such as `redis://127.0.0.1:6379/`. It connects when it is asked for the first
    /// time.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the address cannot be one.
    pub fn new(url: &str, config: RedisConfig, clock: Clock) -> Result<Self, ConfigError> {
        let store = Store::new(url, &config, clock.clone())?;
        let local =
            config.local_quota()?.map(|quota| KeyedRateLimiter::new(quota, config.keys_max, clock.clone()));
        Ok(Self {
            config,
            clock,
            store,
            denied: Mutex::default(),
            ask_again: AtomicU64::new(0),
            local,
            observer: None,
            metrics: None,
        })
    }

    /// Tells `observer` what happens, on the task on which it happens.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&RedisEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Counts what is given, what is not, and what Redis did not answer.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Uses so many tokens of a key, all or none.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the time after which they would be given.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as everything that connects does.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have used the tokens.
    pub async fn check(&self, key: &str, tokens: u64) -> Result<Allowed, Denied> {
        let result = self.answer(key, tokens).await;
        let result = match (result, self.config.enforcement) {
            (Err(denied), Enforcement::Shadow) => {
                self.tell(&RedisEvent::WouldDeny(denied));
                if let Some(metrics) = &self.metrics {
                    metrics.would_deny.increment();
                }
                return Ok(Allowed::new(0, denied.retry_after.unwrap_or_default()));
            }
            (result, _) => result,
        };
        if let Some(metrics) = &self.metrics {
            metrics.checked(&result);
        }
        if let Err(denied) = result {
            self.tell(&RedisEvent::Denied(denied));
        }
        result
    }

    /// Says what [`check`](Self::check) would say, and uses nothing.
    ///
    /// # Errors
    ///
    /// As `check`.
    ///
    /// # Panics
    ///
    /// As `check`.
    pub async fn peek(&self, key: &str, tokens: u64) -> Result<Allowed, Denied> {
        self.config.fits(tokens)?;
        if !self.may_ask() {
            return self.without_store(key, 0);
        }
        match self.store.look(key).await {
            Ok(found) => {
                self.answered();
                found.given(tokens)
            }
            Err(failure) => {
                self.failed(failure);
                self.without_store(key, 0)
            }
        }
    }

    /// Gives tokens of a key back that were not used after all.
    ///
    /// # Errors
    ///
    /// [`StoreFailure`] when Redis does not take them.
    ///
    /// # Panics
    ///
    /// As [`check`](Self::check).
    pub async fn refund(&self, key: &str, tokens: u64) -> Result<(), StoreFailure> {
        self.lock().remove(key);
        self.store.refund(key, tokens.min(self.config.quota.burst())).await.map(drop)
    }

    /// Forgets what a key has used.
    ///
    /// # Errors
    ///
    /// [`StoreFailure`] when Redis does not do it.
    ///
    /// # Panics
    ///
    /// As [`check`](Self::check).
    pub async fn reset(&self, key: &str) -> Result<(), StoreFailure> {
        self.lock().remove(key);
        self.store.reset(key).await
    }

    async fn answer(&self, key: &str, tokens: u64) -> Result<Allowed, Denied> {
        self.config.fits(tokens)?;
        if let Some(wait) = self.still_denied(key, tokens) {
            return Err(Denied { retry_after: Some(wait), reason: Reason::Limit });
        }
        if !self.may_ask() {
            return self.without_store(key, tokens);
        }
        match self.store.take(key, tokens).await {
            Ok(found) => {
                self.answered();
                let given = found.taken();
                if let Err(Denied { retry_after: Some(wait), .. }) = given {
                    self.keep_denied(key, tokens, wait);
                }
                given
            }
            Err(failure) => {
                self.failed(failure);
                self.without_store(key, tokens)
            }
        }
    }

    fn without_store(&self, key: &str, tokens: u64) -> Result<Allowed, Denied> {
        let open = Allowed::new(0, Duration::ZERO);
        match (self.config.on_failure, &self.local) {
            (OnFailure::Local { .. }, Some(local)) => local.check_n(key, tokens),
            (OnFailure::Closed, _) => {
                Err(Denied { retry_after: Some(self.config.retry_every), reason: Reason::Unavailable })
            }
            _ => Ok(open),
        }
    }

    /// Whether to ask Redis: always while it answers, and one caller once in a while when it does not.
    fn may_ask(&self) -> bool {
        let again = self.ask_again.load(Ordering::Acquire);
        let now = self.clock.now();
        let next = instant_nanos(now.after(self.config.retry_every));
        again == 0
            || (instant_nanos(now) >= again
                && self.ask_again.compare_exchange(again, next, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    fn answered(&self) {
        if self.ask_again.load(Ordering::Acquire) != 0 && self.ask_again.swap(0, Ordering::AcqRel) != 0 {
            self.tell(&RedisEvent::Back);
        }
    }

    fn failed(&self, failure: StoreFailure) {
        // What is wrong with one key is no reason to leave the others alone.
        if failure != StoreFailure::WrongType {
            let again = instant_nanos(self.clock.now().after(self.config.retry_every));
            self.ask_again.store(again.max(1), Ordering::Release);
        }
        if let Some(metrics) = &self.metrics {
            metrics.failed(failure);
        }
        self.tell(&RedisEvent::Failed(failure));
    }

    fn still_denied(&self, key: &str, tokens: u64) -> Option<Duration> {
        let mut denied = self.lock();
        let (least, until) = *denied.get(key)?;
        let wait = until.since(self.clock.now());
        if wait.is_zero() {
            denied.remove(key);
            return None;
        }
        // Fewer than were denied may be there.
        (tokens >= least).then_some(wait)
    }

    fn keep_denied(&self, key: &str, tokens: u64, wait: Duration) {
        let now = self.clock.now();
        let mut denied = self.lock();
        if denied.len() >= self.config.keys_max.get() {
            denied.retain(|_, (_, until)| *until > now);
        }
        // With no room even so, Redis is asked, which is only slower.
        if denied.len() < self.config.keys_max.get() {
            denied.insert(key.into(), (tokens, now.after(wait)));
        }
    }

    fn tell(&self, event: &RedisEvent) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole entries.
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, (u64, Instant)>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RedisLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address: it may hold a password.
        f.debug_struct("RedisLimiter").field("config", &self.config).finish_non_exhaustive()
    }
}
