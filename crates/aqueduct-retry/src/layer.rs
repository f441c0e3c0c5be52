use std::sync::Arc;

use tower_layer::Layer;

use crate::Retry;
use crate::service::{Cloned, ResultJudge, Retrying};

/// Repeats the calls of a service. Every service that it makes shares the [`Retry`], and so its budget.
#[derive(Clone, Debug)]
pub struct RetryLayer<J = ResultJudge, C = Cloned> {
    retry: Arc<Retry>,
    judge: J,
    repeat: C,
}

impl RetryLayer {
    /// Repeats what fails with an error whose class is overload or transient, with a clone of the request.
    #[must_use]
    pub fn new(retry: Arc<Retry>) -> Self {
        Self { retry, judge: ResultJudge, repeat: Cloned }
    }
}

impl<J, C> RetryLayer<J, C> {
    /// Lets `judge` say what to do after an attempt: which status of a response is worth a retry, and which error is
    /// the refusal of a limiter or a breaker.
    #[must_use]
    pub fn with_judge<K>(self, judge: K) -> RetryLayer<K, C> {
        RetryLayer { retry: self.retry, judge, repeat: self.repeat }
    }

    /// Lets `repeat` say which requests may be made again, and how to copy them.
    #[must_use]
    pub fn with_repeat<D>(self, repeat: D) -> RetryLayer<J, D> {
        RetryLayer { retry: self.retry, judge: self.judge, repeat }
    }
}

impl<S, J: Clone, C: Clone> Layer<S> for RetryLayer<J, C> {
    type Service = Retrying<S, J, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Retrying::new(inner, Arc::clone(&self.retry), self.judge.clone(), self.repeat.clone())
    }
}
