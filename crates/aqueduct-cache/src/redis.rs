mod config;
mod failure;
mod keys;
mod link;
mod server_clock;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, Value, cmd};
use aqueduct_core::{Clock, Timestamp};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use self::config::{RedisBuilder, RedisConfig};
use self::failure::Failure;
use self::link::Link;
use self::server_clock::Ahead;
use crate::error::ConfigError;
use crate::invalidations::{Invalidations, Scope};
use crate::level::{Level, LevelError, Listener, Place};
use crate::stored::Stored;

/// A level that many processes share: entries and invalidations are in Redis, and Redis tells each process what the others
/// change.
///
/// There is one connection. It is made with the first call, made again whenever it is lost, and looked after while nobody
/// asks, so that one which has gone without a word is noticed within twice the [heartbeat](RedisBuilder::heartbeat). A call
/// without a connection waits for the attempt that is under way, or begins one; it never takes longer than the time-out of
/// a connection and the one of an answer together.
///
/// # What is told
///
/// A [`Listener`] hears of each key that another connection has set, removed or invalidated, and of entries that expire or
/// are evicted, whoever has set them. It does not hear of what this level sets and removes itself; of its own invalidations
/// it does, since Redis takes a script for somebody else. It hears [`lost`](Listener::lost) when the connection goes, again
/// before anything is asked through the next one, when the server is flushed, and when an entry changes whose key is longer
/// than 512 bytes, since only its hash is known.
///
/// A change is told on the task that reads from the server. It may be told before a reply that was read earlier has come to
/// its caller: whoever keeps replies notes, before asking, how much it was told until then, and drops a reply that was
/// overtaken.
///
/// A server before version 6, a proxy that refuses `CLIENT TRACKING` and a user that may not use it give a cache without
/// pushes: [`pushes`](Self::pushes) says no, and what is kept in memory must not outlive a short time.
///
/// # What is stored
///
/// An entry is a string: a header that a person can read, then the value, as [`Stored`] says. Its dates are those of the
/// server's clock, and what expires is removed by the server; what somebody else has stored under the key is missing.
/// Invalidations are a hash for each namespace with at most [`Invalidations::SCOPES_MAX`] scopes of at most 512 bytes; a
/// longer prefix is cut, which invalidates more, and a longer tag invalidates the namespace. The hash does not expire. A
/// server that evicts what does not expire may take it, which shows as another origin.
///
/// # Errors
///
/// No connection, no answer in time, and a server that loads its data, fails over or is busy with a script are
/// [`LevelError::Away`]. Whatever else Redis answers is [`LevelError::Refused`], with its text. The password is in none of
/// them.
///
/// # Cancel safety
///
/// A dropped call may have been made. Nobody else's is harmed.
///
/// # Example
///
/// ```no_run
/// use aqueduct_cache::{Level, Place, Redis, RedisConfig, Stored};
/// use aqueduct_core::Clock;
///
/// # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
/// let config = RedisConfig::builder().prefix("shop:").build()?;
/// let level = Redis::new("redis://127.0.0.1:6379/", config, Clock::system())?;
/// let place = Place { namespace: "prices", key: b"17" };
/// level.set(place, &Stored { value: Some("3.20".into()), ..Stored::default() }).await?;
/// assert!(level.get(place).await?.is_some());
/// # Ok(())
/// # }
/// ```
pub struct Redis {
    link: Arc<Link>,
    /// Makes the connections. Guards that there is one of them.
    task: Mutex<Option<JoinHandle<()>>>,
    /// Draws origins: the keyed hash of how many were drawn.
    random: RandomState,
    /// Nothing else depends on it, so no ordering is needed.
    drawn: AtomicU64,
}

const NAME: &str = "redis";

const GET: &str = "GET";

/// One command for so many keys, since Redis does nothing else meanwhile.
const KEYS_AT_ONCE: usize = 512;

/// What a scope takes at most; all of them together are one answer.
const SCOPE_BYTES_MAX: usize = 512;

/// Redis counts them with a sign, and this leaves it room to go on counting.
const EDITION_MAX: u64 = 1 << 62;

/// So long is for ever, and Redis can still add it to the time of day.
const HELD_MAX: Duration = Duration::from_hours(1_000 * 365 * 24);

const INVALIDATE: &str = include_str!("redis/invalidate.lua");

impl Redis {
    /// A level in the Redis at `url`, such as `redis://user:password@127.0.0.1:6379/0` or `unix:///run/redis.sock`. It
    /// connects when it is asked for the first time.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the address cannot be one.
    pub fn new(url: &str, config: RedisConfig, clock: Clock) -> Result<Self, ConfigError> {
        let link = Arc::new(Link::new(url, config, clock)?);
        Ok(Self { link, task: Mutex::new(None), random: RandomState::new(), drawn: AtomicU64::new(0) })
    }

    /// Tells whether there is a connection now through which Redis tells what others change.
    #[must_use]
    pub fn pushes(&self) -> bool {
        self.link.pushes()
    }

    /// The connection, which is made first where there is none.
    async fn connection(&self) -> Result<MultiplexedConnection, Failure> {
        if let Some(connection) = self.link.connection() {
            return Ok(connection);
        }
        self.start()?;
        self.link.connected().await
    }

    /// Sees to it that the task runs that connects. It ends with its runtime, and then another one may ask.
    fn start(&self) -> Result<(), Failure> {
        let mut task = self.task();
        if !self.link.is_closed() && task.as_ref().is_none_or(JoinHandle::is_finished) {
            let runtime = Handle::try_current().map_err(|_| Failure::NoRuntime)?;
            *task = Some(runtime.spawn(Arc::clone(&self.link).run()));
        }
        Ok(())
    }

    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the server is ahead, and the local date of which that is said.
    fn ahead(&self) -> (Ahead, Timestamp) {
        let clock = self.link.clock();
        let wall = clock.wall();
        (self.link.server_clock().ahead(clock.now(), wall), wall)
    }
}

/// Reads what was found under a key; `None` where it is not ours, or has expired.
fn read(found: Value, (ahead, wall): (Ahead, Timestamp)) -> Option<Stored> {
    let Value::BulkString(bytes) = found else { return None };
    let mut stored = Stored::decode(Bytes::from(bytes))?;
    stored.at = ahead.here(stored.at);
    (stored.held_still(wall) != Some(Duration::ZERO)).then_some(stored)
}

#[async_trait]
impl Level for Redis {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn get(&self, place: Place<'_>) -> Result<Option<Stored>, LevelError> {
        let key = self.link.keys().entry(place);
        let mut command = Cmd::with_capacity(2, GET.len() + key.len());
        command.arg(GET).arg(key);
        let mut redis = self.connection().await?;
        // Without the box that `query_async` puts around each.
        let asked = pin!(redis.send_packed_command(&command));
        match self.link.answer(asked).await.and_then(|found| Ok(found.extract_error()?)) {
            Ok(found) => Ok(read(found, self.ahead())),
            Err(failure) if failure.is_wrong_type() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// 512 keys a round trip, all of them within the time of one answer.
    async fn get_many(&self, namespace: &str, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, LevelError> {
        let commands: Vec<_> = keys
            .chunks(KEYS_AT_ONCE)
            .map(|keys| {
                let mut command = cmd("MGET");
                for key in keys {
                    command.arg(self.link.keys().entry(Place { namespace, key }));
                }
                command
            })
            .collect();
        let mut redis = self.connection().await?;
        let asked = pin!(async {
            let mut found = Vec::new();
            for command in commands {
                found.append(&mut command.query_async::<Vec<Value>>(&mut redis).await?);
            }
            Ok(found)
        });
        let found = self.link.answer(asked).await?;
        let ahead = self.ahead();
        let mut found: Vec<_> = found.into_iter().map(|value| read(value, ahead)).collect();
        // One answer for each key, whatever came.
        found.resize(keys.len(), None);
        Ok(found)
    }

    /// What has no time left is removed.
    ///
    /// # Errors
    ///
    /// As the trait says. Refused is also a value that is [too large](RedisBuilder::value_bytes_max); then nothing is
    /// stored any more.
    async fn set(&self, place: Place<'_>, stored: &Stored) -> Result<(), LevelError> {
        let held = stored.held_still(self.link.clock().wall());
        if held.is_some_and(|held| held.as_millis() == 0) {
            return self.remove(place).await;
        }
        let max = self.link.config().value_bytes_max;
        let bytes = stored.value.as_ref().map_or(0, Bytes::len);
        if bytes > max {
            self.remove(place).await?;
            return Err(Failure::TooLarge { bytes, max }.into());
        }
        let mut redis = self.connection().await?;
        // With a connection only is it known what time it is there.
        let (ahead, _) = self.ahead();
        let stored = Stored { at: ahead.there(stored.at), ..stored.clone() };
        let mut command = cmd("SET");
        command.arg(self.link.keys().entry(place)).arg(stored.encode());
        if let Some(held) = held {
            let held = u64::try_from(held.min(HELD_MAX).as_millis()).unwrap_or(u64::MAX);
            command.arg("PX").arg(held);
        }
        Ok(self.link.answer(pin!(command.exec_async(&mut redis))).await?)
    }

    async fn remove(&self, place: Place<'_>) -> Result<(), LevelError> {
        let mut command = cmd("UNLINK");
        command.arg(self.link.keys().entry(place));
        let mut redis = self.connection().await?;
        Ok(self.link.answer(pin!(command.exec_async(&mut redis))).await?)
    }

    async fn invalidations(&self, namespace: &str) -> Result<Invalidations, LevelError> {
        let mut command = cmd("HGETALL");
        command.arg(self.link.keys().invalidations(namespace));
        let mut redis = self.connection().await?;
        let asked = pin!(command.query_async(&mut redis));
        let fields: HashMap<Vec<u8>, Vec<u8>> = self.link.answer(asked).await?;
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let mut invalidations = Invalidations::default();
        for (field, value) in &fields {
            // `origin`, `edition`, and what somebody else may have written there.
            let (Some(scope), Some(edition)) = (Scope::decode(field), number(value)) else { continue };
            invalidations.add(scope, edition);
        }
        invalidations.origin = fields.get(&b"origin"[..]).and_then(|text| number(text)).unwrap_or(0);
        Ok(invalidations)
    }

    async fn invalidate(&self, namespace: &str, scope: &Scope, edition: u64) -> Result<u64, LevelError> {
        if edition > EDITION_MAX {
            return Err(Failure::TooLate(edition).into());
        }
        let scope = match scope {
            Scope::Tag(tag) if tag.len() > SCOPE_BYTES_MAX => Scope::All.encode(),
            Scope::Prefix(prefix) if prefix.len() > SCOPE_BYTES_MAX => {
                Scope::Prefix(prefix[..SCOPE_BYTES_MAX].into()).encode()
            }
            scope => scope.encode(),
        };
        let key = self.link.keys().invalidations(namespace);
        // Any but 0, which says that nothing is remembered.
        let origin = self.random.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed)).max(1);
        let mut command = cmd("EVAL");
        command.arg(INVALIDATE).arg(1).arg(key);
        command.arg(edition).arg(scope).arg(origin).arg(Invalidations::SCOPES_MAX);
        let mut redis = self.connection().await?;
        Ok(self.link.answer(pin!(command.query_async(&mut redis))).await?)
    }

    async fn ping(&self) -> Result<(), LevelError> {
        let mut redis = self.connection().await?;
        Ok(self.link.answer(pin!(cmd("PING").exec_async(&mut redis))).await?)
    }

    /// It connects now if it can, and with the first call otherwise: nothing is told without a connection.
    fn listen(&self, listener: Arc<dyn Listener>) {
        self.link.listen(listener);
        // Outside of a runtime there is none to connect on.
        let _ = self.start();
    }

    /// Every later call says that it is closed.
    async fn close(&self) {
        self.link.close();
        let task = self.task().take();
        if let Some(task) = task {
            task.abort();
            // It was aborted, or has ended with its runtime.
            let _ = task.await;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.link.close();
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address: it may hold a password.
        f.debug_struct("Redis")
            .field("config", self.link.config())
            .field("pushes", &self.pushes())
            .finish_non_exhaustive()
    }
}
