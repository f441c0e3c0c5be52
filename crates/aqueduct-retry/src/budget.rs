use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Forget, Instant};

use crate::config::BudgetConfig;
use crate::error::ConfigError;

/// A budget without a lock, for one thread and for tests.
///
/// In the window there are never more retries than `ratio` times its calls, or than the reserve where that is more. Both
/// sides are counted over the same tenths of the window, the one that is under way among them, so they also expire together: a call
/// counts for nine tenths of the window at least and for the whole of it at most.
///
/// Everything is O(1) in 240 bytes. A clock that goes back does no harm: nothing expires until it has caught up.
#[derive(Clone, Debug)]
pub struct Account {
    terms: Terms,
    slots: [Counts; SLOTS],
    /// The sum of the slots.
    sum: Counts,
    /// The slot that is under way, counted from the first; it is `slots[current % SLOTS]`.
    current: u64,
    began: Instant,
}

/// What an [`Account`] allows, in figures that add up without rounding.
#[derive(Clone, Copy, Debug)]
struct Terms {
    /// Billionths of a retry for each call.
    per_call: u64,
    /// Billionths of a retry for each window.
    reserve: u64,
    slot: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: u64,
    retries: u64,
}

/// When a retry was counted, so that it can be given back. See [`Account::give_back`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u64);

/// As many as Finagle and tower have: a burst is forgotten a tenth of the window too early at worst.
const SLOTS: usize = 10;
const RING: u64 = SLOTS as u64;

const BILLION: f64 = 1e9;

// ---- Account ----

impl Account {
    /// An account in which nothing has happened.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn new(config: BudgetConfig, now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self::empty(Terms::of(config), now))
    }

    fn empty(terms: Terms, began: Instant) -> Self {
        Self { terms, slots: Default::default(), sum: Counts::default(), current: 0, began }
    }

    /// Counts a call.
    pub fn deposit(&mut self, now: Instant) {
        self.roll(now);
        self.add(1);
    }

    /// Counts a retry, or a hedge, if there may be one more.
    pub fn try_withdraw(&mut self, now: Instant) -> Option<Slot> {
        self.roll(now);
        if self.left() == 0 {
            return None;
        }
        self.here().retries += 1;
        self.sum.retries += 1;
        Some(Slot(self.current))
    }

    /// Counts a retry no longer that was not made after all. One that has expired meanwhile is forgotten anyway.
    pub fn give_back(&mut self, slot: Slot) {
        if self.current.saturating_sub(slot.0) >= RING {
            return;
        }
        let counts = self.slot(slot.0);
        if counts.retries > 0 {
            counts.retries -= 1;
            self.sum.retries -= 1;
        }
    }

    /// Gives the number of retries that there may be now.
    pub fn balance(&mut self, now: Instant) -> u64 {
        self.roll(now);
        self.left()
    }

    /// Allows something else from now on. What was counted stays counted; if the window changes, each tenth of it
    /// lasts as long as one of the new window.
    ///
    /// # Errors
    ///
    /// As [`Account::new`]; nothing has changed then.
    pub fn set_config(&mut self, config: BudgetConfig, now: Instant) -> Result<(), ConfigError> {
        config.check()?;
        self.roll(now);
        self.terms = Terms::of(config);
        Ok(())
    }

    /// Tells whether nothing is counted.
    pub fn is_empty(&mut self, now: Instant) -> bool {
        self.roll(now);
        self.sum == Counts::default()
    }

    /// Counts calls that were made in the slot that was under way last.
    fn add(&mut self, calls: u64) {
        self.here().calls += calls;
        self.sum.calls += calls;
    }

    /// When the slot that is under way ends.
    fn slot_end(&self) -> Instant {
        self.began.after(self.terms.slot)
    }

    fn left(&self) -> u64 {
        let share = u128::from(self.sum.calls) * u128::from(self.terms.per_call);
        let allowed = share.max(u128::from(self.terms.reserve)) / 1_000_000_000;
        u64::try_from(allowed).unwrap_or(u64::MAX).saturating_sub(self.sum.retries)
    }

    /// Forgets the slots that are older than the window, at most all.
    fn roll(&mut self, now: Instant) {
        let since = now.since(self.began);
        if since < self.terms.slot {
            return;
        }
        let slot = self.terms.slot.as_nanos();
        let passed = u64::try_from(since.as_nanos() / slot).unwrap_or(u64::MAX);
        for _ in 0..passed.min(RING) {
            self.current += 1;
            let old = std::mem::take(self.here());
            self.sum.calls -= old.calls;
            self.sum.retries -= old.retries;
        }
        let rest = u64::try_from(since.as_nanos() % slot).unwrap_or(0);
        self.began = self.began.after(since.saturating_sub(Duration::from_nanos(rest)));
    }

    fn here(&mut self) -> &mut Counts {
        self.slot(self.current)
    }

    fn slot(&mut self, number: u64) -> &mut Counts {
        // The remainder is below the length of the ring.
        &mut self.slots[usize::try_from(number % RING).unwrap_or(0)]
    }
}

impl Terms {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the checked fields are at most 3.6e18 together and never negative"
    )]
    fn of(config: BudgetConfig) -> Self {
        Self {
            per_call: (config.ratio * BILLION).round() as u64,
            reserve: (config.per_second * config.window.as_secs_f64() * BILLION).round() as u64,
            slot: config.window / 10,
        }
    }
}

// ---- Budget ----

/// How many retries there may be beside the calls, for everybody who calls the same thing. Share it in an
/// [`Arc`](std::sync::Arc), one for each dependency in a [`Keyed<K, Budget>`](aqueduct_core::Keyed).
///
/// Each call is deposited once, when its first attempt has ended and however often it is repeated; each retry and each
/// hedge is withdrawn. Without it, all
/// callers of something that is down call it `retries_max + 1` times as often; with it, `1 + ratio` times. The reserve is a
/// floor under that share and comes on top of it nowhere; in Finagle and tower it does, and so those call a little more.
///
/// A deposit is one atomic addition; once in a tenth of the window, and for a withdrawal, it takes a lock for a few
/// nanoseconds. Fixed memory, whatever is counted.
pub struct Budget {
    /// Guards the account. Held for a few additions, and never while somebody else's code runs.
    account: Mutex<Account>,
    /// Calls that are not in the account yet. Relaxed: whoever holds the lock takes what is there, and a call that
    /// comes a moment too late is counted in the next slot.
    fresh: AtomicU64,
    /// When the slot ends, in nanoseconds of the clock. Written under the lock; relaxed, for the same reason.
    slot_end: AtomicU64,
}

impl Budget {
    /// A budget in which nothing has happened.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn new(config: BudgetConfig) -> Result<Self, ConfigError> {
        Ok(Self::of(Account::new(config, Instant::ZERO)?))
    }

    fn of(account: Account) -> Self {
        let slot_end = AtomicU64::new(nanos(account.slot_end()));
        Self { account: Mutex::new(account), fresh: AtomicU64::new(0), slot_end }
    }

    /// Counts a call. What it allows can be withdrawn at once.
    pub fn deposit(&self, now: Instant) {
        if nanos(now) >= self.slot_end.load(Ordering::Relaxed) {
            drop(self.settled(now));
        }
        self.fresh.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one retry, if there may be one more. Dropped unspent, it is given back.
    pub fn try_withdraw(&self, now: Instant) -> Option<Withdrawal<'_>> {
        self.withdraw(now).map(|slot| Withdrawal { budget: self, slot: Some(slot) })
    }

    /// Gives the number of retries that there may be now.
    #[must_use]
    pub fn balance(&self, now: Instant) -> u64 {
        self.settled(now).balance(now)
    }

    /// Allows something else from now on, for everybody who shares it; see [`Account::set_config`].
    ///
    /// # Errors
    ///
    /// As [`Budget::new`]; nothing has changed then.
    pub fn set_config(&self, config: BudgetConfig, now: Instant) -> Result<(), ConfigError> {
        let mut account = self.settled(now);
        account.set_config(config, now)?;
        self.slot_end.store(nanos(account.slot_end()), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn withdraw(&self, now: Instant) -> Option<Slot> {
        self.settled(now).try_withdraw(now)
    }

    pub(crate) fn give_back(&self, slot: Slot) {
        self.lock().give_back(slot);
    }

    /// The account, with everything in it that happened so far.
    fn settled(&self, now: Instant) -> MutexGuard<'_, Account> {
        let mut account = self.lock();
        account.add(self.fresh.swap(0, Ordering::Relaxed));
        account.roll(now);
        self.slot_end.store(nanos(account.slot_end()), Ordering::Relaxed);
        account
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole figures.
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Budget {
    /// A fifth of the calls of the last 10 s, or 10 a second where that is more.
    fn default() -> Self {
        // The defaults are within their own ranges; a test builds them.
        Self::of(Account::empty(Terms::of(BudgetConfig::default()), Instant::ZERO))
    }
}

impl Forget for Budget {
    fn may_forget(&self, now: Instant) -> bool {
        self.settled(now).is_empty(now)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("account", &*self.lock()).field("fresh", &self.fresh).finish()
    }
}

/// The right to one retry.
#[derive(Debug)]
#[must_use = "dropped at once, it is given back"]
pub struct Withdrawal<'a> {
    budget: &'a Budget,
    slot: Option<Slot>,
}

impl Withdrawal<'_> {
    /// Says that the retry begins.
    pub fn spend(mut self) {
        self.slot = None;
    }
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.budget.give_back(slot);
        }
    }
}

fn nanos(at: Instant) -> u64 {
    u64::try_from(at.elapsed_since_start().as_nanos()).unwrap_or(u64::MAX)
}
