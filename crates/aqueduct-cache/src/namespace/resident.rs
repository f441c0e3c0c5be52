use async_trait::async_trait;

use crate::invalidations::Scope;
use crate::report::NamespaceStats;

use super::Inner;

/// A namespace as the cache sees it, whatever its values are.
#[async_trait]
pub(crate) trait Resident: Send + Sync {
    fn name(&self) -> &str;
    /// Somebody else has changed a key.
    fn changed(&self, key: &[u8]);
    /// Somebody else has invalidated something.
    fn invalidated(&self);
    async fn invalidate(&self, scope: &Scope);
    fn stats(&self) -> NamespaceStats;
}

#[async_trait]
impl<V: Clone + Send + Sync + 'static> Resident for Inner<V> {
    fn name(&self) -> &str {
        &self.name
    }

    fn changed(&self, key: &[u8]) {
        self.flights.overtake(key);
        self.forget(key);
    }

    fn invalidated(&self) {
        self.validity.ask_again();
    }

    async fn invalidate(&self, scope: &Scope) {
        Self::invalidate(self, scope).await;
    }

    fn stats(&self) -> NamespaceStats {
        Self::stats(self)
    }
}
