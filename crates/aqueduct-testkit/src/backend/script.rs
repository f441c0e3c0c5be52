use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Clock, ConfigError};
use bytes::Bytes;

use super::outage::{Begins, Dead, Ends, Outage};

/// How a backend misbehaves. Made by [`Script::builder`], so it is always one that can be played.
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) hosts: usize,
    pub(super) first_port: u16,
    pub(super) seed: u64,
    pub(super) clock: Clock,
    pub(super) latency: Latency,
    pub(super) errors: f64,
    pub(super) hangs: f64,
    /// What is otherwise on one host.
    pub(super) latency_of: BTreeMap<usize, Latency>,
    pub(super) errors_of: BTreeMap<usize, f64>,
    pub(super) quota: Option<Quota>,
    pub(super) quota_per_host: Option<Quota>,
    pub(super) retry_after: RetryAfter,
    pub(super) outages: Vec<Outage>,
    pub(super) pages: Arc<BTreeMap<String, Page>>,
    pub(super) any_path: bool,
    pub(super) records: u64,
    pub(super) keys: Keys,
    pub(super) keys_max: usize,
    pub(super) body_bytes_max: usize,
    pub(super) connections_max: usize,
}

/// How long a call takes before it is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// What most calls take. Up to an hour.
    pub typical: Duration,
    /// A share of the calls, from 0 to 1, takes this long instead.
    pub tail: Option<(f64, Duration)>,
}

/// So many calls in any window of this length; those beyond are answered with 429 and do not count against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many. From 1 to 1,000,000.
    pub calls: u64,
    /// The length of the window. From one millisecond to a day.
    pub window: Duration,
}

/// In which form a 429 says when to come back. Either is rounded up to whole seconds, so that who keeps to it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// `Retry-After: 3`
    Seconds,
    /// `Retry-After: Sat, 21 Nov 2026 10:00:00 GMT`
    Date,
}

/// What a backend makes of an `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// A key is carried out once; when it comes again it gets the kept answer.
    Honoured,
    /// Every call is carried out, as by a service that does not know the field; the ledger still counts.
    Ignored,
}

/// A page of text that `/pages/NAME` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    pub(super) html: Bytes,
    pub(super) readable: bool,
}

/// What was written about a backend. [`build`](Self::build) checks it.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder(Script);

/// A port each; more hosts than this are no test of one client.
const HOSTS_MAX: usize = 64;
/// The log of a window takes 8 bytes a call.
pub(super) const QUOTA_CALLS_MAX: u64 = 1_000_000;
/// No call takes longer; what takes longer hangs.
pub(super) const DELAY_MAX: Duration = Duration::from_hours(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_hours(24);
/// Ten pages of a thousand, the size of page that clients ask for.
const RECORDS_DEFAULT: u64 = 10_000;
/// Records are computed, so this bounds a client's patience and not our memory.
const RECORDS_MAX: u64 = 1_000_000_000;
/// Twenty runs of a demo; some 300 bytes a key with its kept answer.
const KEYS_DEFAULT: usize = 100_000;
const KEYS_MAX: usize = 10_000_000;
/// A batch of a thousand large records.
const BODY_BYTES_DEFAULT: usize = 16 << 20;
const BODY_BYTES_MAX: usize = 1 << 30;
/// One for each of 10,000 calls in flight, and some.
const CONNECTIONS_DEFAULT: usize = 16_384;
/// There are no more ports.
const CONNECTIONS_MAX: usize = 65_535;

// ---- latency, page ----

impl Latency {
    /// Answers at once.
    pub const NONE: Self = Self { typical: Duration::ZERO, tail: None };

    /// The same for every call.
    #[must_use]
    pub fn of(typical: Duration) -> Self {
        Self { typical, tail: None }
    }
}

impl Page {
    /// A page of HTML.
    pub fn new(html: impl Into<Bytes>) -> Self {
        Self { html: html.into(), readable: true }
    }

    /// The same, but a model that is asked to read it itself cannot. Who fetches it gets it.
    #[must_use]
    pub fn unreadable(mut self) -> Self {
        self.readable = false;
        self
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({} bytes, readable: {})", self.html.len(), self.readable)
    }
}

// ---- script ----

impl Script {
    /// Starts with a backend of one host that answers everything at once and has no quota.
    pub fn builder() -> Builder {
        Builder(Self {
            hosts: 1,
            first_port: 0,
            seed: 1,
            clock: Clock::system(),
            latency: Latency::NONE,
            errors: 0.0,
            hangs: 0.0,
            latency_of: BTreeMap::new(),
            errors_of: BTreeMap::new(),
            quota: None,
            quota_per_host: None,
            retry_after: RetryAfter::Seconds,
            outages: Vec::new(),
            pages: Arc::default(),
            any_path: false,
            records: RECORDS_DEFAULT,
            keys: Keys::Honoured,
            keys_max: KEYS_DEFAULT,
            body_bytes_max: BODY_BYTES_DEFAULT,
            connections_max: CONNECTIONS_DEFAULT,
        })
    }

    /// Starts from this script, to change a part of it.
    pub fn to_builder(&self) -> Builder {
        Builder(self.clone())
    }

    pub(super) fn latency(&self, host: usize) -> Latency {
        self.latency_of.get(&host).copied().unwrap_or(self.latency)
    }

    pub(super) fn errors(&self, host: usize) -> f64 {
        self.errors_of.get(&host).copied().unwrap_or(self.errors)
    }

    /// The window over which calls are counted: that of a quota; without one nothing is.
    pub(super) fn window(&self) -> Option<Duration> {
        self.quota.or(self.quota_per_host).map(|quota| quota.window)
    }
}

// ---- builder ----

impl Builder {
    /// Sets how many hosts there are, each with a port of its own. Default 1; from 1 to 64.
    pub fn hosts(mut self, hosts: usize) -> Self {
        self.0.hosts = hosts;
        self
    }

    /// Sets the port of the first host; the others have those behind it. Default 0, which takes free ones.
    pub fn first_port(mut self, port: u16) -> Self {
        self.0.first_port = port;
        self
    }

    /// Sets how long calls take. Default: no time.
    pub fn latency(mut self, latency: Latency) -> Self {
        self.0.latency = latency;
        self
    }

    /// Sets how long the calls of one host take.
    pub fn latency_of(mut self, host: usize, latency: Latency) -> Self {
        self.0.latency_of.insert(host, latency);
        self
    }

    /// Sets the share of the calls that is answered with 500, 502, 503 or 504. Default 0; from 0 to 1.
    pub fn errors(mut self, share: f64) -> Self {
        self.0.errors = share;
        self
    }

    /// Sets that share for one host.
    pub fn errors_of(mut self, host: usize, share: f64) -> Self {
        self.0.errors_of.insert(host, share);
        self
    }

    /// Sets the share of the calls that is never answered. Default 0; from 0 to 1.
    pub fn hangs(mut self, share: f64) -> Self {
        self.0.hangs = share;
        self
    }

    /// Sets the quota of all hosts together, as of a service with one account. Default: none.
    pub fn quota(mut self, quota: impl Into<Option<Quota>>) -> Self {
        self.0.quota = quota.into();
        self
    }

    /// Sets the quota that each host has for itself. Default: none.
    pub fn quota_per_host(mut self, quota: impl Into<Option<Quota>>) -> Self {
        self.0.quota_per_host = quota.into();
        self
    }

    /// Sets how a 429 says when to come back. Default: in seconds.
    pub fn retry_after(mut self, form: RetryAfter) -> Self {
        self.0.retry_after = form;
        self
    }

    /// Adds an outage. Of several at once on one host, the one that was added first is seen.
    pub fn outage(mut self, outage: Outage) -> Self {
        self.0.outages.push(outage);
        self
    }

    /// Takes all outages out again, for a backend that is to recover.
    pub fn without_outages(mut self) -> Self {
        self.0.outages.clear();
        self
    }

    /// Sets the pages that there are, by their names. Default: none.
    pub fn pages(mut self, pages: impl IntoIterator<Item = (String, Page)>) -> Self {
        self.0.pages = Arc::new(pages.into_iter().collect());
        self
    }

    /// Shows a page under every path that ends in its name, whatever host was meant: the backend plays a whole web. Default
    /// false.
    pub fn any_path(mut self, any_path: bool) -> Self {
        self.0.any_path = any_path;
        self
    }

    /// Sets how many records the lists have. Default 10,000; up to a billion, since they are computed.
    pub fn records(mut self, records: u64) -> Self {
        self.0.records = records;
        self
    }

    /// Sets what an `Idempotency-Key` does. Default: it is honoured.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.0.keys = keys;
        self
    }

    /// Sets how many keys the ledger holds; a call with one more is answered with 507. Default 100,000; from 1 to
    /// 10 million.
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.0.keys_max = keys;
        self
    }

    /// Sets the longest body of a request; a longer one is answered with 413. Default 16 MiB; from 1 byte to 1 GiB.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.0.body_bytes_max = bytes;
        self
    }

    /// Sets how many connections a host serves at once; more wait to be accepted. Default 16,384; from 1 to 65,535.
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.0.connections_max = connections;
        self
    }

    /// Sets the seed of all that is left to chance. Default 1.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// Sets the clock that latencies, windows and outages follow. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.0.clock = clock;
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<Script, ConfigError> {
        let script = self.0;
        ConfigError::check("hosts", script.hosts, 1, HOSTS_MAX)?;
        if script.first_port > 0 && usize::from(u16::MAX - script.first_port) < script.hosts - 1 {
            let allowed = format!("0, or low enough for {} ports", script.hosts);
            return Err(ConfigError::new("first_port", script.first_port, allowed));
        }
        for latency in script.latency_of.values().chain([&script.latency]) {
            ConfigError::check("latency", latency.typical, Duration::ZERO, DELAY_MAX)?;
            if let Some((share, delay)) = latency.tail {
                ConfigError::check("latency.tail", share, 0.0, 1.0)?;
                ConfigError::check("latency.tail", delay, Duration::ZERO, DELAY_MAX)?;
            }
        }
        for share in script.errors_of.values().chain([&script.errors]) {
            ConfigError::check("errors", *share, 0.0, 1.0)?;
        }
        ConfigError::check("hangs", script.hangs, 0.0, 1.0)?;
        for (field, quota) in [("quota", script.quota), ("quota_per_host", script.quota_per_host)] {
            if let Some(quota) = quota {
                ConfigError::check(field, quota.calls, 1, QUOTA_CALLS_MAX)?;
                ConfigError::check(field, quota.window, MILLISECOND, DAY)?;
            }
        }
        let named = script.latency_of.keys().map(|host| ("latency_of", host));
        let named = named.chain(script.errors_of.keys().map(|host| ("errors_of", host)));
        let named = named.chain(script.outages.iter().map(|outage| ("outage.host", &outage.host)));
        for (field, host) in named {
            ConfigError::check(field, *host, 0, script.hosts - 1)?;
        }
        script.outages.iter().try_for_each(check_outage)?;
        ConfigError::check("records", script.records, 0, RECORDS_MAX)?;
        ConfigError::check("keys_max", script.keys_max, 1, KEYS_MAX)?;
        ConfigError::check("body_bytes_max", script.body_bytes_max, 1, BODY_BYTES_MAX)?;
        ConfigError::check("connections_max", script.connections_max, 1, CONNECTIONS_MAX)?;
        Ok(script)
    }
}

fn check_outage(outage: &Outage) -> Result<(), ConfigError> {
    if let Begins::AtCall(call) = outage.from {
        ConfigError::check("outage.from", call, 1, u64::MAX)?;
    }
    match (outage.from, outage.until) {
        (_, Ends::AtCall(call)) if outage.dead == Dead::Refuses => Err(ConfigError::new(
            "outage.until",
            format_args!("call {call}"),
            "a time, or never: a host that refuses connections sees no calls",
        )),
        (Begins::AtCall(from), Ends::AtCall(until)) if until <= from => Err(ConfigError::new(
            "outage.until",
            format_args!("call {until}"),
            format!("a call after {from}"),
        )),
        _ => Ok(()),
    }
}
