mod config;
mod denials;
mod scale;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, Script, ServerErrorKind};
use aqueduct_core::{Clock, Instant};

pub use self::config::{Enforcement, OnFailure, RedisBuilder, RedisConfig};
use self::denials::Denials;
use self::scale::Scale;
use crate::algorithm::{Allowed, instant_nanos, nanos};
use crate::error::{ConfigError, Denied, Reason, StoreError, StoreFailure};
use crate::keyed::KeyedRateLimiter;
use crate::limiter::Event;
use crate::metrics::Metrics;
use crate::quota::Quota;

/// One token bucket a key for many processes, kept in Redis.
///
/// A use is one script on the server and by its clock, so neither the clocks of the processes nor the order of their calls
/// matter. What the server does not answer in time is answered by [`OnFailure`], and a server that failed is left alone for
/// a while, so an outage costs one time-out now and then and not one a call. A connection that did not answer is given up,
/// which is why the connection is held here and not by a manager that waits for the network to tell.
///
/// What was used is gone when the server loses its keys: a server that starts again without them gives a full bucket to
/// each. A use whose answer came too late may have been counted by the server all the same: never too much is given, but
/// perhaps too little. A clock of the server that goes back stands still until it is where it was.
///
/// It belongs to the tokio runtime on which it is first used.
pub struct RedisLimiter {
    client: Client,
    script: Script,
    config: RedisConfig,
    clock: Clock,
    held: Mutex<Held>,
    /// Held by whoever connects, so that one does for all.
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    /// Nanoseconds of the clock. Only a hint, so relaxed: who reads an old value asks once more.
    silent_until: AtomicU64,
    denials: Denials,
    local: Option<KeyedRateLimiter<String>>,
    observer: Option<Box<Observer>>,
    metrics: Option<Metrics>,
}

type Observer = dyn Fn(&Event) + Send + Sync;

#[derive(Clone, Copy, Debug)]
struct Held {
    quota: Quota,
    scale: Scale,
}

impl RedisLimiter {
    /// A limiter on the server of `client`. It connects with the first use.
    #[must_use]
    pub fn new(client: Client, config: RedisConfig, clock: Clock) -> Self {
        let local = match (config.on_failure, config.local_quota) {
            (OnFailure::Local { keys, .. }, Some(quota)) => {
                Some(KeyedRateLimiter::new(quota, keys, clock.clone()))
            }
            _ => None,
        };
        Self {
            client,
            script: Script::new(include_str!("redis/gcra.lua")),
            held: Mutex::new(Held { quota: config.quota, scale: config.scale }),
            denials: Denials::new(config.denials),
            config,
            clock,
            connection: tokio::sync::Mutex::default(),
            silent_until: AtomicU64::new(0),
            local,
            observer: None,
            metrics: None,
        }
    }

    /// Tells `observer` what happens, on the thread on which it happens.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Counts what is given and what is not, and what the server did not answer.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Uses one token of a key.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the time after which it would be given.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have used a token or not.
    pub async fn check(&self, key: &str) -> Result<Allowed, Denied> {
        self.check_n(key, 1).await
    }

    /// Uses so many tokens of a key, all or none.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// # Cancel safety
    ///
    /// As [`check`](Self::check).
    pub async fn check_n(&self, key: &str, tokens: u64) -> Result<Allowed, Denied> {
        let result = self.ask("check", key, tokens).await;
        if let Some(metrics) = &self.metrics {
            metrics.checked(&result);
        }
        let Err(denied) = result else { return result };
        self.observe(&Event::Denied(denied));
        match self.config.enforcement {
            Enforcement::Refuse => Err(denied),
            Enforcement::Shadow => {
                Ok(Allowed { remaining: 0, reset_after: denied.retry_after.unwrap_or_default() })
            }
        }
    }

    /// Says what [`check_n`](Self::check_n) would say, and uses nothing. It tells of a denial in the shadow too.
    ///
    /// # Errors
    ///
    /// As `check_n`.
    pub async fn peek(&self, key: &str, tokens: u64) -> Result<Allowed, Denied> {
        self.ask("peek", key, tokens).await
    }

    /// Gives tokens of a key back that were not used after all.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the server did not say that it has taken them; it may have.
    pub async fn refund(&self, key: &str, tokens: u64) -> Result<(), StoreError> {
        let scale = self.held().scale;
        // More than a bucket are a bucket; after a drain there may be more than that to give back, and it stays.
        let parts = scale.parts(tokens).unwrap_or(scale.full);
        let done = self.change("refund", key, parts, scale).await;
        if let Some(local) = self.local.as_ref().filter(|_| done.is_err()) {
            local.refund(key, tokens);
        }
        done
    }

    /// Forgets what a key has used.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund).
    pub async fn reset(&self, key: &str) -> Result<(), StoreError> {
        if let Some(local) = &self.local {
            local.reset(key);
        }
        self.change("reset", key, 0, self.held().scale).await
    }

    /// Gives a key nothing for so long, in no process, as after an answer that said "too many requests". A longer wait
    /// stays. At most 24 hours.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund).
    pub async fn drain(&self, key: &str, wait: Duration) -> Result<(), StoreError> {
        if let Some(local) = &self.local {
            local.drain(key, wait);
        }
        self.observe(&Event::Drained(wait));
        let scale = self.held().scale;
        self.change("drain", key, scale.drained(wait), scale).await
    }

    /// The quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.held().quota
    }

    /// Holds this process to another quota from now on; the others should be told too. As many tokens of a key are missing
    /// as before.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as from [`RedisBuilder::build`]; the old quota stays then.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        let scale = Scale::of(&quota)?;
        let local_quota = config::local_quota(&quota, self.config.on_failure)?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Held { quota, scale };
        if let (Some(local), Some(quota)) = (&self.local, local_quota) {
            local.set_quota(quota);
        }
        self.denials.forget_all();
        self.observe(&Event::QuotaChanged(quota));
        Ok(())
    }

    async fn ask(&self, op: &'static str, key: &str, tokens: u64) -> Result<Allowed, Denied> {
        let scale = self.held().scale;
        let parts = scale.parts(tokens).ok_or(Denied::TOO_LARGE)?;
        let asked = instant_nanos(self.clock.now());
        if let Some(wait) = self.denials.find(key, tokens, asked) {
            return Err(Denied::after_nanos(wait));
        }
        match self.call(op, key, parts, scale).await {
            Ok(Answer { allowed: true, remaining, micros }) => {
                Ok(Allowed { remaining, reset_after: Duration::from_micros(micros) })
            }
            Ok(Answer { micros, .. }) => {
                let wait = micros.saturating_mul(1_000);
                // Counted from before the question, so that it is asked again rather too early than too late.
                self.denials.put(key, tokens, asked.saturating_add(wait));
                Err(Denied::after_nanos(wait))
            }
            Err(_) => self.without_store(op, key, tokens),
        }
    }

    fn without_store(&self, op: &'static str, key: &str, tokens: u64) -> Result<Allowed, Denied> {
        match (&self.local, self.config.on_failure) {
            (Some(local), _) if op == "peek" => local.peek(key, tokens),
            (Some(local), _) => local.check_n(key, tokens),
            (None, OnFailure::Open) => Ok(Allowed { remaining: 0, reset_after: Duration::ZERO }),
            (None, _) => {
                let silent = self.silence(self.clock.now());
                Err(Denied { retry_after: silent, reason: Reason::Unavailable })
            }
        }
    }

    async fn change(&self, op: &'static str, key: &str, parts: u64, scale: Scale) -> Result<(), StoreError> {
        let done = self.call(op, key, parts, scale).await;
        self.denials.forget(key);
        done.map(drop)
    }

    /// One call of the script, in bounded time.
    async fn call(&self, op: &str, key: &str, parts: u64, scale: Scale) -> Result<Answer, StoreError> {
        if self.silence(self.clock.now()).is_some() {
            return Err(self.failed(StoreFailure::Paused));
        }
        let mut answer = pin!(self.invoke(op, key, parts, scale));
        let mut over = pin!(self.clock.sleep(self.config.timeout));
        let answered = std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(|error| failure(&error)));
            }
            over.as_mut().poll(cx).map(|()| Err(StoreFailure::TimedOut))
        });
        match answered.await {
            Ok((allowed, remaining, micros)) => Ok(Answer { allowed: allowed == 1, remaining, micros }),
            Err(failure) => {
                if failure.is_of_the_server() {
                    let until = self.clock.now().after(self.config.pause);
                    self.silent_until.store(instant_nanos(until), Ordering::Relaxed);
                    // Somebody who connects at this moment holds it and makes a new one anyway.
                    if let Ok(mut connection) = self.connection.try_lock() {
                        *connection = None;
                    }
                }
                Err(self.failed(failure))
            }
        }
    }

    async fn invoke(
        &self,
        op: &str,
        key: &str,
        parts: u64,
        scale: Scale,
    ) -> Result<(u8, u64, u64), RedisError> {
        let mut connection = self.connected().await?;
        let mut script = self.script.prepare_invoke();
        script.key(format!("{}{key}", self.config.prefix));
        script.arg(op).arg(parts).arg(scale.rate).arg(scale.token).arg(scale.full).arg(scale.tick_micros);
        script.invoke_async(&mut connection).await
    }

    async fn connected(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        // The limiter's own time-out is around everything.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// How long the server is still left alone.
    fn silence(&self, now: Instant) -> Option<Duration> {
        let left = self.silent_until.load(Ordering::Relaxed).saturating_sub(nanos(now.elapsed_since_start()));
        (left > 0).then(|| Duration::from_nanos(left))
    }

    fn failed(&self, failure: StoreFailure) -> StoreError {
        if let Some(metrics) = &self.metrics {
            metrics.unanswered(failure);
        }
        self.observe(&Event::Unanswered(failure));
        StoreError { failure, retry_after: self.silence(self.clock.now()) }
    }

    fn observe(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    fn held(&self) -> Held {
        let held: MutexGuard<'_, Held> = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held
    }
}

struct Answer {
    allowed: bool,
    remaining: u64,
    /// Until it is as new, or until to ask again.
    micros: u64,
}

fn failure(error: &RedisError) -> StoreFailure {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly) => StoreFailure::ReadOnly,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown,
        ) => StoreFailure::Unreachable,
        _ if error.code() == Some("OOM") => StoreFailure::Full,
        _ if error.is_io_error() || error.is_connection_dropped() => StoreFailure::Unreachable,
        _ => StoreFailure::Other,
    }
}

impl fmt::Debug for RedisLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimiter").field("config", &self.config).finish_non_exhaustive()
    }
}
