use std::sync::Arc;

use aqueduct_core::{Item, RecordBuilder};
use aqueduct_stream::{Dedupe, Horizon, OrderedStage, StageError};

use crate::error::stage_error;
use crate::expression::Expression;

/// How the key reads where there is none.
const NULL: &[u8] = br#"{"key":null}"#;

/// Deduplicates by what an expression gives. Two keys are the same when they are written the same as JSON.
pub(super) fn dedupe(key: &Arc<Expression>, horizon: Horizon) -> impl OrderedStage + 'static {
    let key = Arc::clone(key);
    let meaning = key.source().to_owned();
    Dedupe::new(horizon, &meaning, move |item: &Item, bytes: &mut Vec<u8>| {
        let record = item.payload.record()?;
        let mut builder = RecordBuilder::with_capacity(64);
        key.write(&record, "key", &mut builder)
            .map_err(|error| stage_error("key cannot be computed", error))?;
        let written = builder.finish();
        if written.as_bytes() == NULL {
            return Err(StageError::permanent("the item has no key: the expression gives null"));
        }
        bytes.extend_from_slice(written.as_bytes());
        Ok(())
    })
}
