//! Which writes become one commit.

use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};

use super::committer::Pending;

/// The most changes and bytes that one commit takes on. More would make all of them wait for the slowest, and hold more
/// in memory, and is no faster: the cost of the sync is spread thin by then.
const CHANGES_MAX: usize = 4096;
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Who is expected in the next commit. Callers that were just told tend to come back at once, all of them: a commit that
/// begins with the first of them makes the others wait for two.
#[derive(Debug)]
pub(super) struct Company {
    /// How long the next one of those that are expected may take.
    patience: Duration,
    /// How many were told at the end of the last commit, or were waiting by then.
    expected: usize,
    /// Commits since they last came in time, as a power of two, and how many are still not to wait for anybody.
    failures: u32,
    skips: u32,
}

/// About half a sync of a fast disk.
const PATIENCE: Duration = Duration::from_micros(100);

/// At most so many powers of two.
const FAILURES_MAX: u32 = 8;

impl Default for Company {
    fn default() -> Self {
        Self { patience: PATIENCE, expected: 0, failures: 0, skips: 0 }
    }
}

impl Company {
    /// The first write, what waits behind it, and those that are expected.
    pub(super) fn gather(&mut self, first: Pending, queue: &Receiver<Pending>) -> Vec<Pending> {
        let (mut changes, mut bytes) = (first.rows.len(), first.bytes);
        let mut writes = vec![first];
        let waits = self.skips == 0;
        self.skips = self.skips.saturating_sub(1);
        while changes < CHANGES_MAX && bytes < BYTES_MAX {
            let next = match queue.try_recv() {
                Err(TryRecvError::Empty) if waits && writes.len() < self.expected => {
                    queue.recv_timeout(self.patience).map_err(|_| self.fail())
                }
                next => next.map_err(|_| ()),
            };
            let Ok(write) = next else { break };
            changes += write.rows.len();
            bytes += write.bytes;
            writes.push(write);
        }
        if writes.len() >= self.expected {
            self.failures = 0;
        }
        writes
    }

    fn fail(&mut self) {
        self.skips = 1 << self.failures;
        self.failures = FAILURES_MAX.min(self.failures + 1);
    }

    /// So many were told, and so many are waiting already.
    pub(super) fn told(&mut self, told: usize, waiting: usize) {
        self.expected = told + waiting;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::Tell;

    fn write() -> Pending {
        Pending { rows: Vec::new(), bytes: 0, done: Box::new(|_| Tell::new(|| (), None)) }
    }

    #[test]
    fn those_who_were_told_are_waited_for_and_no_others() {
        let (sender, queue) = crossbeam_channel::bounded(4);
        let mut company = Company { patience: Duration::from_secs(60), ..Company::default() };
        assert_eq!(company.gather(write(), &queue).len(), 1);
        company.told(1, 2);
        // The third comes in its own time.
        sender.send(write()).expect("somebody takes it");
        let late = std::thread::spawn({
            let (sender, queue) = (sender.clone(), queue.clone());
            move || {
                while !queue.is_empty() {
                    std::thread::yield_now();
                }
                sender.send(write()).expect("somebody takes it");
            }
        });
        assert_eq!(company.gather(write(), &queue).len(), 3);
        late.join().expect("it ends");
        assert_eq!((company.failures, company.skips), (0, 0));
    }

    #[test]
    fn who_stays_away_is_waited_for_ever_more_rarely() {
        let (_sender, queue) = crossbeam_channel::bounded(4);
        let mut company = Company::default();
        let mut waits = Vec::new();
        for commit in 0..1_000 {
            company.told(1, 1);
            let waited = company.skips == 0;
            assert_eq!(company.gather(write(), &queue).len(), 1);
            if waited {
                waits.push(commit);
            }
        }
        assert_eq!(waits, [0, 2, 5, 10, 19, 36, 69, 134, 263, 520, 777]);
        // One that comes makes it worth the wait again.
        company.told(1, 0);
        company.gather(write(), &queue);
        assert_eq!(company.failures, 0);
    }
}
