//! The queues of one process: the index decides, the log makes it last, and whoever waits is woken.
//!
//! One lock guards what is known of all groups; it is held for the moves of an index and never while something waits. What
//! must last goes to the log first, and into the index when it is safe. What came back from a worker leaves the index at
//! once and is in nobody's reach until the log has it.

mod admin;
mod declare;
mod publish;
mod reserve;
mod restore;
mod settle;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::capability::Capabilities;
use crate::config::Config;
use crate::contract::{Backend, Depth, Pause, Peeked, Pressure, Reserve, State as MessageState, TenantShare};
use crate::error::{AdminError, Broken, DeclareError, PublishError, ReserveError, SettleError};
use crate::index::Tick;
use crate::log::{self, Change, Log, Tell, WRITES_MAX, Write};
use crate::message::{Delivered, Message, MessageId, Receipt, Settlement, Token};

pub(crate) use restore::Restoring;
use state::State;

/// The queues of one process, over a log.
#[derive(Debug)]
pub(crate) struct Broker {
    shared: Arc<Shared>,
    log: Arc<dyn Log>,
    capabilities: Capabilities,
    /// One for each write under way.
    permits: Arc<Semaphore>,
    /// Held from the choice of a write's changes until the log has them, so that the log sees writes in the order in
    /// which they were decided. Taken before the state's lock.
    order: Mutex<()>,
}

/// What the ends of writes need, too. It does not hold the log, whose thread runs those ends.
#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// Guards all groups; held for the moves of an index.
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Tick {
        tick(&self.clock)
    }
}

/// Now, as the indexes count time.
fn tick(clock: &Clock) -> Tick {
    Tick::default().after(clock.now().elapsed_since_start())
}

impl Broker {
    /// Over a log, with what that told of what it has.
    pub(crate) fn new(log: Arc<dyn Log>, found: Restoring, capabilities: Capabilities, clock: Clock) -> Self {
        let state = found.finish();
        Self {
            shared: Arc::new(Shared { clock, state: Mutex::new(state) }),
            log,
            capabilities,
            permits: Arc::new(Semaphore::new(WRITES_MAX)),
            order: Mutex::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    fn now(&self) -> Tick {
        self.shared.now()
    }

    fn wall(&self) -> Timestamp {
        self.shared.clock.wall()
    }

    /// Waits until one more write may be under way.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Broken> {
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Broken::Closed)
    }

    /// Holds back other decisions until this one's changes are with the log.
    fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands changes to the log. `end` moves the index once they are safe, and what it gives is the answer.
    fn submit<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        changes: Vec<Change>,
        end: impl FnOnce(&mut State, Tick) -> T + Send + 'static,
    ) -> Pending<T> {
        let (answer, pending) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let runtime = log::runtime();
        let done = move |result: Result<(), Broken>| -> Tell {
            let now = shared.now();
            let mut state = shared.lock();
            let result = match result {
                Ok(()) => Ok(end(&mut state, now)),
                Err(broken) => {
                    state.fail(broken.clone());
                    Err(broken)
                }
            };
            drop(state);
            drop(permit);
            let tell = move || {
                // Nobody waits any more where the caller was dropped; it happened all the same.
                let _ = answer.send(result);
            };
            Tell::new(tell, runtime)
        };
        self.log.submit(Write { changes, done: Box::new(done) });
        Pending(pending)
    }
}

/// A write that is under way.
struct Pending<T>(oneshot::Receiver<Result<T, Broken>>);

impl<T> Pending<T> {
    async fn done(self) -> Result<T, Broken> {
        // The log calls the end of every write, unless it was closed.
        self.0.await.unwrap_or(Err(Broken::Closed))
    }
}

#[async_trait]
impl Backend for Broker {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn declare(&self, queue: &str, config: &Config) -> Result<(), DeclareError> {
        self.declare_queue(queue, config).await
    }

    async fn queues(&self) -> Result<Vec<(String, Vec<String>)>, AdminError> {
        Ok(self.lock().names())
    }

    async fn publish(
        &self,
        queue: &str,
        messages: Vec<Message>,
        wait: Duration,
    ) -> Result<Vec<Receipt>, PublishError> {
        self.publish_messages(queue, messages, wait).await
    }

    async fn reserve(&self, request: Reserve<'_>) -> Result<Vec<Delivered>, ReserveError> {
        self.reserve_messages(request).await
    }

    async fn settle(
        &self,
        queue: &str,
        group: &str,
        settlements: Vec<(Token, Settlement)>,
    ) -> Vec<Result<(), SettleError>> {
        self.settle_each(queue, group, settlements).await
    }

    async fn transact(
        &self,
        queue: &str,
        group: &str,
        settlements: Vec<(Token, Settlement)>,
        messages: Vec<(Box<str>, Message)>,
    ) -> Result<Vec<Receipt>, SettleError> {
        self.settle_and_publish(queue, group, settlements, messages).await
    }

    async fn extend(
        &self,
        queue: &str,
        group: &str,
        token: Token,
        lease: Duration,
    ) -> Result<(), SettleError> {
        self.extend_lease(queue, group, token, lease)
    }

    async fn depth(&self, queue: &str, group: &str) -> Result<Depth, AdminError> {
        self.count(queue, group).await
    }

    async fn tenants(&self, queue: &str, group: &str, limit: usize) -> Result<Vec<TenantShare>, AdminError> {
        self.shares(queue, group, limit)
    }

    async fn peek(
        &self,
        queue: &str,
        group: &str,
        state: MessageState,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Peeked>, AdminError> {
        self.look(queue, group, state, after, limit).await
    }

    async fn purge(&self, queue: &str, group: &str, states: &[MessageState]) -> Result<u64, AdminError> {
        self.remove_all(queue, group, states).await
    }

    async fn discard(&self, queue: &str, group: &str, ids: &[MessageId]) -> Result<u64, AdminError> {
        self.remove_these(queue, group, ids).await
    }

    async fn redrive(&self, queue: &str, group: &str, ids: &[MessageId]) -> Result<u64, AdminError> {
        self.put_back(queue, group, ids).await
    }

    async fn pause(&self, queue: &str, group: &str, pause: Pause) -> Result<(), AdminError> {
        self.set_pause(queue, group, pause).await
    }

    fn pressure(&self, queue: &str) -> Result<watch::Receiver<Pressure>, AdminError> {
        self.lock().pressure(queue)
    }

    async fn close(&self) -> Result<(), Broken> {
        self.shut().await
    }
}
