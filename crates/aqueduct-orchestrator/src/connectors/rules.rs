//! What is written about a backend as the layers that keep to it.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_balancer::{Algorithm, Endpoint, Event as EndpointEvent, Outliers};
use aqueduct_breaker::State;
use aqueduct_core::{Clock, ConfigError};
use aqueduct_metrics::Registry;
use aqueduct_policy::{
    AimdConfig, Concurrency as Gate, Event, GradientConfig, Metrics, Policy, Scope as Shared, Snapshot,
};
use aqueduct_ratelimit::Quota;
use aqueduct_retry::{After, BudgetConfig, Growth, HedgeConfig, Jitter, Schedule};
use serde_json::{Map, Value as Json};

use super::answers::Answers;
use super::exchange::{Exchange, Outgoing};
use crate::spec::{BackendSpec, Balance, Concurrency, Scope};

/// A backend with its rules.
pub(super) type Made = aqueduct_policy::Backend<Arc<Exchange>, Outgoing>;

/// Puts the layers around the endpoints of a backend.
pub(super) fn backend(
    spec: &BackendSpec,
    endpoints: Vec<(String, Arc<Exchange>)>,
    clock: &Clock,
    metrics: &Registry,
    answers: Option<&Arc<Answers>>,
) -> Result<Made, ConfigError> {
    let scope = match spec.scope {
        Scope::Backend => Shared::Shared,
        Scope::Host => Shared::PerKey,
    };
    let mut policy = Policy::builder()
        .clock(clock.clone())
        .deadline(spec.deadline)
        .concurrency(concurrency(spec.concurrency))
        .attempt_timeout(spec.timeout)
        .balancer(balancer(spec.balance)?)
        .budget(BudgetConfig { ratio: spec.retry_budget.get(), ..BudgetConfig::default() })
        .retry(retry(spec)?)
        .observer(told(&spec.name));
    if let Ok(metrics) = Metrics::register(metrics, &spec.name) {
        policy = policy.metrics(metrics);
    }
    if let Some(quota) = quota(spec)? {
        policy = policy.rate_limit(quota, scope);
    }
    if let Some(breaker) = breaker(spec)? {
        // Of several endpoints each has a circuit of its own: one that is down must not stop the others.
        policy = if spec.endpoints.is_empty() {
            policy.breaker(breaker)
        } else {
            policy.endpoint_breaker(breaker)
        };
    }
    if let Some(after) = spec.hedge_after {
        let after =
            After::Percentile { percentile: after.get(), samples_min: 20, window: Duration::from_mins(1) };
        policy = policy.hedge(HedgeConfig { after, extra_max: 1 });
    }
    let endpoints = endpoints.into_iter().map(|(name, exchange)| Endpoint::new(name, exchange));
    match answers {
        Some(answers) => policy.cache(Arc::clone(answers) as _).build()?.over(endpoints),
        None => policy.build()?.over(endpoints),
    }
}

/// The share of a quota's time by which it is taken longer. Calls are counted where they arrive, and one that was
/// held up on its way arrives together with those behind it.
const HEADROOM: f64 = 1.01;

/// A bucket that never gives more than the quota in any minute.
///
/// A full bucket gives its burst at once and fills meanwhile: of `n` calls a minute with a burst of `b` it may therefore
/// give back `n - b + 1` in a minute, the first call of the next burst not counted.
fn quota(spec: &BackendSpec) -> Result<Option<Quota>, ConfigError> {
    let calls = spec.requests_per_minute.value;
    if calls == 0 {
        return Ok(None);
    }
    let burst = u64::from(spec.burst).min(calls);
    let per = Duration::from_secs(60).mul_f64(HEADROOM);
    Quota::new(calls - burst + 1, per)?.with_burst(burst).map(Some)
}

fn breaker(spec: &BackendSpec) -> Result<Option<aqueduct_breaker::Config>, ConfigError> {
    let failures = spec.breaker_failures.value;
    if failures == 0 {
        return Ok(None);
    }
    let open = spec.breaker_open.value;
    aqueduct_breaker::Config::builder()
        .failure_rate(None)
        .consecutive_failures(failures)
        .open_for(open, 1.0, open)
        .half_open(1, open.max(spec.timeout))
        .build()
        .map(Some)
}

fn retry(spec: &BackendSpec) -> Result<aqueduct_retry::Config, ConfigError> {
    let schedule = Schedule::builder(Growth::Exponential { first: spec.retry_delay, factor: 2.0 })
        .jitter(Jitter::Full)
        .retries_max(spec.retries.value)
        .delay_max(spec.retry_delay_max)
        .elapsed_max(spec.deadline)
        .build()?;
    Ok(aqueduct_retry::Config { schedule, ..aqueduct_retry::Config::default() })
}

/// So many failures in a row take an endpoint out. Five, as Envoy has it, come by chance once in three thousand calls to a
/// service of which a fifth fails; ten never do.
const FAILURES_EJECT: u32 = 10;

fn balancer(balance: Balance) -> Result<aqueduct_balancer::Config, ConfigError> {
    let algorithm = match balance {
        Balance::LeastResponseTime => Algorithm::LeastResponseTime,
        Balance::LeastConnections => Algorithm::LeastConnections { choices: 2 },
        Balance::RoundRobin => Algorithm::RoundRobin,
        Balance::Adaptive => Algorithm::Adaptive { hot_quantile: 0.84 },
    };
    let outliers = Outliers { consecutive_failures: Some(FAILURES_EJECT), ..Outliers::default() };
    aqueduct_balancer::Config::builder().algorithm(algorithm).outliers(outliers).build()
}

fn concurrency(concurrency: Concurrency) -> Gate {
    // Both begin in the middle of what is allowed: from there the right limit is never far.
    let begin = |max: u32| (max / 2).max(1);
    match concurrency {
        Concurrency::Fixed(calls) => Gate::fixed(calls),
        Concurrency::Aimd(max) => {
            Gate::aimd(AimdConfig { initial: begin(max), max, ..AimdConfig::default() })
        }
        Concurrency::Gradient(max) => {
            Gate::gradient(GradientConfig { initial: begin(max), max, ..GradientConfig::default() })
        }
    }
}

/// Says in the log what changes.
fn told(backend: &str) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
    let backend = backend.to_owned();
    move |event| match event {
        Event::Circuit { key, transition } if transition.to == State::Open => {
            tracing::warn!(backend, key, reason = ?transition.reason, "the circuit opened; calls wait");
        }
        Event::Circuit { key, transition } => {
            tracing::info!(backend, key, from = ?transition.from, to = ?transition.to, "the circuit changed");
        }
        Event::Paused { key, wait } => {
            tracing::warn!(backend, key, seconds = wait.as_secs_f64(), "the service asked to be called less");
        }
        Event::Endpoint(EndpointEvent::Ejected { endpoint, lasts, .. }) => {
            let seconds = lasts.as_secs_f64();
            tracing::warn!(backend, endpoint = %endpoint, seconds, "the endpoint fails and is left out");
        }
        Event::Endpoint(EndpointEvent::Returned { endpoint }) => {
            tracing::info!(backend, endpoint = %endpoint, "the endpoint is back");
        }
        Event::Endpoint(event) => tracing::debug!(backend, ?event, "endpoints"),
    }
}

/// Adds what the layers did.
pub(super) fn write(snapshot: &Snapshot, figures: &mut Map<String, Json>) {
    let all: [(&str, u64); 12] = [
        ("calls", snapshot.calls),
        ("attempts", snapshot.attempts),
        ("retries", snapshot.retries),
        ("hedges", snapshot.hedges),
        ("timeouts", snapshot.timeouts),
        ("deadlines", snapshot.deadlines),
        ("quota_waits", snapshot.token_waits),
        ("quota_waited_ms", u64::try_from(snapshot.token_waited.as_millis()).unwrap_or(u64::MAX)),
        ("circuits_opened", snapshot.circuits_opened),
        ("refused_by_circuit", snapshot.refused_by_circuit),
        ("refused_by_quota", snapshot.refused_by_quota),
        ("refused_by_endpoint", snapshot.refused_by_endpoint),
    ];
    figures.extend(all.map(|(name, value)| (name.to_owned(), value.into())));
}
