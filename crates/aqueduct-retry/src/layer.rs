use std::sync::Arc;

use tower_layer::Layer;

use crate::Retry;
use crate::service::{Cloned, ResultAdviser, Retrying};

/// Repeats the calls of a service. Every service that it makes shares the [`Retry`], and so its budget.
#[derive(Clone, Debug)]
pub struct RetryLayer<J = ResultAdviser, C = Cloned> {
    retry: Arc<Retry>,
    adviser: J,
    repeat: C,
}

impl RetryLayer {
    /// Repeats what fails with an error whose class is overload or transient, with a clone of the request.
    #[must_use]
    pub fn new(retry: Arc<Retry>) -> Self {
        Self { retry, adviser: ResultAdviser, repeat: Cloned }
    }
}

impl<J, C> RetryLayer<J, C> {
    /// Lets `adviser` say what to do after an attempt: which status of a response is worth a retry, and which error is
    /// the refusal of a limiter or a breaker.
    #[must_use]
    pub fn with_adviser<K>(self, adviser: K) -> RetryLayer<K, C> {
        RetryLayer { retry: self.retry, adviser, repeat: self.repeat }
    }

    /// Lets `repeat` say which requests may be made again, and how to copy them.
    #[must_use]
    pub fn with_repeat<D>(self, repeat: D) -> RetryLayer<J, D> {
        RetryLayer { retry: self.retry, adviser: self.adviser, repeat }
    }
}

impl<S, J: Clone, C: Clone> Layer<S> for RetryLayer<J, C> {
    type Service = Retrying<S, J, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Retrying::new(inner, Arc::clone(&self.retry), self.adviser.clone(), self.repeat.clone())
    }
}
