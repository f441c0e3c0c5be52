use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aqueduct_core::Clock;
use reqwest::Client;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::dial::Dial;
use crate::error::HttpError;
use crate::resolver::Guard;
use crate::target::Origin;

/// What a client has at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Hosts that may have connections.
    pub hosts: usize,
    /// Calls that are at a host or wait for a turn there.
    pub calls: usize,
}

/// Hosts that have connections, in bounded number, and turns to call each of them.
pub(crate) struct Pool {
    maker: Maker,
    hosts_max: usize,
    connections_per_host: usize,
    /// Held while a call looks for a place. Its waiters are served in the order they came, and one that finds no place waits
    /// with it in hand: nobody who came later overtakes it, not even to a host that has a place already. Otherwise ten busy
    /// hosts would keep the eleventh out for ever.
    turn: tokio::sync::Mutex<()>,
    /// Told when the last call of a host has ended.
    freed: Notify,
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    places: HashMap<Origin, Place>,
    /// Counts the calls that ended, so that the host that was left longest ago is the one that goes.
    ended: u64,
}

/// A host that has connections. Its client is for it alone: when it is dropped, so are its idle connections.
struct Place {
    client: Client,
    turns: Arc<Semaphore>,
    /// Calls that are here or wait for a turn. Without any, another host may have the place.
    calls: usize,
    left: u64,
}

/// What makes the client of a host. What it costs is shared: the roots, the sessions of TLS, the addresses.
struct Maker {
    config: Config,
    tls: rustls::ClientConfig,
    guard: Guard,
    clock: Clock,
}

/// A turn at a host. Dropping it gives it back.
pub(crate) struct Lease {
    pub(crate) client: Client,
    _turn: OwnedSemaphorePermit,
    _held: Held,
}

/// Counts a call at its host.
struct Held {
    pool: Arc<Pool>,
    origin: Origin,
}

impl Pool {
    pub(crate) fn new(config: &Config, guard: Guard, clock: Clock) -> Result<Self, HttpError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| HttpError::Internal { source: error.into() })?
            .with_root_certificates(config.roots.clone())
            .with_no_client_auth();
        Ok(Self {
            hosts_max: config.hosts,
            connections_per_host: config.connections_per_host,
            maker: Maker { config: config.clone(), tls, guard, clock },
            turn: tokio::sync::Mutex::new(()),
            freed: Notify::new(),
            hosts: Mutex::default(),
        })
    }

    /// Waits for a place for the host and for a turn in it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives back what it has got so far.
    pub(crate) async fn lease(self: &Arc<Self>, origin: &Origin) -> Result<Lease, HttpError> {
        let (client, turns, held) = self.place(origin).await?;
        // Nobody closes it.
        let turn =
            turns.acquire_owned().await.map_err(|error| HttpError::Internal { source: error.into() })?;
        Ok(Lease { client, _turn: turn, _held: held })
    }

    async fn place(self: &Arc<Self>, origin: &Origin) -> Result<(Client, Arc<Semaphore>, Held), HttpError> {
        let _turn = self.turn.lock().await;
        while !self.has_room(origin) {
            self.freed.notified().await;
        }
        // Only who has the turn adds hosts, so the room is still there.
        if !self.lock().places.contains_key(origin) {
            let place = Place {
                client: self.maker.client()?,
                turns: Arc::new(Semaphore::new(self.connections_per_host)),
                calls: 0,
                left: 0,
            };
            self.lock().places.insert(origin.clone(), place);
        }
        let mut hosts = self.lock();
        let Some(place) = hosts.places.get_mut(origin) else {
            return Err(HttpError::Internal { source: "a host is gone whose place was held".into() });
        };
        place.calls += 1;
        let held = Held { pool: Arc::clone(self), origin: origin.clone() };
        Ok((place.client.clone(), Arc::clone(&place.turns), held))
    }

    /// Tells whether the host has a place or may have one, for which the host goes that was left longest ago.
    fn has_room(&self, origin: &Origin) -> bool {
        let mut hosts = self.lock();
        if hosts.places.contains_key(origin) || hosts.places.len() < self.hosts_max {
            return true;
        }
        let idle = hosts.places.iter().filter(|(_, place)| place.calls == 0);
        let Some(longest) = idle.min_by_key(|(_, place)| place.left).map(|(origin, _)| origin.clone()) else {
            return false;
        };
        let gone = hosts.places.remove(&longest);
        drop(hosts);
        // Its connections close here, when nobody waits for the lock.
        drop(gone);
        true
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let hosts = self.lock();
        Snapshot { hosts: hosts.places.len(), calls: hosts.places.values().map(|place| place.calls).sum() }
    }

    /// No code runs under this lock that could panic half-way, so a poisoned one still guards whole values.
    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut hosts = self.pool.lock();
        hosts.ended += 1;
        let ended = hosts.ended;
        // A place with a call in it is never removed.
        let Some(place) = hosts.places.get_mut(&self.origin) else { return };
        place.calls -= 1;
        place.left = ended;
        if place.calls == 0 {
            drop(hosts);
            self.pool.freed.notify_one();
        }
    }
}

impl Maker {
    fn client(&self) -> Result<Client, HttpError> {
        Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .connector_layer(Dial::new(self.config.connections_per_host, self.clock.clone()))
            .dns_resolver(Arc::new(self.guard.clone()))
            .user_agent(self.config.user_agent.clone())
            .connect_timeout(self.config.connect_timeout)
            .pool_idle_timeout(self.config.idle_timeout)
            .pool_max_idle_per_host(self.config.connections_per_host)
            .http1_only()
            // Each of these is ours to do, and to check.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .build()
            .map_err(|error| HttpError::Internal { source: error.into() })
    }
}
