use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_stream::StageError;
use serde_json::{Map, Value as Json};

use crate::spec::AllowanceSpec;

/// A counted allowance of one run, shared by the stages that draw on it.
#[derive(Debug)]
pub(crate) struct Allowance {
    name: String,
    limit: u64,
    /// Relaxed: it only counts; what it guards is itself.
    used: AtomicU64,
}

impl Allowance {
    pub(crate) fn new(spec: &AllowanceSpec) -> Arc<Self> {
        Arc::new(Self { name: spec.name.clone(), limit: spec.limit, used: AtomicU64::new(0) })
    }

    /// Warns once, when nine tenths are used.
    fn warn(&self, before: u64, after: u64) {
        let near = self.limit - self.limit / 10;
        if before < near && after >= near {
            tracing::warn!(
                budget = self.name,
                used = after,
                limit = self.limit,
                "the budget is nearly used up"
            );
        }
    }

    /// Takes all of `amount`, or nothing and ends the run.
    pub(crate) fn draw(&self, amount: u64) -> Result<(), StageError> {
        let take = |used: u64| used.checked_add(amount).filter(|used| *used <= self.limit);
        match self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(before) => {
                self.warn(before, before + amount);
                Ok(())
            }
            Err(used) => Err(StageError::end(format!(
                "the budget {} is used up: {used} of {}, and {amount} more wanted; raise it in [budget], or run again with \
                 all of it",
                self.name, self.limit
            ))),
        }
    }

    /// Ends the run when nothing is left.
    pub(crate) fn open(&self) -> Result<(), StageError> {
        let used = self.used.load(Ordering::Relaxed);
        if used < self.limit { Ok(()) } else { self.draw(1) }
    }

    /// Takes what was used already, even if it is more than there is.
    pub(crate) fn spend(&self, amount: u64) {
        let before = self.used.fetch_add(amount, Ordering::Relaxed);
        self.warn(before, before.saturating_add(amount));
    }

    /// Adds what it has and has left to the figures of a stage.
    pub(crate) fn write(&self, figures: &mut Map<String, Json>) {
        let used = self.used.load(Ordering::Relaxed);
        figures.insert(format!("{}_used", self.name), used.into());
        figures.insert(format!("{}_left", self.name), self.limit.saturating_sub(used).into());
    }
}
