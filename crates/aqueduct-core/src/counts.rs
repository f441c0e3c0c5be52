use std::fmt;
use std::ops::AddAssign;

/// Counts what became of every item: the ledger of a batch, a run or a pipeline's whole life.
///
/// The ledger balances when everything that came in has gone somewhere:
/// `read + spawned = delivered + dead_lettered + skipped + absorbed + dropped + abandoned + in_flight`.
///
/// A stage that makes n items of one spawns n - 1 (n = 0 is a skip). An item that goes to k sinks spawns
/// k - 1. An aggregate absorbs its inputs and spawns its outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items taken from the source, those that could not be decoded included.
    pub read: u64,
    /// Items that a stage or a fan-out made beyond the one that went in.
    pub spawned: u64,
    /// Items that a sink accepted.
    pub delivered: u64,
    /// Items kept aside with their reason.
    pub dead_lettered: u64,
    /// Items that a stage or a rule left out on purpose.
    pub skipped: u64,
    /// Items that became part of an aggregate.
    pub absorbed: u64,
    /// Items that a full channel was told to let go.
    pub dropped: u64,
    /// Items whose position was committed before their work, and whose work a crash cut off.
    pub abandoned: u64,
    /// Items read and not yet committed; reading starts with them next time.
    pub in_flight: u64,
}

impl Counts {
    /// Everything that came in.
    #[must_use]
    pub fn incoming(&self) -> u64 {
        self.read + self.spawned
    }

    /// Everything whose fate is known.
    #[must_use]
    pub fn accounted(&self) -> u64 {
        self.delivered
            + self.dead_lettered
            + self.skipped
            + self.absorbed
            + self.dropped
            + self.abandoned
            + self.in_flight
    }

    /// Checks that nothing is missing and nothing is there twice.
    ///
    /// # Errors
    ///
    /// [`Imbalance`] holds the counts when the two sides differ. It is always a bug in Aqueduct or in a sink.
    pub fn check(&self) -> Result<(), Imbalance> {
        if self.incoming() == self.accounted() { Ok(()) } else { Err(Imbalance { counts: *self }) }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.spawned += other.spawned;
        self.delivered += other.delivered;
        self.dead_lettered += other.dead_lettered;
        self.skipped += other.skipped;
        self.absorbed += other.absorbed;
        self.dropped += other.dropped;
        self.abandoned += other.abandoned;
        self.in_flight += other.in_flight;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "read {} + spawned {} = delivered {} + dead-lettered {} + skipped {} + absorbed {} + dropped {} \
             + abandoned {} + in flight {}",
            self.read,
            self.spawned,
            self.delivered,
            self.dead_lettered,
            self.skipped,
            self.absorbed,
            self.dropped,
            self.abandoned,
            self.in_flight
        )
    }
}

/// A ledger whose two sides differ: items were lost or counted twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger does not balance ({incoming} in, {accounted} accounted for): {counts}", incoming = counts.incoming(), accounted = counts.accounted())]
pub struct Imbalance {
    /// What was counted.
    pub counts: Counts,
}

impl crate::Classified for Imbalance {
    fn class(&self) -> crate::ErrorClass {
        crate::ErrorClass::Internal
    }
}
