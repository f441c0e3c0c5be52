//! Finding the items on which a call for many fails.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_core::{Classified, ErrorClass, Item};
use aqueduct_stream::{BatchStage, Outcome, StageError};
use async_trait::async_trait;
use futures_util::FutureExt;
use serde_json::{Map, Value};

/// A stage that takes many items in one call, and is called again with half of them when a call fails for good.
///
/// When a call fails as a whole, and would fail again (permanent, invalid, internal, or a panic), its items are divided
/// in two halves and each half is called for, down to single items. An item is blamed only when it was alone. The
/// others have their results. Errors that pass again (transient, overload), a cancelled call and an error that stops the
/// run say nothing about an item: such a call is not divided, and the engine tries its items again together.
///
/// Items of a failed call are seen again, so what the call does must bear to be repeated.
///
/// # Complexity
///
/// To find b items out of n takes at most `2b * (ceil(log2(n / b)) + 1)` calls beside the first, rounded up, and never
/// more than 2n - 2; none when all is well.
#[derive(Debug)]
pub struct Bisect<S> {
    stage: S,
    figures: Arc<Figures>,
}

/// What has happened in a run. Relaxed: figures for people, read when the stage is done.
#[derive(Debug, Default)]
struct Figures {
    calls: AtomicU64,
    divided: AtomicU64,
    found: AtomicU64,
}

impl<S: BatchStage> Bisect<S> {
    /// Divides the failing calls of a stage.
    pub fn new(stage: S) -> Self {
        Self { stage, figures: Arc::default() }
    }

    /// One call for some of the items.
    async fn call(&self, items: &[&Item]) -> Result<Vec<Result<Outcome, StageError>>, StageError> {
        self.figures.calls.fetch_add(1, Ordering::Relaxed);
        // A panic spoils this call only: the stage is shared, and what it has left half-changed is its own.
        let called = AssertUnwindSafe(self.stage.apply(items)).catch_unwind().await;
        let outcomes = called.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))?;
        if outcomes.len() == items.len() {
            return Ok(outcomes);
        }
        // No item is to blame for a stage that counts wrongly, and halves would not come out right either.
        let message = format!("the stage gave {} outcomes for {} items", outcomes.len(), items.len());
        Err(StageError::stop(message))
    }
}

#[async_trait]
impl<S: BatchStage> BatchStage for Bisect<S> {
    async fn apply(&self, items: &[&Item]) -> Result<Vec<Result<Outcome, StageError>>, StageError> {
        let mut outcomes = Vec::with_capacity(items.len());
        // What is still to be called for; the last comes first, and the halves are put down so that the left one does.
        let mut waiting = Vec::from([(0, items.len())]);
        while let Some((start, end)) = waiting.pop() {
            let range = start..end;
            if range.is_empty() {
                continue;
            }
            match self.call(&items[range.clone()]).await {
                Ok(some) => outcomes.extend(some),
                Err(error) if is_of_an_item(&error) && range.len() > 1 => {
                    self.figures.divided.fetch_add(1, Ordering::Relaxed);
                    let middle = range.start + range.len() / 2;
                    waiting.extend([(middle, range.end), (range.start, middle)]);
                }
                Err(error) if range.len() == 1 => {
                    self.figures.found.fetch_add(u64::from(is_of_an_item(&error)), Ordering::Relaxed);
                    outcomes.push(Err(error));
                }
                Err(error) => outcomes.extend(range.map(|_| Err(error.duplicate()))),
            }
        }
        Ok(outcomes)
    }

    fn targets(&self) -> Vec<Arc<str>> {
        self.stage.targets()
    }

    fn figures(&self) -> Map<String, Value> {
        let read = |figure: &AtomicU64| Value::from(figure.load(Ordering::Relaxed));
        let mut figures = self.stage.figures();
        figures.insert("chunk_calls".to_owned(), read(&self.figures.calls));
        figures.insert("bisected".to_owned(), read(&self.figures.divided));
        figures.insert("found".to_owned(), read(&self.figures.found));
        figures
    }
}

/// Whether an error may be that of single items, so that it is worth looking for them.
fn is_of_an_item(error: &StageError) -> bool {
    let class = match error.class() {
        ErrorClass::Permanent | ErrorClass::Invalid | ErrorClass::Internal => true,
        ErrorClass::Transient | ErrorClass::Overload | ErrorClass::Cancelled => false,
    };
    class && !error.stops()
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> StageError {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    StageError::new(ErrorClass::Internal, format!("the stage panicked: {text}"))
}
