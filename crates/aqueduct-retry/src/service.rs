use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aqueduct_core::{Classified, Clock};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::advice::Advice;
use crate::deadline::Deadline;
use crate::error::{CallError, Ended};
use crate::retry::{Retry, Run, Step};

/// Says what to do after an attempt. Functions of the result are advisers.
pub trait Adviser<T, E> {
    /// What to do after this result.
    fn advise(&self, result: &Result<T, E>) -> Advice;
}

impl<T, E, F> Adviser<T, E> for F
where
    F: Fn(&Result<T, E>) -> Advice,
{
    fn advise(&self, result: &Result<T, E>) -> Advice {
        self(result)
    }
}

/// Goes by the class of an error, and takes every response for a good one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultAdviser;

impl<T, E: Classified> Adviser<T, E> for ResultAdviser {
    fn advise(&self, result: &Result<T, E>) -> Advice {
        Advice::of_result(result)
    }
}

/// Copies a request for one more attempt. Functions of the request are such.
pub trait Repeat<R> {
    /// A copy, or `None` when the request must not be made again: its body is a stream, or it is not idempotent.
    fn repeat(&self, request: &R) -> Option<R>;
}

impl<R, F> Repeat<R> for F
where
    F: Fn(&R) -> Option<R>,
{
    fn repeat(&self, request: &R) -> Option<R> {
        self(request)
    }
}

/// Clones every request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned;

impl<R: Clone> Repeat<R> for Cloned {
    fn repeat(&self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}

/// A service whose calls a [`Retry`] repeats.
///
/// It is ready when the inner service is, and reserves nothing itself. Each call takes the service that was ready with
/// it and leaves a clone; before each retry it waits until that service is ready again.
#[derive(Clone, Debug)]
pub struct Retrying<S, J = ResultAdviser, C = Cloned> {
    inner: S,
    retry: Arc<Retry>,
    adviser: J,
    repeat: C,
}

impl<S, J, C> Retrying<S, J, C> {
    pub(crate) fn new(inner: S, retry: Arc<Retry>, adviser: J, repeat: C) -> Self {
        Self { inner, retry, adviser, repeat }
    }

    /// Gives the retry, for its configuration and its budget.
    #[must_use]
    pub fn retry(&self) -> &Arc<Retry> {
        &self.retry
    }
}

impl<S, J, C, R> Service<R> for Retrying<S, J, C>
where
    S: Service<R> + Clone,
    J: Adviser<S::Response, S::Error> + Clone,
    C: Repeat<R> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = RetryingFuture<S, J, C, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(CallError::before)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let mut run = Run::begin(Arc::clone(&self.retry), Deadline::NEVER);
        // A call that begins now has some time, or the configuration would have been refused.
        let over = run.time().map(|time| sleep(run.clock(), time));
        run.attempt();
        let copy = self.repeat.repeat(&request);
        // What was ready is the service here, not its clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let state = State::Calling { call: inner.call(request) };
        RetryingFuture {
            state,
            over,
            attempts: Attempts {
                run,
                inner,
                request: copy,
                adviser: self.adviser.clone(),
                repeat: self.repeat.clone(),
            },
        }
    }
}

/// A wait, boxed because the clock's has no name. There is none as long as nothing fails and no time is bounded.
type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

fn sleep(clock: &Clock, time: Duration) -> Sleep {
    let clock = clock.clone();
    Box::pin(async move { clock.sleep(time).await })
}

pin_project! {
    /// A call with its retries. Dropped, nothing more is done.
    pub struct RetryingFuture<S, J, C, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S::Future>,
        // When the attempt, or getting ready for it, has taken too long.
        over: Option<Sleep>,
        attempts: Attempts<S, J, C, R>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F> {
        Calling { #[pin] call: F },
        Waiting { wait: Sleep },
        GettingReady,
    }
}

struct Attempts<S, J, C, R> {
    run: Run<Arc<Retry>>,
    inner: S,
    /// For the next attempt, if there may be one.
    request: Option<R>,
    adviser: J,
    repeat: C,
}

impl<S, J, C, R> Future for RetryingFuture<S, J, C, R>
where
    S: Service<R>,
    J: Adviser<S::Response, S::Error>,
    C: Repeat<R>,
{
    type Output = Result<S::Response, CallError<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let result = match this.state.as_mut().project() {
                Projected::Calling { call } => match call.poll(cx) {
                    Poll::Ready(result) => Some(result),
                    Poll::Pending => {
                        ready!(poll_over(this.over, cx));
                        None
                    }
                },
                Projected::Waiting { wait } => {
                    ready!(wait.as_mut().poll(cx));
                    match this.attempts.run.time() {
                        // A clock may wake late; then it must not begin.
                        Some(Duration::ZERO) => None,
                        time => {
                            *this.over = time.map(|time| sleep(this.attempts.run.clock(), time));
                            this.state.set(State::GettingReady);
                            continue;
                        }
                    }
                }
                Projected::GettingReady => match this.attempts.inner.poll_ready(cx) {
                    Poll::Ready(Ok(())) => match this.attempts.next_call() {
                        Some(call) => {
                            this.state.set(State::Calling { call });
                            continue;
                        }
                        None => None,
                    },
                    // A service that fails so is not to be asked again.
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(this.attempts.run.give_up(Some(Err(error)), Ended::Final, None));
                    }
                    Poll::Pending => {
                        ready!(poll_over(this.over, cx));
                        None
                    }
                },
            };
            match this.attempts.end(result) {
                Step::Done(result) => return Poll::Ready(result),
                Step::Wait(delay) => {
                    let wait = sleep(this.attempts.run.clock(), delay);
                    this.state.set(State::Waiting { wait });
                }
            }
        }
    }
}

impl<S, J, C, R> Attempts<S, J, C, R> {
    fn next_call(&mut self) -> Option<S::Future>
    where
        S: Service<R>,
        C: Repeat<R>,
    {
        let request = self.request.take()?;
        self.request = self.repeat.repeat(&request);
        self.run.attempt();
        Some(self.inner.call(request))
    }

    fn end<T, E>(&mut self, result: Option<Result<T, E>>) -> Step<T, E>
    where
        J: Adviser<T, E>,
    {
        let advice = result.as_ref().map_or(Advice::AGAIN, |result| self.adviser.advise(result));
        match advice {
            Advice::Again { .. } if self.request.is_none() => self.run.end(result, Advice::Stop),
            advice => self.run.end(result, advice),
        }
    }
}

/// Tells whether the time is over; without a bound it never is.
fn poll_over(over: &mut Option<Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    over.as_mut().map_or(Poll::Pending, |over| over.as_mut().poll(cx))
}

impl<S: Service<R>, J, C, R> fmt::Debug for RetryingFuture<S, J, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryingFuture").field("run", &self.attempts.run).finish_non_exhaustive()
    }
}
