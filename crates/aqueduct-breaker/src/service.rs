use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use aqueduct_core::{Judge, ResultJudge};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{Breaker, CallError, Permit, Refusal};

/// A service behind a [`Breaker`].
///
/// It takes no permit before the call: a service that is ready and never called holds no probe back. While the breaker
/// refuses, it is ready at once and the call fails at once; a caller is not made to wait for a service that it will
/// not reach.
#[derive(Debug)]
pub struct Circuit<S, J = ResultJudge> {
    inner: S,
    breaker: Arc<Breaker>,
    judge: J,
    /// Whether the inner service said that it is ready, which it must before it is called.
    inner_ready: bool,
}

impl<S, J> Circuit<S, J> {
    pub(crate) fn new(inner: S, breaker: Arc<Breaker>, judge: J) -> Self {
        Self { inner, breaker, judge, inner_ready: false }
    }

    /// The breaker, for its figures and for a person who decides.
    #[must_use]
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }
}

impl<S: Clone, J: Clone> Clone for Circuit<S, J> {
    fn clone(&self) -> Self {
        // The readiness belongs to the one that was asked.
        Self::new(self.inner.clone(), Arc::clone(&self.breaker), self.judge.clone())
    }
}

impl<S, J, R> Service<R> for Circuit<S, J>
where
    S: Service<R>,
    J: Judge<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = CircuitFuture<S::Future, J>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if !self.inner_ready && self.breaker.refuses().is_none() {
            ready!(self.inner.poll_ready(cx)).map_err(CallError::Failed)?;
            self.inner_ready = true;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        // It refused when it was asked for readiness, so the inner service was not asked, and the time may just be
        // over: then this call is the last one to be refused.
        if !self.inner_ready {
            let refusal = self.breaker.refuses().unwrap_or_else(Refusal::just_over);
            return CircuitFuture { state: State::Refused { refusal: Some(refusal) } };
        }
        let state = match self.breaker.try_acquire_owned() {
            Ok(permit) => {
                self.inner_ready = false;
                let call = self.inner.call(request);
                State::Calling { call, permit: Some(permit), judge: self.judge.clone() }
            }
            // The inner service stays ready for the next call.
            Err(refusal) => State::Refused { refusal: Some(refusal) },
        };
        CircuitFuture { state }
    }
}

pin_project! {
    /// A call through a breaker. Dropped, it gives its permit back and counts as nothing.
    #[derive(Debug)]
    pub struct CircuitFuture<F, J> {
        #[pin]
        state: State<F, J>,
    }
}

pin_project! {
    #[project = Projected]
    #[derive(Debug)]
    enum State<F, J> {
        Refused { refusal: Option<Refusal> },
        Calling { #[pin] call: F, permit: Option<Permit<Arc<Breaker>>>, judge: J },
    }
}

impl<F, J, T, E> Future for CircuitFuture<F, J>
where
    F: Future<Output = Result<T, E>>,
    J: Judge<T, E>,
{
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Refused { refusal } => {
                // Polled again after it was ready, which a future need not bear, it refuses once more.
                Poll::Ready(Err(CallError::Refused(refusal.take().unwrap_or_else(Refusal::just_over))))
            }
            Projected::Calling { call, permit, judge } => {
                let result = ready!(call.poll(cx));
                if let Some(permit) = permit.take() {
                    permit.finish(judge.judge(&result));
                }
                Poll::Ready(result.map_err(CallError::Failed))
            }
        }
    }
}
