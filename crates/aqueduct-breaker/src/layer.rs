use std::sync::Arc;

use aqueduct_core::ResultJudge;
use tower_layer::Layer;

use crate::{Breaker, Circuit};

/// Puts a breaker before a service. Every service that it makes shares the breaker.
#[derive(Clone, Debug)]
pub struct BreakerLayer<J = ResultJudge> {
    breaker: Arc<Breaker>,
    judge: J,
}

impl BreakerLayer {
    /// Counts every error of the service as a failure.
    #[must_use]
    pub fn new(breaker: Arc<Breaker>) -> Self {
        Self { breaker, judge: ResultJudge }
    }
}

impl<J> BreakerLayer<J> {
    /// Lets `judge` say what came of a call, such as which status of a response is a failure.
    #[must_use]
    pub fn with_judge<K>(self, judge: K) -> BreakerLayer<K> {
        BreakerLayer { breaker: self.breaker, judge }
    }
}

impl<S, J: Clone> Layer<S> for BreakerLayer<J> {
    type Service = Circuit<S, J>;

    fn layer(&self, inner: S) -> Circuit<S, J> {
        Circuit::new(inner, Arc::clone(&self.breaker), self.judge.clone())
    }
}
