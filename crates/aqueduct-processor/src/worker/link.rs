//! When to ask a store again that has failed.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use aqueduct_core::Random;
use aqueduct_retry::{Attempt, Growth, Jitter, Next, Schedule};

/// The longest wait: so long after a store is back, its workers are.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// The failures of a store in a row, and the waits after them: from 100 ms to [`DELAY_MAX`], half of each by chance, so
/// that the workers of a store that comes back do not all come at once.
pub(super) struct Link {
    schedule: Schedule,
    failures: u32,
    random: Random,
}

impl Link {
    pub(super) fn new() -> Self {
        let growth = Growth::Exponential { first: Duration::from_millis(100), factor: 2.0 };
        let schedule = Schedule::builder(growth)
            .jitter(Jitter::Equal)
            .retries_max(u32::MAX)
            .delay_max(DELAY_MAX)
            .build();
        // It is within its ranges.
        let schedule = schedule.unwrap_or_default();
        Self { schedule, failures: 0, random: Random::seeded(RandomState::new().hash_one(1_u8)) }
    }

    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }

    /// How long to leave the store alone after one more failure.
    pub(super) fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let attempt = Attempt { number: self.failures, ..Attempt::default() };
        match self.schedule.next(&attempt, &mut self.random) {
            Next::Wait(delay) => delay,
            Next::Stop(_) => DELAY_MAX,
        }
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}
