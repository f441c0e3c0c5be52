use aqueduct_core::{ErrorClass, Timestamp};
use bytes::Bytes;

/// The bytes of the input that an item came from, untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Original {
    /// All of them.
    Whole(Bytes),
    /// Too many to keep: where they are, what they are, and how they begin. A replay rereads the source.
    Cut {
        /// Where they begin in their partition.
        offset: u64,
        /// How many they are.
        bytes: u64,
        /// The SHA-256 of all of them.
        sha256: [u8; 32],
        /// The first 64 KiB.
        head: Bytes,
    },
}

/// An item that was kept aside, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The item's id, as text.
    pub item_id: String,
    /// The stage, sink or source that failed on it.
    pub stage: String,
    /// The class of the error.
    pub class: ErrorClass,
    /// The error in words, causes included.
    pub reason: String,
    /// How often it was tried; at least 1.
    pub attempts: u32,
    /// How many children the item had before it failed; a replay numbers new ones from here.
    pub children: u32,
    /// When it failed first.
    pub first: Timestamp,
    /// When it failed last.
    pub last: Timestamp,
    /// The payload as the failing stage saw it; `None` when it never was one (the line could not be read).
    pub payload: Option<Bytes>,
    /// The input that it came from.
    pub original: Original,
}

/// Which dead letters to read, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only those of this stage.
    pub stage: Option<String>,
    /// Only the one with exactly this item id.
    pub item_id: Option<String>,
    /// Only those that sort after this item id and stage, those of the last letter of the page before.
    pub after: Option<(String, String)>,
    /// At most this many; `None` reads [`Self::LIMIT_DEFAULT`].
    pub limit: Option<usize>,
}

impl DeadLetterFilter {
    /// How many letters are read at once unless the caller says otherwise: a long page for a person, and a few
    /// megabytes when every letter holds a line of a few kilobytes.
    pub const LIMIT_DEFAULT: usize = 1_000;

    /// The limit that holds.
    #[must_use]
    pub fn limit_or_default(&self) -> usize {
        self.limit.unwrap_or(Self::LIMIT_DEFAULT)
    }
}
