//! A real HTTP/1.1 server in the test's own process, whose misbehaviour is scripted and counted.
//!
//! # When to use it
//!
//! You test or show what calls a service: a client, a limiter, a breaker, a pipeline. A backend answers with errors,
//! slowly, never, or with 429, and its hosts die and come back, all of it by a [`Script`] and a seed. It is the judge,
//! too: its [`Account`] says exactly what was asked of it, and [`score`] and [`summary`] what was to come out. For what
//! goes wrong below HTTP, on the wire, it is the wrong tool; and it is not a server for anything else.
//!
//! # The model
//!
//! A [`Backend`] has hosts, each a port of 127.0.0.1. A call is a request whose head was read; it has a number on its
//! host and meets, in this order:
//!
//! 1. an [`Outage`] of its host: the connection is reset, or it is answered with 503;
//! 2. the ledger of keys, when there is no room for its `Idempotency-Key`: 507;
//! 3. a [`Quota`]: 429 with `Retry-After`, and it does not count against the quota;
//! 4. its [`Fate`], which depends on seed, host and number and on nothing else: it is slow, fails, or hangs;
//! 5. its route, which answers it. `GET /` lists the routes.
//!
//! A call with an `Idempotency-Key` is carried out before it takes its time, so that a client that gives up in between
//! cannot know whether it was; the same key gets the same answer then.
//!
//! # Guarantees and limits
//!
//! * The same seed gives the n-th call of a host the same fate. Which call is the n-th is up to the callers.
//! * The account is exact and balances: each call was answered, given up, cut, or is in flight.
//! * A window of the quota slides: the greatest count is that of the worst window there is. A client is seen as it
//!   arrives, so two calls that were sent a window apart may come closer together.
//! * A key is carried out once, however many calls with it come at the same time.
//! * All is bounded: connections, bodies, heads, keys, kept answers, the log of a window. What does not fit is refused by
//!   an answer that names the bound.
//! * Every task ends when the backend is dropped, and has ended when [`Backend::stop`] returns.
//!
//! # Units
//!
//! Times are [`Duration`](std::time::Duration)s, shares are from 0 to 1, hosts are counted from 0 and calls from 1.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use aqueduct_testkit::backend::{Backend, Quota, Script};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let script = Script::builder()
//!     .hosts(3)
//!     .errors(0.2)
//!     .quota(Quota { calls: 100, window: Duration::from_secs(1) })
//!     .seed(7)
//!     .build()?;
//! let backend = Backend::start(script).await?;
//! assert!(backend.url(0).starts_with("http://127.0.0.1:"));
//!
//! // ... the test calls it ...
//!
//! let account = backend.stop().await;
//! assert_eq!((account.total.over_quota, account.repeated()), (0, 0));
//! # Ok(())
//! # }
//! ```
//!
//! # Sources
//!
//! The field is that of draft-ietf-httpapi-idempotency-key-header; `Retry-After` is RFC 9110, section 10.2.3, and `Link`
//! RFC 8288. The shapes of the models are those of OpenAI's chat completions and of Google's generateContent.

mod account;
mod answer;
mod book;
mod error;
mod fate;
mod host;
mod ledger;
mod outage;
mod routes;
mod script;
mod service;
mod window;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use aqueduct_core::ConfigError;
use tokio::task::JoinSet;

pub use self::account::{Account, KeyCount, KeyTotals, Tally};
pub use self::error::StartError;
pub use self::fate::{Fate, Reply};
pub use self::outage::{Begins, Dead, Ends, Outage};
pub use self::routes::{score, summary};
pub use self::script::{Builder, Keys, Latency, Page, Quota, RetryAfter, Script};

use self::host::{Port, Shared};

/// A backend that runs. Dropped, it is gone with all its tasks and ports.
#[derive(Debug)]
pub struct Backend {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Backend {
    /// Starts a backend on the runtime of the caller. Its ports answer when this returns.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] when a port cannot be had.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its drivers.
    #[expect(clippy::unused_async, reason = "it needs a runtime, and says so by its type")]
    pub async fn start(script: Script) -> Result<Self, StartError> {
        let mut ports = Vec::with_capacity(script.hosts);
        for host in 0..script.hosts {
            let port = match script.first_port {
                0 => 0,
                // The script was built with room for all.
                first => first.saturating_add(u16::try_from(host).unwrap_or(u16::MAX)),
            };
            let taken = Port::take(port);
            ports.push(taken.map_err(|(address, source)| StartError::Listen { address, source })?);
        }
        let shared = Arc::new(Shared::new(script, &ports));
        let addresses = ports.iter().map(|port| port.address).collect();
        let mut tasks = JoinSet::new();
        for (host, port) in ports.into_iter().enumerate() {
            tasks.spawn(host::keep(Arc::clone(&shared), host, port));
        }
        Ok(Self { shared, addresses, tasks })
    }

    /// Gives the address of a host as `http://127.0.0.1:PORT`, without a `/` behind it; of a host that there is not, one at
    /// which nobody ever listens.
    #[must_use]
    pub fn url(&self, host: usize) -> &str {
        self.shared.origins.get(host).map_or("http://127.0.0.1:0", String::as_str)
    }

    /// Gives the addresses of all hosts, as [`url`](Self::url) does.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.shared.origins
    }

    /// Gives the sockets of all hosts.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Gives the script in force.
    #[must_use]
    pub fn script(&self) -> Arc<Script> {
        self.shared.script()
    }

    /// Puts another script into force. Its calls, times and windows are counted from now; account, ledger and connections
    /// go on. The clock, the ports and the number of connections stay those of the first script.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it has another number of hosts.
    pub fn script_live(&self, script: Script) -> Result<(), ConfigError> {
        if script.hosts != self.addresses.len() {
            let allowed = format!("{}, as when it was started", self.addresses.len());
            return Err(ConfigError::new("hosts", script.hosts, allowed));
        }
        self.shared.book().follow(script, self.shared.clock.now());
        self.shared.tell_all();
        Ok(())
    }

    /// Gives the account as it is now. O(hosts).
    #[must_use]
    pub fn account(&self) -> Account {
        self.shared.book().account()
    }

    /// Gives what became of a key, if it ever came.
    #[must_use]
    pub fn key(&self, key: &str) -> Option<KeyCount> {
        self.shared.book().ledger().count(key)
    }

    /// Gives the whole ledger of keys. O(keys), and calls wait meanwhile.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<String, KeyCount> {
        self.shared.book().ledger().counts()
    }

    /// Stops it, waits until every task has ended, and gives the closing account. Calls in flight are cut.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the backend.
    pub async fn stop(mut self) -> Account {
        self.shared.book().stop();
        self.shared.tell_all();
        while self.tasks.join_next().await.is_some() {}
        self.account()
    }
}
