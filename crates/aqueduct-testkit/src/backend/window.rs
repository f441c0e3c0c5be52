use std::collections::VecDeque;
use std::time::Duration;

use super::script::QUOTA_CALLS_MAX;

/// More are not kept. It is more than any quota allows, so that a count that stops here still says that one was exceeded.
const KEPT_MAX: u64 = QUOTA_CALLS_MAX + 1;

/// The calls of the last so much time, exactly: a call at `t` is in the windows that end in `[t, t + span)`.
#[derive(Debug)]
pub(super) struct Window {
    span: u64,
    /// When each call came, in nanoseconds, the oldest first.
    log: VecDeque<u64>,
    /// The greatest number that there ever was in one window.
    max: u64,
}

impl Window {
    pub(super) fn new(span: Duration) -> Self {
        Self { span: nanos(span), log: VecDeque::new(), max: 0 }
    }

    /// Tells how many calls there are in the window that ends now. Times never go back.
    pub(super) fn count(&mut self, now: Duration) -> u64 {
        let now = nanos(now);
        while self.log.front().is_some_and(|oldest| now.saturating_sub(*oldest) >= self.span) {
            self.log.pop_front();
        }
        self.log.len() as u64
    }

    /// Adds a call that comes now. Amortised O(1).
    pub(super) fn add(&mut self, now: Duration) {
        if self.count(now) == KEPT_MAX {
            self.log.pop_front();
        }
        self.log.push_back(nanos(now));
        self.max = self.max.max(self.log.len() as u64);
    }

    /// How long until there is room for one more beside `calls - 1` others.
    pub(super) fn wait(&mut self, now: Duration, calls: u64) -> Duration {
        let excess = self.count(now).checked_sub(calls).and_then(|excess| usize::try_from(excess).ok());
        match excess.and_then(|excess| self.log.get(excess)) {
            Some(last) => Duration::from_nanos((last + self.span).saturating_sub(nanos(now))),
            None => Duration::ZERO,
        }
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }
}

/// A clock that runs for 500 years is none of ours.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use aqueduct_core::Random;

    use super::*;

    #[test]
    fn the_greatest_number_in_a_window_is_what_trying_every_window_finds() {
        for seed in 0..50 {
            let mut random = Random::seeded(seed);
            let (mut window, mut now, mut calls) = (Window::new(Duration::from_nanos(100)), 0, Vec::new());
            for _ in 0..200 {
                now += random.below(25);
                window.add(Duration::from_nanos(now));
                calls.push(now);
            }
            let in_window = |end: &u64| calls.iter().filter(|at| **at <= *end && end - **at < 100).count();
            assert_eq!(window.max(), calls.iter().map(in_window).max().unwrap_or(0) as u64, "seed {seed}");
        }
    }

    #[test]
    fn the_wait_ends_when_there_is_room_and_not_before() {
        let mut window = Window::new(Duration::from_nanos(100));
        for at in [10, 20, 30] {
            window.add(Duration::from_nanos(at));
        }
        let now = Duration::from_nanos(40);
        for (calls, wait) in [(4, 0), (3, 70), (2, 80), (1, 90)] {
            assert_eq!(window.wait(now, calls), Duration::from_nanos(wait), "{calls}");
        }
        assert_eq!(window.count(Duration::from_nanos(109)), 3);
        assert_eq!(window.count(Duration::from_nanos(110)), 2);
    }

    #[test]
    fn a_window_has_a_bound() {
        let mut window = Window::new(Duration::from_secs(1));
        for _ in 0..KEPT_MAX + 10 {
            window.add(Duration::ZERO);
        }
        assert_eq!((window.max(), window.count(Duration::ZERO)), (KEPT_MAX, KEPT_MAX));
    }
}
