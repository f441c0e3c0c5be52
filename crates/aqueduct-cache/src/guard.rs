//! The wall between a level and whoever asks it.

mod circuit;
mod config;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aqueduct_core::{Clock, Instant};
use futures_util::future::{Either, join_all, select};
use serde::Serialize;
use tokio::task::JoinHandle;

use self::circuit::{Circuit, Next};
pub use self::config::{GuardBuilder, GuardConfig};
use self::recovery::{Change, Known, Missed, Recovery, Target, Work, is_expired};
use crate::invalidations::{Invalidations, Scope};
use crate::level::{Level, LevelError, Place};
use crate::stored::Stored;

/// Stands before a [`Level`]: whoever asks here neither waits long nor gets an error, whatever becomes of the level.
///
/// A level that fails several times in a row is left alone; then a task in the background asks now and again whether it is
/// there. What was to be written meanwhile is kept, and written before the level is asked again. So what is found here was
/// never removed or replaced through this guard before.
///
/// # Limits
///
/// * What others have changed in a shared level is not known here; [`Level::listen`] tells.
/// * A write whose time limit ran out may still reach the level. It reaches it before a later one of the same key, as long
///   as the level does in order what it was asked in order; on one connection it does. Over two connections, or after a
///   server was stopped and continued, an old write may come last; it stays until it expires or is replaced.
/// * What is kept for the level is lost with the process; [`close`](Self::close) tells how much that was.
/// * A collapse of the recovery (see there) counts on the level to know an edition as great as that of any value in it.
pub(crate) struct Guard {
    shared: Arc<Shared>,
}

/// What a guard has of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Found(Stored),
    Missing,
    /// The level cannot be asked, or what it says cannot be believed.
    Away,
}

/// What became of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuardStats {
    /// Whether the level is left alone at the moment.
    pub is_open: bool,
    /// How often it was given up for a while.
    pub opened: u64,
    /// Calls of it that failed or took too long.
    pub failures: u64,
    /// Writes that it refused.
    pub refusals: u64,
    /// Writes that were kept for it and have reached it.
    pub recovered: u64,
    /// Values that it refused until they were given up.
    pub given_up: u64,
    /// How often there was no room for what was kept, and a namespace gave way.
    pub collapses: u64,
    /// Writes that are kept for it at the moment.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
}

/// What [`Guard`] shares with its task.
struct Shared {
    /// Itself, for the task.
    me: Weak<Self>,
    level: Arc<dyn Level>,
    clock: Clock,
    config: GuardConfig,
    on_back: Box<dyn Fn() + Send + Sync>,
    /// Guards everything that changes. Held for no call of the level.
    state: Mutex<State>,
    /// One of them is held while a key is written, so that two writes of it do not overtake each other. A key has the one
    /// of its hash; they are in order of arrival.
    turns: Box<[tokio::sync::Mutex<()>]>,
}

struct State {
    circuit: Circuit,
    recovery: Recovery,
    task: Option<JoinHandle<()>>,
    /// After this the level has ended, and nothing reaches it any more.
    is_closed: bool,
    /// When what could not be written while the level was there is tried again.
    retry_at: Instant,
    failures: u64,
    refusals: u64,
    recovered: u64,
}

/// Why a call of the level gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Away,
    Refused,
}

/// How far a pass over the recovery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Everything was tried.
    Whole,
    Failed,
}

/// Two of sixteen writers at once meet on a turn about every other time, and wait for one round trip then.
const TURNS: usize = 256;

/// So many writes are sent before the first answer is waited for: enough to hide the round trip, few enough to be no burden.
const REPLAYS_AT_ONCE: usize = 64;

/// How often what came in meanwhile is written too before the level is asked again. What comes in later is written while
/// it is asked; a key that waits is answered from here all the same.
const PASSES_MAX: usize = 8;

impl Guard {
    /// Stands before a level from now on. `on_back` is called when a level that was away is there again, before the first
    /// call reaches it; it must neither wait nor use the guard.
    pub(crate) fn new(
        level: Arc<dyn Level>,
        config: GuardConfig,
        clock: Clock,
        on_back: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let state = State {
            circuit: Circuit::new(config.failures, config.cool_down),
            recovery: Recovery::new(config.limits()),
            task: None,
            is_closed: false,
            retry_at: Instant::ZERO,
            failures: 0,
            refusals: 0,
            recovered: 0,
        };
        let turns = (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect();
        let state = Mutex::new(state);
        let shared =
            |me: &Weak<Shared>| Shared { me: me.clone(), level, clock, config, on_back, state, turns };
        Self { shared: Arc::new_cyclic(shared) }
    }

    /// Gives what is stored. Waits for the time limit at most, and not at all while the level is away.
    pub(crate) async fn get(&self, place: Place<'_>) -> Answer {
        let shared = &*self.shared;
        if let Some(answer) = shared.answer(place) {
            return answer;
        }
        let asked = shared.ask(shared.level.get(place)).await;
        shared.judge(place, asked.ok())
    }

    /// The same for several keys, in their order, with one call of the level at most.
    pub(crate) async fn get_many(&self, namespace: &str, keys: &[&[u8]]) -> Vec<Answer> {
        let shared = &*self.shared;
        let mut answers: Vec<Option<Answer>> =
            keys.iter().map(|key| shared.answer(Place { namespace, key })).collect();
        let wanted: Vec<&[u8]> =
            keys.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(key, _)| *key).collect();
        if !wanted.is_empty() {
            let asked = shared.ask(shared.level.get_many(namespace, &wanted)).await;
            let mut found = asked.unwrap_or_default().into_iter();
            for (key, answer) in keys.iter().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
                *answer = Some(shared.judge(Place { namespace, key }, found.next()));
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Answer::Away)).collect()
    }

    /// Stores something, or keeps it for later.
    ///
    /// # Cancel safety
    ///
    /// A caller that is dropped after the first poll has written: what did not reach the level is kept for it.
    pub(crate) async fn set(&self, place: Place<'_>, stored: Stored) {
        self.shared.write(place, Change::Set(stored)).await;
    }

    /// Removes what is stored, or keeps that for later. Nobody finds it here afterwards.
    ///
    /// # Cancel safety
    ///
    /// As [`set`](Self::set).
    pub(crate) async fn remove(&self, place: Place<'_>) {
        self.shared.write(place, Change::Remove).await;
    }

    /// Removes what is stored, some time soon, without waiting. Nobody finds it here from now on.
    pub(crate) fn remove_later(&self, place: Place<'_>) {
        let mut state = self.shared.lock();
        state.recovery.record(place, Change::Remove, 0);
        self.shared.tend(&mut state);
    }

    /// Writes down an invalidation and gives its edition; `None` where it is kept for later. Until then nothing that the
    /// level has of the namespace is believed.
    ///
    /// # Cancel safety
    ///
    /// As [`set`](Self::set).
    pub(crate) async fn invalidate(&self, namespace: &str, scope: &Scope, edition: u64) -> Option<u64> {
        let shared = &*self.shared;
        let mut unsaid = Unsaid { shared, namespace, scope: Some(scope), edition };
        if !shared.is_passing() {
            return None;
        }
        let written = shared.ask(shared.level.invalidate(namespace, scope, edition)).await.ok()?;
        unsaid.scope = None;
        shared.lock().recovery.saw(written);
        Some(written)
    }

    /// Gives what was invalidated, as far as the level knows; `None` where it is away.
    pub(crate) async fn invalidations(&self, namespace: &str) -> Option<Invalidations> {
        let shared = &*self.shared;
        if !shared.is_passing() {
            return None;
        }
        let invalidations = shared.ask(shared.level.invalidations(namespace)).await.ok()?;
        shared.lock().recovery.saw(invalidations.edition());
        Some(invalidations)
    }

    /// Tells whether the level is left alone.
    pub(crate) fn is_open(&self) -> bool {
        self.outage().is_some()
    }

    /// Gives the number of the outage that lasts: a greater one each time.
    pub(crate) fn outage(&self) -> Option<u64> {
        let mut state = self.shared.lock();
        if state.circuit.is_closed() && !state.is_closed {
            return None;
        }
        // A task ends with its runtime; the next caller starts another.
        self.shared.tend(&mut state);
        Some(state.circuit.opened)
    }

    pub(crate) fn stats(&self) -> GuardStats {
        let state = self.shared.lock();
        GuardStats {
            is_open: !state.circuit.is_closed(),
            opened: state.circuit.opened,
            failures: state.failures,
            refusals: state.refusals,
            recovered: state.recovered,
            given_up: state.recovery.given_up,
            collapses: state.recovery.collapses,
            waiting: state.recovery.len(),
            waiting_bytes: state.recovery.bytes(),
        }
    }

    /// Ends the task, tries a last time to write what was kept, ends the level, and gives how many writes are left. Takes
    /// twice the time limit at most. Nothing reaches the level afterwards.
    pub(crate) async fn close(&self) -> usize {
        let shared = &*self.shared;
        let task = {
            let mut state = shared.lock();
            state.is_closed = true;
            state.task.take()
        };
        if let Some(task) = task {
            task.abort();
            // Ended is ended, whichever way.
            let _ = task.await;
        }
        if !shared.lock().recovery.is_empty() {
            let _ = shared.within(async { Ok(shared.replay().await) }).await;
        }
        let closing = async {
            shared.level.close().await;
            Ok(())
        };
        let _ = shared.within(closing).await;
        shared.lock().recovery.len()
    }
}

impl Drop for Guard {
    /// No task outlives its guard.
    fn drop(&mut self) {
        if let Some(task) = self.shared.lock().task.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("level", &self.shared.level)
            .field("config", &self.shared.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Gives what needs no call of the level.
    fn answer(&self, place: Place<'_>) -> Option<Answer> {
        let mut state = self.lock();
        if state.is_closed {
            return Some(Answer::Away);
        }
        if !state.circuit.is_closed() {
            self.tend(&mut state);
        }
        match self.known(&state, place) {
            None if state.circuit.is_closed() => None,
            None => Some(Answer::Away),
            known => known,
        }
    }

    /// Gives what is known of what the level does not know yet.
    fn known(&self, state: &State, place: Place<'_>) -> Option<Answer> {
        Some(match state.recovery.known(place)? {
            Known::Set(stored) if !is_expired(stored, self.clock.wall()) => Answer::Found(stored.clone()),
            Known::Set(_) | Known::Removed => Answer::Missing,
            Known::Doubtful => Answer::Away,
        })
    }

    /// Makes an answer of what the level said. A write that was kept meanwhile comes first.
    fn judge(&self, place: Place<'_>, said: Option<Option<Stored>>) -> Answer {
        let mut state = self.lock();
        if let Some(known) = self.known(&state, place) {
            return known;
        }
        match said {
            Some(Some(stored)) => {
                state.recovery.saw(stored.edition);
                match state.recovery.believes(place.namespace, &stored) {
                    true => Answer::Found(stored),
                    false => Answer::Missing,
                }
            }
            Some(None) => Answer::Missing,
            None => Answer::Away,
        }
    }

    /// Writes a change, or keeps it: in the order in which the changes of a key came.
    async fn write(&self, place: Place<'_>, change: Change) {
        {
            let mut state = self.lock();
            if let Change::Set(stored) = &change {
                state.recovery.saw(stored.edition);
            }
            if !state.is_passing() || state.recovery.known(place).is_some() {
                state.recovery.record(place, change, 0);
                return self.tend(&mut state);
            }
        }
        let mut unwritten = Unwritten { shared: self, place, change: Some(change), refusals: 0, turn: None };
        let mut limit = pin!(self.clock.sleep(self.config.time_limit));
        let Either::Left((turn, _)) = select(pin!(self.turn_of(place).lock()), limit.as_mut()).await else {
            return;
        };
        unwritten.turn = Some(turn);
        {
            let state = self.lock();
            if !state.is_passing() || state.recovery.known(place).is_some() {
                // Who had the turn before could not write: this one comes after it.
                return;
            }
        }
        let said = match select(pin!(unwritten.send()), limit).await {
            Either::Left((said, _)) => said.map_err(|error| Fault::of(&error)),
            Either::Right(_) => Err(Fault::Away),
        };
        self.count(said.as_ref().err());
        match said {
            Ok(()) => unwritten.change = None,
            Err(Fault::Refused) => unwritten.refusals = 1,
            Err(Fault::Away) => {}
        }
    }

    /// Asks the level, within the time limit, and counts what comes of it.
    async fn ask<T>(&self, call: impl Future<Output = Result<T, LevelError>>) -> Result<T, Fault> {
        let said = self.within(call).await;
        self.count(said.as_ref().err());
        said
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, LevelError>>) -> Result<T, Fault> {
        match select(pin!(call), pin!(self.clock.sleep(self.config.time_limit))).await {
            Either::Left((said, _)) => said.map_err(|error| Fault::of(&error)),
            Either::Right(_) => Err(Fault::Away),
        }
    }

    fn count(&self, fault: Option<&Fault>) {
        let mut state = self.lock();
        match fault {
            None => state.circuit.succeeded(),
            Some(Fault::Refused) => {
                state.refusals += 1;
                state.circuit.succeeded();
            }
            Some(Fault::Away) => {
                state.failures += 1;
                state.circuit.failed(self.clock.now());
                self.tend(&mut state);
            }
        }
    }

    /// Sees to it that somebody works while there is something to do.
    fn tend(&self, state: &mut State) {
        let is_idle = state.circuit.is_closed() && state.recovery.is_empty();
        if is_idle || state.is_closed || state.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        // Outside of a runtime the next caller inside of one does it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Some(shared) = self.me.upgrade() else { return };
        state.task = Some(runtime.spawn(async move { shared.recover().await }));
    }

    /// Waits, probes and writes until the level is there and has everything.
    async fn recover(&self) {
        loop {
            match self.step() {
                Step::Done => return,
                Step::Wait(duration) => self.clock.sleep(duration).await,
                Step::Probe => {
                    let is_there = self.within(self.level.ping()).await != Err(Fault::Away);
                    if is_there && self.catch_up().await == Pass::Whole {
                        (self.on_back)();
                        self.lock().circuit.close();
                    } else {
                        self.lock().circuit.reopen(self.clock.now());
                    }
                }
                Step::Replay => {
                    let began = self.lock().recovery.ticket();
                    let pass = self.replay().await;
                    let mut state = self.lock();
                    // What came in meanwhile does not wait for what was refused.
                    if pass == Pass::Failed || state.recovery.ticket() == began {
                        state.retry_at = self.clock.now().after(self.config.cool_down);
                    }
                }
            }
        }
    }

    fn step(&self) -> Step {
        let mut state = self.lock();
        let now = self.clock.now();
        match state.circuit.next(now) {
            Next::Wait(duration) => Step::Wait(duration),
            Next::Probe => Step::Probe,
            Next::Pass if state.recovery.is_empty() => {
                // Under the lock: who comes later finds nobody and starts another.
                state.task = None;
                Step::Done
            }
            Next::Pass if now < state.retry_at => Step::Wait(state.retry_at.since(now)),
            Next::Pass => Step::Replay,
        }
    }

    /// Writes what was missed, and what was missed meanwhile.
    async fn catch_up(&self) -> Pass {
        for _ in 0..PASSES_MAX {
            let began = self.lock().recovery.ticket();
            if self.replay().await == Pass::Failed {
                return Pass::Failed;
            }
            if self.lock().recovery.ticket() == began {
                break;
            }
        }
        Pass::Whole
    }

    /// Writes what was missed until now, once.
    async fn replay(&self) -> Pass {
        let pending = self.lock().recovery.pending();
        for some in pending.chunks(REPLAYS_AT_ONCE) {
            let written = join_all(some.iter().map(|missed| self.write_missed(missed))).await;
            if written.contains(&Err(Fault::Away)) {
                return Pass::Failed;
            }
        }
        Pass::Whole
    }

    async fn write_missed(&self, missed: &Missed) -> Result<(), Fault> {
        let namespace = &*missed.namespace;
        let _turn = match &missed.target {
            Target::Key(key) => {
                let turn = self.turn_of(Place { namespace, key }).lock();
                match select(pin!(turn), pin!(self.clock.sleep(self.config.time_limit))).await {
                    Either::Left((turn, _)) => Some(turn),
                    // Somebody holds it and does nothing; another time.
                    Either::Right(_) => return Err(Fault::Refused),
                }
            }
            Target::Everything | Target::Scope(_) => None,
        };
        let Some((ticket, work)) = self.lock().recovery.work(missed, self.clock.wall()) else {
            return Ok(());
        };
        let said = match (&missed.target, &work) {
            (Target::Key(key), Work::Change(change)) => {
                self.ask(send(&*self.level, Place { namespace, key }, change)).await.map(|()| 0)
            }
            (_, Work::Invalidate(scope, edition)) => {
                self.ask(self.level.invalidate(namespace, scope, *edition)).await
            }
            (_, Work::Change(_)) => return Ok(()),
        };
        {
            let mut state = self.lock();
            match said {
                Ok(edition) => {
                    state.recovery.done(missed, ticket, edition);
                    state.recovered += 1;
                }
                Err(Fault::Refused) => state.recovery.refused(missed, ticket),
                Err(Fault::Away) => {}
            }
        }
        if said.is_ok() && !matches!(missed.target, Target::Key(_)) {
            // In which edition it was written down is not known to whoever has values of this level.
            (self.on_back)();
        }
        said.map(|_| ())
    }

    fn is_passing(&self) -> bool {
        let mut state = self.lock();
        if !state.circuit.is_closed() {
            self.tend(&mut state);
        }
        state.is_passing()
    }

    fn turn_of(&self, place: Place<'_>) -> &tokio::sync::Mutex<()> {
        let mut hasher = DefaultHasher::new();
        place.hash(&mut hasher);
        let turn = usize::try_from(hasher.finish() % (TURNS as u64)).unwrap_or(0);
        &self.turns[turn]
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is done under it does not panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells whether calls go to the level.
    fn is_passing(&self) -> bool {
        self.circuit.is_closed() && !self.is_closed
    }
}

impl Fault {
    fn of(error: &LevelError) -> Self {
        match error {
            LevelError::Away { .. } => Self::Away,
            LevelError::Refused { .. } => Self::Refused,
        }
    }
}

/// What the task does next.
#[derive(Debug)]
enum Step {
    Wait(Duration),
    Probe,
    Replay,
    Done,
}

/// A change that has not reached the level. Where nobody says that it has, it is kept for it: so a caller that is dropped
/// loses no removal.
struct Unwritten<'a> {
    shared: &'a Shared,
    place: Place<'a>,
    change: Option<Change>,
    refusals: u8,
    /// Given back after the change was kept, so that the next one finds it.
    turn: Option<tokio::sync::MutexGuard<'a, ()>>,
}

impl Unwritten<'_> {
    async fn send(&self) -> Result<(), LevelError> {
        match &self.change {
            Some(change) => send(&*self.shared.level, self.place, change).await,
            None => Ok(()),
        }
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if let Some(change) = self.change.take() {
            let mut state = self.shared.lock();
            state.recovery.record(self.place, change, self.refusals);
            self.shared.tend(&mut state);
        }
    }
}

/// The same for an invalidation.
struct Unsaid<'a> {
    shared: &'a Shared,
    namespace: &'a str,
    /// Taken out when it has been written down.
    scope: Option<&'a Scope>,
    edition: u64,
}

impl Drop for Unsaid<'_> {
    fn drop(&mut self) {
        if let Some(scope) = self.scope {
            let mut state = self.shared.lock();
            state.recovery.invalidate(self.namespace, scope, self.edition);
            self.shared.tend(&mut state);
        }
    }
}

async fn send(level: &dyn Level, place: Place<'_>, change: &Change) -> Result<(), LevelError> {
    match change {
        Change::Set(stored) => level.set(place, stored).await,
        Change::Remove => level.remove(place).await,
    }
}
