use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::HeaderValue;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::ConfigError;

/// How a client behaves. Made by [`Config::builder`], so it is always one that works.
#[derive(Clone)]
pub struct Config {
    pub(crate) hosts: usize,
    pub(crate) connections_per_host: usize,
    pub(crate) response_bytes_max: usize,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) redirects_max: usize,
    pub(crate) allow_private: bool,
    pub(crate) roots: RootCertStore,
    pub(crate) user_agent: HeaderValue,
    pub(crate) resolved: HashMap<String, Vec<IpAddr>>,
}

/// What was written about a client. [`build`](Self::build) checks it.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    hosts: usize,
    connections_per_host: usize,
    response_bytes_max: usize,
    timeout: Duration,
    connect_timeout: Duration,
    idle_timeout: Duration,
    redirects_max: usize,
    allow_private: bool,
    root_certificates: Vec<Vec<u8>>,
    user_agent: String,
    resolved: HashMap<String, Vec<IpAddr>>,
}

/// What requirement E14 asks for: ten backends are more than most pipelines have.
const HOSTS: usize = 10;
/// The same; 20 calls at once are 2,000 a second at 10 ms each.
const CONNECTIONS_PER_HOST: usize = 20;
/// Pages and answers of services are seldom over 2 MiB; 200 of these at once are 3 GiB, and nobody has that by accident.
const RESPONSE_BYTES_MAX: usize = 16 << 20;
/// As long as most clients and load balancers wait.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Three packets that are lost and sent again take 7 s (RFC 6298: 1 s, doubled each time).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the 60 s after which common load balancers close; who closes first does not lose a request to it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

const MILLISECOND: Duration = Duration::from_millis(1);
/// What takes longer is no call but a job.
const TIME_MAX: Duration = Duration::from_hours(1);
/// Each host is a client of its own, and each connection a descriptor.
const PLACES_MAX: usize = 10_000;
/// Browsers stop at 20.
const REDIRECTS_MAX: usize = 20;

impl Config {
    /// Starts with the defaults: 10 hosts with 20 connections each, responses up to 16 MiB, 30 s for a call and 10 s of
    /// it to connect, no redirects, and public addresses only.
    pub fn builder() -> Builder {
        Builder {
            hosts: HOSTS,
            connections_per_host: CONNECTIONS_PER_HOST,
            response_bytes_max: RESPONSE_BYTES_MAX,
            timeout: TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            redirects_max: 0,
            allow_private: false,
            root_certificates: Vec::new(),
            user_agent: concat!("aqueduct/", env!("CARGO_PKG_VERSION")).to_owned(),
            resolved: HashMap::new(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The roots are some 150 certificates.
        f.debug_struct("Config")
            .field("hosts", &self.hosts)
            .field("connections_per_host", &self.connections_per_host)
            .field("response_bytes_max", &self.response_bytes_max)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("redirects_max", &self.redirects_max)
            .field("allow_private", &self.allow_private)
            .field("roots", &self.roots.len())
            .field("user_agent", &self.user_agent)
            .field("resolved", &self.resolved)
            .finish()
    }
}

impl Builder {
    /// Sets how many hosts have connections at once. Default 10; from 1 to 10,000. A host is a scheme, a name and a port.
    pub fn hosts(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// Sets how many calls are at one host at once, each on a connection of its own. Default 20; from 1 to 10,000.
    pub fn connections_per_host(mut self, connections: usize) -> Self {
        self.connections_per_host = connections;
        self
    }

    /// Sets how large the body of a response may be when it is decompressed, in bytes. Default 16 MiB; at least 1.
    pub fn response_bytes_max(mut self, bytes: usize) -> Self {
        self.response_bytes_max = bytes;
        self
    }

    /// Sets how long a call may take in all: its wait in the pool, connecting, redirects, and the last byte of the body.
    /// Default 30 s; from one millisecond to one hour.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long it may take to look up a name, connect and agree on TLS. Default 10 s; from one millisecond to one
    /// hour. It is real time on every clock.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a connection that nobody uses is kept. Default 50 s; from one millisecond to one hour. It is real time
    /// on every clock.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets how many redirects one call follows. Default 0, which gives them back as they are; up to 20. Where one keeps the
    /// method (307, 308), the body goes along, to another origin too.
    pub fn redirects_max(mut self, redirects: usize) -> Self {
        self.redirects_max = redirects;
        self
    }

    /// Lets it connect to addresses that are not public: those of this machine and of networks of one's own. Default no,
    /// so that an address from data does not reach into them.
    pub fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Trusts the certificates in this PEM text too, those of an authority of one's own for example. More calls add more.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// Sets what it calls itself. Default `aqueduct/` and the version.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Says what the addresses of a name are, instead of looking it up, and that they may be connected to, public or not:
    /// who writes them here means them. So one service of one's own can be called beside others that data names.
    pub fn resolve(mut self, name: impl Into<String>, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.resolved.insert(name.into().to_ascii_lowercase(), addresses.into_iter().collect());
        self
    }

    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<Config, ConfigError> {
        ConfigError::check("hosts", self.hosts, 1, PLACES_MAX)?;
        ConfigError::check("connections_per_host", self.connections_per_host, 1, PLACES_MAX)?;
        // No vector is larger.
        ConfigError::check("response_bytes_max", self.response_bytes_max, 1, isize::MAX.unsigned_abs())?;
        ConfigError::check("timeout", self.timeout, MILLISECOND, TIME_MAX)?;
        ConfigError::check("connect_timeout", self.connect_timeout, MILLISECOND, TIME_MAX)?;
        ConfigError::check("idle_timeout", self.idle_timeout, MILLISECOND, TIME_MAX)?;
        ConfigError::check("redirects_max", self.redirects_max, 0, REDIRECTS_MAX)?;
        let user_agent = HeaderValue::from_str(&self.user_agent).map_err(|_| {
            ConfigError::new("user_agent", format_args!("{:?}", self.user_agent), "visible ASCII and blanks")
        })?;
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for pem in &self.root_certificates {
            add(&mut roots, pem)?;
        }
        Ok(Config {
            hosts: self.hosts,
            connections_per_host: self.connections_per_host,
            response_bytes_max: self.response_bytes_max,
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            idle_timeout: self.idle_timeout,
            redirects_max: self.redirects_max,
            allow_private: self.allow_private,
            roots,
            user_agent,
            resolved: self.resolved,
        })
    }
}

/// Adds the certificates of a text, of which there is at least one.
fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), ConfigError> {
    let wrong = |value: &dyn fmt::Display| {
        ConfigError::new("root_certificate", value, "PEM with certificates of authorities")
    };
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    if roots.len() == before { Err(wrong(&"without a certificate")) } else { Ok(()) }
}
