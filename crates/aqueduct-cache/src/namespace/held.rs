use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::Instant;

/// An entry in memory.
#[derive(Clone)]
pub(super) struct Held<V> {
    /// `None` says that it is known that there is none.
    pub(super) value: Option<V>,
    /// [`for_ever`] where it has no end.
    pub(super) fresh_until: Instant,
    pub(super) generation: u64,
    pub(super) epoch: u64,
    pub(super) tags: Arc<[Box<str>]>,
}

/// The last moment there is.
pub(super) fn for_ever() -> Instant {
    Instant::ZERO.after(Duration::MAX)
}

/// What is found of a key.
pub(super) enum Found<V> {
    /// The answer, and what answered.
    Fresh(Held<V>),
    /// The answer, unless somebody has changed it without a word while the shared level was not heard.
    Unsure(Held<V>),
    /// It was the answer, and is better than none.
    Stale(Held<V>),
    Nothing,
}
