use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use aqueduct_core::{Clock, Phase, Random, ShutdownSignal};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lease::Chosen;
use crate::{Balancer, ConfigError, Endpoint, Health};

/// How an endpoint is asked whether it is well.
pub struct HealthCheck<E> {
    kind: Kind<E>,
    address: Box<Address<E>>,
}

type Address<E> = dyn Fn(&Endpoint<E>) -> String + Send + Sync;

enum Kind<E> {
    Tcp,
    Http { path: String, host: Option<String>, statuses: RangeInclusive<u16> },
    Asked(Box<Asks<E>>),
}

type Asks<E> = dyn Fn(Chosen<E>) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// How often endpoints are asked, and how often they must answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthConfig {
    /// The time between two checks of an endpoint. Default 10 s; from one millisecond to 24 hours.
    pub interval: Duration,
    /// By which share of it chance makes it longer, so that many checkers do not ask at once. Default 0.1; from 0 to 1.
    pub jitter: f64,
    /// How long an answer may take. Default 1 s; from one millisecond to 24 hours.
    pub timeout: Duration,
    /// So many good answers in a row make an endpoint healthy. Default 2; at least 1.
    pub healthy: u32,
    /// So many bad answers in a row make it unhealthy. Default 3; at least 1.
    pub unhealthy: u32,
}

/// Asks every endpoint of a balancer whether it is well, for as long as somebody runs it.
///
/// Endpoints that are added are asked too, those that are drained or removed no more. An endpoint counts as healthy
/// until it has been found not to be.
pub struct HealthChecker<E> {
    balancer: Balancer<E>,
    check: HealthCheck<E>,
    config: HealthConfig,
    random: Random,
}

/// The most that is read of an answer: a status line is far shorter.
const ANSWER_BYTES_MAX: usize = 1_024;

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            jitter: 0.1,
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
        }
    }
}

impl<E> HealthCheck<E> {
    /// Well is who accepts a connection at the address, which is the endpoint's name: `host:port`.
    #[must_use]
    pub fn tcp() -> Self {
        Self::of(Kind::Tcp)
    }

    /// Well is who answers `GET path` over plain HTTP/1.1 with a status from 200 to 399.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a path that does not begin with a slash or has other than visible ASCII letters.
    pub fn http(path: &str) -> Result<Self, ConfigError> {
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError {
                field: "path",
                value: format!("{path:?}"),
                allowed: "a slash and visible ASCII letters".to_owned(),
            });
        }
        Ok(Self::of(Kind::Http { path: path.to_owned(), host: None, statuses: 200..=399 }))
    }

    /// Well is who `ask` says is.
    #[must_use]
    pub fn asking<F>(ask: impl Fn(Chosen<E>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self::of(Kind::Asked(Box::new(move |endpoint| Box::pin(ask(endpoint)))))
    }

    /// Takes other statuses for well. Has no effect but on [`http`](Self::http).
    #[must_use]
    pub fn with_statuses(mut self, wanted: RangeInclusive<u16>) -> Self {
        if let Kind::Http { statuses, .. } = &mut self.kind {
            *statuses = wanted;
        }
        self
    }

    /// Names another host in the request than that of the address. Has no effect but on [`http`](Self::http).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a host with other than visible ASCII letters.
    pub fn with_host(mut self, name: &str) -> Result<Self, ConfigError> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            let allowed = "visible ASCII letters".to_owned();
            return Err(ConfigError { field: "host", value: format!("{name:?}"), allowed });
        }
        if let Kind::Http { host, .. } = &mut self.kind {
            *host = Some(name.to_owned());
        }
        Ok(self)
    }

    /// Finds the address to ask at elsewhere than in the name.
    #[must_use]
    pub fn with_address(mut self, address: impl Fn(&Endpoint<E>) -> String + Send + Sync + 'static) -> Self {
        self.address = Box::new(address);
        self
    }

    fn of(kind: Kind<E>) -> Self {
        Self { kind, address: Box::new(|endpoint| endpoint.name().to_owned()) }
    }

    /// Asks once.
    async fn ask(&self, endpoint: Chosen<E>, clock: &Clock) -> bool {
        let address = (self.address)(&endpoint);
        match &self.kind {
            Kind::Tcp => {
                let _busy = clock.busy();
                TcpStream::connect(&address).await.is_ok()
            }
            Kind::Http { path, host, statuses } => {
                let _busy = clock.busy();
                let host = host.as_deref().unwrap_or(&address);
                status(&address, path, host).await.is_some_and(|status| statuses.contains(&status))
            }
            Kind::Asked(ask) => ask(endpoint).await,
        }
    }
}

impl<E> HealthChecker<E> {
    /// A checker of all endpoints of this balancer. The seed is that of the chance in its intervals.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn new(
        balancer: Balancer<E>,
        check: HealthCheck<E>,
        config: HealthConfig,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let (least, most) = (Duration::from_millis(1), Duration::from_hours(24));
        ConfigError::check("interval", config.interval, least, most)?;
        ConfigError::check("jitter", config.jitter, 0.0, 1.0)?;
        ConfigError::check("timeout", config.timeout, least, most)?;
        ConfigError::check("healthy", config.healthy, 1, u32::MAX)?;
        ConfigError::check("unhealthy", config.unhealthy, 1, u32::MAX)?;
        Ok(Self { balancer, check, config, random: Random::seeded(seed) })
    }

    /// Asks until it is told to drain. It starts no task: spawn it where you can wait for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the checks; what they found stays.
    pub async fn run(self, mut shutdown: ShutdownSignal) {
        let Self { balancer, check, config, mut random } = self;
        let clock = &balancer.core().clock;
        let mut streaks: BTreeMap<u64, Streak> = BTreeMap::new();
        let mut checks = FuturesUnordered::new();
        let mut shutdown = pin!(shutdown.reached(Phase::Draining));
        loop {
            // Before the list is read, so that a change right after it is not missed.
            let mut changed = pin!(balancer.core().changed.notified());
            changed.as_mut().enable();
            let nodes = balancer.nodes();
            streaks.retain(|id, _| nodes.binary_search_by_key(id, |node| node.id).is_ok());
            for node in nodes {
                streaks.entry(node.id).or_insert_with(|| {
                    // Soon, but not all at once.
                    let delay = config.interval.mul_f64(config.jitter * random.unit());
                    checks.push(asked(clock, &check, config.timeout, Chosen(node), delay));
                    Streak::default()
                });
            }
            let next = poll_fn(|cx| {
                if shutdown.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Stop);
                }
                if let Poll::Ready(Some(answer)) = checks.poll_next_unpin(cx) {
                    return Poll::Ready(Next::Answer(answer));
                }
                changed.as_mut().poll(cx).map(|()| Next::Look)
            })
            .await;
            match next {
                Next::Stop => return,
                Next::Look => {}
                Next::Answer((endpoint, well)) => {
                    let Some(streak) = streaks.get_mut(&endpoint.0.id) else { continue };
                    if let Some(health) = streak.count(well, &config) {
                        // It may have been removed this moment.
                        let _ = balancer.set_health(endpoint.name(), health);
                    }
                    let delay = config.interval.mul_f64(1.0 + config.jitter * random.unit());
                    checks.push(asked(clock, &check, config.timeout, endpoint, delay));
                }
            }
        }
    }
}

enum Next<E> {
    Stop,
    Look,
    Answer((Chosen<E>, bool)),
}

/// Answers of one kind in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    well: bool,
    length: u32,
}

impl Streak {
    /// Counts an answer, and says what follows when there are just enough of its kind.
    fn count(&mut self, well: bool, config: &HealthConfig) -> Option<Health> {
        if self.well != well {
            *self = Self { well, length: 0 };
        }
        self.length = self.length.saturating_add(1);
        let (enough, health) =
            if well { (config.healthy, Health::Healthy) } else { (config.unhealthy, Health::Unhealthy) };
        (self.length == enough).then_some(health)
    }
}

async fn asked<E>(
    clock: &Clock,
    check: &HealthCheck<E>,
    timeout: Duration,
    endpoint: Chosen<E>,
    delay: Duration,
) -> (Chosen<E>, bool) {
    clock.sleep(delay).await;
    if endpoint.0.is_draining() {
        // Nobody wants to know any more.
        return (endpoint, true);
    }
    let mut answer = pin!(check.ask(endpoint.clone(), clock));
    let mut late = pin!(clock.sleep(timeout));
    let well = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(well) => Poll::Ready(well),
        Poll::Pending => late.as_mut().poll(cx).map(|()| false),
    })
    .await;
    (endpoint, well)
}

/// The status of an answer to a GET, if there is one.
async fn status(address: &str, path: &str, host: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: aqueduct-balancer\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 256];
    while !answer.contains(&b'\n') && answer.len() < ANSWER_BYTES_MAX {
        let read = stream.read(&mut buffer).await.ok()?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(buffer.get(..read)?);
    }
    // RFC 9112, section 4: version, space, three digits.
    let rest = answer.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

impl<E> fmt::Debug for HealthCheck<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.kind {
            Kind::Tcp => "Tcp",
            Kind::Http { .. } => "Http",
            Kind::Asked(_) => "Asked",
        };
        f.debug_struct("HealthCheck").field("kind", &name).finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for HealthChecker<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthChecker")
            .field("check", &self.check)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
