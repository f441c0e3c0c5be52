use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aqueduct_core::Clock;
use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    /// Set while the call is polled that wants a connection.
    static WANTED: ();
}

/// Stands before every new connection of a host.
///
/// A connection that has answered is back in the pool only when tasks of hyper have run, a moment after its call has
/// ended and the next one has its turn. That one would find no connection, open another, and get the first one
/// nevertheless; what it has opened would go on in a task of its own. So, once there are as many connections as there are
/// turns, a new one waits for others to run first; and one whose call has got another or is gone is not made.
#[derive(Clone, Debug)]
pub(crate) struct Dial<S = ()> {
    inner: S,
    turns: usize,
    made: Arc<AtomicUsize>,
    clock: Clock,
}

/// How often others run first. Two tasks, one after the other, bring a connection back, and a thread that has one of them
/// may be off its core. 5,000 calls on 4 threads of 2 cores had at most 4 connections at once with 3 turns and 21 with 20;
/// without this, 6 and 24.
const ROUNDS: usize = 128;
/// Where a round takes long there are many others, and few rounds are enough; a new connection is not to wait for more.
const ROUNDS_MIN: usize = 4;
/// As long as it takes to agree on TLS, about.
const ROUNDS_TIME: Duration = Duration::from_millis(1);

/// Nobody reads it: its call has another connection.
#[derive(Debug, thiserror::Error)]
#[error("the call has another connection")]
struct Unwanted;

impl Dial {
    pub(crate) fn new(turns: usize, clock: Clock) -> Self {
        Self { inner: (), turns, made: Arc::default(), clock }
    }

    /// Polls a call that may want a connection.
    pub(crate) async fn wanted_by<F: Future>(call: F) -> F::Output {
        WANTED.scope((), call).await
    }
}

impl<S> Layer<S> for Dial {
    type Service = Dial<S>;

    fn layer(&self, inner: S) -> Dial<S> {
        Dial { inner, turns: self.turns, made: Arc::clone(&self.made), clock: self.clock.clone() }
    }
}

type Dialling<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send>>;

impl<S, R> Service<R> for Dial<S>
where
    S: Service<R, Error = Box<dyn Error + Send + Sync>> + Clone + Send + 'static,
    S::Future: Send,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Dialling<S::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, to: R) -> Self::Future {
        // The one that is ready makes the connection, and its clone is ready for the next.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        // Relaxed: it is only a number, and it guards nothing.
        let spare = self.made.fetch_add(1, Ordering::Relaxed) < self.turns;
        let clock = self.clock.clone();
        Box::pin(async move {
            if !spare {
                let start = clock.now();
                for round in 0..ROUNDS {
                    if round >= ROUNDS_MIN && clock.now().since(start) > ROUNDS_TIME {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            let mut dialling = pin!(inner.call(to));
            std::future::poll_fn(|context| match WANTED.try_with(|()| ()) {
                Ok(()) => dialling.as_mut().poll(context),
                Err(_) => Poll::Ready(Err(Unwanted.into())),
            })
            .await
        })
    }
}
