use std::sync::Arc;

use aqueduct_core::{Item, Timestamp};
use aqueduct_stream::{OrderedStage, Outcome, StageError, StateError};
use serde_json::{Map, Value as Json};

use crate::allowance::Allowance;
use crate::error::stage_error;
use crate::expression::{Expression, Value};

/// Draws on an allowance for each item, in the order of the input: the run ends behind the last item for which there
/// was enough, whatever the number of workers.
pub(crate) struct Budget {
    pub(crate) allowance: Arc<Allowance>,
    pub(crate) cost: Option<Arc<Expression>>,
}

impl Budget {
    fn cost(&self, item: &Item) -> Result<u64, StageError> {
        let Some(cost) = &self.cost else { return Ok(1) };
        let record = item.payload.record()?;
        let value =
            cost.evaluate(&record).map_err(|error| stage_error("the cost cannot be computed", error))?;
        match value {
            Value::Int(cost) if cost >= 0 => Ok(cost.unsigned_abs()),
            other => {
                let found = match other {
                    Value::Int(cost) => cost.to_string(),
                    other => other.value_type().described().to_owned(),
                };
                Err(StageError::permanent(format!(
                    "the cost is {found}, and must be an integer of at least 0"
                )))
            }
        }
    }
}

impl OrderedStage for Budget {
    fn apply(&mut self, item: &Item, _now: Timestamp, _log: &mut Vec<u8>) -> Result<Outcome, StageError> {
        self.allowance.draw(self.cost(item)?)?;
        Ok(Outcome::Keep)
    }

    // The next run has all of the allowance again, so nothing is remembered.

    fn restore(&mut self, _notes: &[u8]) -> Result<(), StateError> {
        Ok(())
    }

    fn reached(&self) -> u64 {
        0
    }

    fn needed(&self) -> u64 {
        0
    }

    fn schema(&self) -> String {
        String::new()
    }

    fn figures(&self) -> Map<String, Json> {
        let mut figures = Map::new();
        self.allowance.write(&mut figures);
        figures
    }
}
