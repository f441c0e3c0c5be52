use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use aqueduct_core::Classified;
use tower_service::Service;

use crate::backend::Backend;
use crate::call::Call;
use crate::error::PolicyError;

/// A backend is a service for stacks of tower: always ready, since its queues are within the call. A call is boxed;
/// [`Backend::call`] is not.
impl<S, Req> Service<Call<Req>> for Backend<S, Req>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Response: Send,
    S::Error: Classified + Send + Sync,
    S::Future: Send,
    Req: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = PolicyError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, PolicyError<S::Error>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<Req>) -> Self::Future {
        let backend = self.clone();
        Box::pin(async move { Backend::call(&backend, call).await })
    }
}
