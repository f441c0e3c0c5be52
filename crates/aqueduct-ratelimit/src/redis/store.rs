use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use aqueduct_core::Clock;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind};

use super::config::RedisConfig;
use super::units::Units;
use crate::algorithm::Allowed;
use crate::error::{ConfigError, Denied, StoreFailure};

/// The buckets in Redis, each question within a time.
pub(super) struct Store {
    client: Client,
    /// Made with the first question: it needs a runtime.
    connection: OnceLock<ConnectionManager>,
    script: Script,
    units: Units,
    prefix: String,
    timeout: Duration,
    clock: Clock,
}

/// What the script found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    yes: bool,
    level: u64,
    wait: Duration,
    until_full: Duration,
    units: Units,
}

impl Found {
    /// What came of a use.
    pub(super) fn taken(self) -> Result<Allowed, Denied> {
        match self.yes {
            true => Ok(Allowed::new(self.level / self.units.token, self.until_full)),
            false => Err(Denied { retry_after: Some(self.wait), reason: crate::Reason::Limit }),
        }
    }

    /// What would come of a use, after a look.
    pub(super) fn given(self, tokens: u64) -> Result<Allowed, Denied> {
        let asked = tokens.saturating_mul(self.units.token);
        match self.level.checked_sub(asked) {
            Some(left) => {
                let refills = Duration::from_micros(asked.div_ceil(self.units.rate));
                Ok(Allowed::new(left / self.units.token, self.until_full + refills))
            }
            None => {
                let wait = Duration::from_micros((asked - self.level).div_ceil(self.units.rate));
                Err(Denied { retry_after: Some(wait), reason: crate::Reason::Limit })
            }
        }
    }
}

impl Store {
    pub(super) fn new(url: &str, config: &RedisConfig, clock: Clock) -> Result<Self, ConfigError> {
        // Neither the address nor the cause is shown: both may hold a password.
        let client = Client::open(url).map_err(|_| {
            ConfigError::new("url", "not an address of Redis", "redis://[USER:PASSWORD@]HOST:PORT/[DB]")
        })?;
        Ok(Self {
            client,
            connection: OnceLock::new(),
            script: Script::new(include_str!("bucket.lua")),
            units: config.units,
            prefix: config.prefix.clone(),
            timeout: config.timeout,
            clock,
        })
    }

    pub(super) async fn take(&self, key: &str, tokens: u64) -> Result<Found, StoreFailure> {
        self.ask(key, i128::from(tokens) * i128::from(self.units.token)).await
    }

    pub(super) async fn look(&self, key: &str) -> Result<Found, StoreFailure> {
        self.ask(key, 0).await
    }

    pub(super) async fn refund(&self, key: &str, tokens: u64) -> Result<Found, StoreFailure> {
        self.ask(key, -(i128::from(tokens) * i128::from(self.units.token))).await
    }

    pub(super) async fn reset(&self, key: &str) -> Result<(), StoreFailure> {
        let mut connection = self.connection()?;
        let mut command = redis::cmd("DEL");
        command.arg(self.key(key));
        self.in_time(command.exec_async(&mut connection)).await
    }

    async fn ask(&self, key: &str, units: i128) -> Result<Found, StoreFailure> {
        let mut connection = self.connection()?;
        let mut invocation = self.script.prepare_invoke();
        // A use is at most a full bucket, which is below 2^53.
        invocation.key(self.key(key)).arg(units.to_string()).arg(self.units.rate).arg(self.units.full);
        let (yes, level, wait, until_full): (u8, u64, u64, u64) =
            self.in_time(invocation.invoke_async(&mut connection)).await?;
        let [wait, until_full] = [wait, until_full].map(Duration::from_micros);
        Ok(Found { yes: yes == 1, level, wait, until_full, units: self.units })
    }

    async fn in_time<T>(&self, asked: impl Future<Output = RedisResult<T>>) -> Result<T, StoreFailure> {
        let mut asked = pin!(asked);
        let mut over = pin!(self.clock.sleep(self.timeout));
        std::future::poll_fn(|cx| match asked.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(|error| failure(&error))),
            Poll::Pending => over.as_mut().poll(cx).map(|()| Err(StoreFailure::TimedOut)),
        })
        .await
    }

    fn connection(&self) -> Result<ConnectionManager, StoreFailure> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        // One try each time: when to try again is decided here and not there.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(self.timeout.max(Duration::from_secs(1))))
            .set_response_timeout(Some(self.timeout));
        let made = ConnectionManager::new_lazy_with_config(self.client.clone(), config)
            .map_err(|error| failure(&error))?;
        Ok(self.connection.get_or_init(|| made).clone())
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What an error of the client means.
fn failure(error: &RedisError) -> StoreFailure {
    if error.is_timeout() {
        return StoreFailure::TimedOut;
    }
    match (error.kind(), error.code()) {
        (ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown), _) => {
            StoreFailure::ReadOnly
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm) | ErrorKind::AuthenticationFailed, _)
        | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => StoreFailure::Forbidden,
        (_, Some("OOM")) => StoreFailure::Full,
        (_, Some("WRONGTYPE")) => StoreFailure::WrongType,
        _ if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() => {
            StoreFailure::Unreachable
        }
        _ => StoreFailure::Other,
    }
}
