use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::Instant;

use crate::report::Source;

/// An entry in memory.
#[derive(Clone)]
pub(super) struct Held<V> {
    /// `None` says that it is known that there is none.
    pub(super) value: Option<V>,
    /// [`for_ever`] where it has no end.
    pub(super) fresh_until: Instant,
    /// From then on it is loaded again ahead of its end.
    pub(super) refresh_at: Instant,
    pub(super) edition: u64,
    pub(super) session: u64,
    pub(super) tags: Arc<[Box<str>]>,
}

/// The last moment there is.
pub(super) fn for_ever() -> Instant {
    Instant::ZERO.after(Duration::MAX)
}

/// What is found of a key.
pub(super) enum Found<V> {
    /// The answer, and what answered.
    Fresh(Held<V>, Source),
    /// The answer, unless somebody has changed it without a word while the shared level was not heard.
    Unsure(Held<V>),
    /// It was the answer, and is better than none.
    Stale(Held<V>),
    Nothing,
}

impl<V> Found<V> {
    /// The better one of two.
    pub(super) fn or(self, other: Self) -> Self {
        match (&self, &other) {
            (_, Self::Fresh(..)) | (Self::Nothing, _) | (Self::Stale(_), Self::Unsure(_)) => other,
            _ => self,
        }
    }
}
