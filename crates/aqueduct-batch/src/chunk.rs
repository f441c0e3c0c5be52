//! Functions over Rust values as stages.

use std::borrow::Cow;
use std::future::Future;
use std::marker::PhantomData;

use aqueduct_core::{Item, Payload};
use aqueduct_stream::{AsyncStage, BatchStage, Outcome, StageError};
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

/// What a function over a chunk says of each of its items: a result, none on purpose, or why it failed.
pub type ItemResult<U> = Result<Option<U>, StageError>;

/// A function that works on the items of a chunk together.
pub(crate) struct Chunk<T, F> {
    work: F,
    /// Never closed.
    permits: Semaphore,
    reads: PhantomData<fn(T)>,
}

impl<T, F> Chunk<T, F> {
    pub(crate) fn new(work: F, concurrency: usize) -> Self {
        Self { work, permits: Semaphore::new(concurrency), reads: PhantomData }
    }
}

#[async_trait]
impl<T, U, F, R> BatchStage for Chunk<T, F>
where
    T: DeserializeOwned + Send + 'static,
    U: Serialize + Send + Sync + 'static,
    F: Fn(Vec<T>) -> R + Send + Sync,
    R: Future<Output = Result<Vec<ItemResult<U>>, StageError>> + Send,
{
    async fn apply(&self, items: &[&Item]) -> Result<Vec<Result<Outcome, StageError>>, StageError> {
        let mut outcomes = Vec::with_capacity(items.len());
        let mut values = Vec::with_capacity(items.len());
        let mut readable = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            match value::<T>(item) {
                Ok(value) => {
                    values.push(value);
                    readable.push(at);
                    // Stands until the function has said something else.
                    outcomes.push(Ok(Outcome::Keep));
                }
                Err(error) => outcomes.push(Err(error)),
            }
        }
        if values.is_empty() {
            return Ok(outcomes);
        }
        let results = {
            let _permit = self.permits.acquire().await;
            (self.work)(values).await?
        };
        if results.len() != readable.len() {
            let message = format!("the chunk function gave {} results for {}", results.len(), readable.len());
            return Err(StageError::stop(message));
        }
        for (at, result) in readable.into_iter().zip(results) {
            outcomes[at] = result.map(outcome);
        }
        Ok(outcomes)
    }
}

/// A function that works on one item.
pub(crate) struct Each<T, F> {
    work: F,
    concurrency: usize,
    reads: PhantomData<fn(T)>,
}

impl<T, F> Each<T, F> {
    pub(crate) fn new(work: F, concurrency: usize) -> Self {
        Self { work, concurrency, reads: PhantomData }
    }
}

#[async_trait]
impl<T, U, F, R> AsyncStage for Each<T, F>
where
    T: DeserializeOwned + Send + 'static,
    U: Serialize + Send + Sync + 'static,
    F: Fn(T) -> R + Send + Sync,
    R: Future<Output = ItemResult<U>> + Send,
{
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let value = value::<T>(item)?;
        (self.work)(value).await.map(outcome)
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}

/// Reads the payload of an item. It is read anew for each call: a value that was given away is gone, and a call may be
/// repeated.
fn value<T: DeserializeOwned>(item: &Item) -> Result<T, StageError> {
    let record = item.payload.record()?;
    serde_json::from_str(record.as_text()).map_err(|error| {
        let name = std::any::type_name::<T>();
        let name = name.rsplit("::").next().unwrap_or(name);
        StageError::permanent(format!("the item is not a {name}")).with_source(error)
    })
}

fn outcome<U: Serialize + Send + Sync + 'static>(result: Option<U>) -> Outcome {
    match result {
        Some(value) => Outcome::Emit(Payload::Typed(Box::new(value))),
        None => Outcome::Skip(Cow::Borrowed("the function left it out")),
    }
}
