use std::time::Duration;

use aqueduct_core::Instant;

/// The moment by which a call must have ended, with all its attempts and waits. Made once where a request comes in,
/// and handed down: whatever is called on its behalf ends by the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// None.
    pub const NEVER: Self = Self(None);

    /// This moment.
    #[must_use]
    pub fn at(moment: Instant) -> Self {
        Self(Some(moment))
    }

    /// So long after this moment.
    #[must_use]
    pub fn after(now: Instant, time: Duration) -> Self {
        Self(Some(now.after(time)))
    }

    /// Gives the moment, if there is one.
    #[must_use]
    pub fn moment(self) -> Option<Instant> {
        self.0
    }

    /// Gives the earlier one.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(another)) => Self(Some(one.min(another))),
            (one, another) => Self(one.or(another)),
        }
    }

    /// Gives the time that is left: zero when it is over, `None` when it never will be.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        self.0.map(|moment| moment.since(now))
    }

    /// Tells whether something could still be done after a wait, if only for a nanosecond.
    #[must_use]
    pub fn allows(self, now: Instant, wait: Duration) -> bool {
        self.remaining(now).is_none_or(|left| wait < left)
    }
}
