use std::sync::Arc;

use aqueduct_core::{Item, Payload, RecordBuilder};
use aqueduct_stream::{Outcome, Stage, StageError};

use crate::error::stage_error;
use crate::expression::Expression;

/// Writes a new record: fields that are kept, then fields that are set. All expressions read the record that
/// came in, so their order does not matter.
pub(super) struct Map {
    /// Without it, everything is kept that is not set.
    keep: Option<Vec<String>>,
    set: Vec<(String, Arc<Expression>)>,
}

impl Map {
    pub(super) fn new(keep: Option<&[String]>, set: &[(String, Arc<Expression>)]) -> Self {
        Self { keep: keep.map(<[String]>::to_vec), set: set.to_vec() }
    }

    fn is_set(&self, key: &str) -> bool {
        self.set.iter().any(|(name, _)| name == key)
    }
}

impl Stage for Map {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        let size = if self.keep.is_some() { 32 * (self.set.len() + 3) } else { record.as_bytes().len() };
        let mut builder = RecordBuilder::with_capacity(size);
        match &self.keep {
            Some(keep) => {
                for key in keep.iter().filter(|key| !self.is_set(key)) {
                    // A field that this item does not have is left out, as it would be without a keep.
                    if let Some(value) = record.get(key) {
                        builder.raw(key, value);
                    }
                }
            }
            None => {
                for (key, value) in record.fields().filter(|(key, _)| !self.is_set(key)) {
                    builder.raw_escaped(key, value);
                }
            }
        }
        for (key, expression) in &self.set {
            expression
                .write(&record, key, &mut builder)
                .map_err(|error| stage_error(&format!("{key} cannot be computed"), error))?;
        }
        Ok(Outcome::Emit(Payload::Record(builder.finish())))
    }
}
