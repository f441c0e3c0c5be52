//! The sink `queue`: results that become messages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass, Item, Phase, ShutdownSignal};
use aqueduct_queue::{Config, Message, Queue};
use aqueduct_store::FileMark;
use aqueduct_stream::{Encode, Encoded, Guarantee, Opening, Sink, SinkError, StageError};
use bytes::{Buf, BufMut, Bytes};
use tokio::runtime::Handle;

use super::Stores;
use crate::expression::{Expression, Value};
use crate::spec::QueueSinkSpec;

/// Publishes results, each under a dedup id of its own, so that one that is published again is there once.
pub(crate) struct QueueSink {
    spec: QueueSinkSpec,
    path: PathBuf,
    stores: Arc<Stores>,
    /// What stands before the items' ids in a dedup id.
    scope: String,
    shutdown: ShutdownSignal,
    name: String,
    /// What waits for the queue.
    runtime: Option<Handle>,
    queue: Option<Queue>,
    waiting: Vec<Message>,
}

/// How many messages are published at once: one sync for all of them, and far less than a queue holds.
const BATCH: usize = 1000;

/// How long a run that was asked to end waits for room. What has none by then is read again by the next run.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

impl QueueSink {
    pub(crate) fn new(
        spec: QueueSinkSpec,
        path: PathBuf,
        stores: Arc<Stores>,
        scope: String,
        shutdown: ShutdownSignal,
    ) -> Self {
        Self {
            spec,
            path,
            stores,
            scope,
            shutdown,
            name: String::new(),
            runtime: None,
            queue: None,
            waiting: Vec::new(),
        }
    }

    fn remote(&self, error: impl Classified + std::error::Error + Send + Sync + 'static) -> SinkError {
        SinkError::Remote { sink: self.name.clone(), class: error.class(), source: Box::new(error) }
    }

    fn config(&self) -> Result<Config, SinkError> {
        let builder = Config::builder().items_max(self.spec.items_max).bytes_max(self.spec.bytes_max);
        let builder =
            builder.message_bytes_max(usize::try_from(self.spec.bytes_max.min(1 << 30)).unwrap_or(1 << 30));
        builder.build().map_err(|error| self.remote(error))
    }

    /// Publishes what waits, and waits for room: for ever while the run goes on, a little when it drains. A message that
    /// was published by a call that was given up has its dedup id already.
    fn publish(&mut self) -> Result<(), SinkError> {
        let (Some(queue), Some(runtime)) = (self.queue.clone(), self.runtime.clone()) else {
            return Err(self.remote(StageError::new(ErrorClass::Internal, "the sink was not opened")));
        };
        let size = BATCH.min(usize::try_from(self.spec.items_max).unwrap_or(BATCH));
        while !self.waiting.is_empty() {
            let rest = self.waiting.split_off(size.min(self.waiting.len()));
            let batch = std::mem::replace(&mut self.waiting, rest);
            let (mut drains, mut stops) = (self.shutdown.clone(), self.shutdown.clone());
            let published = runtime.block_on(async {
                let again = batch.clone();
                let published = tokio::select! {
                    biased;
                    published = queue.publish_all(batch, Duration::MAX) => return Some(published),
                    () = drains.reached(Phase::Draining) => queue.publish_all(again, DRAIN_WAIT),
                };
                tokio::select! {
                    biased;
                    published = published => Some(published),
                    () = stops.reached(Phase::Stopping) => None,
                }
            });
            match published {
                Some(published) => drop(published.map_err(|error| self.remote(error))?),
                None => {
                    let stopped = "the run was stopped while it waited for room in the queue";
                    return Err(self.remote(StageError::new(ErrorClass::Cancelled, stopped)));
                }
            }
        }
        Ok(())
    }
}

impl Sink for QueueSink {
    fn describe(&self) -> String {
        format!("queue {} of {}", self.spec.queue, self.spec.path)
    }

    fn guarantee(&self) -> (Guarantee, String) {
        let reason =
            "a result that is published again has the same dedup id, which the queue knows for an hour";
        (Guarantee::EffectivelyOnce, reason.to_owned())
    }

    fn encoder(&self) -> Arc<dyn Encode> {
        Arc::new(MessageEncoder { key: self.spec.key.clone(), tenant: self.spec.tenant.clone() })
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<Vec<FileMark>, SinkError> {
        opening.sink.clone_into(&mut self.name);
        self.runtime = Handle::try_current().ok();
        self.stores.at(&self.path).map(drop).map_err(|error| self.remote(error))?;
        Ok(Vec::new())
    }

    fn append(&mut self, encoded: &[u8], _items: u64) -> Result<(), SinkError> {
        if self.queue.is_none() {
            let Some(runtime) = self.runtime.clone() else {
                return Err(self.remote(StageError::new(ErrorClass::Internal, "the sink was not opened")));
            };
            let queues = self.stores.at(&self.path).map_err(|error| self.remote(error))?;
            let queue = runtime.block_on(queues.declare(&self.spec.queue, self.config()?));
            self.queue = Some(self.stores.counted(queue.map_err(|error| self.remote(error))?));
        }
        let mut encoded = Bytes::copy_from_slice(encoded);
        while encoded.has_remaining() {
            let Some([id, key, tenant, body]) = parts(&mut encoded) else {
                return Err(
                    self.remote(StageError::new(ErrorClass::Internal, "encoder and sink do not match"))
                );
            };
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let mut message = Message::new(body).with_priority(self.spec.priority).with_dedup_id(format!(
                "{}{}",
                self.scope,
                text(&id)
            ));
            message.topic.clone_from(&self.spec.topic);
            message.key = (!key.is_empty()).then(|| text(&key).into());
            message.tenant = (!tenant.is_empty()).then(|| text(&tenant).into());
            self.waiting.push(message);
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<Vec<FileMark>, SinkError> {
        if !self.waiting.is_empty() {
            self.publish()?;
        }
        Ok(Vec::new())
    }

    fn committed(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Writes what a message is made of: four parts, each behind its length.
struct MessageEncoder {
    key: Option<Arc<Expression>>,
    tenant: Option<Arc<Expression>>,
}

fn parts(encoded: &mut Bytes) -> Option<[Bytes; 4]> {
    let mut part = || {
        let length = usize::try_from(encoded.try_get_u32().ok()?).ok()?;
        (length <= encoded.remaining()).then(|| encoded.split_to(length))
    };
    Some([part()?, part()?, part()?, part()?])
}

impl Encode for MessageEncoder {
    fn start(&self) -> Encoded {
        Encoded::Bytes { bytes: Vec::new(), items: 0 }
    }

    fn encode(&self, item: &Item, encoded: &mut Encoded) -> Result<(), StageError> {
        let Encoded::Bytes { bytes, items } = encoded else {
            return Err(StageError::new(ErrorClass::Internal, "encoder and results do not match"));
        };
        let record = item.payload.record()?;
        let key = text("key", self.key.as_deref(), &record)?;
        let tenant = text("tenant", self.tenant.as_deref(), &record)?;
        let id = item.id.to_string();
        for part in [id.as_bytes(), key.as_bytes(), tenant.as_bytes(), record.as_bytes()] {
            let length = u32::try_from(part.len())
                .map_err(|_| StageError::permanent("the item is larger than 4 GiB, and no message"))?;
            bytes.put_u32(length);
            bytes.extend_from_slice(part);
        }
        *items += 1;
        Ok(())
    }
}

/// What an expression gives for an item, as text; none for null.
fn text(
    what: &str,
    expression: Option<&Expression>,
    record: &aqueduct_core::Record,
) -> Result<String, StageError> {
    let Some(expression) = expression else { return Ok(String::new()) };
    let failed = |error| StageError::permanent(format!("{what} cannot be computed")).with_source(error);
    let text = match expression.evaluate(record).map_err(failed)? {
        Value::Null => String::new(),
        Value::Text(text) => text.into_owned(),
        Value::Int(number) => number.to_string(),
        other => {
            let found = other.value_type().described();
            return Err(StageError::permanent(format!(
                "{what} gives {found}, and must give a text or an integer"
            )));
        }
    };
    if text.len() > Message::TEXT_BYTES_MAX {
        let (bytes, most) = (text.len(), Message::TEXT_BYTES_MAX);
        return Err(StageError::permanent(format!("{what} has {bytes} bytes, the most is {most}")));
    }
    Ok(text)
}
