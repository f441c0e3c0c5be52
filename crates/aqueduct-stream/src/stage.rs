//! What happens to items.

use std::borrow::Cow;
use std::sync::Arc;

use aqueduct_core::{Item, Payload};
use async_trait::async_trait;

use crate::error::{ConfigError, StageError};
use crate::rule::Rule;

/// What a stage makes of one item.
#[derive(Debug)]
pub enum Outcome {
    /// The item goes on as it is.
    Keep,
    /// The item goes on with this payload.
    Emit(Payload),
    /// Several results, in this order; none at all counts as skipped.
    Many(Vec<Emission>),
    /// The item is left out on purpose; the reason is for people.
    Skip(Cow<'static, str>),
}

impl Outcome {
    /// How many results it is.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Keep | Self::Emit(_) => 1,
            Self::Many(emissions) => emissions.len() as u64,
            Self::Skip(_) => 0,
        }
    }
}

/// One of several results.
#[derive(Debug)]
pub enum Emission {
    /// The item itself, as it is.
    Keep,
    /// A result for the next stage.
    Next(Payload),
    /// A result for one sink, past all later stages. The sink is one of [`Stage::targets`].
    To(Arc<str>, Payload),
}

/// Works on one item without waiting. Runs on the engine's threads, many at once.
pub trait Stage: Send + Sync {
    /// Makes an outcome of an item. It sees the item again when it is tried again.
    ///
    /// # Errors
    ///
    /// [`StageError`]; its class and the stage's rule decide what becomes of the item. A panic counts as an
    /// internal error of this item alone.
    fn apply(&self, item: &Item) -> Result<Outcome, StageError>;

    /// The sinks that it names in [`Emission::To`].
    fn targets(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}

/// Works on one item and waits, for instance for a service. Runs on the caller's tokio runtime.
#[async_trait]
pub trait AsyncStage: Send + Sync {
    /// Makes an outcome of an item. It sees the item again when it is tried again.
    ///
    /// # Errors
    ///
    /// See [`Stage::apply`].
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the run is stopped at once; the item is then read again by the next run.
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError>;

    /// How many items it works on at once, over all batches. At least 1.
    fn concurrency(&self) -> usize {
        64
    }

    /// What it needs from outside, in words, if it needs anything.
    fn describe(&self) -> Option<String> {
        None
    }

    /// Sees whether it can work at all, and changes nothing. Called once for each run, before anything is read or claimed.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] ends the run before it begins.
    async fn open(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Ends what it has started. Called once for each run, when no item is under way any more.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the run is; what the stage has started must not outlive the stage itself.
    async fn close(&self) {}

    /// The sinks that it names in [`Emission::To`].
    fn targets(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}

/// Works on a whole batch and waits, for instance for a service that takes many items a call.
#[async_trait]
pub trait BatchStage: Send + Sync {
    /// Makes one outcome for each item, in their order. Items whose outcome is an error are given again,
    /// without the others, when they are tried again.
    ///
    /// # Errors
    ///
    /// One [`StageError`] for all of them, when the call as a whole failed.
    ///
    /// # Cancel safety
    ///
    /// See [`AsyncStage::apply`].
    async fn apply(&self, items: &[&Item]) -> Result<Vec<Result<Outcome, StageError>>, StageError>;

    /// The sinks that it names in [`Emission::To`].
    fn targets(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}

/// A stage in its place: its name, its rule, and what it does.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) name: Arc<str>,
    pub(crate) rule: Rule,
    pub(crate) work: Work,
}

#[derive(Clone)]
pub(crate) enum Work {
    Sync(Arc<dyn Stage>),
    Async(Arc<dyn AsyncStage>, Arc<tokio::sync::Semaphore>),
    Batch(Arc<dyn BatchStage>),
}

impl Step {
    /// See [`AsyncStage::open`].
    pub(crate) async fn open(&self) -> Result<(), ConfigError> {
        match &self.work {
            Work::Async(stage, _) => stage.open().await,
            Work::Sync(_) | Work::Batch(_) => Ok(()),
        }
    }

    /// See [`AsyncStage::close`].
    pub(crate) async fn close(&self) {
        if let Work::Async(stage, _) = &self.work {
            stage.close().await;
        }
    }

    pub(crate) fn targets(&self) -> Vec<Arc<str>> {
        match &self.work {
            Work::Sync(stage) => stage.targets(),
            Work::Async(stage, _) => stage.targets(),
            Work::Batch(stage) => stage.targets(),
        }
    }
}
