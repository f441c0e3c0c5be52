//! The source `queue`: takes messages, and acknowledges them when what came of them is committed.
//!
//! The numbers of consumed messages are committed with the results, and the messages are removed after. A run that was
//! killed in between removes them first thing the next time, before it takes anything, so none is worked on again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aqueduct_core::{Classified, PartitionId, Phase, Position, Record, failpoint};
use aqueduct_queue::{Config, MessageId, Queue, Settlement, Token};
use aqueduct_stream::{
    Acknowledge, Chunk, ChunkContent, Decode, DecodeError, Decoded, Guarantee, Source, SourceContext,
    SourceError,
};
use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::{Stores, consumed};
use crate::spec::QueueSourceSpec;

/// Takes messages of one group of one queue.
pub(crate) struct QueueSource {
    spec: QueueSourceSpec,
    path: PathBuf,
    stores: Arc<Stores>,
    context: Option<SourceContext>,
    partition: PartitionId,
    held: Arc<Held>,
}

/// What was taken and is not committed, known to the reader, the committer and whoever extends the leases.
struct Held {
    name: String,
    queue: OnceLock<Queue>,
    /// The lease of each message. Held for map operations only.
    leases: Mutex<BTreeMap<u64, Token>>,
    extends: Mutex<Option<JoinHandle<()>>>,
}

/// The version of the position's text.
const FORMAT: u32 = 1;

/// Which messages are consumed, as the ledger has it.
#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    consumed: String,
}

/// The most bytes of messages that one chunk takes.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// How long one call waits for a message.
const WAIT: Duration = Duration::from_secs(3600);
/// The same where the run ends with the queue: what is delayed or with another worker may go without coming here.
const LOOK: Duration = Duration::from_secs(1);

impl QueueSource {
    pub(crate) fn new(spec: QueueSourceSpec, path: PathBuf, stores: Arc<Stores>) -> Self {
        let held = Held {
            name: format!("queue {} of {}", spec.queue, spec.path),
            queue: OnceLock::new(),
            leases: Mutex::default(),
            extends: Mutex::default(),
        };
        Self { spec, path, stores, context: None, partition: PartitionId::default(), held: Arc::new(held) }
    }

    /// Declares the queue, removes what is committed, and begins to extend leases.
    async fn begin(&self, context: &SourceContext, committed: &BTreeSet<u64>) -> Result<(), SourceError> {
        let held = &self.held;
        let queues = self.stores.at(&self.path).map_err(|error| held.remote("the file of queues", error))?;
        let config = Config::builder()
            .lease(self.spec.lease)
            .attempts_max(self.spec.attempts_max)
            .group(self.spec.group.as_str(), self.spec.topics.clone())
            .build()
            .map_err(|error| held.remote("the queue", error))?;
        let queue = queues.declare(&self.spec.queue, config).await;
        let queue = self.stores.counted(queue.map_err(|error| held.remote("the queue", error))?);
        let ids: Vec<MessageId> = committed.iter().copied().map(MessageId).collect();
        if !ids.is_empty() && !failpoint::sabotaged("committed-taken-again") {
            queue.discard(&ids).await.map_err(|error| held.remote("what is committed", error))?;
        }
        // Not the thing itself: a run that is dropped must end this.
        let (clock, lease, extending) = (context.clock.clone(), self.spec.lease, Arc::downgrade(held));
        let extends = context.runtime.spawn(async move {
            loop {
                // Two thirds of the lease are left for a machine that has other things to do.
                clock.sleep(lease / 3).await;
                let Some(held) = extending.upgrade() else { return };
                held.extend(lease).await;
                held.count().await;
            }
        });
        if let Some(earlier) = held.extends.lock().unwrap_or_else(PoisonError::into_inner).replace(extends) {
            earlier.abort();
        }
        // A source is opened once in a run.
        let _ = held.queue.set(queue);
        Ok(())
    }

    /// Takes messages that are not under way already; `None` when there are none to come.
    async fn take(&self, queue: &Queue, items_max: usize) -> Result<Option<Vec<Taken>>, SourceError> {
        let held = &self.held;
        loop {
            if self.spec.until_empty && self.is_empty(queue).await? {
                return Ok(None);
            }
            let wait = if self.spec.until_empty { LOOK } else { WAIT };
            let deliveries = queue.reserve_many(items_max, CHUNK_BYTES, wait).await;
            let deliveries = deliveries.map_err(|error| held.remote("messages", error))?;
            if let Some(taken) = held.new_ones(deliveries) {
                return Ok(Some(taken));
            }
        }
    }

    /// Whether nothing will come unless somebody publishes it.
    async fn is_empty(&self, queue: &Queue) -> Result<bool, SourceError> {
        let depth = queue.depth().await.map_err(|error| self.held.remote("the depth", error))?;
        let ours = self.held.leases().len() as u64;
        Ok(depth.ready == 0 && depth.delayed == 0 && depth.leased <= ours)
    }
}

/// A message for a chunk.
struct Taken {
    id: u64,
    body: Bytes,
}

impl Held {
    fn leases(&self) -> MutexGuard<'_, BTreeMap<u64, Token>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes leases, and gives the messages that were not taken before. One that comes again while it is under way, because
    /// this process stood still for longer than a lease, is under way all the same.
    fn new_ones(&self, deliveries: Vec<aqueduct_queue::Delivery>) -> Option<Vec<Taken>> {
        let mut leases = self.leases();
        let new = deliveries.into_iter().filter_map(|delivery| {
            let again = leases.insert(delivery.token.id.0, delivery.token).is_some();
            (!again).then(|| Taken { id: delivery.token.id.0, body: delivery.message.body.clone() })
        });
        let taken: Vec<Taken> = new.collect();
        (!taken.is_empty()).then_some(taken)
    }

    async fn extend(&self, lease: Duration) {
        let Some(queue) = self.queue.get() else { return };
        let tokens: Vec<Token> = self.leases().values().copied().collect();
        for token in tokens {
            // A lease that is lost already comes again, and then is ours again; see `new_ones`.
            let _ = queue.extend(token, lease).await;
        }
    }

    /// Brings the gauges up to date.
    async fn count(&self) {
        if let Some(queue) = self.queue.get() {
            // A store that does not work is told by whoever takes messages from it.
            let _ = queue.depth().await;
        }
    }

    fn remote(
        &self,
        what: &str,
        error: impl Classified + std::error::Error + Send + Sync + 'static,
    ) -> SourceError {
        SourceError::Remote {
            source_name: self.name.clone(),
            message: format!("{what} cannot be had"),
            class: error.class(),
            source: Some(Box::new(error)),
        }
    }
}

#[async_trait]
impl Acknowledge for Held {
    async fn committed(&self, _partition: PartitionId, position: &Position) -> Result<(), SourceError> {
        let Some(queue) = self.queue.get() else { return Ok(()) };
        let consumed = read(position)?;
        let ids: Vec<MessageId> =
            self.leases().keys().filter(|id| consumed.contains(id)).copied().map(MessageId).collect();
        // Not by their leases: one may have run out in the meantime, and what is committed must not come again.
        queue.discard(&ids).await.map_err(|error| self.remote("the acknowledgement", error))?;
        let mut leases = self.leases();
        for id in ids {
            leases.remove(&id.0);
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), SourceError> {
        if let Some(extends) = self.extends.lock().unwrap_or_else(PoisonError::into_inner).take() {
            extends.abort();
        }
        let Some(queue) = self.queue.get() else { return Ok(()) };
        let tokens = std::mem::take(&mut *self.leases());
        let released = tokens.into_values().map(|token| (token, Settlement::Release)).collect();
        // One whose lease ran out was given back already.
        queue.settle(released).await;
        queue.store().close().await.map_err(|error| self.remote("its end", error))
    }
}

impl Source for QueueSource {
    fn describe(&self) -> String {
        self.held.name.clone()
    }

    fn guarantee(&self) -> (Guarantee, String) {
        let reason = "the numbers of the messages are committed with the results, and what is committed is removed before \
                      anything else is taken";
        (Guarantee::ExactlyOnce, reason.to_owned())
    }

    fn start(&mut self, context: &SourceContext) {
        self.context = Some(context.clone());
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        self.stores.at(&self.path).map_err(|error| self.held.remote("the file of queues", error))?;
        Ok(vec![format!("{}/{}/{}", self.spec.path.written(), self.spec.queue, self.spec.group)])
    }

    fn open(
        &mut self,
        _index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        self.partition = id;
        let committed = position.map(read).transpose()?.unwrap_or_default();
        let Some(context) = self.context.clone() else { return Ok(()) };
        context.runtime.block_on(self.begin(&context, &committed))
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        let (Some(context), Some(queue)) = (self.context.clone(), self.held.queue.get()) else {
            return Ok(None);
        };
        // What is under way and not committed belongs to every position from here on.
        let before: BTreeSet<u64> = self.held.leases().keys().copied().collect();
        let mut shutdown = context.shutdown.clone();
        let taken = context.runtime.block_on(async {
            tokio::select! {
                biased;
                () = shutdown.reached(Phase::Draining) => Ok(None),
                taken = self.take(queue, items_max) => taken,
            }
        })?;
        Ok(taken.map(|taken| chunk(self.partition, &before, &taken)))
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(MessageDecoder)
    }

    fn acknowledges(&self) -> Option<Arc<dyn Acknowledge>> {
        Some(Arc::clone(&self.held) as Arc<dyn Acknowledge>)
    }

    fn goes_back(&self) -> bool {
        false
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }
}

fn read(position: &Position) -> Result<BTreeSet<u64>, SourceError> {
    let unreadable = || SourceError::Position { text: position.as_str().chars().take(200).collect() };
    let written: Written = serde_json::from_str(position.as_str()).map_err(|_| unreadable())?;
    if written.format != FORMAT {
        return Err(unreadable());
    }
    consumed::read(&written.consumed).ok_or_else(unreadable)
}

/// Puts messages into a chunk, behind the numbers of those that are under way already.
fn chunk(partition: PartitionId, before: &BTreeSet<u64>, taken: &[Taken]) -> Chunk {
    let head = consumed::written(before);
    let size = 8 + head.len() + taken.iter().map(|taken| 16 + taken.body.len()).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put_u64(head.len() as u64);
    bytes.put_slice(head.as_bytes());
    for taken in taken {
        bytes.put_u64(taken.id);
        bytes.put_u64(taken.body.len() as u64);
        bytes.put_slice(&taken.body);
    }
    let first = taken.iter().map(|taken| taken.id).min().unwrap_or(0);
    let last = taken.iter().map(|taken| taken.id).max().unwrap_or(0);
    Chunk {
        partition,
        offset: first,
        end: last + 1,
        line: 1,
        items: taken.len(),
        weight: bytes.len(),
        content: ChunkContent::Bytes { bytes: bytes.freeze(), unterminated: false },
    }
}

/// Takes the messages of a chunk apart. An item begins at the number of its message.
struct MessageDecoder;

impl MessageDecoder {
    /// What was under way before, and the messages. The source writes chunks itself; what does not fit is no message, and
    /// the ledger would show that it is missing.
    fn parts(chunk: &Chunk) -> (BTreeSet<u64>, Vec<Taken>) {
        let ChunkContent::Bytes { bytes, .. } = &chunk.content else { return Default::default() };
        let mut bytes = bytes.clone();
        let Some(head) = part(&mut bytes) else { return Default::default() };
        let before = std::str::from_utf8(&head).ok().and_then(consumed::read).unwrap_or_default();
        let mut taken = Vec::with_capacity(chunk.items);
        while bytes.remaining() >= 16 {
            let id = bytes.get_u64();
            let Some(body) = part(&mut bytes) else { break };
            taken.push(Taken { id, body });
        }
        (before, taken)
    }
}

/// The next part of a chunk, behind its length.
fn part(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u64().ok()?).ok()?;
    (length <= bytes.remaining()).then(|| bytes.split_to(length))
}

impl Decode for MessageDecoder {
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded> {
        let (_, taken) = Self::parts(chunk);
        let decoded = taken.into_iter().map(|Taken { id, body }| Decoded {
            offset: id,
            line: 1,
            record: self.decode_original(&body),
            original: body,
        });
        decoded.collect()
    }

    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError> {
        let wrong = |source| DecodeError::Json { line: 1, cut_off: false, source };
        Record::parse(original.clone()).map_err(wrong)
    }

    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position {
        let (mut consumed, taken) = Self::parts(chunk);
        consumed.extend(taken.iter().map(|taken| taken.id).take_while(|id| Some(*id) != offset));
        let written = Written { format: FORMAT, consumed: consumed::written(&consumed) };
        Position::new(
            serde_json::to_string(&written).expect("a struct of a number and a text is always JSON"),
        )
    }
}
