use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Clock, ConfigError};
use aqueduct_ratelimit::Quota;
use aqueduct_retry::{Budget, BudgetConfig, Hedge, HedgeConfig, Retry};

use crate::cache::Cache;
use crate::concurrency::Concurrency;
use crate::event::{Event, Observer};
use crate::metrics::Metrics;
use crate::scope::Scope;

/// What stands before a backend. [`Policy::over`] makes a [`Backend`](crate::Backend) of it; one policy may make many, and
/// they share nothing but its metrics.
#[derive(Clone)]
pub struct Policy<C = NoCache> {
    pub(crate) settings: Settings,
    pub(crate) cache: C,
}

/// What was written about a policy. [`build`](Self::build) checks it. Every layer is optional.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<C = NoCache> {
    settings: Settings,
    limits: Vec<(Quota, Scope)>,
    cache: C,
}

/// A policy without a cache.
#[derive(Clone, Copy, Debug)]
pub struct NoCache;

/// A policy with this cache.
pub struct Cached<Req, Res>(pub(crate) Arc<dyn Cache<Req, Res>>);

/// What is checked once and then cannot be wrong.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) deadline: Option<Duration>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) retry: Option<aqueduct_retry::Config>,
    pub(crate) budget: BudgetConfig,
    pub(crate) hedge: Option<HedgeConfig>,
    pub(crate) breaker: Option<aqueduct_breaker::Config>,
    pub(crate) shared_quota: Option<Quota>,
    pub(crate) key_quota: Option<Quota>,
    pub(crate) balancer: Option<aqueduct_balancer::Config>,
    pub(crate) endpoint_breaker: Option<aqueduct_breaker::Config>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) keys_max: NonZeroUsize,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) observer: Observer,
}

/// So many hosts are more than nearly every program calls, and take a few megabytes.
const KEYS_MAX: NonZeroUsize = match NonZeroUsize::new(10_000) {
    Some(keys) => keys,
    None => NonZeroUsize::MIN,
};

/// What has not answered for a month needs a person.
const TIME_MAX: Duration = Duration::from_hours(30 * 24);

impl Policy {
    /// Starts with no layer at all: a bare call on the system's clock.
    pub fn builder() -> Builder {
        let settings = Settings {
            deadline: None,
            concurrency: None,
            retry: None,
            budget: BudgetConfig::default(),
            hedge: None,
            breaker: None,
            shared_quota: None,
            key_quota: None,
            balancer: None,
            endpoint_breaker: None,
            attempt_timeout: None,
            keys_max: KEYS_MAX,
            clock: Clock::system(),
            seed: 0,
            metrics: None,
            observer: Observer::default(),
        };
        Builder { settings, limits: Vec::new(), cache: NoCache }
    }
}

impl<C> Builder<C> {
    /// Bounds a call with all its waits and attempts, from one nanosecond to 30 days. What is under way then is dropped.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = Some(deadline);
        self
    }

    /// Remembers answers, and makes one call of those that ask for the same at the same time.
    pub fn cache<Req, Res>(self, cache: Arc<dyn Cache<Req, Res>>) -> Builder<Cached<Req, Res>> {
        Builder { settings: self.settings, limits: self.limits, cache: Cached(cache) }
    }

    /// Bounds how many calls are under way, and shares the places fairly among tenants.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.settings.concurrency = Some(concurrency);
        self
    }

    /// Calls again what failed in passing. The `elapsed_max` of its schedule counts from when the first attempt was sent, so
    /// no wait for a place or a token uses it up before. Its `time_max` is another deadline, the earlier one counts; its
    /// `attempt_time_max` is another [`attempt_timeout`](Self::attempt_timeout), the shorter one counts.
    pub fn retry(mut self, retry: aqueduct_retry::Config) -> Self {
        self.settings.retry = Some(retry);
        self
    }

    /// Sets the budget that retries and hedges share. Default: a fifth of the calls of the last 10 s, and 10 a second.
    pub fn budget(mut self, budget: BudgetConfig) -> Self {
        self.settings.budget = budget;
        self
    }

    /// Begins a second attempt beside one that takes unusually long, out of the budget of the retries.
    pub fn hedge(mut self, hedge: HedgeConfig) -> Self {
        self.settings.hedge = Some(hedge);
        self
    }

    /// Puts a circuit before each key.
    pub fn breaker(mut self, breaker: aqueduct_breaker::Config) -> Self {
        self.settings.breaker = Some(breaker);
        self
    }

    /// Holds attempts to a quota. May be given twice, once for each scope; then an attempt takes its tokens of both or of
    /// none.
    pub fn rate_limit(mut self, quota: Quota, scope: Scope) -> Self {
        self.limits.push((quota, scope));
        self
    }

    /// Sets how an endpoint is chosen. Default, where there are several: [`aqueduct_balancer::Config::default`].
    pub fn balancer(mut self, balancer: aqueduct_balancer::Config) -> Self {
        self.settings.balancer = Some(balancer);
        self
    }

    /// Puts a circuit before each endpoint too: while it is open, the endpoint is not chosen.
    pub fn endpoint_breaker(mut self, breaker: aqueduct_breaker::Config) -> Self {
        self.settings.endpoint_breaker = Some(breaker);
        self
    }

    /// Bounds each attempt from when it is sent, from one nanosecond to 30 days. One that takes longer is dropped, and has
    /// failed in passing.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.attempt_timeout = Some(timeout);
        self
    }

    /// Sets for how many keys something is remembered. Default 10,000. Beyond, the key goes that was used longest ago;
    /// one whose circuit is open or whose quota is in use goes last.
    pub fn keys_max(mut self, keys_max: NonZeroUsize) -> Self {
        self.settings.keys_max = keys_max;
        self
    }

    /// Takes the time from this clock. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Takes chance from this seed: jitter, the times for which circuits stay open, the choice of endpoints. Default 0;
    /// machines that call the same backend want different ones.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Counts there.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.settings.metrics = Some(metrics);
        self
    }

    /// Tells `observer` what changes, on the task that causes it. It must not wait, and must not call the backend.
    pub fn observer(mut self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.settings.observer = Observer::new(observer);
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and what is allowed.
    pub fn build(self) -> Result<Policy<C>, ConfigError> {
        let mut settings = self.settings;
        for (quota, scope) in self.limits {
            let place = match scope {
                Scope::Shared => &mut settings.shared_quota,
                Scope::PerKey => &mut settings.key_quota,
            };
            if place.replace(quota).is_some() {
                let twice = format!("twice with Scope::{scope:?}");
                return Err(ConfigError::new("rate_limit", twice, "once for each scope"));
            }
        }
        if let Some(retry) = &mut settings.retry {
            Retry::new(*retry, settings.clock.clone())?;
            settings.deadline = shorter(settings.deadline, retry.time_max.take());
            settings.attempt_timeout = shorter(settings.attempt_timeout, retry.attempt_time_max.take());
        }
        for (field, time) in [("deadline", settings.deadline), ("attempt_timeout", settings.attempt_timeout)]
        {
            if let Some(time) = time {
                ConfigError::check(field, time, Duration::from_nanos(1), TIME_MAX)?;
            }
        }
        if let Some(concurrency) = &settings.concurrency {
            concurrency.check()?;
        }
        Budget::new(settings.budget)?;
        if let Some(hedge) = settings.hedge {
            Hedge::new(hedge, settings.clock.clone())?;
        }
        Ok(Policy { settings, cache: self.cache })
    }
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl<Req, Res> Clone for Cached<Req, Res> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Req, Res> fmt::Debug for Cached<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").finish_non_exhaustive()
    }
}

impl<C: fmt::Debug> fmt::Debug for Policy<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("settings", &self.settings).field("cache", &self.cache).finish()
    }
}

impl<C: fmt::Debug> fmt::Debug for Builder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .field("limits", &self.limits)
            .field("cache", &self.cache)
            .finish()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("deadline", &self.deadline)
            .field("concurrency", &self.concurrency)
            .field("retry", &self.retry)
            .field("budget", &self.budget)
            .field("hedge", &self.hedge)
            .field("breaker", &self.breaker)
            .field("shared_quota", &self.shared_quota)
            .field("key_quota", &self.key_quota)
            .field("balancer", &self.balancer)
            .field("endpoint_breaker", &self.endpoint_breaker)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("keys_max", &self.keys_max)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
