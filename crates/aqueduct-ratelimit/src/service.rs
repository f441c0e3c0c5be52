use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::limiter::Turn;
use crate::{CallError, Denied, RateLimiter};

/// What becomes of a call for which there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenDenied {
    /// It fails at once with [`CallError::Refused`].
    Refuse,
    /// The service is not ready until there is one. Those who wait are served in the order in which they asked.
    Wait,
}

/// A service behind a [`RateLimiter`]; one call takes one token.
///
/// The token is taken when the service becomes ready, after the inner service has, and given back when the service is
/// dropped without a call. Clones share the limiter and not the readiness.
pub struct RateLimit<S> {
    inner: S,
    limiter: Arc<RateLimiter>,
    when_denied: WhenDenied,
    state: State,
}

enum State {
    Idle,
    Waiting(Turn),
    Ready(Token),
    Denied(Denied),
}

/// A token that is given back when it is dropped.
#[derive(Debug)]
struct Token(Option<Arc<RateLimiter>>);

impl Token {
    fn of(limiter: &Arc<RateLimiter>) -> Self {
        Self(Some(Arc::clone(limiter)))
    }

    /// It is used, and nothing is given back.
    fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(limiter) = &self.0 {
            limiter.refund(1);
        }
    }
}

impl<S> RateLimit<S> {
    pub(crate) fn new(inner: S, limiter: Arc<RateLimiter>, when_denied: WhenDenied) -> Self {
        Self { inner, limiter, when_denied, state: State::Idle }
    }

    /// The limiter, for its quota and for draining it.
    #[must_use]
    pub fn limiter(&self) -> &Arc<RateLimiter> {
        &self.limiter
    }
}

impl<S: Clone> Clone for RateLimit<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.limiter), self.when_denied)
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for RateLimit<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

impl<S, R> Service<R> for RateLimit<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        loop {
            match &mut self.state {
                State::Ready(_) | State::Denied(_) => return Poll::Ready(Ok(())),
                State::Idle => {
                    ready!(self.inner.poll_ready(cx)).map_err(CallError::Failed)?;
                    self.state = match self.when_denied {
                        WhenDenied::Refuse => match self.limiter.check() {
                            Ok(_) => State::Ready(Token::of(&self.limiter)),
                            Err(denied) => State::Denied(denied),
                        },
                        // Only a wait needs a future of its own.
                        WhenDenied::Wait
                            if !self.limiter.somebody_waits() && self.limiter.check().is_ok() =>
                        {
                            State::Ready(Token::of(&self.limiter))
                        }
                        WhenDenied::Wait => State::Waiting(RateLimiter::turn(&self.limiter)),
                    };
                }
                State::Waiting(turn) => {
                    self.state = match ready!(turn.as_mut().poll(cx)) {
                        Ok(_) => State::Ready(Token::of(&self.limiter)),
                        Err(denied) => State::Denied(denied),
                    };
                }
            }
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let state = match mem::replace(&mut self.state, State::Idle) {
            State::Ready(token) => {
                token.spend();
                Call::Made { call: self.inner.call(request) }
            }
            // Called without having been ready: it takes its chance.
            State::Idle | State::Waiting(_) => match self.limiter.check() {
                Ok(_) => Call::Made { call: self.inner.call(request) },
                Err(denied) => Call::Denied { denied },
            },
            State::Denied(denied) => Call::Denied { denied },
        };
        RateLimitFuture { state }
    }
}

pin_project! {
    /// A call behind a limit.
    #[derive(Debug)]
    pub struct RateLimitFuture<F> {
        #[pin]
        state: Call<F>,
    }
}

pin_project! {
    #[project = Projected]
    #[derive(Debug)]
    enum Call<F> {
        Denied { denied: Denied },
        Made { #[pin] call: F },
    }
}

impl<F, T, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Denied { denied } => Poll::Ready(Err(CallError::Refused(*denied))),
            Projected::Made { call } => call.poll(cx).map_err(CallError::Failed),
        }
    }
}
