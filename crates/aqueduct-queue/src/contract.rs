//! What a backend must do. One conformance suite holds all of them to it.

use std::fmt;
use std::time::Duration;

use aqueduct_core::Timestamp;
use async_trait::async_trait;
use tokio::sync::watch;

use crate::capability::Capabilities;
use crate::config::Config;
use crate::error::{AdminError, Broken, DeclareError, PublishError, ReserveError, SettleError};
use crate::message::{Delivered, Message, MessageId, Priority, Receipt, Settlement, Token};

/// A store of queues. [`Queue`](crate::Queue) is what programs use; this is what stands behind it.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes a queue with its groups, or gives one that is there this configuration. Groups that are there and not
    /// named stay.
    ///
    /// # Errors
    ///
    /// [`DeclareError`]; nothing was changed.
    async fn declare(&self, queue: &str, config: &Config) -> Result<(), DeclareError>;

    /// The queues that are there, with their groups.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    async fn queues(&self) -> Result<Vec<(String, Vec<String>)>, AdminError>;

    /// Publishes all messages or none, and returns when they are as safe as the receipts say. Where there is no room it
    /// waits for at most `wait`.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped while it waits for room, nothing is published. Later, the messages may or may not be.
    async fn publish(
        &self,
        queue: &str,
        messages: Vec<Message>,
        wait: Duration,
    ) -> Result<Vec<Receipt>, PublishError>;

    /// Hands out messages that are ready, and waits for the first one for at most `within`. An empty answer says that
    /// none came.
    ///
    /// # Errors
    ///
    /// [`ReserveError`].
    ///
    /// # Cancel safety
    ///
    /// What was leased by a future that is dropped is given back, without an attempt.
    async fn reserve(&self, request: Reserve<'_>) -> Result<Vec<Delivered>, ReserveError>;

    /// Settles deliveries, each for itself, and returns when it is as safe as the backend makes it. One answer for
    /// each, in their order. A lease that ran out still holds until the message is somebody else's.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the settlements may or may not have happened.
    async fn settle(
        &self,
        queue: &str,
        group: &str,
        settlements: Vec<(Token, Settlement)>,
    ) -> Vec<Result<(), SettleError>>;

    /// Settles deliveries and publishes messages to queues, all of it or nothing: what was made of a message is there
    /// exactly when the message is gone. It does not wait for room.
    ///
    /// # Errors
    ///
    /// The first [`SettleError`]; nothing was changed.
    ///
    /// # Cancel safety
    ///
    /// Like [`settle`](Self::settle).
    async fn transact(
        &self,
        queue: &str,
        group: &str,
        settlements: Vec<(Token, Settlement)>,
        messages: Vec<(Box<str>, Message)>,
    ) -> Result<Vec<Receipt>, SettleError>;

    /// Lets a lease last for `lease` from now on.
    ///
    /// # Errors
    ///
    /// [`SettleError`].
    async fn extend(
        &self,
        queue: &str,
        group: &str,
        token: Token,
        lease: Duration,
    ) -> Result<(), SettleError>;

    /// Counts what is in a group.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    async fn depth(&self, queue: &str, group: &str) -> Result<Depth, AdminError>;

    /// Tells how the tenants of a group fare, those with the most work first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    async fn tenants(&self, queue: &str, group: &str, limit: usize) -> Result<Vec<TenantShare>, AdminError>;

    /// Looks at messages without taking them: at most `limit` in one state behind the message `after`, in the order of
    /// their numbers.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    async fn peek(
        &self,
        queue: &str,
        group: &str,
        state: State,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Peeked>, AdminError>;

    /// Removes all messages of a group that are in one of these states, and tells how many. What is leased cannot be
    /// purged.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    async fn purge(&self, queue: &str, group: &str, states: &[State]) -> Result<u64, AdminError>;

    /// Removes messages by their numbers, wherever they are, and tells how many there were. A lease on one is stale
    /// from then on. For whoever has kept elsewhere that they are done.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    async fn discard(&self, queue: &str, group: &str, ids: &[MessageId]) -> Result<u64, AdminError>;

    /// Puts dead letters back where they came from, those of `ids`, with no attempts. Tells how many there were.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    async fn redrive(&self, queue: &str, group: &str, ids: &[MessageId]) -> Result<u64, AdminError>;

    /// Hands out nothing of a group from now on, over restarts, or hands out again.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    async fn pause(&self, queue: &str, group: &str, pause: Pause) -> Result<(), AdminError>;

    /// Tells publishers whether there is room in a queue.
    ///
    /// # Errors
    ///
    /// [`AdminError`].
    fn pressure(&self, queue: &str) -> Result<watch::Receiver<Pressure>, AdminError>;

    /// Takes nothing more, finishes what was begun and closes the store. What is leased comes again after the next
    /// opening.
    ///
    /// # Errors
    ///
    /// [`Broken`] when something that was begun did not become safe.
    async fn close(&self) -> Result<(), Broken>;
}

/// What a worker asks for.
#[derive(Clone, Copy, Debug)]
pub struct Reserve<'a> {
    /// The queue.
    pub queue: &'a str,
    /// The group.
    pub group: &'a str,
    /// At most so many. From 1.
    pub items_max: usize,
    /// At most so many bytes, and one message at least.
    pub bytes_max: usize,
    /// How long the lease lasts, from 1 ms to a week; as the queue says without one.
    pub lease: Option<Duration>,
    /// How long to wait for the first message.
    pub within: Duration,
}

/// Where a message of a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It can be handed out, or waits for the one before it with the same key.
    Ready,
    /// Its time has not come.
    Delayed,
    /// A worker has it.
    Leased,
    /// It was set aside.
    Dead,
}

/// How much is in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that can be handed out, or wait for another one with the same key.
    pub ready: u64,
    /// Messages whose time has not come.
    pub delayed: u64,
    /// Messages that workers have.
    pub leased: u64,
    /// Messages that were set aside.
    pub dead: u64,
    /// The bytes of all but the dead.
    pub bytes: u64,
    /// The bytes of the dead.
    pub dead_bytes: u64,
    /// Dead letters that went because there was no room for them, since the opening.
    pub dead_dropped: u64,
    /// How long the message has waited that has waited longest.
    pub oldest_wait: Duration,
    /// Whether nothing is handed out.
    pub paused: bool,
}

/// How one tenant fares.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantShare {
    /// The tenant; empty for messages without one.
    pub tenant: Box<str>,
    /// Messages that can be handed out.
    pub ready: u64,
    /// Messages that workers have.
    pub leased: u64,
    /// The share of all recent handler time, from 0 to 1.
    pub time_ratio: f64,
    /// Whether it takes more than a tenth of the workers while others wait (the rule of SQS fair queues). It says who
    /// to look at; the shares are fair without it.
    pub noisy: bool,
}

/// A message that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Its number.
    pub id: MessageId,
    /// Its priority.
    pub priority: Priority,
    /// How often it was handed out.
    pub attempts: u32,
    /// When it was published.
    pub published: Timestamp,
    /// What it says; why it cannot be read, where it cannot.
    pub message: Result<Message, String>,
    /// Why it was set aside, and what failed before.
    pub dead: Option<Dead>,
}

/// Why a message was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: DeadCause,
    /// What the worker said last.
    pub reason: Box<str>,
}

/// What made a message a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadCause {
    /// All its attempts failed.
    Attempts,
    /// A worker said that it can never succeed.
    Refused,
    /// It could not be read.
    Corrupt,
}

/// Whether a group hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It hands out nothing. Publishing goes on while there is room.
    Paused,
    /// It hands out.
    Running,
}

/// Whether there is room for publishers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pressure {
    /// There is.
    #[default]
    Open,
    /// A group is full. It is open again at nine tenths, so that it does not flutter.
    Full,
}
