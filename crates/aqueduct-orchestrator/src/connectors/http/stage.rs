//! The stage `http`: a call for each item.

use std::sync::Arc;

use aqueduct_core::{Item, Payload, Phase, Record, RecordBuilder};
use aqueduct_stream::{AsyncStage, ConfigError, Outcome, Progress, StageError};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::answer;
use crate::allowance::Allowance;
use crate::connectors::backend::{Answer, Backend};
use crate::connectors::exchange::Outgoing;
use crate::connectors::figures::Figures;
use crate::error::stage_error;
use crate::expression::{Expression, Value};
use crate::spec::{HttpSpec, Target};

/// A call for each item.
pub(crate) struct Http {
    pub(crate) spec: HttpSpec,
    pub(crate) backend: Arc<Backend>,
    pub(crate) allowance: Option<Arc<Allowance>>,
    /// What stands before the item's id in its Idempotency-Key.
    pub(crate) scope: String,
    pub(crate) progress: Arc<Progress>,
    pub(crate) figures: Figures,
}

impl Http {
    /// What is sent for an item.
    fn outgoing(&self, item: &Item, record: &Record) -> Result<Outgoing, StageError> {
        let target = match &self.spec.target {
            Target::Url(url) => url.url(record)?,
            Target::Item(from) => match evaluated("url_from", from, record)? {
                Value::Text(url) => url.into_owned(),
                other => {
                    let found = other.value_type().described();
                    return Err(StageError::permanent(format!(
                        "url_from gives {found}, and must give a text"
                    )));
                }
            },
        };
        let mut headers = Vec::with_capacity(self.spec.headers.len() + 2);
        for (name, value) in &self.spec.headers {
            headers.push((name.clone(), value.header(name, record)?));
        }
        if self.spec.idempotency_key {
            headers.push(("idempotency-key".to_owned(), format!("{}{}", self.scope, item.id)));
        }
        let body = match &self.spec.body {
            None => Bytes::new(),
            Some(body) => {
                let (bytes, kind) = match evaluated("body", body, record)? {
                    Value::Text(text) => (text.into_owned(), "text/plain; charset=utf-8"),
                    other => (json_text(&other)?, "application/json"),
                };
                if !headers.iter().any(|(name, _)| name == "content-type") {
                    headers.push(("content-type".to_owned(), kind.to_owned()));
                }
                Bytes::from(bytes)
            }
        };
        Ok(Outgoing {
            method: self.spec.method,
            target,
            headers,
            body,
            statuses: Arc::clone(&self.spec.statuses),
            repeatable: self.spec.repeatable,
            may_be_old: true,
        })
    }

    fn tenant(&self, record: &Record) -> Result<String, StageError> {
        let Some(tenant) = &self.spec.tenant else { return Ok(String::new()) };
        match evaluated("tenant", tenant, record)? {
            Value::Text(tenant) => Ok(tenant.into_owned()),
            other => json_text(&other),
        }
    }

    /// What an item becomes with its answer.
    fn outcome(&self, record: &Record, answer: &Answer) -> Result<Outcome, StageError> {
        let spec = &self.spec;
        let joined = answer::joined(record, &spec.into, answer)?;
        let is_set = |key: &str| spec.set.iter().any(|(name, _)| name == key);
        if spec.set.is_empty() && spec.keep.is_none() {
            return Ok(Outcome::Emit(Payload::Record(joined)));
        }
        let mut builder = RecordBuilder::with_capacity(record.as_bytes().len());
        match &spec.keep {
            Some(keep) => {
                // The answer is there to be kept, too.
                for key in keep.iter().filter(|key| !is_set(key)) {
                    if let Some(value) = joined.get(key) {
                        builder.raw(key, value);
                    }
                }
            }
            None => {
                for (key, value) in record.fields().filter(|(key, _)| !is_set(key)) {
                    builder.raw_escaped(key, value);
                }
            }
        }
        for (key, expression) in &spec.set {
            expression
                .write(&joined, key, &mut builder)
                .map_err(|error| stage_error(&format!("{key} cannot be computed from the answer"), error))?;
        }
        Ok(Outcome::Emit(Payload::Record(builder.finish())))
    }
}

/// What an expression of the stage gives for an item.
pub(crate) fn evaluated<'a>(
    what: &str,
    expression: &'a Expression,
    record: &'a Record,
) -> Result<Value<'a>, StageError> {
    expression.evaluate(record).map_err(|error| stage_error(&format!("{what} cannot be computed"), error))
}

/// A value as JSON text.
pub(crate) fn json_text(value: &Value<'_>) -> Result<String, StageError> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) if value.is_finite() => serde_json::json!(value).to_string(),
        Value::Double(value) => {
            return Err(StageError::permanent(format!("{value} cannot be written as JSON")));
        }
        Value::Text(value) => serde_json::json!(value).to_string(),
        Value::Json(json) => json.as_text().to_owned(),
        Value::Built(text) => text.clone(),
    })
}

#[async_trait]
impl AsyncStage for Http {
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        let outgoing = self.outgoing(item, &record)?;
        let tenant = self.tenant(&record)?;
        if let Some(allowance) = &self.allowance {
            allowance.draw(1)?;
        }
        let answer = self.backend.call(&outgoing, &tenant, Phase::Draining, &self.figures).await;
        let attempts = answer.as_ref().map_or_else(StageError::attempts, |answer| answer.attempts);
        self.figures.note(attempts, answer.is_err());
        self.progress.retried(u64::from(attempts.saturating_sub(1)));
        self.outcome(&record, &answer?)
    }

    fn concurrency(&self) -> usize {
        self.spec.in_flight
    }

    fn describe(&self) -> Option<String> {
        Some(self.backend.describe())
    }

    async fn open(&self) -> Result<(), ConfigError> {
        self.backend.ready().map(drop)
    }

    async fn close(&self) {
        self.backend.close().await;
    }

    fn figures(&self) -> Map<String, Json> {
        let mut figures = Map::new();
        self.figures.write(&mut figures);
        self.backend.write(&mut figures);
        if let Some(allowance) = &self.allowance {
            allowance.write(&mut figures);
        }
        figures
    }
}
