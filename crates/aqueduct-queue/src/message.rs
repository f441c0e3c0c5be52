//! What is published, and what a worker gets.

use std::fmt;
use std::time::Duration;

use aqueduct_core::Timestamp;
use bytes::Bytes;

use crate::topic::Topic;

/// The number of a message in its store: later ones are greater, and none is ever used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which of a tenant's messages go first. Ageing lifts what has waited long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After everything else.
    Low,
    /// Where nothing is said.
    #[default]
    Normal,
    /// Before what is normal.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// All of them, the lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub fn level(self) -> u8 {
        self as u8
    }

    /// The name in files, on command lines and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One message as its publisher wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What it says. Up to [`Config::message_bytes_max`](crate::Config::message_bytes_max).
    pub body: Bytes,
    /// Which groups get it: those whose pattern fits. Without one, those that take everything.
    pub topic: Option<Topic>,
    /// What goes first.
    pub priority: Priority,
    /// How long nobody gets it. Up to [`Message::DELAY_MAX`].
    pub delay: Duration,
    /// Messages of one key are handed out one after the other, in the order in which they were published, and the next
    /// one only when the one before is settled for good.
    pub key: Option<Box<str>>,
    /// Whose it is. Tenants share the workers' time fairly.
    pub tenant: Option<Box<str>>,
    /// A second message with the same one is not taken while the queue remembers the first.
    pub dedup_id: Option<Box<str>>,
    /// What travels beside the body, such as the context of a trace.
    pub headers: Vec<(Box<str>, Box<str>)>,
}

impl Message {
    /// The longest delay: ten years of 365 days.
    pub const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
    /// The longest key, tenant, dedup id, name or value of a header, in bytes.
    pub const TEXT_BYTES_MAX: usize = 1024;
    /// The most headers.
    pub const HEADERS_MAX: usize = 64;

    /// A message without a key or a tenant, of normal priority, for whoever takes everything.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Sets the topic.
    #[must_use]
    pub fn with_topic(mut self, topic: Topic) -> Self {
        self.topic = Some(topic);
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long nobody gets it.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets the key within which order holds.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Box<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets whose it is.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Box<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Sets what makes it the same as another message.
    #[must_use]
    pub fn with_dedup_id(mut self, id: impl Into<Box<str>>) -> Self {
        self.dedup_id = Some(id.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What it takes of a queue's capacity: all its bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let topic = self.topic.as_ref().map_or(0, |topic| topic.as_str().len());
        self.body.len() + topic + text(&self.key) + text(&self.tenant) + headers
    }
}

/// How far a message is from being lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// It is gone when the process ends.
    Memory,
    /// It survives the process and not the machine.
    Os,
    /// It was synced to a disk and survives the machine's power.
    Disk,
    /// So many machines have it.
    Replicated(u8),
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Os => f.write_str("os"),
            Self::Disk => f.write_str("disk"),
            Self::Replicated(copies) => write!(f, "replicated({copies})"),
        }
    }
}

/// What a publisher gets once its message is as safe as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the message, or of the first of its copies; of the earlier message where this one was a duplicate.
    pub id: MessageId,
    /// How many groups got a copy; 0 for a duplicate.
    pub copies: u32,
    /// How safe it is.
    pub durability: Durability,
    /// Whether an earlier message had the same dedup id, and this one was not taken.
    pub duplicate: bool,
}

/// The right to settle one delivery. A later lease of the same message has a greater number, and makes this one stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The message.
    pub id: MessageId,
    /// The number of the lease, which grows with every lease of the store and is never reset: it fences off a worker
    /// that was taken for dead, in whatever that worker writes to elsewhere.
    pub lease: u64,
}

/// A message as a backend hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The right to settle it.
    pub token: Token,
    /// What was published; its delay is zero.
    pub message: Message,
    /// The queue that it was published to.
    pub queue: Box<str>,
    /// Which attempt this is, counted from 1. Kills of the worker's process are counted, too.
    pub attempt: u32,
    /// Whether its last attempt had begun and was not settled when the store was last opened: the process that had it died,
    /// or ended without it. What was given back since is still so; the end of another attempt makes it `false`. Never in
    /// memory, which ends with its process.
    pub after_crash: bool,
    /// When it was published.
    pub published: Timestamp,
    /// How long the lease lasts from the moment of the call.
    pub lease: Duration,
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is done, and the message goes.
    Ack,
    /// It failed: the message comes again, at once or after a delay. The last attempt makes it a dead letter.
    Nack {
        /// How long nobody gets it. Up to [`Message::DELAY_MAX`].
        delay: Duration,
        /// Why, for people; kept with a dead letter.
        reason: Box<str>,
    },
    /// It was not worked on: the message comes again at once, and this was no attempt.
    Release,
    /// It can never succeed: it is set aside.
    DeadLetter {
        /// Why, for people.
        reason: Box<str>,
    },
}
