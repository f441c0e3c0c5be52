//! The stage `cached`: another stage, done only for what is not in the cache.

mod failure;
mod kept;
mod meaning;

use std::sync::Arc;

use aqueduct_cache::{Namespace, SetOptions};
use aqueduct_core::{Item, Payload, Record};
use aqueduct_stream::{AsyncStage, ConfigError, Outcome, StageError};
use async_trait::async_trait;
use serde_json::{Map, Value as Json};
use tokio::sync::{OnceCell, Semaphore};

use self::failure::Failure;
use self::kept::Kept;
pub(super) use self::meaning::meaning;
use crate::caches::{self, Caches, stored_key};
use crate::connectors::http::stage::{evaluated, json_text};
use crate::expression::{Expression, Value};
use crate::spec::{CachedSpec, InnerSpec, KeptSpec};

/// How many items may wait beside those that the inner stage works on: for a result that is on its way, or for their turn.
/// So a few slow results hold up nobody who has his in the cache. An item that waits takes a few kilobytes.
const WAITING_MAX: usize = 1024;

/// Another stage, done only for what is not in the cache.
pub(super) struct Cached {
    key: Arc<Expression>,
    tags: Option<Arc<Expression>>,
    namespace: String,
    kept: KeptSpec,
    /// Behind each key: what the inner stage is, so that another one has results of its own.
    meaning: String,
    /// The fields that the inner stage writes, where that is known.
    fields: Option<Vec<String>>,
    inner: Box<dyn AsyncStage>,
    /// As many as the inner stage works on at once.
    places: Semaphore,
    caches: Arc<Caches>,
    space: OnceCell<Namespace<Kept>>,
}

impl Cached {
    pub(super) fn new(
        spec: &CachedSpec,
        meaning: String,
        inner: Box<dyn AsyncStage>,
        caches: &Arc<Caches>,
    ) -> Self {
        let fields = match &spec.of {
            InnerSpec::Http(http) if http.set.is_empty() => Some(vec![http.into.clone()]),
            InnerSpec::Http(http) => Some(http.set.iter().map(|(field, _)| field.clone()).collect()),
            InnerSpec::Model(model) => Some(vec![model.into.clone(), model.tokens_into.clone()]),
            InnerSpec::Exec(_) => None,
        };
        Self {
            key: Arc::clone(&spec.key),
            tags: spec.tags.clone(),
            namespace: spec.namespace.clone(),
            kept: spec.kept,
            meaning,
            fields,
            places: Semaphore::new(inner.concurrency().clamp(1, Semaphore::MAX_PERMITS)),
            inner,
            caches: Arc::clone(caches),
            space: OnceCell::new(),
        }
    }

    async fn space(&self) -> &Namespace<Kept> {
        self.space.get_or_init(|| self.caches.namespace(&self.namespace, self.kept)).await
    }

    fn key(&self, record: &Record) -> Result<String, StageError> {
        let key = match evaluated("key", &self.key, record)? {
            Value::Null => {
                return Err(StageError::permanent("the item has no key: the expression gives null"));
            }
            Value::Text(text) => text.into_owned(),
            other => json_text(&other)?,
        };
        Ok(stored_key(&key, &self.meaning))
    }

    fn tags(&self, record: &Record) -> Result<Vec<String>, StageError> {
        let Some(tags) = &self.tags else { return Ok(Vec::new()) };
        let value = evaluated("tags", tags, record)?;
        let list: Option<Vec<String>> = match &value {
            Value::Json(_) | Value::Built(_) => serde_json::from_str(&json_text(&value)?).ok(),
            _ => None,
        };
        list.ok_or_else(|| {
            let found = value.value_type().described();
            StageError::permanent(format!("tags gives {found}, and must give a list of texts"))
        })
    }

    /// Does the inner stage for an item.
    async fn make(&self, item: &Item, record: &Record) -> Result<Kept, StageError> {
        // It is never closed.
        let _place = self.places.acquire().await;
        match self.inner.apply(item).await? {
            Outcome::Keep => Ok(Kept::nothing()),
            Outcome::Emit(payload) => Ok(Kept::between(record, &*payload.record()?, self.fields.as_deref())),
            Outcome::Skip(_) | Outcome::Many(_) | Outcome::Send(_) => Err(StageError::permanent(
                "the stage within gave no item or several, and a cached stage keeps what becomes of one",
            )),
        }
    }
}

#[async_trait]
impl AsyncStage for Cached {
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        let key = self.key(&record)?;
        let tags = self.tags(&record)?;
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let space = self.space().await;
        loop {
            // The error of this item's own load, whole; the others who wait get a copy of what it says.
            let mut own = None;
            let load = async {
                match self.make(item, &record).await {
                    Ok(kept) => Ok(Some(kept)),
                    Err(error) => {
                        let failure = Failure::of(&error);
                        own = Some(error);
                        Err(failure)
                    }
                }
            };
            let options = SetOptions::new().tags(&tags);
            let result = space.try_get_with(&key, options, || load).await;
            match (own, result) {
                // The run is to end, and an old result is no way around that.
                (Some(error), _) if error.stops() => return Err(error),
                (Some(error), Err(_)) => return Err(error),
                (_, Ok(Some(kept))) => return Ok(Outcome::Emit(Payload::Record(kept.laid_over(&record)))),
                // Nobody loads nothing here; somebody else may have stored it.
                (_, Ok(None)) => space.remove(&key).await,
                (None, Err(error)) => match error.cause().downcast_ref::<Failure>() {
                    // What stops the run is not for others to hear of second hand.
                    Some(failure) if failure.stops() => {}
                    Some(failure) => return Err(failure.error()),
                    None => return Err(StageError::transient(error.to_string()).with_source(error)),
                },
            }
        }
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency().saturating_add(WAITING_MAX)
    }

    fn describe(&self) -> Option<String> {
        self.inner.describe()
    }

    async fn open(&self) -> Result<(), ConfigError> {
        self.inner.open().await
    }

    async fn close(&self) {
        self.inner.close().await;
        self.caches.close().await;
    }

    fn figures(&self) -> Map<String, Json> {
        let mut figures = self.inner.figures();
        if let Some(space) = self.space.get() {
            let stats = space.stats();
            let cache = caches::figures(&(&stats).into(), stats.layers, &self.namespace);
            figures.insert("cache".to_owned(), cache.into());
        }
        figures
    }
}
