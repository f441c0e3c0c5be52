//! What a run is made of, as far as a later run must agree with it or be told to accept the change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::pipeline::{Pipeline, SinkKind};
use crate::stage::{Work, ordered};

/// Kept in the ledger with each claim, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// What the source reads.
    source: String,
    /// By ordered stage, what its state means.
    state: BTreeMap<String, String>,
    /// By sink, the columns that it declares.
    columns: BTreeMap<String, Vec<String>>,
    /// Everything else, which may change freely.
    stages: String,
}

impl Identity {
    pub(super) fn of(pipeline: &Pipeline, source: String) -> Self {
        let state = pipeline.steps.iter().filter_map(|step| match &step.work {
            Work::Ordered(stage) => {
                let schema = ordered(stage).schema();
                (!schema.is_empty()).then(|| (step.name.to_string(), schema))
            }
            Work::Sync(_) | Work::Async(..) | Work::Batch(_) => None,
        });
        let columns = pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::Table(table) => Some((sink.name.to_string(), table.columns.clone()?)),
            SinkKind::Direct(_) => None,
        });
        Self {
            source,
            state: state.collect(),
            columns: columns.collect(),
            stages: pipeline.options.configuration.clone(),
        }
    }

    /// Reads what an earlier run wrote; `None` when it is not of this form.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).expect("a struct of texts is always JSON")
    }

    /// Refuses a change that could lose or double something. A changed stateless stage is none.
    pub(super) fn check(&self, before: &Self, since: &str) -> Result<(), RunError> {
        let changed = |what: String, before: &str, now: &str| {
            let (before, now) = (before.to_owned(), now.to_owned());
            Err(RunError::Changed { what, since: since.to_owned(), before, now })
        };
        if before.source != self.source {
            return changed("source".to_owned(), &before.source, &self.source);
        }
        for (stage, schema) in &before.state {
            let now = self.state.get(stage).map_or("gone", String::as_str);
            if now != schema {
                return changed(format!("state of stage {stage}"), schema, now);
            }
        }
        for (sink, columns) in &before.columns {
            // A sink that is gone or declares nothing takes the table as it is.
            if let Some(now) = self.columns.get(sink)
                && now != columns
            {
                return changed(format!("columns of sink {sink}"), &columns.join(", "), &now.join(", "));
            }
        }
        Ok(())
    }

    /// The stages whose kept state this run cannot read.
    pub(super) fn lost_state<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a str> {
        let differs = |(stage, schema): &(&String, &String)| self.state.get(*stage) != Some(*schema);
        before.state.iter().filter(differs).map(|(stage, _)| stage.as_str())
    }
}
