use std::fmt;

use aqueduct_core::ResultJudge;
use tower_layer::Layer;

use crate::{Balancer, Routed};

/// Tells a service which endpoint to call: for one client that can call them all, where [`Balance`](crate::Balance) is
/// for a service at each endpoint. Every service that it makes shares the balancer.
pub struct EndpointLayer<E, J = ResultJudge> {
    balancer: Balancer<E>,
    judge: J,
}

impl<E> EndpointLayer<E> {
    /// Counts every error of the service as a failure of the endpoint.
    #[must_use]
    pub fn new(balancer: Balancer<E>) -> Self {
        Self { balancer, judge: ResultJudge }
    }
}

impl<E, J> EndpointLayer<E, J> {
    /// Lets `judge` say what came of a call, such as which status of a response is a failure.
    #[must_use]
    pub fn with_judge<K>(self, judge: K) -> EndpointLayer<E, K> {
        EndpointLayer { balancer: self.balancer, judge }
    }
}

impl<S, E, J: Clone> Layer<S> for EndpointLayer<E, J> {
    type Service = Routed<S, E, J>;

    fn layer(&self, inner: S) -> Routed<S, E, J> {
        Routed::new(inner, self.balancer.clone(), self.judge.clone())
    }
}

impl<E, J: Clone> Clone for EndpointLayer<E, J> {
    fn clone(&self) -> Self {
        Self { balancer: self.balancer.clone(), judge: self.judge.clone() }
    }
}

impl<E, J> fmt::Debug for EndpointLayer<E, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointLayer").field("balancer", &self.balancer).finish_non_exhaustive()
    }
}
