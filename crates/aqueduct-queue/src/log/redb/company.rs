//! Which writes become one commit.

use std::time::Duration;

use aqueduct_core::Clock;
use crossbeam_channel::{Receiver, TryRecvError};

use crate::log::Done;

use super::tables::Row;

/// A write on its way, encoded.
pub(super) struct Pending {
    pub(super) rows: Vec<Row>,
    pub(super) bytes: usize,
    pub(super) done: Done,
}

/// The most changes and bytes that one commit takes on. More would make all of them wait for the slowest, and hold more
/// in memory, and is no faster: the cost of the sync is spread thin by then.
const CHANGES_MAX: usize = 4096;
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Who is expected in the next commit. Callers that were just told tend to come back at once, all of them: a commit that
/// begins with the first of them makes the others wait for two.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// How many were told at the end of the last commit, or were waiting by then.
    expected: usize,
    /// Commits since they last came in time, as a power of two, and how many are still not to wait for anybody.
    failures: u32,
    skips: u32,
}

/// How long a commit waits for all that are expected. About a sync of a fast disk.
const PATIENCE: Duration = Duration::from_micros(200);

/// At most so many powers of two.
const FAILURES_MAX: u32 = 8;

impl Company {
    /// The first write, what waits behind it, and those that are expected.
    pub(super) fn gather(
        &mut self,
        first: Pending,
        queue: &Receiver<Pending>,
        clock: &Clock,
    ) -> Vec<Pending> {
        let (mut changes, mut bytes) = (first.rows.len(), first.bytes);
        let mut writes = vec![first];
        // Known only where somebody is waited for.
        let mut until = None;
        while changes < CHANGES_MAX && bytes < BYTES_MAX {
            let next = match queue.try_recv() {
                Err(TryRecvError::Empty) if self.waits(writes.len()) => {
                    let now = clock.now();
                    let until = *until.get_or_insert_with(|| now.after(PATIENCE));
                    queue.recv_timeout(until.since(now)).ok()
                }
                next => next.ok(),
            };
            let Some(write) = next else { break };
            changes += write.rows.len();
            bytes += write.bytes;
            writes.push(write);
        }
        self.end(writes.len());
        writes
    }

    /// So many were told, and so many are waiting already.
    pub(super) fn told(&mut self, told: usize, waiting: usize) {
        self.expected = told + waiting;
    }

    /// Whether a commit that has so many waits for one more.
    fn waits(&self, has: usize) -> bool {
        self.skips == 0 && has < self.expected
    }

    fn end(&mut self, has: usize) {
        if has >= self.expected {
            self.failures = 0;
        } else if self.skips > 0 {
            self.skips -= 1;
        } else {
            self.skips = 1 << self.failures;
            self.failures = FAILURES_MAX.min(self.failures + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many come of those for whom a commit waits, of so many at most. It has one already.
    fn commit(company: &mut Company, comes: usize) -> usize {
        let came = (1..=comes).take_while(|came| company.waits(*came)).count();
        company.end(1 + came);
        came
    }

    #[test]
    fn a_commit_waits_for_those_who_are_expected_and_for_no_others() {
        let mut company = Company::default();
        assert_eq!(commit(&mut company, 9), 0);
        company.told(1, 0);
        assert_eq!(commit(&mut company, 9), 0);
        company.told(3, 2);
        assert_eq!(commit(&mut company, 9), 4);
    }

    #[test]
    fn who_stays_away_is_waited_for_ever_more_rarely() {
        let mut company = Company::default();
        company.told(1, 1);
        let waits: Vec<_> = (0..1_000)
            .filter(|_| {
                let waits = company.waits(1);
                company.end(1);
                waits
            })
            .collect();
        assert_eq!(waits, [0, 2, 5, 10, 19, 36, 69, 134, 263, 520, 777]);
        // When they come while nobody waits, it is worth the wait again.
        company.end(2);
        assert_eq!(company.failures, 0);
    }
}
