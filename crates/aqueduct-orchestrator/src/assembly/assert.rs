use std::sync::Arc;

use aqueduct_core::Item;
use aqueduct_stream::{Outcome, Stage, StageError};

use crate::error::stage_error;
use crate::expression::Expression;

/// Lets items pass and fails on those for which a condition does not hold.
pub(super) struct Assert {
    when: Arc<Expression>,
    refusal: String,
}

impl Assert {
    pub(super) fn new(when: &Arc<Expression>, message: Option<&str>) -> Self {
        let condition = when.source().trim();
        let refusal = match message {
            Some(message) => format!("{message} ({condition} does not hold)"),
            None => format!("{condition} does not hold"),
        };
        Self { when: Arc::clone(when), refusal }
    }
}

impl Stage for Assert {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        match self.when.evaluate_bool(&record) {
            Ok(true) => Ok(Outcome::Keep),
            Ok(false) => Err(StageError::permanent(self.refusal.clone())),
            Err(error) => Err(stage_error("when cannot be computed", error)),
        }
    }
}
