//! What programs hold: a store of queues, one queue of it, and a message that was handed out.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Clock, ConfigError};
use aqueduct_metrics::{MetricsError, Registry};
use tokio::sync::watch;

use crate::broker::{Broker, Restoring};
use crate::capability::{Capabilities, Capability};
use crate::config::Config;
use crate::contract::{Backend, DeadCause, Depth, Pause, Peeked, Pressure, Reserve, State, TenantShare};
use crate::error::{AdminError, Broken, DeclareError, OpenError, PublishError, ReserveError, SettleError};
use crate::log::MemoryLog;
use crate::log::redb::RedbLog;
use crate::message::{Delivered, Durability, Message, MessageId, Receipt, Settlement, Token};
use crate::metrics::Metrics;

/// A store of queues. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queues {
    backend: Arc<dyn Backend>,
    clock: Clock,
}

/// What queues in a file do: everything.
const EMBEDDED: Capabilities =
    Capabilities { backend: "embedded", durability: Durability::Disk, exceptions: &[] };

/// What queues in memory do not do.
const MEMORY: Capabilities = Capabilities {
    backend: "memory",
    durability: Durability::Memory,
    exceptions: &[(
        Capability::CrashAttempts,
        crate::capability::Support::No(
            "open a file of queues, which remembers attempts that killed their process",
        ),
    )],
};

impl Queues {
    /// Queues that live as long as the process.
    #[must_use]
    pub fn memory() -> Self {
        Self::memory_with(Clock::system())
    }

    /// The same, on another clock.
    #[must_use]
    pub fn memory_with(clock: Clock) -> Self {
        let empty = Restoring::at(&clock);
        let broker = Broker::new(Arc::new(MemoryLog::default()), empty, MEMORY, clock.clone());
        Self { backend: Arc::new(broker), clock }
    }

    /// Opens the queues of a file, or makes it. Blocks while the file is read: some two seconds for a million messages.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: another process has it, it is not a file of queues, or it is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, Clock::system())
    }

    /// The same, on another clock.
    ///
    /// # Errors
    ///
    /// See [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, clock: Clock) -> Result<Self, OpenError> {
        let mut found = Restoring::at(&clock);
        let (log, numbers) = RedbLog::open(path.as_ref(), &clock, &mut |one| found.take(one))?;
        found.count_from(numbers);
        let broker = Broker::new(Arc::new(log), found, EMBEDDED, clock.clone());
        Ok(Self { backend: Arc::new(broker), clock })
    }

    /// Queues that another backend keeps.
    #[must_use]
    pub fn over(backend: Arc<dyn Backend>, clock: Clock) -> Self {
        Self { backend, clock }
    }

    /// What they can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// Makes a queue with its groups, or gives one that is there this configuration, and hands it out with its first
    /// group.
    ///
    /// # Errors
    ///
    /// [`DeclareError`]; nothing was changed.
    pub async fn declare(&self, name: &str, config: Config) -> Result<Queue, DeclareError> {
        self.backend.declare(name, &config).await?;
        let group = config.groups.first().map_or(Config::DEFAULT_GROUP.into(), |(name, _)| name.clone());
        Ok(self.handle(name, &group))
    }

    /// A queue that is there, as it was declared, with its group `default`.
    #[must_use]
    pub fn queue(&self, name: &str) -> Queue {
        self.handle(name, Config::DEFAULT_GROUP)
    }

    fn handle(&self, name: &str, group: &str) -> Queue {
        Queue { store: self.clone(), name: name.into(), group: group.into(), lease: None, metrics: None }
    }

    /// The queues that are there, with their groups, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub async fn list(&self) -> Result<Vec<(String, Vec<String>)>, AdminError> {
        self.backend.queues().await
    }

    /// Finishes what was begun, and closes the store for all its clones.
    ///
    /// # Errors
    ///
    /// [`Broken`] where something that was begun is not safe.
    pub async fn close(&self) -> Result<(), Broken> {
        self.backend.close().await
    }
}

/// One queue, seen by one of its groups. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    store: Queues,
    name: Arc<str>,
    group: Arc<str>,
    /// How long it leases messages for; as the queue says without one.
    lease: Option<Duration>,
    metrics: Option<Arc<Metrics>>,
}

impl Queue {
    /// The queue's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that it is in.
    #[must_use]
    pub fn store(&self) -> &Queues {
        &self.store
    }

    /// The group whose messages it hands out.
    #[must_use]
    pub fn group_name(&self) -> &str {
        &self.group
    }

    /// The same queue, seen by another one of its groups. It does not count into a registry.
    #[must_use]
    pub fn group(&self, name: &str) -> Self {
        Self { group: name.into(), metrics: None, ..self.clone() }
    }

    /// The same queue, which counts what goes through this handle and its clones. How much is in the group is set by each
    /// [`depth`](Self::depth). What [`Delivery::ack_and_publish`] publishes is not counted: it may go to any queue.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] when the registry has other metrics by these names, or a name is too long.
    pub fn with_metrics(mut self, registry: &Registry) -> Result<Self, MetricsError> {
        self.metrics = Some(Arc::new(Metrics::register(registry, &self.name, &self.group)?));
        Ok(self)
    }

    /// The same queue, whose messages are leased for so long where the queue says otherwise. From 1 ms to a week; what
    /// is outside becomes the nearer of the two.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Publishes a message, and waits for room as long as it takes. Returns when the message is as safe as the receipt
    /// says. A task of the caller's runtime tells it so where that has several threads: do not block all of them on this.
    ///
    /// # Errors
    ///
    /// [`PublishError`], but never [`PublishError::Full`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room, nothing is published. Later, the message may or may not be: give it a dedup id
    /// and publish it again.
    pub async fn publish(&self, message: Message) -> Result<Receipt, PublishError> {
        self.one(message, Duration::MAX).await
    }

    /// Publishes a message if there is room for it.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub async fn try_publish(&self, message: Message) -> Result<Receipt, PublishError> {
        self.one(message, Duration::ZERO).await
    }

    /// Publishes a message, and waits at most so long for room.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub async fn publish_within(&self, message: Message, wait: Duration) -> Result<Receipt, PublishError> {
        self.one(message, wait).await
    }

    /// Publishes all messages or none, and waits at most so long for room. One receipt for each.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; nothing was published.
    pub async fn publish_all(
        &self,
        messages: Vec<Message>,
        wait: Duration,
    ) -> Result<Vec<Receipt>, PublishError> {
        let Some(metrics) = &self.metrics else {
            return self.store.backend.publish(&self.name, messages, wait).await;
        };
        let (began, count) = (self.store.clock.now(), messages.len());
        let published = self.store.backend.publish(&self.name, messages, wait).await;
        metrics.published(count, published.is_ok(), self.store.clock.now().since(began));
        published
    }

    async fn one(&self, message: Message, wait: Duration) -> Result<Receipt, PublishError> {
        let receipts = self.publish_all(vec![message], wait).await?;
        // A backend gives one receipt for each message.
        receipts.into_iter().next().ok_or(PublishError::Broken(Broken::Closed))
    }

    /// Takes the next message, and waits for it.
    ///
    /// # Errors
    ///
    /// [`ReserveError`].
    ///
    /// # Cancel safety
    ///
    /// A message that was taken by a future that is dropped goes back, without an attempt.
    pub async fn reserve(&self) -> Result<Delivery, ReserveError> {
        loop {
            if let Some(delivery) = self.reserve_within(HOUR).await? {
                return Ok(delivery);
            }
        }
    }

    /// Takes the next message if there is one.
    ///
    /// # Errors
    ///
    /// [`ReserveError`].
    pub async fn try_reserve(&self) -> Result<Option<Delivery>, ReserveError> {
        self.reserve_within(Duration::ZERO).await
    }

    /// Takes the next message, and waits at most so long for it.
    ///
    /// # Errors
    ///
    /// [`ReserveError`].
    ///
    /// # Cancel safety
    ///
    /// See [`reserve`](Self::reserve).
    pub async fn reserve_within(&self, wait: Duration) -> Result<Option<Delivery>, ReserveError> {
        Ok(self.reserve_many(1, usize::MAX, wait).await?.into_iter().next())
    }

    /// Takes up to `items_max` messages of together at most `bytes_max`, but one at least, and waits at most so long
    /// for the first one.
    ///
    /// # Errors
    ///
    /// [`ReserveError`].
    ///
    /// # Cancel safety
    ///
    /// See [`reserve`](Self::reserve).
    pub async fn reserve_many(
        &self,
        items_max: usize,
        bytes_max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, ReserveError> {
        let (queue, group) = (&*self.name, &*self.group);
        let request = Reserve { queue, group, items_max, bytes_max, lease: self.lease, within: wait };
        let delivered = self.store.backend.reserve(request).await?;
        if let Some(metrics) = &self.metrics {
            metrics.delivered(&delivered, self.store.clock.wall());
        }
        Ok(delivered.into_iter().map(|delivered| Delivery { delivered, queue: self.clone() }).collect())
    }

    /// Settles several deliveries of this queue and group, each for itself, in one write. One answer for each.
    pub async fn settle(&self, settlements: Vec<(Token, Settlement)>) -> Vec<Result<(), SettleError>> {
        let metrics = self.metrics.as_ref();
        let outcomes: Vec<_> = (metrics.into_iter())
            .flat_map(|metrics| settlements.iter().map(|(_, settlement)| metrics.outcome(settlement)))
            .collect();
        let results = self.store.backend.settle(&self.name, &self.group, settlements).await;
        for (outcome, result) in outcomes.into_iter().zip(&results) {
            outcome.note(result);
        }
        results
    }

    /// Lets a lease last so long from now on.
    ///
    /// # Errors
    ///
    /// [`SettleError`].
    pub async fn extend(&self, token: Token, lease: Duration) -> Result<(), SettleError> {
        self.store.backend.extend(&self.name, &self.group, token, lease).await
    }

    /// Removes messages by their numbers, wherever they are; a lease on one is stale from then on. Tells how many
    /// there were. For whoever has kept elsewhere, in one transaction with what came of them, that they are done.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub async fn discard(&self, ids: &[MessageId]) -> Result<u64, AdminError> {
        let discarded = self.store.backend.discard(&self.name, &self.group, ids).await?;
        if let Some(metrics) = &self.metrics {
            metrics.discarded(discarded);
        }
        Ok(discarded)
    }

    /// Counts what is in the group.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub async fn depth(&self) -> Result<Depth, AdminError> {
        let depth = self.store.backend.depth(&self.name, &self.group).await?;
        if let Some(metrics) = &self.metrics {
            metrics.counted(&depth);
        }
        Ok(depth)
    }

    /// Tells how the tenants of the group fare, those that take most first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub async fn tenants(&self, limit: usize) -> Result<Vec<TenantShare>, AdminError> {
        self.store.backend.tenants(&self.name, &self.group, limit).await
    }

    /// Looks at messages without taking them: at most `limit`, and at most 1,000, behind the message `after`.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub async fn peek(
        &self,
        state: State,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Peeked>, AdminError> {
        self.store.backend.peek(&self.name, &self.group, state, after, limit).await
    }

    /// Removes all messages in these states for good, and tells how many. What workers have stays.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub async fn purge(&self, states: &[State]) -> Result<u64, AdminError> {
        self.store.backend.purge(&self.name, &self.group, states).await
    }

    /// Hands out nothing from now on, or hands out again. It lasts over restarts.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub async fn pause(&self, pause: Pause) -> Result<(), AdminError> {
        self.store.backend.pause(&self.name, &self.group, pause).await
    }

    /// Tells whether there is room, now and each time that it changes.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    pub fn pressure(&self) -> Result<watch::Receiver<Pressure>, AdminError> {
        self.store.backend.pressure(&self.name)
    }

    /// Puts dead letters back, with no attempts, and tells how many. With [`Redrive::preview`] it only counts them.
    ///
    /// # Errors
    ///
    /// [`AdminError`]; some may be back.
    ///
    /// # Cancel safety
    ///
    /// Those that were put back stay where they are; the others stay dead.
    pub async fn redrive(&self, redrive: &Redrive) -> Result<u64, AdminError> {
        redrive.check()?;
        let mut after = None;
        let mut done = 0_u64;
        let began = self.store.clock.now();
        loop {
            let page = self.peek(State::Dead, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(done) };
            after = Some(last.id);
            let mut ids: Vec<MessageId> =
                page.iter().filter(|peeked| redrive.admits(peeked)).map(|peeked| peeked.id).collect();
            let left = redrive.limit.map_or(u64::MAX, |limit| limit - done);
            ids.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if redrive.preview {
                done += ids.len() as u64;
            } else {
                // One at a time where there is a rate, so that it holds within a second, too.
                for ids in ids.chunks(if redrive.rate.is_some() { 1 } else { PAGE }) {
                    if let Some(rate) = redrive.rate {
                        let due = began.after(Duration::from_secs_f64(done as f64 / rate));
                        self.store.clock.sleep(due.since(self.store.clock.now())).await;
                    }
                    done += self.store.backend.redrive(&self.name, &self.group, ids).await?;
                }
            }
            if redrive.limit.is_some_and(|limit| done >= limit) {
                return Ok(done);
            }
        }
    }
}

/// How long one call waits at a time where it waits for ever.
const HOUR: Duration = Duration::from_secs(3600);
/// Dead letters that are looked at in one call.
const PAGE: usize = 100;

/// Which dead letters are put back, and how fast.
#[derive(Clone, Debug, Default)]
pub struct Redrive {
    /// Only those that died of this.
    pub cause: Option<DeadCause>,
    /// Only those whose reason has this in it.
    pub reason_contains: Option<String>,
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// At most so many.
    pub limit: Option<u64>,
    /// At most so many a second, evenly. From 0.001.
    pub rate: Option<f64>,
    /// Counts them, and puts none back.
    pub preview: bool,
}

impl Redrive {
    fn check(&self) -> Result<(), ConfigError> {
        self.rate.map_or(Ok(()), |rate| ConfigError::check("rate", rate, 0.001, 1e9))
    }

    fn admits(&self, peeked: &Peeked) -> bool {
        let Some(dead) = &peeked.dead else { return false };
        let tenant = peeked.message.as_ref().ok().and_then(|message| message.tenant.as_deref());
        self.cause.is_none_or(|cause| cause == dead.cause)
            && self.reason_contains.as_ref().is_none_or(|text| dead.reason.contains(text.as_str()))
            && self.tenant.as_ref().is_none_or(|wanted| tenant == Some(wanted.as_str()))
    }
}

/// A message that was handed out, with the right to settle it. One that is dropped comes again when its lease runs out.
#[derive(Debug)]
#[must_use = "a message that is not settled comes again"]
pub struct Delivery {
    delivered: Delivered,
    queue: Queue,
}

impl Deref for Delivery {
    type Target = Delivered;

    fn deref(&self) -> &Delivered {
        &self.delivered
    }
}

impl Delivery {
    /// It is done, and the message goes.
    ///
    /// # Errors
    ///
    /// [`SettleError`].
    pub async fn ack(self) -> Result<(), SettleError> {
        self.settle(Settlement::Ack).await
    }

    /// It failed: the message comes again after a delay, or is set aside where that was its last attempt.
    ///
    /// # Errors
    ///
    /// [`SettleError`].
    pub async fn nack(self, delay: Duration, reason: impl Into<Box<str>>) -> Result<(), SettleError> {
        self.settle(Settlement::Nack { delay, reason: reason.into() }).await
    }

    /// It was not worked on: the message comes again at once, and this was no attempt.
    ///
    /// # Errors
    ///
    /// [`SettleError`].
    pub async fn release(self) -> Result<(), SettleError> {
        self.settle(Settlement::Release).await
    }

    /// It can never succeed: the message is set aside.
    ///
    /// # Errors
    ///
    /// [`SettleError`].
    pub async fn dead_letter(self, reason: impl Into<Box<str>>) -> Result<(), SettleError> {
        self.settle(Settlement::DeadLetter { reason: reason.into() }).await
    }

    /// It goes on in another queue, in the transaction in which it leaves this one. It is a new message there, with no
    /// attempts.
    ///
    /// # Errors
    ///
    /// [`SettleError`]; it is still leased.
    pub async fn move_to(self, queue: &str) -> Result<Receipt, SettleError> {
        let message = self.delivered.message.clone();
        let receipts = self.ack_and_publish(vec![(queue.into(), message)]).await?;
        // One message has one receipt.
        receipts.into_iter().next().ok_or(SettleError::Broken(Broken::Closed))
    }

    /// It is done, and this came of it: the messages are in their queues exactly when this one is gone. Does not wait
    /// for room.
    ///
    /// # Errors
    ///
    /// [`SettleError`]; nothing was published, and it is still leased.
    pub async fn ack_and_publish(
        self,
        messages: Vec<(Box<str>, Message)>,
    ) -> Result<Vec<Receipt>, SettleError> {
        let queue = &self.queue;
        let settlements = vec![(self.delivered.token, Settlement::Ack)];
        let receipts = queue.store.backend.transact(&queue.name, &queue.group, settlements, messages).await;
        if let Some(metrics) = &queue.metrics {
            metrics.outcome(&Settlement::Ack).note(&receipts);
        }
        receipts
    }

    /// Lets the lease last so long from now on.
    ///
    /// # Errors
    ///
    /// [`SettleError`].
    pub async fn extend(&self, lease: Duration) -> Result<(), SettleError> {
        self.queue.extend(self.delivered.token, lease).await
    }

    async fn settle(self, settlement: Settlement) -> Result<(), SettleError> {
        let mut results = self.queue.settle(vec![(self.delivered.token, settlement)]).await;
        // One settlement has one answer.
        results.pop().unwrap_or(Err(SettleError::Broken(Broken::Closed)))
    }
}
