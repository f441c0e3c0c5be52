use std::sync::Arc;

use aqueduct_core::{Clock, Item, Payload, RecordBuilder};
use aqueduct_stream::{Emission, Outcome, Stage, StageError};

use crate::error::stage_error;
use crate::expression::Expression;

/// Sends a record to a named sink for items for which a condition holds, and lets all pass. The record and
/// the item are committed together.
pub(super) struct Alert {
    pub(super) when: Arc<Expression>,
    pub(super) sink: Arc<str>,
    pub(super) id_field: String,
    pub(super) score_field: String,
    pub(super) threshold: f64,
    pub(super) clock: Clock,
}

impl Stage for Alert {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        let holds = self
            .when
            .evaluate_bool(&record)
            .map_err(|error| stage_error("when cannot be computed", error))?;
        if !holds {
            return Ok(Outcome::Keep);
        }
        let mut alert = RecordBuilder::with_capacity(128);
        for (key, field) in [("id", &self.id_field), ("score", &self.score_field)] {
            match record.get(field) {
                Some(value) => alert.raw(key, value),
                None => alert.null(key),
            }
        }
        alert.float("threshold", self.threshold);
        alert.text("time", &self.clock.wall().to_string());
        let alert = Emission::To(Arc::clone(&self.sink), Payload::Record(alert.finish()));
        Ok(Outcome::Many(vec![Emission::Keep, alert]))
    }

    fn targets(&self) -> Vec<Arc<str>> {
        vec![Arc::clone(&self.sink)]
    }
}
