//! The sink `http`: results sent to a service.

use std::sync::Arc;

use aqueduct_core::{Classified, ErrorClass, Item, Phase, ShutdownSignal};
use aqueduct_store::FileMark;
use aqueduct_stream::{Encode, Encoded, Guarantee, Opening, Sink, SinkError, StageError};
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::connectors::backend::Backend;
use crate::connectors::exchange::Outgoing;
use crate::connectors::figures::Figures;
use crate::spec::{HttpSinkSpec, SinkFormat};

/// Sends results, so many a call.
pub(crate) struct HttpSink {
    spec: HttpSinkSpec,
    batch_items: usize,
    backend: Arc<Backend>,
    /// What stands before the items' ids in an Idempotency-Key.
    scope: String,
    shutdown: ShutdownSignal,
    figures: Figures,
    name: String,
    runtime: Option<Handle>,
    /// Results of this epoch that were not sent: id and JSON.
    waiting: Vec<(String, String)>,
}

impl HttpSink {
    pub(crate) fn new(
        spec: HttpSinkSpec,
        batch_items: usize,
        backend: Arc<Backend>,
        scope: String,
        shutdown: ShutdownSignal,
    ) -> Self {
        Self {
            spec,
            batch_items,
            backend,
            scope,
            shutdown,
            figures: Figures::default(),
            name: String::new(),
            runtime: None,
            waiting: Vec::new(),
        }
    }

    /// Sends what waits, whole batches only unless `all`.
    fn send(&mut self, all: bool) -> Result<(), SinkError> {
        let size = self.batch_items;
        while self.waiting.len() >= size || (all && !self.waiting.is_empty()) {
            let rest = self.waiting.split_off(size.min(self.waiting.len()));
            let batch = std::mem::replace(&mut self.waiting, rest);
            self.post(&batch)?;
        }
        Ok(())
    }

    fn post(&mut self, batch: &[(String, String)]) -> Result<(), SinkError> {
        let (body, kind) = match self.spec.format {
            SinkFormat::Json if self.batch_items == 1 => {
                (batch.iter().map(|(_, json)| json.as_str()).collect(), "application/json")
            }
            SinkFormat::Json => {
                let items: Vec<&str> = batch.iter().map(|(_, json)| json.as_str()).collect();
                (format!("[{}]", items.join(",")), "application/json")
            }
            SinkFormat::JsonLines => {
                (batch.iter().map(|(_, json)| format!("{json}\n")).collect(), "application/x-ndjson")
            }
        };
        let mut headers: Vec<(String, String)> =
            self.spec.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        if !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), kind.to_owned()));
        }
        if let [(first, _), .., (last, _)] = batch {
            headers.push(("idempotency-key".to_owned(), format!("{}{first}-{last}", self.scope)));
        } else if let [(only, _)] = batch {
            headers.push(("idempotency-key".to_owned(), format!("{}{only}", self.scope)));
        }
        let outgoing = Outgoing {
            method: self.spec.method,
            target: self.spec.url.expose().to_owned(),
            headers,
            body: Bytes::from(body),
            statuses: Arc::clone(&self.spec.statuses),
            repeatable: true,
            may_be_old: false,
        };
        let Some(runtime) = self.runtime.clone() else {
            return Err(self.remote(StageError::new(ErrorClass::Internal, "the sink was not opened")));
        };
        let mut shutdown = self.shutdown.clone();
        let answer = runtime.block_on(async {
            tokio::select! {
                biased;
                () = shutdown.reached(Phase::Stopping) => {
                    Err(StageError::new(ErrorClass::Cancelled, "the run was stopped while a result was on its way"))
                }
                answer = self.backend.call(&outgoing, "", Phase::Stopping, &self.figures) => answer,
            }
        });
        self.figures.note(
            answer.as_ref().map_or_else(StageError::attempts, |answer| answer.attempts),
            answer.is_err(),
        );
        answer.map(drop).map_err(|error| self.remote(error))
    }

    fn remote(&self, source: StageError) -> SinkError {
        SinkError::Remote { sink: self.name.clone(), class: source.class(), source: source.into() }
    }
}

impl Sink for HttpSink {
    fn describe(&self) -> String {
        format!("http {}", self.spec.url)
    }

    fn guarantee(&self) -> (Guarantee, String) {
        if self.batch_items == 1 {
            let reason =
                "a result that is sent again has the same Idempotency-Key, which the service must know";
            return (Guarantee::EffectivelyOnce, reason.to_owned());
        }
        let reason = "what was sent before a crash is sent again in other batches; with batch_items = 1 each result has a key of \
                      its own";
        (Guarantee::AtLeastOnce, reason.to_owned())
    }

    fn encoder(&self) -> Arc<dyn Encode> {
        Arc::new(LineEncoder)
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<Vec<FileMark>, SinkError> {
        opening.sink.clone_into(&mut self.name);
        self.runtime = Handle::try_current().ok();
        self.backend.ready().map(drop).map_err(|error| self.remote(StageError::stop(error.to_string())))?;
        Ok(Vec::new())
    }

    fn append(&mut self, encoded: &[u8], _items: u64) -> Result<(), SinkError> {
        for line in String::from_utf8_lossy(encoded).lines() {
            if let Some((id, json)) = line.split_once(' ') {
                self.waiting.push((id.to_owned(), json.to_owned()));
            }
        }
        self.send(false)
    }

    fn seal(&mut self) -> Result<Vec<FileMark>, SinkError> {
        self.send(true)?;
        Ok(Vec::new())
    }

    fn committed(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Writes the id of each item and its JSON, one a line.
struct LineEncoder;

impl Encode for LineEncoder {
    fn start(&self) -> Encoded {
        Encoded::Bytes { bytes: Vec::new(), items: 0 }
    }

    fn encode(&self, item: &Item, encoded: &mut Encoded) -> Result<(), StageError> {
        let Encoded::Bytes { bytes, items } = encoded else {
            return Err(StageError::new(ErrorClass::Internal, "encoder and results do not match"));
        };
        let record = item.payload.record()?;
        bytes.extend_from_slice(item.id.to_string().as_bytes());
        bytes.push(b' ');
        // A record may have line ends between its fields.
        bytes.extend(
            record.as_bytes().iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }),
        );
        bytes.push(b'\n');
        *items += 1;
        Ok(())
    }
}
