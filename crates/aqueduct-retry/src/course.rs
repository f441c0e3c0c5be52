use std::time::Duration;

use aqueduct_core::{Instant, Random};

use crate::deadline::Deadline;
use crate::schedule::{Attempt, Limit, Next, Schedule};

/// The way of one call from its first attempt to its end, without clock and lock: a schedule under a deadline, for a
/// loop of your own. [`Retry`](crate::Retry) is that loop.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    begun: Instant,
    deadline: Deadline,
    attempt: u32,
    delay: Duration,
}

impl Course {
    /// Begins with the first attempt.
    #[must_use]
    pub fn begin(now: Instant, deadline: Deadline) -> Self {
        Self { begun: now, deadline, attempt: 1, delay: Duration::ZERO }
    }

    /// Gives the number of the attempt that is under way or comes next; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Gives the deadline of this call.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Gives the time that the attempt may take that begins now: its own longest, or what is left until the deadline.
    /// `None` for as long as it likes; zero when it must not begin.
    #[must_use]
    pub fn time_for_attempt(&self, own: Option<Duration>, now: Instant) -> Option<Duration> {
        match (own, self.deadline.remaining(now)) {
            (Some(own), Some(left)) => Some(own.min(left)),
            (own, left) => own.or(left),
        }
    }

    /// Says what to do now that the attempt has failed. After a wait, the next one is under way.
    ///
    /// A wait that would reach the deadline is not begun.
    pub fn fail(
        &mut self,
        schedule: &Schedule,
        retry_after: Option<Duration>,
        now: Instant,
        random: &mut Random,
    ) -> Next {
        if !self.deadline.allows(now, Duration::ZERO) {
            return Next::Stop(Limit::Deadline);
        }
        let failed = Attempt {
            number: self.attempt,
            elapsed: now.since(self.begun),
            previous_delay: self.delay,
            retry_after,
        };
        let next = schedule.next(&failed, random);
        if let Next::Wait(delay) = next {
            if !self.deadline.allows(now, delay) {
                return Next::Stop(Limit::Deadline);
            }
            self.attempt = self.attempt.saturating_add(1);
            self.delay = delay;
        }
        next
    }
}
