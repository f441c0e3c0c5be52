use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aqueduct_core::{Clock, Instant, Verdict};

use crate::config::Config;
use crate::error::{CallError, Refusal, Why};
use crate::machine::{Grant, Machine, Mode, Snapshot, State, Transition};

/// A circuit breaker that threads share.
///
/// A closed circuit is asked without a lock, and so is an open one; a call that ends takes one for a few
/// nanoseconds, and nobody waits for anything else under it.
pub struct Breaker {
    clock: Clock,
    machine: Mutex<Machine>,
    /// Twice the generation, plus one where every call passes. Written under the lock, read without it: a reader
    /// that sees an old one gets a grant that does not count.
    gate: AtomicU64,
    /// Until when nothing passes, in nanoseconds of the clock; 0 where that is not known. Written like the gate.
    until: AtomicU64,
    /// Refusals without the lock. Relaxed: it is only added up.
    refused: AtomicU64,
    observer: Option<Box<Observer>>,
}

type Observer = dyn Fn(&Transition) + Send + Sync;

impl Breaker {
    /// A closed circuit on this clock.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Self {
        Self::seeded(config, clock, 0)
    }

    /// The same, with the seed of the chance in how long it stays open. Breakers of one service on many machines
    /// want different seeds.
    #[must_use]
    pub fn seeded(config: Config, clock: Clock, seed: u64) -> Self {
        let breaker = Self {
            clock,
            machine: Mutex::new(Machine::new(config, seed)),
            gate: AtomicU64::new(0),
            until: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            observer: None,
        };
        breaker.publish(&breaker.lock());
        breaker
    }

    /// Tells every change to `observer`, on the thread that caused it and outside of the lock.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Asks for a call. The permit gives itself back when it is dropped.
    ///
    /// # Errors
    ///
    /// [`Refusal`], with the time to wait where that is known.
    pub fn try_acquire(&self) -> Result<Permit<'_>, Refusal> {
        let now = self.clock.now();
        let gate = self.gate.load(Ordering::Acquire);
        let grant = if gate & 1 == 1 {
            Grant { generation: gate >> 1, counted: true }
        } else {
            let wait = Instant::default().after(nanos(self.until.load(Ordering::Acquire))).since(now);
            if !wait.is_zero() {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Refusal::new(Why::Open, Some(wait)));
            }
            self.change(|machine| machine.try_acquire(now))?
        };
        Ok(Permit { breaker: self, grant: Some(grant), begun: now })
    }

    /// Makes a call if it may be made. An error counts as a failure; [`Breaker::call_with`] lets you say otherwise.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] when it was not made, [`CallError::Failed`] with its own error.
    ///
    /// # Cancel safety
    ///
    /// A dropped call gives its permit back and counts as nothing.
    pub async fn call<T, E, F>(&self, call: F) -> Result<T, CallError<E>>
    where
        F: AsyncFnOnce() -> Result<T, E>,
    {
        let judge = |result: &Result<T, E>| if result.is_ok() { Verdict::Success } else { Verdict::FAILURE };
        self.call_with(judge, call).await
    }

    /// Makes a call if it may be made, and judges what came of it.
    ///
    /// # Errors
    ///
    /// As [`Breaker::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`Breaker::call`].
    pub async fn call_with<T, E, F, J>(&self, judge: J, call: F) -> Result<T, CallError<E>>
    where
        F: AsyncFnOnce() -> Result<T, E>,
        J: FnOnce(&Result<T, E>) -> Verdict,
    {
        let permit = self.try_acquire()?;
        let result = call().await;
        permit.finish(judge(&result));
        result.map_err(CallError::Failed)
    }

    /// Makes a call, or does something else instead when it may not be made. What fails is not tried elsewhere.
    ///
    /// # Errors
    ///
    /// What the call or the fallback gives.
    ///
    /// # Cancel safety
    ///
    /// As [`Breaker::call`].
    pub async fn call_or<T, E, F, B, R>(&self, call: F, fallback: B) -> Result<T, E>
    where
        F: AsyncFnOnce() -> Result<T, E>,
        B: FnOnce(Refusal) -> R,
        R: Future<Output = Result<T, E>>,
    {
        match self.call(call).await {
            Ok(value) => Ok(value),
            Err(CallError::Failed(error)) => Err(error),
            Err(CallError::Refused(refusal)) => fallback(refusal).await,
        }
    }

    /// What it lets pass now, as far as calls decide. An open circuit whose time is over becomes half-open when it is
    /// asked for a call.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state()
    }

    /// Lets somebody else decide.
    pub fn set_mode(&self, mode: Mode) {
        let now = self.clock.now();
        self.change(|machine| machine.set_mode(now, mode));
    }

    /// Closes the circuit and forgets what was counted.
    pub fn reset(&self) {
        let now = self.clock.now();
        self.change(|machine| machine.reset(now));
    }

    /// Behaves differently from now on; see [`Machine::set_config`].
    pub fn set_config(&self, config: Config) {
        self.change(|machine| machine.set_config(config));
    }

    /// Its figures.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let mut snapshot = self.lock().snapshot(now);
        snapshot.refused += self.refused.load(Ordering::Relaxed);
        snapshot
    }

    fn finish(&self, grant: Grant, begun: Instant, verdict: Verdict) {
        let now = self.clock.now();
        self.change(|machine| machine.finish(now, grant, verdict, now.since(begun)));
    }

    /// Does something under the lock, then tells the readers without it and the observer what has changed.
    fn change<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.lock();
        let before = machine.last_transition();
        let done = work(&mut machine);
        let after = machine.last_transition();
        self.publish(&machine);
        drop(machine);
        if let (Some(observer), Some(transition)) = (&self.observer, after.filter(|_| after != before)) {
            observer(&transition);
        }
        done
    }

    fn publish(&self, machine: &Machine) {
        let gate = machine.passes().map_or(0, |generation| generation << 1 | 1);
        let until = machine
            .open_until()
            .map_or(0, |until| u64::try_from(until.elapsed_since_start().as_nanos()).unwrap_or(u64::MAX));
        if self.gate.load(Ordering::Relaxed) != gate {
            self.gate.store(gate, Ordering::Release);
        }
        if self.until.load(Ordering::Relaxed) != until {
            self.until.store(until, Ordering::Release);
        }
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole figures.
    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("machine", &*self.lock()).finish_non_exhaustive()
    }
}

fn nanos(nanos: u64) -> std::time::Duration {
    std::time::Duration::from_nanos(nanos)
}

/// The right to make one call. Dropped without a verdict it says nothing, and a probe is free for another call.
#[must_use = "a permit that is dropped at once lets no call be counted"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    grant: Option<Grant>,
    begun: Instant,
}

impl Permit<'_> {
    /// Says what came of the call. The time since the permit was given is how long it took.
    pub fn finish(mut self, verdict: Verdict) {
        if let Some(grant) = self.grant.take() {
            self.breaker.finish(grant, self.begun, verdict);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.breaker.finish(grant, self.begun, Verdict::Ignore);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("grant", &self.grant).finish_non_exhaustive()
    }
}
