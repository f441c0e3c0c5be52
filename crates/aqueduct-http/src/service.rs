use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::client::Client;
use crate::error::HttpError;
use crate::request::Request;
use crate::response::Response;

/// A call through [`Client`] as a tower service. Dropping it is dropping the call.
#[must_use = "a call does nothing until it is polled"]
pub struct CallFuture(Pin<Box<dyn Future<Output = Result<Response, HttpError>> + Send>>);

impl fmt::Debug for CallFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
    }
}

impl Future for CallFuture {
    type Output = Result<Response, HttpError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

/// Always ready: a call waits for its place itself, in order and within its time limit.
impl Service<Request> for Client {
    type Response = Response;
    type Error = HttpError;
    type Future = CallFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> CallFuture {
        let client = self.clone();
        CallFuture(Box::pin(async move { Self::call(&client, request).await }))
    }
}
