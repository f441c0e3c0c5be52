//! Every error that a queue can give.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_core::{Classified, ConfigError, ErrorClass};

use crate::capability::Unsupported;
use crate::message::MessageId;

/// The store of a queue does not work any more. It takes nothing until it was opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A write or a sync failed. Whether the last writes are there is unknown until the store is opened again; a sync
    /// is never tried twice, since the kernel may have dropped the pages (Rebello et al., "Can Applications Recover
    /// from fsync Failures?", USENIX ATC 2020).
    #[error(
        "{what} of the queue's file failed, and whether the last writes are there is unknown until it is opened again: {cause}"
    )]
    Write {
        /// What failed.
        what: &'static str,
        /// Why, as the system says it.
        cause: String,
    },
    /// It was closed.
    #[error("the queues are closed")]
    Closed,
}

/// Why the queues of a file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file.
    #[error("{path} is in use by another process; one process owns a file of queues")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is a file of something else, or of a later version.
    #[error("{path} is not a file of queues that this version reads: {found}")]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// Something in it is not what was written.
    #[error(
        "{path} is damaged: {what}; look at it with `verify`, and take out what can be read with `repair`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The system refused.
    #[error("{what} {path}: {cause}")]
    System {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it did not work, as the system says it.
        cause: String,
    },
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why a queue could not be declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// A name cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The backend cannot do what the configuration asks for.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A group takes other topics than it was declared with, and would have missed messages.
    #[error(
        "group {group} of queue {queue} takes {there}, and not {wanted}; remove the group first, or name another one"
    )]
    OtherPattern {
        /// The queue.
        queue: String,
        /// The group.
        group: String,
        /// What it takes.
        there: String,
        /// What it should take.
        wanted: String,
    },
    /// The store does not work.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Why messages were not published. Nothing of them is in the queue, except where the error says that it is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no room. A refusal: nothing was done, and there is room once messages were worked off.
    #[error("queue {queue} is full: {items} of {items_max} messages and {bytes} of {bytes_max} bytes")]
    Full {
        /// The queue.
        queue: String,
        /// The messages in its fullest group.
        items: u64,
        /// The most that it takes.
        items_max: u64,
        /// The bytes in its fullest group.
        bytes: u64,
        /// The most that it takes.
        bytes_max: u64,
    },
    /// A message is larger than the queue takes, or than the queue itself.
    #[error("a message for queue {queue} has {bytes} bytes, the most is {bytes_max}")]
    TooLarge {
        /// The queue.
        queue: String,
        /// Its size.
        bytes: u64,
        /// The largest.
        bytes_max: u64,
    },
    /// A field of a message cannot be.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// Nobody has declared this queue.
    #[error("there is no queue {queue}; declare it first")]
    NoQueue {
        /// The queue.
        queue: String,
    },
    /// No group of the queue takes the topic, and the message would be lost.
    #[error("no group of queue {queue} takes the topic {topic}")]
    Unrouted {
        /// The queue.
        queue: String,
        /// The topic, or that there is none.
        topic: String,
    },
    /// The store does not work.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Why nothing was handed out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// Nobody has declared this queue or group.
    #[error("there is no group {group} of a queue {queue}; declare it first")]
    NoGroup {
        /// The queue.
        queue: String,
        /// The group.
        group: String,
    },
    /// The store does not work.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Why a delivery was not settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// The lease ran out, or the delivery was settled before: the message may be with another worker, or done.
    #[error("the lease {lease} on message {id} is stale: it ran out, or the message was settled")]
    StaleLease {
        /// The message.
        id: MessageId,
        /// The number of the lease.
        lease: u64,
    },
    /// The message cannot go where it should. It is still leased.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A delay or a lease cannot be. The message is still leased.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// The store does not work. Whether the message is settled is unknown until it was opened again; if it is not, it
    /// comes again.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Why something that an operator asked for was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Nobody has declared this queue or group.
    #[error("there is no group {group} of a queue {queue}")]
    NoGroup {
        /// The queue.
        queue: String,
        /// The group.
        group: String,
    },
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store does not work.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A message of the queue could not be read.
    #[error("message {id} cannot be read: {cause}")]
    Unreadable {
        /// The message.
        id: MessageId,
        /// Why.
        cause: String,
    },
}

impl Classified for Broken {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Write { .. } => ErrorClass::Transient,
            Self::Closed => ErrorClass::Cancelled,
        }
    }
}

impl Classified for OpenError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::InUse { .. } | Self::System { .. } => ErrorClass::Transient,
            Self::NotOurs { .. } | Self::Damaged { .. } => ErrorClass::Permanent,
            Self::Config(error) => error.class(),
        }
    }
}

impl Classified for DeclareError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Config(_) | Self::Unsupported(_) | Self::OtherPattern { .. } => ErrorClass::Invalid,
            Self::Broken(error) => error.class(),
        }
    }
}

impl Classified for PublishError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Full { .. } => ErrorClass::Overload,
            Self::TooLarge { .. } | Self::Invalid(_) | Self::NoQueue { .. } | Self::Unrouted { .. } => {
                ErrorClass::Invalid
            }
            Self::Broken(error) => error.class(),
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        // There is room when there is room; a full queue cannot know when.
        None
    }
}

impl Classified for ReserveError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoGroup { .. } => ErrorClass::Invalid,
            Self::Broken(error) => error.class(),
        }
    }
}

impl Classified for SettleError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::StaleLease { .. } => ErrorClass::Permanent,
            Self::Publish(error) => error.class(),
            Self::Invalid(_) => ErrorClass::Invalid,
            Self::Broken(error) => error.class(),
        }
    }
}

impl Classified for AdminError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoGroup { .. } | Self::Config(_) => ErrorClass::Invalid,
            Self::Broken(error) => error.class(),
            Self::Unreadable { .. } => ErrorClass::Permanent,
        }
    }
}
