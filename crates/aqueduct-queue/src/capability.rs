//! What backends can do. Decided when a queue is declared, so that nothing is emulated in silence while it works.

use std::fmt;

use aqueduct_core::{Classified, ErrorClass};

/// Something that a queue may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Strict priorities.
    Priority,
    /// Priorities that rise with the wait.
    Ageing,
    /// Tenants that share the workers' time.
    Fairness,
    /// Messages that nobody gets for a time.
    Delay,
    /// Order and one message at a time within a key.
    KeyOrder,
    /// A lease for each message, of any length.
    Lease,
    /// A longer lease while the work goes on.
    Extend,
    /// Giving a message back without an attempt.
    Release,
    /// Dead letters, listed and put back.
    DeadLetters,
    /// Several groups, each with copies of its own.
    Groups,
    /// Groups that take some topics only.
    Topics,
    /// Publishing and settling in one transaction.
    Transaction,
    /// Not taking the same message twice.
    Dedup,
    /// Refusing what is more than a capacity, exactly.
    Capacity,
    /// Telling publishers when there is room.
    Pressure,
    /// Looking at messages without taking them.
    Peek,
    /// Exact numbers of what waits.
    Depth,
    /// Removing all that waits.
    Purge,
    /// Handing out nothing for a while.
    Pause,
    /// Attempts that are counted even where they kill the process.
    CrashAttempts,
}

impl Capability {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 20] = [
        Self::Priority,
        Self::Ageing,
        Self::Fairness,
        Self::Delay,
        Self::KeyOrder,
        Self::Lease,
        Self::Extend,
        Self::Release,
        Self::DeadLetters,
        Self::Groups,
        Self::Topics,
        Self::Transaction,
        Self::Dedup,
        Self::Capacity,
        Self::Pressure,
        Self::Peek,
        Self::Depth,
        Self::Purge,
        Self::Pause,
        Self::CrashAttempts,
    ];

    /// The name in messages and in the reference.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "strict priorities",
            Self::Ageing => "priorities that rise with the wait",
            Self::Fairness => "fair shares among tenants",
            Self::Delay => "delayed messages",
            Self::KeyOrder => "order within a key",
            Self::Lease => "a lease for each message",
            Self::Extend => "extending a lease",
            Self::Release => "giving back without an attempt",
            Self::DeadLetters => "dead letters",
            Self::Groups => "several groups",
            Self::Topics => "topics",
            Self::Transaction => "publishing and settling in one transaction",
            Self::Dedup => "deduplication",
            Self::Capacity => "a capacity that is never exceeded",
            Self::Pressure => "a signal for publishers",
            Self::Peek => "looking at messages",
            Self::Depth => "exact depths",
            Self::Purge => "purging",
            Self::Pause => "pausing",
            Self::CrashAttempts => "attempts that survive a crash",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How well a backend does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As described.
    Native,
    /// As described, by other means, which cost this.
    Emulated(&'static str),
    /// Not at all; this is what to do instead.
    No(&'static str),
}

/// What one backend can do.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// The backend's name.
    pub backend: &'static str,
    /// The safest that a receipt of it can be.
    pub durability: crate::message::Durability,
    /// What it does not do as described; everything else is native.
    pub exceptions: &'static [(Capability, Support)],
}

impl Capabilities {
    /// How well it does one thing.
    #[must_use]
    pub fn of(&self, capability: Capability) -> Support {
        let exception = self.exceptions.iter().find(|(other, _)| *other == capability);
        exception.map_or(Support::Native, |(_, support)| *support)
    }

    /// Makes sure of one thing.
    ///
    /// # Errors
    ///
    /// [`Unsupported`] with what to do instead.
    pub fn require(&self, capability: Capability) -> Result<(), Unsupported> {
        match self.of(capability) {
            Support::Native | Support::Emulated(_) => Ok(()),
            Support::No(hint) => Err(Unsupported { capability, backend: self.backend, hint }),
        }
    }
}

/// A backend cannot do what was asked for. Said when a queue is declared or opened, not while it works.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{backend} queues cannot do this: {capability}; {hint}")]
pub struct Unsupported {
    /// What was asked for.
    pub capability: Capability,
    /// The backend.
    pub backend: &'static str,
    /// What to do instead.
    pub hint: &'static str,
}

impl Classified for Unsupported {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}
