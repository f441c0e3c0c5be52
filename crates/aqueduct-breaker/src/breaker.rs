use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, Forget, Instant, Verdict};

use crate::config::Config;
use crate::error::{CallError, Refusal, Why};
use crate::machine::{Grant, Machine, Mode, Snapshot, State, Transition};
use crate::metrics::Metrics;

/// A circuit breaker that threads share.
///
/// A closed circuit is asked without a lock, and so is an open one. A call that ends takes one for a few nanoseconds,
/// except a success that cannot open the circuit, in a window of calls: it is put aside, and the next call that takes the
/// lock counts it. Where everything in the window went well, it need not be counted at all.
pub struct Breaker {
    clock: Clock,
    /// Guards the state. Nothing under it waits, and the observer is called outside of it.
    machine: Mutex<Machine>,
    /// The generation and what holds for it; see the flags. Written under the lock, read without it: a reader that
    /// sees an old one gets a grant that does not count, or counts nothing where nothing had to be counted when it
    /// began to end.
    gate: AtomicU64,
    /// Until when nothing passes, in nanoseconds of the clock; 0 where that is not known. Written like the gate.
    until: AtomicU64,
    /// From how many nanoseconds on a call is slow. Written like the gate.
    slow_after: AtomicU64,
    /// Successes that wait to be counted, in the lower half, and in the upper the generation that they belong to.
    /// Relaxed: the lock orders those who take them out, and one that comes too late belongs after the change.
    aside: AtomicU64,
    /// Refusals without the lock. Relaxed: it is only added up.
    refused: AtomicU64,
    observer: Option<Box<Observer>>,
    metrics: Option<Metrics>,
}

type Observer = dyn Fn(&Transition) + Send + Sync;

/// Every call passes without being asked about.
const PASSES: u64 = 1;
/// A call that goes well and is not slow changes nothing.
const STEADY: u64 = 2;
/// How long a call takes matters.
const TIMED: u64 = 4;
/// A call that goes well and is not slow can be counted later.
const PATIENT: u64 = 8;
const FLAG_BITS: u32 = 4;
/// The part of `aside` that is a count.
const ASIDE_COUNT: u64 = 0xFFFF_FFFF;

impl Breaker {
    /// A closed circuit on this clock.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Self {
        Self::seeded(config, clock, 0)
    }

    /// The same, with the seed of the chance in how long it stays open and in what it sheds. Breakers of one service
    /// on many machines want different seeds.
    #[must_use]
    pub fn seeded(config: Config, clock: Clock, seed: u64) -> Self {
        let breaker = Self {
            clock,
            machine: Mutex::new(Machine::new(config, seed)),
            gate: AtomicU64::new(0),
            until: AtomicU64::new(0),
            slow_after: AtomicU64::new(0),
            aside: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            observer: None,
            metrics: None,
        };
        breaker.publish_config(&breaker.lock());
        breaker
    }

    /// Tells every change to `observer`, on the thread that caused it and outside of the lock.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Counts calls and changes there. Breakers may share one, as those of all hosts of one service do.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Asks for a call. The permit gives itself back when it is dropped.
    ///
    /// # Errors
    ///
    /// [`Refusal`], with the time to wait where that is known.
    pub fn try_acquire(&self) -> Result<Permit<&Self>, Refusal> {
        let (grant, begun) = self.grant()?;
        Ok(Permit { breaker: self, grant: Some(grant), begun })
    }

    /// Asks for a call, and gives a permit that may outlive the caller.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(self: &Arc<Self>) -> Result<Permit<Arc<Self>>, Refusal> {
        let (grant, begun) = self.grant()?;
        Ok(Permit { breaker: Arc::clone(self), grant: Some(grant), begun })
    }

    /// Says why a call would be refused now, without asking for one; see [`Machine::refuses`].
    #[must_use]
    pub fn refuses(&self) -> Option<Refusal> {
        if self.gate.load(Ordering::Acquire) & PASSES != 0 {
            return None;
        }
        self.still_open().or_else(|| {
            let now = self.clock.now();
            self.lock().refuses(now)
        })
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
        self.call_with(Verdict::of_result, call).await
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
        self.change(|machine| {
            machine.set_config(config);
            self.publish_config(machine);
        });
    }

    /// Its figures.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let mut snapshot = self.change(|machine| machine.snapshot(now));
        snapshot.refused += self.refused.load(Ordering::Relaxed);
        snapshot
    }

    /// The right to a call, and when it began if that matters.
    fn grant(&self) -> Result<(Grant, Option<Instant>), Refusal> {
        let gate = self.gate.load(Ordering::Acquire);
        if gate & PASSES == 0 {
            if let Some(refusal) = self.still_open() {
                self.refused.fetch_add(1, Ordering::Relaxed);
                if let Some(metrics) = &self.metrics {
                    metrics.refused.increment();
                }
                return Err(refusal);
            }
            return self.ask();
        }
        let grant = Grant { generation: gate >> FLAG_BITS, counted: true };
        Ok((grant, (gate & TIMED != 0).then(|| self.clock.now())))
    }

    /// Asks under the lock. Out of line, so that the two answers above stay small.
    #[cold]
    #[inline(never)]
    fn ask(&self) -> Result<(Grant, Option<Instant>), Refusal> {
        let now = self.clock.now();
        let granted = self.change(|machine| machine.try_acquire(now));
        if let (Err(_), Some(metrics)) = (&granted, &self.metrics) {
            metrics.refused.increment();
        }
        granted.map(|grant| (grant, Some(now)))
    }

    /// The refusal of a circuit whose time is not over. The ticks are late by some milliseconds and never early, so
    /// it may refuse a little longer than it must.
    #[inline]
    fn still_open(&self) -> Option<Refusal> {
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return None;
        }
        let wait = Instant::default().after(Duration::from_nanos(until)).since(self.clock.coarse());
        (!wait.is_zero()).then(|| Refusal::new(Why::Open, Some(wait)))
    }

    /// Takes a verdict. Out of line, so that the permit's two ends share it.
    fn finish(&self, grant: Grant, begun: Option<Instant>, verdict: Verdict) {
        if let Some(metrics) = &self.metrics {
            metrics.ended(verdict);
        }
        let gate = self.gate.load(Ordering::Acquire);
        let ended = begun.filter(|_| gate & TIMED != 0).map(|begun| (begun, self.clock.now()));
        let took = ended.map_or(Duration::ZERO, |(begun, now)| now.since(begun));
        if verdict == Verdict::Success
            && gate & (STEADY | PATIENT) != 0
            && grant.generation == gate >> FLAG_BITS
            && nanos(took) <= self.slow_after.load(Ordering::Acquire)
            && (gate & STEADY != 0 || self.put_aside(grant.generation))
        {
            return;
        }
        self.count(grant, ended.map(|(_, now)| now), verdict, took);
    }

    /// Takes a verdict under the lock.
    fn count(&self, grant: Grant, ended: Option<Instant>, verdict: Verdict, took: Duration) {
        let now = || ended.unwrap_or_else(|| self.clock.now());
        self.change(|machine| machine.finish_at(now, grant, verdict, took));
    }

    /// Leaves a success to whoever takes the lock next. False when the generation is over.
    fn put_aside(&self, generation: u64) -> bool {
        let add = |aside: u64| {
            let fits = aside >> 32 == generation & ASIDE_COUNT && aside & ASIDE_COUNT < ASIDE_COUNT;
            fits.then_some(aside + 1)
        };
        self.aside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Counts what was put aside.
    fn take_aside(&self, machine: &mut Machine) {
        let none = (machine.generation() & ASIDE_COUNT) << 32;
        if self.aside.load(Ordering::Relaxed) != none {
            let aside = self.aside.swap(none, Ordering::Relaxed);
            machine.succeed(u32::try_from(aside & ASIDE_COUNT).unwrap_or(u32::MAX));
        }
    }

    /// Does something under the lock, then tells the readers without it and the observer what has changed.
    fn change<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.lock();
        self.take_aside(&mut machine);
        let before = machine.changes();
        let done = work(&mut machine);
        self.publish(&machine);
        let transition = if machine.changes() == before { None } else { machine.last_transition() };
        drop(machine);
        if let Some(transition) = transition {
            self.tell(&transition);
        }
        done
    }

    #[cold]
    fn tell(&self, transition: &Transition) {
        if let Some(metrics) = &self.metrics {
            metrics.changed(transition);
        }
        if let Some(observer) = &self.observer {
            observer(transition);
        }
    }

    fn publish(&self, machine: &Machine) {
        let flag = |flag: u64, set: bool| if set { flag } else { 0 };
        let passes = machine.passes();
        let gate = machine.generation() << FLAG_BITS
            | flag(PASSES, passes)
            | flag(STEADY, passes && machine.is_steady())
            | flag(PATIENT, passes && machine.is_patient())
            | flag(TIMED, machine.slow_after().is_some());
        // Most calls change nothing, and a store is dearer than a load. Where not every call passes, the time may have
        // changed although the gate has not: a person has taken over.
        if !passes || self.gate.load(Ordering::Relaxed) != gate {
            let until = machine.open_until().map_or(0, |until| nanos(until.elapsed_since_start()));
            let none = (machine.generation() & ASIDE_COUNT) << 32;
            if self.aside.load(Ordering::Relaxed) >> 32 != none >> 32 {
                // What was put aside meanwhile ended before this change, as far as anybody can tell.
                self.aside.store(none, Ordering::Relaxed);
            }
            self.until.store(until, Ordering::Release);
            self.gate.store(gate, Ordering::Release);
        }
    }

    fn publish_config(&self, machine: &Machine) {
        self.slow_after.store(machine.slow_after().map_or(u64::MAX, nanos), Ordering::Release);
        self.publish(machine);
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole figures.
    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forget for Breaker {
    /// Closed and without a failure in its window, or left alone for longer than it may stay open.
    fn may_forget(&self, now: Instant) -> bool {
        self.lock().may_forget(now)
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if let Some(metrics) = &self.metrics {
            let machine = self.machine.get_mut().unwrap_or_else(PoisonError::into_inner);
            metrics.gone(machine.state());
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("machine", &*self.lock()).finish_non_exhaustive()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The right to make one call. Dropped without a verdict it says nothing, and a probe is free for another call.
#[must_use = "a permit that is dropped at once lets no call be counted"]
pub struct Permit<B: Deref<Target = Breaker>> {
    breaker: B,
    grant: Option<Grant>,
    begun: Option<Instant>,
}

impl<B: Deref<Target = Breaker>> Permit<B> {
    /// Says what came of the call. The time since the permit was given is how long it took.
    pub fn finish(mut self, verdict: Verdict) {
        if let Some(grant) = self.grant.take() {
            self.breaker.finish(grant, self.begun, verdict);
        }
    }
}

impl<B: Deref<Target = Breaker>> Drop for Permit<B> {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.breaker.finish(grant, self.begun, Verdict::Ignore);
        }
    }
}

impl<B: Deref<Target = Breaker>> fmt::Debug for Permit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("grant", &self.grant).finish_non_exhaustive()
    }
}
