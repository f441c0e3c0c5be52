use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aqueduct_core::Verdict;

use crate::endpoint::Endpoint;
use crate::node::Node;

/// An endpoint that was chosen for one call, which counts as under way until the lease ends. It derefs to the endpoint.
///
/// Dropped without a verdict, because the call was cancelled or panicked, it says nothing about the endpoint. It may
/// outlive the balancer.
#[must_use = "a lease that is dropped at once chose an endpoint for nothing"]
pub struct Lease<E> {
    node: Arc<Node<E>>,
    begun: u64,
    /// Whether it is among those that the balancer counts in all.
    counted: bool,
    ended: bool,
}

impl<E> Lease<E> {
    pub(crate) fn new(node: Arc<Node<E>>, begun: u64, counted: bool) -> Self {
        if counted {
            node.core.leased.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(metrics) = node.metrics() {
            metrics.begun();
        }
        Self { node, begun, counted, ended: false }
    }

    /// Says what came of the call. The time since it was picked is how long it took.
    pub fn finish(mut self, verdict: Verdict) {
        self.end(Some(verdict));
    }

    /// Gives it back as if it had never been picked.
    #[cfg(feature = "tower")]
    pub(crate) fn undo(mut self) {
        self.ended = true;
        if self.counted {
            self.node.core.leased.fetch_sub(1, Ordering::Relaxed);
        }
        self.node.never_mind();
    }

    /// The call begins now and not when it was picked.
    #[cfg(feature = "tower")]
    pub(crate) fn restart(mut self) -> Self {
        self.begun = self.node.core.now().nanos;
        self
    }

    /// Its endpoint, without the lease.
    #[cfg(feature = "tower")]
    pub(crate) fn chosen(&self) -> Chosen<E> {
        Chosen(Arc::clone(&self.node))
    }

    fn end(&mut self, verdict: Option<Verdict>) {
        if self.ended {
            return;
        }
        self.ended = true;
        if self.counted {
            self.node.core.leased.fetch_sub(1, Ordering::Relaxed);
        }
        self.node.end(self.begun, verdict);
    }
}

impl<E> Deref for Lease<E> {
    type Target = Endpoint<E>;

    fn deref(&self) -> &Endpoint<E> {
        &self.node.endpoint
    }
}

impl<E> Drop for Lease<E> {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<E> fmt::Debug for Lease<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("endpoint", &self.node.endpoint).finish_non_exhaustive()
    }
}

/// An endpoint, kept alive without a lease. It derefs to the endpoint.
#[cfg(any(feature = "health", feature = "tower"))]
pub struct Chosen<E>(pub(crate) Arc<Node<E>>);

#[cfg(any(feature = "health", feature = "tower"))]
impl<E> Clone for Chosen<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(any(feature = "health", feature = "tower"))]
impl<E> Deref for Chosen<E> {
    type Target = Endpoint<E>;

    fn deref(&self) -> &Endpoint<E> {
        &self.0.endpoint
    }
}

#[cfg(any(feature = "health", feature = "tower"))]
impl<E> fmt::Debug for Chosen<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chosen").field(&self.0.endpoint).finish()
    }
}
