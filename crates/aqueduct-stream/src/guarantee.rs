use std::fmt;

/// How often an item has its effect in a sink, whatever is killed. Ordered from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarantee {
    /// Once or not at all: what a crash cuts off is not repeated.
    AtMostOnce,
    /// Once or more: the last epoch may be repeated after a crash.
    AtLeastOnce,
    /// Repeated after a crash, and the repetition overwrites itself by key.
    EffectivelyOnce,
    /// Once: the effect and the position are one commit.
    ExactlyOnce,
}

impl Guarantee {
    /// The name used in pipeline files and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at-most-once",
            Self::AtLeastOnce => "at-least-once",
            Self::EffectivelyOnce => "effectively-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one sink gives, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkGuarantee {
    /// The sink's name.
    pub sink: String,
    /// What it is, in words: `sqlite results.db, table evidence`.
    pub what: String,
    /// What it gives.
    pub guarantee: Guarantee,
    /// Why, in one sentence without a full stop.
    pub reason: String,
}
