//! Provisional: replaced by the guard that is being written.
use std::sync::Arc;

use aqueduct_core::Clock;

use crate::invalidations::{Invalidations, Scope};
use crate::level::{Level, Place};
use crate::stored::Stored;

#[derive(Clone, Copy, Debug, Default)]
pub struct GuardConfig;

#[derive(Debug)]
pub(crate) struct Guard {
    level: Arc<dyn Level>,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Found(Stored),
    Missing,
    Away,
}

impl Guard {
    pub(crate) fn new(
        level: Arc<dyn Level>,
        _config: GuardConfig,
        _clock: Clock,
        _on_back: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { level }
    }
    pub(crate) async fn get(&self, place: Place<'_>) -> Answer {
        match self.level.get(place).await {
            Ok(Some(stored)) => Answer::Found(stored),
            Ok(None) => Answer::Missing,
            Err(_) => Answer::Away,
        }
    }
    pub(crate) async fn get_many(&self, namespace: &str, keys: &[&[u8]]) -> Vec<Answer> {
        match self.level.get_many(namespace, keys).await {
            Ok(found) => found.into_iter().map(|f| f.map_or(Answer::Missing, Answer::Found)).collect(),
            Err(_) => keys.iter().map(|_| Answer::Away).collect(),
        }
    }
    pub(crate) async fn set(&self, place: Place<'_>, stored: Stored) {
        let _ = self.level.set(place, &stored).await;
    }
    pub(crate) async fn remove(&self, place: Place<'_>) {
        let _ = self.level.remove(place).await;
    }
    pub(crate) fn remove_later(&self, _place: Place<'_>) {}
    pub(crate) async fn invalidate(&self, namespace: &str, scope: &Scope, generation: u64) -> Option<u64> {
        self.level.invalidate(namespace, scope, generation).await.ok()
    }
    pub(crate) async fn invalidations(&self, namespace: &str) -> Option<Invalidations> {
        self.level.invalidations(namespace).await.ok()
    }
    pub(crate) async fn close(&self) {
        self.level.close().await;
    }
}
