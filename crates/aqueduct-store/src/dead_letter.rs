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
    /// Only those whose error has this class.
    pub class: Option<ErrorClass>,
    /// Only those whose reason contains this text, whatever the case of its ASCII letters.
    pub reason: Option<String>,
    /// Only those that failed last at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that failed last before this time.
    pub until: Option<Timestamp>,
    /// Only those of one of these item ids; all when it is empty.
    pub items: Vec<String>,
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

    /// Tells whether a letter is one of those, page and limit aside.
    #[must_use]
    pub fn admits(&self, letter: &DeadLetter) -> bool {
        let contains =
            |text: &String| letter.reason.to_ascii_lowercase().contains(&text.to_ascii_lowercase());
        self.stage.as_ref().is_none_or(|stage| letter.stage == *stage)
            && self.class.is_none_or(|class| letter.class == class)
            && self.reason.as_ref().is_none_or(contains)
            && self.since.is_none_or(|since| letter.last >= since)
            && self.until.is_none_or(|until| letter.last < until)
            && (self.items.is_empty() || self.items.contains(&letter.item_id))
    }
}

/// How many letters there are, and how much they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterTotal {
    /// The letters.
    pub letters: u64,
    /// The bytes of their payloads, originals and reasons.
    pub bytes: u64,
}

/// A new payload for a letter, which its replay then uses. The original bytes stay.
#[derive(Clone, Debug)]
pub struct DeadLetterEdit {
    /// The letter as it was read; nobody may have changed it since.
    pub read: DeadLetter,
    /// The new payload.
    pub payload: Bytes,
}

/// What one step of a purge removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// The letters that are gone.
    pub letters: u64,
    /// The item id and stage of the last of them, for [`DeadLetterFilter::after`] of the next step; `None` when no
    /// letter was left to remove.
    pub last: Option<(String, String)>,
}

impl DeadLetter {
    /// The bytes that it holds: payload, original and reason.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let original = match &self.original {
            Original::Whole(bytes) => bytes.len(),
            Original::Cut { head, .. } => head.len(),
        };
        (self.payload.as_ref().map_or(0, Bytes::len) + original + self.reason.len()) as u64
    }
}
