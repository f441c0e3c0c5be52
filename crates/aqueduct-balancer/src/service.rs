use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aqueduct_core::{Judge, ResultJudge, Verdict};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::lease::Chosen;
use crate::{Balancer, CallError, Lease, NoEndpoint};

// ---- Balance ----

/// A service over a set of services, the values of a balancer's endpoints.
///
/// It is ready when one of them is: that one is taken with its lease and has the next call; one that is not ready is
/// never taken. Where there is no endpoint it is ready at once and the call fails at once. Dropped in between, it gives
/// the lease back as if nothing had been picked.
///
/// A call goes to a clone of the endpoint's service. Clones of the balance share the balancer.
pub struct Balance<S, J = ResultJudge> {
    balancer: Balancer<S>,
    judge: J,
    reserved: Option<Reserved<S>>,
    refused: Option<NoEndpoint>,
    /// Services that were not ready, kept because they are what wakes the caller.
    waiting: Vec<S>,
}

/// A service that is ready, and the lease of its endpoint.
struct Reserved<S> {
    service: S,
    lease: Option<Lease<S>>,
}

impl<S> Drop for Reserved<S> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.undo();
        }
    }
}

impl<S> Balance<S> {
    /// Counts every error of a service as a failure of its endpoint.
    #[must_use]
    pub fn new(balancer: Balancer<S>) -> Self {
        Self::of(balancer, ResultJudge)
    }
}

impl<S, J> Balance<S, J> {
    fn of(balancer: Balancer<S>, judge: J) -> Self {
        Self { balancer, judge, reserved: None, refused: None, waiting: Vec::new() }
    }

    /// Lets `judge` say what came of a call, such as which status of a response is a failure.
    #[must_use]
    pub fn with_judge<K>(self, judge: K) -> Balance<S, K> {
        Balance::of(self.balancer, judge)
    }

    /// The balancer, for its endpoints and its figures.
    #[must_use]
    pub fn balancer(&self) -> &Balancer<S> {
        &self.balancer
    }
}

impl<S, J: Clone> Clone for Balance<S, J> {
    fn clone(&self) -> Self {
        // The readiness belongs to the one that was asked.
        Self::of(self.balancer.clone(), self.judge.clone())
    }
}

impl<S, J> fmt::Debug for Balance<S, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reserved = self.reserved.as_ref().and_then(|reserved| reserved.lease.as_ref());
        f.debug_struct("Balance")
            .field("balancer", &self.balancer)
            .field("reserved", &reserved)
            .finish_non_exhaustive()
    }
}

/// So many picks as the strategy likes, before every endpoint is asked in turn.
const TRIES: usize = 2;

impl<S, J, R> Service<R> for Balance<S, J>
where
    S: Service<R> + Clone,
    J: Judge<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = BalanceFuture<S::Future, S, J>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.reserved.is_some() {
            return Poll::Ready(Ok(()));
        }
        // Before anything is looked at, so that a change right after it is not missed.
        self.balancer.wake_on_change(cx.waker());
        self.refused = None;
        let mut waiting = Vec::new();
        let mut failed = None;
        let mut ask = |lease: Lease<S>| {
            let mut service = lease.value().clone();
            match service.poll_ready(cx) {
                Poll::Ready(Ok(())) => return Some(Reserved { service, lease: Some(lease) }),
                Poll::Ready(Err(error)) => {
                    lease.finish(Verdict::FAILURE);
                    failed = Some(error);
                }
                Poll::Pending => {
                    lease.undo();
                    waiting.push(service);
                }
            }
            None
        };
        let picked = (0..TRIES)
            .map_while(|_| self.balancer.pick().map_err(|refusal| self.refused = Some(refusal)).ok());
        let mut reserved = None;
        for lease in picked {
            reserved = ask(lease);
            if reserved.is_some() {
                break;
            }
        }
        if self.refused.is_some() {
            return Poll::Ready(Ok(()));
        }
        if reserved.is_none() {
            let mut leases = self.balancer.leases().into_iter();
            reserved = leases.find_map(&mut ask);
            leases.for_each(Lease::undo);
        }
        self.reserved = reserved;
        self.waiting = waiting;
        match (&self.reserved, failed) {
            (Some(_), _) => {
                self.waiting.clear();
                Poll::Ready(Ok(()))
            }
            // Some may still become ready.
            (None, _) if !self.waiting.is_empty() => Poll::Pending,
            (None, Some(error)) => Poll::Ready(Err(CallError::Failed(error))),
            // All of them went while they were asked; the change wakes the caller.
            (None, None) => Poll::Pending,
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let Some(mut reserved) = self.reserved.take() else {
            // It was not ready, or there was no endpoint when it was asked.
            let refusal = self.refused.take().unwrap_or(NoEndpoint { retry_after: None });
            return BalanceFuture { state: State::Refused { refusal } };
        };
        let lease = reserved.lease.take().map(Lease::restart);
        let call = reserved.service.call(request);
        BalanceFuture { state: State::Calling { call, lease, judge: self.judge.clone() } }
    }
}

// ---- Routed ----

/// A service that is told which endpoint to call: its requests are pairs of an endpoint and the request. Made by
/// [`EndpointLayer`](crate::EndpointLayer).
///
/// It is ready when the inner service is, and picks when it is called.
pub struct Routed<S, E, J = ResultJudge> {
    inner: S,
    balancer: Balancer<E>,
    judge: J,
}

impl<S, E, J> Routed<S, E, J> {
    pub(crate) fn new(inner: S, balancer: Balancer<E>, judge: J) -> Self {
        Self { inner, balancer, judge }
    }

    /// The balancer, for its endpoints and its figures.
    #[must_use]
    pub fn balancer(&self) -> &Balancer<E> {
        &self.balancer
    }
}

impl<S: Clone, E, J: Clone> Clone for Routed<S, E, J> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.balancer.clone(), self.judge.clone())
    }
}

impl<S: fmt::Debug, E, J> fmt::Debug for Routed<S, E, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routed")
            .field("inner", &self.inner)
            .field("balancer", &self.balancer)
            .finish_non_exhaustive()
    }
}

impl<S, E, J, R> Service<R> for Routed<S, E, J>
where
    S: Service<(Chosen<E>, R)>,
    J: Judge<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = BalanceFuture<S::Future, E, J>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(CallError::Failed)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let state = match self.balancer.pick() {
            Ok(lease) => {
                let call = self.inner.call((lease.chosen(), request));
                State::Calling { call, lease: Some(lease), judge: self.judge.clone() }
            }
            // The inner service stays ready for the next call.
            Err(refusal) => State::Refused { refusal },
        };
        BalanceFuture { state }
    }
}

// ---- The future of both ----

pin_project! {
    /// A call to an endpoint. Dropped, it ends its lease and says nothing about the endpoint.
    pub struct BalanceFuture<F, E, J> {
        #[pin]
        state: State<F, E, J>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, E, J> {
        Refused { refusal: NoEndpoint },
        Calling { #[pin] call: F, lease: Option<Lease<E>>, judge: J },
    }
}

impl<F, E, J> fmt::Debug for BalanceFuture<F, E, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Refused { refusal } => f.debug_tuple("BalanceFuture").field(refusal).finish(),
            State::Calling { lease, .. } => f.debug_tuple("BalanceFuture").field(lease).finish(),
        }
    }
}

impl<F, E, J, T, X> Future for BalanceFuture<F, E, J>
where
    F: Future<Output = Result<T, X>>,
    J: Judge<T, X>,
{
    type Output = Result<T, CallError<X>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Refused { refusal } => Poll::Ready(Err(CallError::Refused(*refusal))),
            Projected::Calling { call, lease, judge } => {
                let result = ready!(call.poll(cx));
                if let Some(lease) = lease.take() {
                    lease.finish(judge.judge(&result));
                }
                Poll::Ready(result.map_err(CallError::Failed))
            }
        }
    }
}
