use std::sync::Arc;

use tower_layer::Layer;

use crate::{RateLimit, RateLimiter, WhenDenied};

/// Puts a limit before a service. Every service that it makes, and every clone of one, shares the limiter.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    limiter: Arc<RateLimiter>,
    when_denied: WhenDenied,
}

impl RateLimitLayer {
    /// A call for which there is no token is refused or waits, as `when_denied` says.
    #[must_use]
    pub fn new(limiter: Arc<RateLimiter>, when_denied: WhenDenied) -> Self {
        Self { limiter, when_denied }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, Arc::clone(&self.limiter), self.when_denied)
    }
}
