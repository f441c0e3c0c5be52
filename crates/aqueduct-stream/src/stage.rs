//! What happens to items.

mod dedupe;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aqueduct_core::{Item, Payload, Timestamp};
use async_trait::async_trait;

use crate::error::{ConfigError, StageError, StateError};
use crate::rule::Rule;

pub use dedupe::{Dedupe, Horizon};

/// What a stage makes of one item.
#[derive(Debug)]
pub enum Outcome {
    /// The item goes on as it is.
    Keep,
    /// The item goes on with this payload.
    Emit(Payload),
    /// The item leaves the way it is on, as it is, for the target of this number in the stage's list of them.
    Send(usize),
    /// Several results, in this order; none at all counts as skipped.
    Many(Vec<Emission>),
    /// The item is left out on purpose; the reason is for people.
    Skip(Cow<'static, str>),
}

impl Outcome {
    /// How many results it is.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Keep | Self::Emit(_) | Self::Send(_) => 1,
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
    /// A result for one branch, or for one sink past all later stages: one of the stage's targets.
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

    /// The branches and sinks that it names in [`Emission::To`] and [`Outcome::Send`].
    fn targets(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// Whether every item leaves for a target, so that the way behind this stage may end without a sink.
    fn diverts(&self) -> bool {
        false
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

    /// The branches and sinks that it names in [`Emission::To`] and [`Outcome::Send`].
    fn targets(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// What it has to say of the run, by name, for the report at its end. Called after [`AsyncStage::close`].
    fn figures(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
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

    /// The branches and sinks that it names in [`Emission::To`] and [`Outcome::Send`].
    fn targets(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// What it has to say of the run, by name, for the report at its end.
    fn figures(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }
}

/// Works on items one after the other, in the order of the input, and remembers.
///
/// What it remembers is a log: each call may append a note, the engine commits the notes together with what
/// became of their items, and the next run hands them back. The state is what the notes, read in their order,
/// make of an empty stage; nothing else may go into it, or a run after a crash decides otherwise than the one
/// before it.
pub trait OrderedStage: Send {
    /// Makes an outcome of an item. `now` is for stages that forget by time. What is appended to `log` is kept.
    ///
    /// # Errors
    ///
    /// [`StageError`]. It is never tried again, whatever its class: the items behind would have to wait. What it
    /// appended for this item is dropped, so it must not have changed the state either.
    fn apply(&mut self, item: &Item, now: Timestamp, log: &mut Vec<u8>) -> Result<Outcome, StageError>;

    /// Takes back notes that an earlier run appended: those of one commit, in their order. Called for each
    /// commit in turn, before the first item.
    ///
    /// # Errors
    ///
    /// [`StateError`] when they are not what this stage writes.
    fn restore(&mut self, notes: &[u8]) -> Result<(), StateError>;

    /// How far the stage is, in a measure of its own that never falls, such as items or milliseconds.
    fn reached(&self) -> u64;

    /// The measure up to which its notes do not matter any more; the engine forgets them in its own time.
    fn needed(&self) -> u64;

    /// What the notes mean, in words. With other words the old notes are not read unless the change is
    /// accepted, and then they are dropped. Empty for a stage that keeps none, which may come and go.
    fn schema(&self) -> String;

    /// The branches and sinks that it names in [`Emission::To`] and [`Outcome::Send`].
    fn targets(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// What it has to say of the run, by name, for the report at its end.
    fn figures(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }
}

/// A stage in its place: its name, its rule, and what it does.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) name: Arc<str>,
    pub(crate) rule: Rule,
    pub(crate) work: Work,
    /// The branch whose items it takes; those on the main way without one.
    pub(crate) branch: Option<Arc<str>>,
    /// The same, resolved when the run starts.
    pub(crate) lane: Lane,
    /// The ways to its targets, resolved when the run starts.
    pub(crate) exits: Vec<Lane>,
    /// Its answers are kept until they are committed.
    pub(crate) journalled: bool,
}

/// The way that an item is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Through all stages that are on no branch.
    #[default]
    Main,
    /// Through the stages of one branch.
    Branch(u16),
    /// To one sink, past all stages.
    Sink(u16),
}

#[derive(Clone)]
pub(crate) enum Work {
    Sync(Arc<dyn Stage>),
    Async(Arc<dyn AsyncStage>, Arc<tokio::sync::Semaphore>),
    Batch(Arc<dyn BatchStage>),
    Ordered(Arc<Mutex<dyn OrderedStage>>),
}

impl Step {
    /// See [`AsyncStage::open`].
    pub(crate) async fn open(&self) -> Result<(), ConfigError> {
        match &self.work {
            Work::Async(stage, _) => stage.open().await,
            Work::Sync(_) | Work::Batch(_) | Work::Ordered(_) => Ok(()),
        }
    }

    /// See [`AsyncStage::close`].
    pub(crate) async fn close(&self) {
        if let Work::Async(stage, _) = &self.work {
            stage.close().await;
        }
    }

    /// See [`AsyncStage::figures`].
    pub(crate) fn figures(&self) -> serde_json::Map<String, serde_json::Value> {
        match &self.work {
            Work::Async(stage, _) => stage.figures(),
            Work::Batch(stage) => stage.figures(),
            Work::Ordered(stage) => ordered(stage).figures(),
            Work::Sync(_) => serde_json::Map::new(),
        }
    }

    pub(crate) fn targets(&self) -> Vec<Arc<str>> {
        match &self.work {
            Work::Sync(stage) => stage.targets(),
            Work::Async(stage, _) => stage.targets(),
            Work::Batch(stage) => stage.targets(),
            Work::Ordered(stage) => ordered(stage).targets(),
        }
    }

    /// Whether nothing is left on the way behind it.
    pub(crate) fn diverts(&self) -> bool {
        match &self.work {
            Work::Sync(stage) => stage.diverts(),
            Work::Async(..) | Work::Batch(_) | Work::Ordered(_) => false,
        }
    }
}

/// Locks an ordered stage. Its turn keeps others away, so nobody waits here; one that panicked has spoilt its
/// own state, and the item that it panicked on stops the run.
pub(crate) fn ordered<'a>(
    stage: &'a Mutex<dyn OrderedStage + 'static>,
) -> MutexGuard<'a, dyn OrderedStage + 'static> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}
