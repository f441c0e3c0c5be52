//! Stages that fail as a script says, for tests of pipelines.

use std::fmt;
use std::sync::{Arc, Mutex};

use aqueduct_core::{Item, Timestamp};
use async_trait::async_trait;

use crate::error::{ConfigError, StageError, StateError};
use crate::stage::{AsyncStage, BatchStage, OrderedStage, Outcome, Stage, Work, ordered};

/// Says before each attempt of a stage whether it fails on the item, and how.
#[derive(Clone)]
pub struct Fault(Script);

type Script = Arc<dyn Fn(&Item) -> Result<(), StageError> + Send + Sync>;

impl Fault {
    /// A fault that `script` decides on. Called once for each attempt on each item, from many threads.
    pub fn new(script: impl Fn(&Item) -> Result<(), StageError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(script))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fault")
    }
}

/// Puts a fault in front of a stage. Where the fault lets an item pass, the stage works as it always does.
pub(crate) fn before(work: Work, fault: Fault) -> Work {
    let Fault(script) = fault;
    match work {
        Work::Sync(stage) => Work::Sync(Arc::new(Faulty { stage, script })),
        Work::Async(stage, permits) => Work::Async(Arc::new(Faulty { stage, script }), permits),
        Work::Batch(stage) => Work::Batch(Arc::new(Faulty { stage, script })),
        Work::Ordered(stage) => Work::Ordered(Arc::new(Mutex::new(Faulty { stage, script }))),
    }
}

struct Faulty<S> {
    stage: S,
    script: Script,
}

impl Stage for Faulty<Arc<dyn Stage>> {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        (self.script)(item)?;
        self.stage.apply(item)
    }

    fn targets(&self) -> Vec<Arc<str>> {
        self.stage.targets()
    }

    fn diverts(&self) -> bool {
        self.stage.diverts()
    }
}

#[async_trait]
impl AsyncStage for Faulty<Arc<dyn AsyncStage>> {
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        (self.script)(item)?;
        self.stage.apply(item).await
    }

    fn concurrency(&self) -> usize {
        self.stage.concurrency()
    }

    async fn open(&self) -> Result<(), ConfigError> {
        self.stage.open().await
    }

    async fn close(&self) {
        self.stage.close().await;
    }

    fn figures(&self) -> serde_json::Map<String, serde_json::Value> {
        self.stage.figures()
    }

    fn targets(&self) -> Vec<Arc<str>> {
        self.stage.targets()
    }
}

#[async_trait]
impl BatchStage for Faulty<Arc<dyn BatchStage>> {
    async fn apply(&self, items: &[&Item]) -> Result<Vec<Result<Outcome, StageError>>, StageError> {
        let faults: Vec<Result<(), StageError>> = items.iter().map(|item| (self.script)(item)).collect();
        let passing = items.iter().zip(&faults).filter(|(_, fault)| fault.is_ok());
        let passing: Vec<&Item> = passing.map(|(item, _)| *item).collect();
        let outcomes = if passing.is_empty() { Vec::new() } else { self.stage.apply(&passing).await? };
        if outcomes.len() != passing.len() {
            // Wrong as it is: the engine says so, with the numbers.
            return Ok(outcomes);
        }
        let mut outcomes = outcomes.into_iter();
        let outcome = |fault: Result<(), StageError>| match fault {
            Err(error) => Some(Err(error)),
            Ok(()) => outcomes.next(),
        };
        Ok(faults.into_iter().filter_map(outcome).collect())
    }

    fn targets(&self) -> Vec<Arc<str>> {
        self.stage.targets()
    }

    fn figures(&self) -> serde_json::Map<String, serde_json::Value> {
        self.stage.figures()
    }
}

impl OrderedStage for Faulty<Arc<Mutex<dyn OrderedStage>>> {
    fn apply(&mut self, item: &Item, now: Timestamp, log: &mut Vec<u8>) -> Result<Outcome, StageError> {
        (self.script)(item)?;
        ordered(&self.stage).apply(item, now, log)
    }

    fn restore(&mut self, records: &[u8]) -> Result<(), StateError> {
        ordered(&self.stage).restore(records)
    }

    fn reached(&self) -> u64 {
        ordered(&self.stage).reached()
    }

    fn needed(&self) -> u64 {
        ordered(&self.stage).needed()
    }

    fn schema(&self) -> String {
        ordered(&self.stage).schema()
    }

    fn figures(&self) -> serde_json::Map<String, serde_json::Value> {
        ordered(&self.stage).figures()
    }

    fn targets(&self) -> Vec<Arc<str>> {
        ordered(&self.stage).targets()
    }
}
