use std::borrow::Cow;
use std::sync::Arc;

use aqueduct_core::Item;
use aqueduct_stream::{Outcome, Stage, StageError};

use crate::error::stage_error;
use crate::expression::Expression;

/// Lets items pass for which a condition holds.
pub(super) struct Filter {
    when: Arc<Expression>,
}

impl Filter {
    pub(super) fn new(when: &Arc<Expression>) -> Self {
        Self { when: Arc::clone(when) }
    }
}

impl Stage for Filter {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        match self.when.evaluate_bool(&record) {
            Ok(true) => Ok(Outcome::Keep),
            Ok(false) => Ok(Outcome::Skip(Cow::Borrowed("the condition does not hold"))),
            Err(error) => Err(stage_error("when cannot be computed", error)),
        }
    }
}
