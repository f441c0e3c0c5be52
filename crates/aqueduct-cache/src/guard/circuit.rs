use std::time::Duration;

use aqueduct_core::Instant;

/// Whether a level is asked at all.
#[derive(Debug)]
pub(crate) struct Circuit {
    state: State,
    failures_max: u32,
    cool_down: Duration,
    /// How often it has opened.
    pub(crate) opened: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// With the failures since the last success.
    Closed(u32),
    Open {
        until: Instant,
    },
    HalfOpen,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: it is closed.
    Pass,
    Wait(Duration),
    Probe,
}

impl Circuit {
    pub(crate) fn new(failures_max: u32, cool_down: Duration) -> Self {
        Self { state: State::Closed(0), failures_max, cool_down, opened: 0 }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// Closed => Closed with a count of nought. What ends well while it is not closed began before and says nothing.
    pub(crate) fn succeeded(&mut self) {
        if let State::Closed(failures) = &mut self.state {
            *failures = 0;
        }
    }

    /// Closed => (Closed | Open) when there were enough in a row.
    pub(crate) fn failed(&mut self, now: Instant) {
        let State::Closed(failures) = &mut self.state else { return };
        *failures += 1;
        if *failures >= self.failures_max {
            self.state = State::Open { until: now.after(self.cool_down) };
            self.opened += 1;
        }
    }

    /// Open => (Open | HalfOpen) when the cool-down is over; the caller then probes, and is alone in it.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        match self.state {
            State::Closed(_) => Next::Pass,
            State::Open { until } if now < until => Next::Wait(until.since(now)),
            State::Open { .. } | State::HalfOpen => {
                self.state = State::HalfOpen;
                Next::Probe
            }
        }
    }

    /// HalfOpen => Open when the probe, or what was written after it, failed.
    pub(crate) fn reopen(&mut self, now: Instant) {
        if matches!(self.state, State::HalfOpen) {
            self.state = State::Open { until: now.after(self.cool_down) };
        }
    }

    /// HalfOpen => Closed when the level has what it missed.
    pub(crate) fn close(&mut self) {
        if matches!(self.state, State::HalfOpen) {
            self.state = State::Closed(0);
        }
    }
}
