use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::task::Poll;
use std::time::Duration;

use aqueduct_core::{Clock, ConfigError, Random, Timestamp};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisResult,
    Value,
};
use tokio::sync::{Notify, watch};

use super::config::RedisConfig;
use super::failure::Failure;
use super::keys::{Keys, Named};
use super::server_clock::ServerClock;
use crate::level::{Listener, Place};

/// The connection to Redis, made again whenever it is lost, and what comes through it unasked.
///
/// Nobody gets a connection before it is tracked and the listeners have been told that they know nothing: so whatever is
/// read through it, a later change of it is told.
pub(super) struct Link {
    client: Client,
    /// The same for a server that has no pushes.
    old_client: Client,
    config: RedisConfig,
    clock: Clock,
    keys: Keys,
    server_clock: ServerClock,
    state: watch::Sender<State>,
    /// Ends a rest before its time, or a wait for the next heartbeat.
    wake: Notify,
    /// Replaced as a whole, so that nobody is called with it locked.
    listeners: RwLock<Arc<[Arc<dyn Listener>]>>,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    /// A connection is being made, or will be as soon as somebody asks.
    Trying,
    /// The attempt of this number has failed, and the next one waits. From 1.
    Resting { number: u64, failure: Failure },
    /// There is a connection.
    Up(Arc<Up>),
    /// There will be none any more.
    Closed,
}

#[derive(Debug)]
pub(super) struct Up {
    connection: MultiplexedConnection,
    /// The attempt that made it.
    number: u64,
    pushes: bool,
}

/// The first rest is short, for a server that has just been started again; the longest is what an idle cache may take to
/// notice that it is back. Whoever asks before does not wait for it.
const REST_MIN: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(5);

impl Link {
    pub(super) fn new(url: &str, config: RedisConfig, clock: Clock) -> Result<Self, ConfigError> {
        // Neither the address nor the cause is shown: both may hold a password.
        let wrong =
            |_| ConfigError::new("url", "not an address of Redis", "redis://[USER:PASSWORD@]HOST:PORT/[DB]");
        let info = url.into_connection_info().map_err(wrong)?;
        // Many small commands share the connection: none of them waits for another to fill a packet.
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp);
        let client = |protocol| {
            let settings = settings.clone().set_protocol(protocol);
            Client::open(info.clone().set_redis_settings(settings)).map_err(wrong)
        };
        Ok(Self {
            client: client(ProtocolVersion::RESP3)?,
            old_client: client(ProtocolVersion::RESP2)?,
            keys: Keys::new(config.prefix.clone()),
            config,
            clock,
            server_clock: ServerClock::new(),
            state: watch::Sender::new(State::Trying),
            wake: Notify::new(),
            listeners: RwLock::new(Arc::new([])),
        })
    }

    pub(super) fn config(&self) -> &RedisConfig {
        &self.config
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn server_clock(&self) -> &ServerClock {
        &self.server_clock
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.state.borrow(), State::Closed)
    }

    pub(super) fn pushes(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(up) if up.pushes)
    }

    pub(super) fn listen(&self, listener: Arc<dyn Listener>) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        *listeners = listeners.iter().cloned().chain([listener]).collect();
    }

    // ---- Asking ----

    /// Gives the connection, if there is one now.
    pub(super) fn connection(&self) -> Option<MultiplexedConnection> {
        match &*self.state.borrow() {
            State::Up(up) => Some(up.connection.clone()),
            _ => None,
        }
    }

    /// Gives the connection, after at most the time of a connection.
    pub(super) async fn connected(&self) -> Result<MultiplexedConnection, Failure> {
        let within = self.config.connect_timeout;
        self.within(within, self.next_attempt()).await.unwrap_or(Err(Failure::Silent(within)))
    }

    /// Waits for what was asked, for at most the time of an answer. It is pinned, since each future that took it by value
    /// would hold it twice: where it came in and where it is polled.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have been made. The connection stays whole.
    pub(super) async fn answer<T>(
        &self,
        asked: Pin<&mut impl Future<Output = RedisResult<T>>>,
    ) -> Result<T, Failure> {
        let within = self.config.response_timeout;
        let result = match self.within(within, asked).await {
            Some(result) => result.map_err(Failure::Redis),
            None => Err(Failure::Silent(within)),
        };
        if result.as_ref().is_err_and(|failure| !failure.is_answer()) {
            // Slow, or gone without a word: have a look now.
            self.wake.notify_one();
        }
        result
    }

    /// Waits for the attempt that is being made, or else has one made. What a server has refused it would refuse again, so
    /// that is not asked before its time: a wrong password is not tried with every call.
    async fn next_attempt(&self) -> Result<MultiplexedConnection, Failure> {
        let mut changes = self.state.subscribe();
        let mut known = None;
        loop {
            match &*changes.borrow_and_update() {
                State::Up(up) => return Ok(up.connection.clone()),
                State::Closed => return Err(Failure::Closed),
                State::Trying => known = known.or(Some(0)),
                State::Resting { number, failure } => {
                    if !failure.is_away() || known.is_some_and(|known| known != *number) {
                        return Err(failure.clone());
                    }
                    known = Some(*number);
                    self.wake.notify_one();
                }
            }
            if changes.changed().await.is_err() {
                return Err(Failure::Closed);
            }
        }
    }

    async fn within<T>(&self, time: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut over = pin!(self.clock.sleep(time));
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => over.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    // ---- Connecting ----

    /// Makes a connection, looks after it, and makes another when it is lost, until the task is aborted.
    pub(super) async fn run(self: Arc<Self>) {
        let _end = End(&self);
        let mut random = Random::seeded(RandomState::new().hash_one(self.clock.now()));
        let mut rest = REST_MIN;
        let mut number = 0;
        loop {
            number += 1;
            let within = self.config.connect_timeout;
            let made = self.within(within, self.connect(number)).await;
            let failure = match made.unwrap_or(Err(Failure::Silent(within))) {
                Ok(up) => {
                    let since = self.clock.now();
                    self.lost();
                    self.enter(State::Up(Arc::new(up)));
                    self.look_after(number).await;
                    self.gone(number);
                    if self.clock.now().since(since) >= self.config.heartbeat {
                        rest = REST_MIN;
                        continue;
                    }
                    // It takes connections only to drop them.
                    Failure::Lost
                }
                Err(failure) => failure,
            };
            self.enter(State::Resting { number, failure });
            // Up to a half less, so that those who lost it together do not come back together.
            let rested = rest.mul_f64(1.0 - random.unit() / 2.0);
            self.within(rested, self.wake.notified()).await;
            self.enter(State::Trying);
            rest = REST_MAX.min(rest * 2);
        }
    }

    async fn connect(self: &Arc<Self>, number: u64) -> Result<Up, Failure> {
        self.server_clock.forget();
        let up = match self.connect_tracked(number).await {
            Err(failure) if failure.is_old_server() => {
                let config =
                    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
                let connection =
                    self.old_client.get_multiplexed_async_connection_with_config(&config).await?;
                Up { connection, number, pushes: false }
            }
            up => up?,
        };
        match self.learn_time(&up.connection).await {
            Err(failure) if !failure.is_answer() => Err(failure),
            _ => Ok(up),
        }
    }

    async fn connect_tracked(self: &Arc<Self>, number: u64) -> Result<Up, Failure> {
        let link = Arc::downgrade(self);
        let config = AsyncConnectionConfig::new()
            // Both times are kept here, on our own clock.
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push| pushed(&link, number, push));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(&self.config.prefix).arg("NOLOOP");
        match track.exec_async(&mut connection.clone()).await.map_err(Failure::Redis) {
            Ok(()) => Ok(Up { connection, number, pushes: true }),
            // A proxy, or a user that may not: it is a cache all the same.
            Err(failure) if failure.is_answer() => Ok(Up { connection, number, pushes: false }),
            Err(failure) => Err(failure),
        }
    }

    /// Returns when the connection of this number is no longer of use.
    async fn look_after(&self, number: u64) {
        loop {
            self.within(self.config.heartbeat, self.wake.notified()).await;
            let connection = match &*self.state.borrow() {
                State::Up(up) if up.number == number => up.connection.clone(),
                _ => return,
            };
            match self.within(self.config.heartbeat, self.learn_time(&connection)).await {
                Some(Ok(())) => {}
                Some(Err(failure)) if failure.is_answer() => {}
                _ => return,
            }
        }
    }

    /// Asks the server for its time, which also shows that it is there.
    async fn learn_time(&self, connection: &MultiplexedConnection) -> Result<(), Failure> {
        let asked = self.clock.now();
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut connection.clone()).await?;
        let date = Timestamp(seconds.saturating_mul(1_000).saturating_add(micros / 1_000));
        self.server_clock.learn(date, asked, self.clock.now());
        Ok(())
    }

    /// Leaves the connection of this number, unless that has been done.
    fn gone(&self, number: u64) {
        let left = self.state.send_if_modified(|state| {
            let is_it = matches!(state, State::Up(up) if up.number == number);
            if is_it {
                *state = State::Trying;
            }
            is_it
        });
        if left {
            self.lost();
        }
    }

    /// Goes on to another state, unless the level is closed; that is for ever.
    fn enter(&self, next: State) {
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                *state = next;
            }
            open
        });
    }

    /// Ends it for good. The task is the caller's to abort.
    pub(super) fn close(&self) {
        if matches!(self.state.send_replace(State::Closed), State::Up(_)) {
            self.lost();
        }
    }

    // ---- Telling ----

    fn pushed(&self, number: u64, push: &PushInfo) {
        match (&push.kind, &push.data[..]) {
            (PushKind::Disconnection, _) => {
                self.gone(number);
                self.wake.notify_one();
            }
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                for key in keys {
                    if let Value::BulkString(key) = key {
                        self.changed(key);
                    }
                }
            }
            // Everything has been flushed, or it is nothing we know.
            (PushKind::Invalidate, _) => self.lost(),
            _ => {}
        }
    }

    fn changed(&self, key: &[u8]) {
        match self.keys.read(key) {
            Some(Named::Entry { namespace, key }) => {
                self.tell(|listener| listener.changed(Place { namespace: &namespace, key }));
            }
            Some(Named::Invalidations { namespace }) => {
                self.tell(|listener| listener.invalidated(&namespace))
            }
            // It is one of the long keys, and nobody knows which.
            Some(Named::Hashed) => self.lost(),
            None => {}
        }
    }

    fn lost(&self) {
        self.tell(|listener| listener.lost());
    }

    fn tell(&self, what: impl Fn(&dyn Listener)) {
        let listeners = Arc::clone(&self.listeners.read().unwrap_or_else(PoisonError::into_inner));
        for listener in listeners.iter() {
            what(&**listener);
        }
    }
}

/// The connection holds this, and the link the connection: hence the weak one.
fn pushed(link: &Weak<Link>, number: u64, push: PushInfo) -> Result<(), Failure> {
    let link = link.upgrade().ok_or(Failure::Closed)?;
    link.pushed(number, &push);
    Ok(())
}

/// Leaves the connection when the task ends, as it does with its runtime.
struct End<'a>(&'a Link);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let number = match &*self.0.state.borrow() {
            State::Up(up) => up.number,
            _ => 0,
        };
        self.0.gone(number);
        self.0.enter(State::Trying);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address: it may hold a password.
        f.debug_struct("Link").field("config", &self.config).finish_non_exhaustive()
    }
}
