use std::collections::BinaryHeap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// A moment on a [`Clock`]: the time since that clock was made. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The time since the clock was made.
    #[must_use]
    #[inline]
    pub fn elapsed_since_start(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment, and zero when `earlier` is later.
    #[must_use]
    #[inline]
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `duration` after this one; the last representable one when that is too far away.
    #[must_use]
    #[inline]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// A date and time of day: milliseconds since 1970-01-01 00:00 UTC. For people and records, never for order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with milliseconds, `2026-11-20T23:51:49.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Hinnant 2013, civil_from_days: eras of 400 years that begin on 1 March, so that the leap day is last.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// The only source of time. Cheap to clone; clones share one origin.
///
/// The system clock follows the machine. A manual clock stands still until its owner moves it, so that a test
/// of an hour takes a microsecond.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(Origin),
    Manual(Arc<Mutex<ManualState>>),
}

#[derive(Debug, Default)]
struct ManualState {
    now: Duration,
    wall_start: i64,
    order: u64,
    waiting: BinaryHeap<Waiter>,
    /// How many [`Busy`] there are.
    busy: usize,
}

/// Sorted so that the heap gives the earliest deadline first, and first come first served among equals.
#[derive(Debug)]
struct Waiter {
    deadline: Duration,
    order: u64,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Waiter {}
impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiter {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.deadline, other.order).cmp(&(self.deadline, self.order))
    }
}

impl Clock {
    /// A clock that follows the machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System(Origin::here()))
    }

    /// A clock that stands at `wall` until the [`ManualClock`] moves it.
    #[must_use]
    pub fn manual(wall: Timestamp) -> (Self, ManualClock) {
        let state = Arc::new(Mutex::new(ManualState { wall_start: wall.0, ..ManualState::default() }));
        (Self(Source::Manual(Arc::clone(&state))), ManualClock(state))
    }

    /// The current moment.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System(origin) => Instant(origin.elapsed()),
            Source::Manual(state) => Instant(lock(state).now),
        }
    }

    /// The moment of the system's last timer tick: never ahead of [`now`](Self::now), behind it by 10 ms at most, and
    /// read in about a tenth of the time. For decisions that are made often and may be late by that much.
    ///
    /// Only Linux has such a clock; elsewhere, and on a manual clock, it is the current moment.
    #[must_use]
    #[inline]
    pub fn coarse(&self) -> Instant {
        match &self.0 {
            Source::System(origin) => Instant(origin.ticked()),
            Source::Manual(_) => self.now(),
        }
    }

    /// The current date and time of day.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the machine's time comes in")]
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Source::System(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Manual(state) => {
                let state = lock(state);
                let moved = i64::try_from(state.now.as_millis()).unwrap_or(i64::MAX);
                Timestamp(state.wall_start.saturating_add(moved))
            }
        }
    }

    /// Says that something is under way that does not wait for this clock, such as work on a thread or the answer of
    /// a service, until the guard is dropped. The owner of a manual clock leaves it alone meanwhile, so that a time
    /// limit in virtual time does not run out over work in real time. It costs a system clock nothing.
    #[must_use = "the work counts as done when the guard is dropped"]
    pub fn busy(&self) -> Busy {
        match &self.0 {
            Source::System(_) => Busy(None),
            Source::Manual(state) => {
                lock(state).busy += 1;
                Busy(Some(Arc::clone(state)))
            }
        }
    }

    /// Waits for `duration` on this clock.
    ///
    /// # Panics
    ///
    /// A system clock needs the time driver of a tokio runtime and panics outside of one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the wait and nothing else.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that waits")]
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System(_) => tokio::time::sleep(duration).await,
            Source::Manual(state) => {
                let woken = {
                    let mut state = lock(state);
                    let deadline = state.now.saturating_add(duration);
                    if deadline <= state.now {
                        return;
                    }
                    let (wake, woken) = oneshot::channel();
                    state.order += 1;
                    let order = state.order;
                    state.waiting.push(Waiter { deadline, order, wake });
                    woken
                };
                // The sender lives in the heap until its deadline; it is dropped early only when the clock's
                // owner and all its clones are gone, and then nobody can tell the time any more.
                if woken.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// Where a system clock began. On Linux both its times are read from the kernel's monotonic clock itself: the time of
/// the ticks is not in std, and without it in between the exact one is read a little faster.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
struct Origin(Duration);

#[cfg(target_os = "linux")]
impl Origin {
    fn here() -> Self {
        Self(kernel(rustix::time::ClockId::Monotonic))
    }

    #[inline]
    fn elapsed(self) -> Duration {
        kernel(rustix::time::ClockId::Monotonic).saturating_sub(self.0)
    }

    /// Both clocks count the same time (clock_gettime(2)), the ticks behind the other.
    #[inline]
    fn ticked(self) -> Duration {
        kernel(rustix::time::ClockId::MonotonicCoarse).saturating_sub(self.0)
    }
}

#[cfg(target_os = "linux")]
#[inline]
fn kernel(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    // A monotonic clock has no negative time, and less than a second of nanoseconds.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy, Debug)]
struct Origin(std::time::Instant);

#[cfg(not(target_os = "linux"))]
impl Origin {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the machine's time comes in")]
    fn here() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    fn ticked(self) -> Duration {
        self.0.elapsed()
    }
}

/// Work under way beside a clock; see [`Clock::busy`].
#[derive(Debug)]
pub struct Busy(Option<Arc<Mutex<ManualState>>>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            lock(state).busy -= 1;
        }
    }
}

/// The owner's side of a manual clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<ManualState>>);

impl ManualClock {
    /// Moves the clock forward and wakes everybody whose deadline has come, the earliest first.
    pub fn advance(&self, duration: Duration) {
        let mut state = lock(&self.0);
        state.now = state.now.saturating_add(duration);
        wake_due(&mut state);
    }

    /// Moves the clock to the earliest deadline that somebody waits for, and tells how far that was.
    ///
    /// `None` when nobody waits.
    pub fn advance_to_next(&self) -> Option<Duration> {
        let mut state = lock(&self.0);
        // A waiter whose future was dropped must not hold the clock back.
        while state.waiting.peek().is_some_and(|waiter| waiter.wake.is_closed()) {
            state.waiting.pop();
        }
        let step = state.waiting.peek()?.deadline.saturating_sub(state.now);
        state.now += step;
        wake_due(&mut state);
        Some(step)
    }

    /// Sets the date and time of day, as a person or a time server sets those of a machine: [`Clock::wall`] goes on from
    /// there, and neither [`Clock::now`] nor anybody who waits moves.
    pub fn set_wall(&self, wall: Timestamp) {
        let mut state = lock(&self.0);
        let moved = i64::try_from(state.now.as_millis()).unwrap_or(i64::MAX);
        state.wall_start = wall.0.saturating_sub(moved);
    }

    /// Tells whether something is under way that does not wait for the clock; see [`Clock::busy`].
    #[must_use]
    pub fn is_busy(&self) -> bool {
        lock(&self.0).busy > 0
    }

    /// Tells how many sleeps are under way.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.0).waiting.iter().filter(|waiter| !waiter.wake.is_closed()).count()
    }
}

fn wake_due(state: &mut ManualState) {
    while state.waiting.peek().is_some_and(|waiter| waiter.deadline <= state.now) {
        if let Some(waiter) = state.waiting.pop() {
            // A closed receiver means that the sleeper was cancelled.
            let _ = waiter.wake.send(());
        }
    }
}

/// No code runs under this lock that could panic half-way, so a poisoned lock still guards whole values.
fn lock(state: &Mutex<ManualState>) -> std::sync::MutexGuard<'_, ManualState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
