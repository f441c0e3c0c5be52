//! Where the truth is kept: the narrow contract between the scheduler and a file.
//!
//! The index in memory decides what is handed out; the log makes it last. It knows nothing of order, leases or time.

mod memory;
pub(crate) mod redb;
mod tell;

use aqueduct_core::Timestamp;
use bytes::Bytes;

use crate::contract::Dead;
use crate::error::Broken;
use crate::message::{MessageId, Priority};

pub(crate) use memory::MemoryLog;
pub(crate) use tell::{Tell, runtime, tell_all};

/// The number of a group in its store, for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(pub(crate) u32);

/// What must be known of a message to schedule it. Small: a store reads all of them when it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: MessageId,
    pub(crate) group: GroupId,
    pub(crate) priority: Priority,
    pub(crate) attempts: u32,
    pub(crate) published: Timestamp,
    /// Nobody gets it before. Not after [`Message::DELAY_MAX`](crate::Message::DELAY_MAX) from now, whatever became of the clock.
    pub(crate) due: Option<Timestamp>,
    /// [`Message::bytes`](crate::Message::bytes).
    pub(crate) bytes: u32,
    pub(crate) key: Option<Box<str>>,
    pub(crate) tenant: Option<Box<str>>,
}

/// One change of what is kept.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A message, new.
    Insert { head: Head, body: Body },
    /// What is known of a message, from now on. Its group may be another one.
    Update(Head),
    /// The message goes, with everything about it.
    Remove(MessageId),
    /// The message is a dead letter from now on.
    Bury(MessageId, Dead),
    /// The message is none any more; an [`Update`](Self::Update) comes with it.
    Unbury(MessageId),
    /// The queue remembers a dedup id until then.
    Remember { queue: Box<str>, dedup_id: Box<str>, id: MessageId, until: Timestamp },
    /// It does not any more.
    Forget { queue: Box<str>, dedup_id: Box<str> },
    /// A group is there, or is paused, or runs.
    Group(Group),
}

/// A group of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) queue: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) pattern: Box<str>,
    pub(crate) paused: bool,
}

/// The part of a message that only its worker needs. Its tenant and key are in the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) body: Bytes,
    pub(crate) topic: Option<Box<str>>,
    pub(crate) headers: Vec<(Box<str>, Box<str>)>,
}

/// The most writes that are under way at once. Each waits for two syncs at most, and 200 us for those who come with
/// it: what comes while one sync runs is in the next one.
pub(crate) const WRITES_MAX: usize = 4096;

/// A group of changes that is written whole or not at all, and what is done once it is safe.
pub(crate) struct Write {
    pub(crate) changes: Vec<Change>,
    /// Called by the log, once.
    pub(crate) done: Done,
}

/// The end of a write. It gives what tells its caller, which the log calls when all writes of the same sync have ended:
/// callers that are told earlier come again, and fight with the other ends for the index.
pub(crate) type Done = Box<dyn FnOnce(Result<(), Broken>) -> Tell + Send>;

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write").field("changes", &self.changes).finish_non_exhaustive()
    }
}

/// What an opening finds, a thing at a time, so that nothing is in memory twice. Groups come first, then dead letters,
/// then messages in the order of their numbers.
#[derive(Debug)]
pub(crate) enum Found {
    Group(Group),
    Dead(MessageId, Dead),
    /// Attempts that were begun and not settled when the process died are counted.
    Message {
        head: Head,
        /// Its last attempt was such a one.
        after_crash: bool,
    },
    Remembered {
        queue: Box<str>,
        dedup_id: Box<str>,
        id: MessageId,
        until: Timestamp,
    },
}

/// Where the numbers of an opened store go on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    /// Greater than every number that was ever given to a message.
    pub(crate) next_id: u64,
    /// How often the store was opened; greater than at any time before.
    pub(crate) opening: u32,
}

/// Why a body cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// What is there is not what was written.
    #[error("{0}")]
    Corrupt(String),
    /// The store does not work.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Keeps messages.
pub(crate) trait Log: Send + Sync + std::fmt::Debug {
    /// Takes a write and never waits: its caller has at most [`WRITES_MAX`] under way. One that is safe at once is done
    /// when this returns, so no lock is held that its end takes.
    fn submit(&self, write: Write);

    /// Gives what a worker needs where no file has to be read for it.
    fn at_hand(&self, id: MessageId) -> Option<Body>;

    /// Reads what a worker needs. May wait for a disk.
    fn read(&self, id: MessageId) -> Result<Body, ReadError>;

    /// Notes how many attempts of these messages have begun, so that they count even when the process is killed at once.
    /// The last note of a message holds, also over what its head says. Not synced: it survives the process and not
    /// the machine, whose workers are gone with it.
    fn begin(&self, attempts: &[(MessageId, u32)]) -> Result<(), Broken>;

    /// Finishes what was submitted and closes the file. Waits for the disk.
    fn close(&self) -> Result<(), Broken>;
}
