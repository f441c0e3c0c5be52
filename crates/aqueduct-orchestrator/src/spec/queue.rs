//! The source and the sink `queue`.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_queue::{Pattern, Priority, Topic};

use crate::expression::Expression;
use crate::redacted::Redacted;

/// Messages of a queue as a source.
#[derive(Clone, Debug)]
pub struct QueueSourceSpec {
    /// The file of queues.
    pub path: Redacted,
    /// The queue in it.
    pub queue: String,
    /// The group whose messages are taken.
    pub group: String,
    /// Which topics the group gets.
    pub topics: Pattern,
    /// How long a message stays with a run that does not move.
    pub lease: Duration,
    /// How often a message may be under way when its process dies.
    pub attempts_max: u32,
    /// Whether the run ends when there is no message.
    pub until_empty: bool,
}

/// A queue as a sink.
#[derive(Clone, Debug)]
pub struct QueueSinkSpec {
    /// The file of queues.
    pub path: Redacted,
    /// The queue in it.
    pub queue: String,
    /// What the messages are about.
    pub topic: Option<Topic>,
    /// What goes first.
    pub priority: Priority,
    /// What keeps messages in order.
    pub key: Option<Arc<Expression>>,
    /// Whose a message is.
    pub tenant: Option<Arc<Expression>>,
    /// The most messages that wait in each group.
    pub items_max: u64,
    /// The most bytes that wait in each group.
    pub bytes_max: u64,
}
