//! The state machine: time, chance and verdicts are arguments, and nothing in it waits, locks or allocates.

use std::collections::VecDeque;
use std::time::Duration;

use aqueduct_core::{Instant, Random, Verdict};

use crate::config::{Config, Shedding};
use crate::error::{Refusal, Why};
use crate::window::{Counted, Tally};

/// What a circuit lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Closed,
    /// Nothing, until its time is over.
    Open,
    /// A few probes, which decide.
    HalfOpen,
}

/// Who decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The calls do.
    #[default]
    Automatic,
    /// A person: everything passes, and is counted.
    ForcedClosed,
    /// A person: nothing passes.
    ForcedOpen,
    /// Nobody: everything passes and is counted, and what would have opened the circuit is reported.
    MetricsOnly,
    /// Nobody: everything passes, and nothing is counted.
    Disabled,
}

/// Why a circuit changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too large a share of the calls failed.
    FailureRate,
    /// Too large a share of the calls was slow.
    SlowRate,
    /// Too many calls failed one after the other.
    ConsecutiveFailures,
    /// The probes failed.
    ProbesFailed,
    /// The probes took too long.
    ProbesLate,
    /// The time to stay open is over.
    Waited,
    /// The probes succeeded.
    ProbesSucceeded,
    /// A person asked for it.
    Asked,
}

/// One change of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Instant,
    /// From what.
    pub from: State,
    /// To what.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// False in the mode that only counts: it would have changed.
    pub real: bool,
}

/// The right to make one call. It must come back to [`Machine::finish`], once; a machine that has moved on since
/// does not count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub(crate) generation: u64,
    pub(crate) counted: bool,
}

/// Figures of a machine at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it lets pass.
    pub state: State,
    /// Who decides.
    pub mode: Mode,
    /// What its window holds.
    pub window: Tally,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// How often it has opened since it was closed last.
    pub opened: u32,
    /// Calls that were refused since the start.
    pub refused: u64,
    /// The last changes, the oldest first; at most [`Machine::TRANSITIONS_KEPT`].
    pub transitions: Vec<Transition>,
}

/// A circuit breaker without a clock of its own. [`Breaker`](crate::Breaker) puts it behind a lock.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    mode: Mode,
    phase: Phase,
    window: Counted,
    consecutive: u32,
    opened: u32,
    /// Grows with every change, so that a call which began before it does not count after it.
    generation: u64,
    refused: u64,
    transitions: VecDeque<Transition>,
    changes: u64,
    random: Random,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { since: Instant, granted: u32, done: Tally },
}

impl Machine {
    /// How many changes are kept to be looked at.
    pub const TRANSITIONS_KEPT: usize = 16;

    /// A closed circuit. The seed decides what chance takes off the time it stays open.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            window: Counted::new(config.window),
            config,
            mode: Mode::Automatic,
            phase: Phase::Closed,
            consecutive: 0,
            opened: 0,
            generation: 0,
            refused: 0,
            transitions: VecDeque::with_capacity(Self::TRANSITIONS_KEPT),
            changes: 0,
            random: Random::seeded(seed),
        }
    }

    /// Asks for a call.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when none may be made now.
    ///
    /// # Complexity
    ///
    /// O(1), without allocation.
    pub fn try_acquire(&mut self, now: Instant) -> Result<Grant, Refusal> {
        let granted = match self.mode {
            Mode::Disabled => return Ok(Grant { generation: self.generation, counted: false }),
            Mode::ForcedClosed | Mode::MetricsOnly => Ok(()),
            Mode::ForcedOpen => Err(Refusal::new(Why::Forced, None)),
            Mode::Automatic => self.admit(now),
        };
        match granted {
            Ok(()) => Ok(Grant { generation: self.generation, counted: true }),
            Err(refusal) => {
                self.refused += 1;
                Err(refusal)
            }
        }
    }

    fn admit(&mut self, now: Instant) -> Result<(), Refusal> {
        if let Phase::Open { until } = self.phase {
            let wait = until.since(now);
            if !wait.is_zero() {
                return Err(Refusal::new(Why::Open, Some(wait)));
            }
            self.change(
                now,
                Phase::HalfOpen { since: now, granted: 0, done: Tally::default() },
                Reason::Waited,
            );
        }
        if matches!(self.phase, Phase::Closed) {
            let tally = self.window.tally(now);
            let share = self.shed_share(tally);
            // No chance is drawn where nothing is shed, so that a seed gives the same times as before.
            if share > 0.0 && self.random.unit() < share {
                return Err(Refusal::new(Why::Shed, None));
            }
        }
        if let Phase::HalfOpen { since, granted, done } = self.phase {
            if now.since(since) > self.config.half_open_max {
                let wait = self.open(now, Reason::ProbesLate, None);
                return Err(Refusal::new(Why::Open, Some(wait)));
            }
            if granted >= self.config.half_open_calls {
                return Err(Refusal::new(Why::HalfOpen, None));
            }
            self.phase = Phase::HalfOpen { since, granted: granted + 1, done };
        }
        Ok(())
    }

    /// Takes back a grant with what came of the call and how long it took.
    ///
    /// # Complexity
    ///
    /// O(1), without allocation.
    pub fn finish(&mut self, now: Instant, grant: Grant, verdict: Verdict, took: Duration) {
        self.finish_at(|| now, grant, verdict, took);
    }

    /// The same, for a caller to whom the time costs more than the rest: it is asked for where something depends on
    /// it.
    pub(crate) fn finish_at(
        &mut self,
        now: impl Fn() -> Instant,
        grant: Grant,
        verdict: Verdict,
        took: Duration,
    ) {
        if !grant.counted || grant.generation != self.generation || self.mode == Mode::Disabled {
            return;
        }
        let (failed, retry_after) = match verdict {
            Verdict::Success => (false, None),
            Verdict::Failure { retry_after } => (true, retry_after),
            Verdict::Ignore => {
                if let Phase::HalfOpen { granted, .. } = &mut self.phase {
                    // The probe is given back, so that another one decides.
                    *granted = granted.saturating_sub(1);
                }
                return;
            }
        };
        let slow = self.config.slow.is_some_and(|slow| took > slow.after);
        self.consecutive = if failed { self.consecutive.saturating_add(1) } else { 0 };
        match self.phase {
            Phase::HalfOpen { .. } => self.probed(now(), failed, slow, retry_after),
            Phase::Closed => {
                let tally = self.window.push(&now, failed, slow);
                if let Some(reason) = self.trips(tally) {
                    let now = now();
                    match self.mode {
                        Mode::Automatic => {
                            self.open(now, reason, retry_after);
                        }
                        Mode::MetricsOnly => {
                            let from = State::Closed;
                            self.note(Transition { at: now, from, to: State::Open, reason, real: false });
                            self.window.clear();
                            self.consecutive = 0;
                        }
                        Mode::ForcedClosed | Mode::ForcedOpen | Mode::Disabled => {}
                    }
                }
            }
            // A generation ends when a circuit opens, so nothing comes back to an open one.
            Phase::Open { .. } => {}
        }
    }

    /// Whether what is counted opens the circuit.
    fn trips(&self, tally: Tally) -> Option<Reason> {
        if self.config.consecutive_failures.is_some_and(|most| self.consecutive >= most) {
            return Some(Reason::ConsecutiveFailures);
        }
        let Tally { calls, failed, slow } = tally;
        if calls < self.config.minimum_calls {
            return None;
        }
        if self.config.failure_rate.is_some_and(|rate| reaches(failed, calls, rate)) {
            return Some(Reason::FailureRate);
        }
        self.config.slow.filter(|limit| reaches(slow, calls, limit.rate)).map(|_| Reason::SlowRate)
    }

    /// The probability with which a call is turned away; see [`Shedding`].
    fn shed_share(&self, tally: Tally) -> f64 {
        let Some(Shedding { success_rate, aggression, share_max }) = self.config.shedding else { return 0.0 };
        if tally.calls < self.config.minimum_calls {
            return 0.0;
        }
        let (calls, succeeded) =
            (f64::from(tally.calls), f64::from(tally.calls.saturating_sub(tally.failed)));
        let share = (calls - succeeded / success_rate) / (calls + 1.0);
        share.max(0.0).powf(1.0 / aggression).min(share_max)
    }

    /// Counts a probe, and decides as soon as the others cannot change the outcome.
    fn probed(&mut self, now: Instant, failed: bool, slow: bool, retry_after: Option<Duration>) {
        let Phase::HalfOpen { done, .. } = &mut self.phase else { return };
        done.calls += 1;
        done.failed += u32::from(failed);
        done.slow += u32::from(slow);
        let done = *done;
        let probes = self.config.half_open_calls;
        // Without a rate of its own, one failure among the probes is one too many.
        let fails = match self.config.failure_rate {
            Some(rate) => reaches(done.failed, probes, rate),
            None => done.failed > 0,
        };
        if fails || self.config.slow.is_some_and(|limit| reaches(done.slow, probes, limit.rate)) {
            self.open(now, Reason::ProbesFailed, retry_after);
        } else if done.calls >= probes {
            self.close(now, Reason::ProbesSucceeded);
        }
    }

    /// Opens the circuit; gives for how long.
    fn open(&mut self, now: Instant, reason: Reason, retry_after: Option<Duration>) -> Duration {
        let Config { open_first, open_factor, open_max, open_jitter, retry_after_max, .. } = self.config;
        let grown =
            open_first.as_secs_f64() * open_factor.powi(i32::try_from(self.opened).unwrap_or(i32::MAX));
        let grown = Duration::try_from_secs_f64(grown).map_or(open_max, |grown| grown.min(open_max));
        let own = grown.mul_f64(1.0 - open_jitter * self.random.unit());
        let wait = retry_after.map_or(own, |asked| own.max(asked.min(retry_after_max)));
        self.opened = self.opened.saturating_add(1);
        self.change(now, Phase::Open { until: now.after(wait) }, reason);
        wait
    }

    fn close(&mut self, now: Instant, reason: Reason) {
        self.opened = 0;
        self.change(now, Phase::Closed, reason);
    }

    fn change(&mut self, now: Instant, to: Phase, reason: Reason) {
        let from = self.state();
        self.phase = to;
        self.generation += 1;
        self.consecutive = 0;
        self.window.clear();
        let to = self.state();
        self.note(Transition { at: now, from, to, reason, real: true });
    }

    fn note(&mut self, transition: Transition) {
        if self.transitions.len() == Self::TRANSITIONS_KEPT {
            self.transitions.pop_front();
        }
        self.transitions.push_back(transition);
        self.changes += 1;
    }

    /// What it lets pass, as far as calls decide.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Who decides.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Lets somebody else decide. What is counted stays, except that a circuit which was open begins closed in a
    /// mode that counts.
    pub fn set_mode(&mut self, now: Instant, mode: Mode) {
        if self.mode != mode {
            self.mode = mode;
            let counts = !matches!(mode, Mode::ForcedOpen | Mode::Disabled);
            if counts && self.state() != State::Closed {
                self.close(now, Reason::Asked);
            }
        }
    }

    /// Closes the circuit and forgets what was counted.
    pub fn reset(&mut self, now: Instant) {
        self.close(now, Reason::Asked);
    }

    /// Behaves differently from now on. State and time stay; what was counted stays unless the window is another one.
    pub fn set_config(&mut self, config: Config) {
        if config.window != self.config.window {
            self.window = Counted::new(config.window);
        }
        self.config = config;
    }

    /// Its figures.
    pub fn snapshot(&mut self, now: Instant) -> Snapshot {
        Snapshot {
            state: self.state(),
            mode: self.mode,
            window: self.window.tally(now),
            consecutive_failures: self.consecutive,
            opened: self.opened,
            refused: self.refused,
            transitions: self.transitions.iter().copied().collect(),
        }
    }

    /// Says why a call would be refused now, without asking for one. `None` may still be followed by a refusal: other
    /// callers may be faster, and what shedding turns away is left to chance.
    #[must_use]
    pub fn refuses(&self, now: Instant) -> Option<Refusal> {
        match (self.mode, self.phase) {
            (Mode::ForcedOpen, _) => Some(Refusal::new(Why::Forced, None)),
            (Mode::Automatic, Phase::Open { until }) => {
                let wait = until.since(now);
                (!wait.is_zero()).then(|| Refusal::new(Why::Open, Some(wait)))
            }
            (Mode::Automatic, Phase::HalfOpen { since, granted, .. }) => {
                let full =
                    granted >= self.config.half_open_calls && now.since(since) <= self.config.half_open_max;
                full.then(|| Refusal::new(Why::HalfOpen, None))
            }
            _ => None,
        }
    }

    /// Whether a new machine in its place would do the same, as far as anybody would notice: closed and without a
    /// failure, or open once and left alone since for longer than it may stay open.
    pub(crate) fn may_forget(&self, now: Instant) -> bool {
        self.mode == Mode::Automatic
            && match self.phase {
                Phase::Closed => {
                    let tally = self.window.latest();
                    tally.failed == 0 && tally.slow == 0 && self.consecutive == 0
                }
                Phase::Open { until } => now.since(until) > self.config.open_max,
                Phase::HalfOpen { since, .. } => {
                    now.since(since) > self.config.half_open_max.saturating_add(self.config.open_max)
                }
            }
    }

    /// Until when nothing passes, if that is known.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        match (self.mode, self.phase) {
            (Mode::Automatic, Phase::Open { until }) => Some(until),
            _ => None,
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether every call passes without being asked about.
    pub(crate) fn passes(&self) -> bool {
        match (self.mode, self.phase) {
            // What ran out of a window of time since only lowers the share, and whoever asks finds out.
            (Mode::Automatic, Phase::Closed) => self.shed_share(self.window.latest()) <= 0.0,
            (Mode::ForcedClosed | Mode::MetricsOnly, _) => true,
            _ => false,
        }
    }

    /// Whether a call that passes, goes well and is not slow changes nothing.
    pub(crate) fn is_steady(&self) -> bool {
        self.passes()
            && matches!(self.phase, Phase::Closed)
            && self.consecutive == 0
            && self.window.is_steady()
    }

    /// Whether a call that passes, goes well and is not slow cannot open the circuit, so that it matters only for what
    /// comes after it: there are enough calls already, and one more success lowers every rate.
    pub(crate) fn is_patient(&self) -> bool {
        let by_calls = matches!(self.window, Counted::Calls(_));
        by_calls
            && matches!(self.phase, Phase::Closed)
            && self.window.latest().calls >= self.config.minimum_calls
    }

    /// Counts calls that went well, were not slow, and ended before whatever comes next.
    pub(crate) fn succeed(&mut self, calls: u32) {
        if calls > 0 && matches!(self.phase, Phase::Closed) {
            self.consecutive = 0;
            self.window.succeed(calls);
        }
    }

    /// After how long a call is slow, if that matters.
    pub(crate) fn slow_after(&self) -> Option<Duration> {
        self.config.slow.map(|slow| slow.after)
    }

    /// How many changes there have been, those that were only reported included.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn last_transition(&self) -> Option<Transition> {
        self.transitions.back().copied()
    }
}

/// Whether `part` of `whole` is at least this share, which is above 0. Mostly there is no part, and no need to multiply.
fn reaches(part: u32, whole: u32, share: f64) -> bool {
    part > 0 && f64::from(part) >= share * f64::from(whole)
}
