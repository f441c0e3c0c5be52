use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use aqueduct_core::Clock;

use crate::config::Config;
use crate::error::{HttpError, Phase};
use crate::exchange::Call;
use crate::pool::{Pool, Snapshot};
use crate::redirect;
use crate::request::Request;
use crate::resolver::{Guard, NotAllowed};
use crate::response::Response;

/// A pool of connections and the guards before it. A clone is a handle of the same pool; when the last one is dropped, its
/// idle connections close.
#[derive(Clone)]
pub struct Client {
    config: Arc<Config>,
    clock: Clock,
    guard: Guard,
    pool: Arc<Pool>,
}

impl Client {
    /// Makes a client on the system's clock. It connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`HttpError::Internal`] when there is no TLS.
    pub fn new(config: Config) -> Result<Self, HttpError> {
        Self::with_clock(config, Clock::system())
    }

    /// The same with a clock, by which calls are limited.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_clock(config: Config, clock: Clock) -> Result<Self, HttpError> {
        let guard = Guard::new(config.allow_private, config.resolved.clone());
        let pool = Arc::new(Pool::new(&config, guard.clone(), clock.clone())?);
        Ok(Self { config: Arc::new(config), clock, guard, pool })
    }

    /// Sends a request and reads the whole response. It is sent once: only one of which a connection that was closed
    /// meanwhile has taken nothing goes out again, on another one.
    ///
    /// # Errors
    ///
    /// [`HttpError`] when there is no response. Any status is one.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes its connection and gives its place free. The server may have got the request.
    pub fn call(&self, request: Request) -> impl Future<Output = Result<Response, HttpError>> + Send {
        // Not within: the request would be kept beside the call, for as long as that takes.
        let mut call = Call::new(request);
        async move {
            let call = match call {
                Ok(ref mut call) => call,
                Err(error) => return Err(error),
            };
            let limit = pin!(self.clock.sleep(self.config.timeout));
            tokio::select! {
                // The limit first: a call that is late is not to take the turn that another late one has just left.
                biased;
                () = limit => Err(late(call, self.config.timeout)),
                response = self.follow(call) => response,
            }
        }
    }

    /// What it has now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.pool.snapshot()
    }

    /// Calls one host after the other, as far as they lead on.
    async fn follow(&self, call: &mut Call) -> Result<Response, HttpError> {
        loop {
            if let Some(address) = call.target.address() {
                self.guard.check(address).map_err(|NotAllowed { address, kind }| {
                    let at = call.target.shown();
                    HttpError::Address { at, address, kind }
                })?;
            }
            call.phase = Phase::Pool;
            let lease = self.pool.lease(&call.target.origin).await?;
            let mut response = call.send(&lease.client, self.config.connect_timeout).await?;
            if redirect::follow(call, response.status(), response.headers(), self.config.redirects_max)? {
                continue;
            }
            let body = call.read(&mut response, self.config.response_bytes_max).await?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            return Ok(Response::new(status, headers, body, call.target.url().clone()));
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its clients of hosts and its TLS have the roots in them, again and again.
        f.debug_struct("Client")
            .field("config", &self.config)
            .field("now", &self.snapshot())
            .finish_non_exhaustive()
    }
}

fn late(call: &Call, after: std::time::Duration) -> HttpError {
    let at = call.target.shown();
    match call.phase {
        Phase::Pool if call.visited.is_empty() => HttpError::Busy { at, after },
        phase => HttpError::Timeout { at, after, phase },
    }
}
