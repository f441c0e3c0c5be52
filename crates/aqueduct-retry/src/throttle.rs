use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, Instant};

use crate::error::Refusal;

#[cfg(test)]
mod tests;

/// What the other side said to a call, as far as its rate is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took the call, well or badly.
    Taken,
    /// It asked for fewer calls.
    Throttled,
}

impl Answer {
    /// Overload asks for fewer calls; whatever else came of a call does not.
    #[must_use]
    pub fn of_result<T, E: Classified>(result: &Result<T, E>) -> Self {
        match result {
            Err(error) if error.class() == ErrorClass::Overload => Self::Throttled,
            _ => Self::Taken,
        }
    }
}

/// The rate of a throttle, without clock and lock.
///
/// Off => on: the other side asks for fewer calls for the first time. Until then nothing is held back.
///
/// On => on: each time it asks again, the rate falls to 0.7 of what was sent. From then on it grows along a cubic curve:
/// fast at first, flat where it was too much last time, and fast again when that place is passed well. It is never more
/// than twice what is sent, so that it does not run away while nobody calls.
///
/// The symbols are those of RFC 9438, section 4: the curve is `C (t - K)³ + W_max`, `K` its flat place, `W_max` the rate
/// at which the other side asked for fewer calls last.
#[derive(Clone, Debug)]
pub struct Cubic {
    on: bool,
    /// Tokens a second. A call takes one.
    rate: f64,
    /// Below zero when calls wait for tokens that they have taken already.
    tokens: f64,
    tokens_max: f64,
    /// When the tokens were brought up to date.
    filled: Instant,
    /// Answers a second, smoothed over half seconds.
    sent_rate: f64,
    /// Answers in the half second that is under way.
    answers: f64,
    /// The half second up to which `sent_rate` is known, counted from the start of the clock.
    half: u64,
    /// `W_max`.
    rate_max: f64,
    throttled: Instant,
}

/// What is left of the rate when the other side asks for less; beta of RFC 9438, section 4.6.
const BETA: f64 = 0.7;
/// How fast the rate grows again; C of RFC 9438, section 5.
const SCALE: f64 = 0.4;
/// The weight of the last half second in the smoothed rate. This one and the next are those of the AWS SDKs.
const SMOOTH: f64 = 0.8;
/// A rate of zero would never learn that the other side is well again.
const RATE_MIN: f64 = 0.5;
/// Less than one token would never let a call pass.
const TOKENS_MIN: f64 = 1.0;

const HALF_SECOND_NS: u128 = 500_000_000;

// ---- Cubic ----

impl Cubic {
    /// A throttle that holds nothing back.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            on: false,
            rate: 0.0,
            tokens: 0.0,
            tokens_max: f64::MAX,
            filled: now,
            sent_rate: 0.0,
            answers: 0.0,
            half: half_second(now),
            rate_max: 0.0,
            throttled: now,
        }
    }

    /// Takes a token, if there is one.
    ///
    /// # Errors
    ///
    /// [`Refusal`] with the time until there is one; nothing was taken.
    pub fn try_acquire(&mut self, now: Instant) -> Result<(), Refusal> {
        let retry_after = self.wait(now);
        if !retry_after.is_zero() {
            return Err(Refusal { retry_after });
        }
        self.reserve(now);
        Ok(())
    }

    /// Takes a token whether there is one or not, and gives the time after which the call may be made. Those who
    /// reserve later wait longer. O(1).
    pub fn reserve(&mut self, now: Instant) -> Duration {
        let wait = self.wait(now);
        if self.on {
            self.tokens -= 1.0;
        }
        wait
    }

    /// Gives a token back that was taken for a call that is not made after all.
    pub fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.tokens_max);
    }

    /// Learns from an answer.
    pub fn report(&mut self, now: Instant, answer: Answer) {
        self.measure(now);
        let rate = match answer {
            Answer::Taken => grown(self.rate_max, now.since(self.throttled)),
            Answer::Throttled => {
                self.rate_max = if self.on { self.sent_rate.min(self.rate) } else { self.sent_rate };
                self.throttled = now;
                self.on = true;
                shrunk(self.rate_max)
            }
        };
        self.fill(now);
        let rate = rate.min(2.0 * self.sent_rate);
        self.rate = rate.max(RATE_MIN);
        self.tokens_max = rate.max(TOKENS_MIN);
        self.tokens = self.tokens.min(self.tokens_max);
    }

    /// Gives the calls a second that may be made; `None` as long as nothing is held back.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.on.then_some(self.rate)
    }

    /// Gives the smoothed rate of the answers, in answers a second.
    #[must_use]
    pub fn sent_rate(&self) -> f64 {
        self.sent_rate
    }

    /// The time until there is a token.
    fn wait(&mut self, now: Instant) -> Duration {
        if !self.on {
            return Duration::ZERO;
        }
        self.fill(now);
        let missing = (1.0 - self.tokens).max(0.0);
        // The rate has a floor; a wait that no duration can hold is for ever.
        Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX)
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.since(self.filled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.tokens_max);
        self.filled = self.filled.max(now);
    }

    fn measure(&mut self, now: Instant) {
        self.answers += 1.0;
        let half = half_second(now);
        if half > self.half {
            #[expect(clippy::cast_precision_loss, reason = "a gap of 2^53 half seconds does not matter")]
            let rate = self.answers * 2.0 / (half - self.half) as f64;
            self.sent_rate = rate * SMOOTH + self.sent_rate * (1.0 - SMOOTH);
            self.answers = 0.0;
            self.half = half;
        }
    }
}

/// The rate so long after it was too much.
fn grown(rate_max: f64, since: Duration) -> f64 {
    let flat = (rate_max * (1.0 - BETA) / SCALE).cbrt();
    SCALE * (since.as_secs_f64() - flat).powi(3) + rate_max
}

/// The rate after one that is too much.
fn shrunk(rate_max: f64) -> f64 {
    rate_max * BETA
}

fn half_second(now: Instant) -> u64 {
    u64::try_from(now.elapsed_since_start().as_nanos() / HALF_SECOND_NS).unwrap_or(u64::MAX)
}

// ---- Throttle ----

/// Holds calls back as soon as the other side asks for fewer, and finds out how many it takes. Share it in an
/// [`Arc`](std::sync::Arc), one for each thing that throttles by itself.
///
/// It knows no quota: where you know yours, take a rate limiter. Each call and each answer takes a lock for a few
/// nanoseconds.
pub struct Throttle {
    clock: Clock,
    /// Guards the rate. Nobody waits under it.
    cubic: Mutex<Cubic>,
}

impl Throttle {
    /// A throttle that holds nothing back, on this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let cubic = Mutex::new(Cubic::new(clock.now()));
        Self { clock, cubic }
    }

    /// Asks for a call that is made now.
    ///
    /// # Errors
    ///
    /// [`Refusal`] with the time to wait.
    pub fn try_acquire(&self) -> Result<(), Refusal> {
        self.lock().try_acquire(self.clock.now())
    }

    /// Waits for a call's turn, first come, first served. The rate that was valid at the beginning counts.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it gives its turn back.
    pub async fn acquire(&self) {
        // For ever is a bound that no wait exceeds.
        let _: Result<(), Refusal> = self.acquire_within(Duration::MAX).await;
    }

    /// Waits for a call's turn if it comes within `longest`.
    ///
    /// # Errors
    ///
    /// [`Refusal`] at once when it does not.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it gives its turn back.
    pub async fn acquire_within(&self, longest: Duration) -> Result<(), Refusal> {
        let wait = {
            let (now, mut cubic) = (self.clock.now(), self.lock());
            let retry_after = cubic.wait(now);
            if retry_after > longest {
                return Err(Refusal { retry_after });
            }
            cubic.reserve(now)
        };
        if !wait.is_zero() {
            let turn = Turn(Some(self));
            self.clock.sleep(wait).await;
            turn.taken();
        }
        Ok(())
    }

    /// Waits for its turn, makes the call, and learns from its answer; overload asks for fewer calls.
    ///
    /// # Errors
    ///
    /// Those of the call.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it gives its turn back. Later it counts as nothing.
    pub async fn call<T, E, F>(&self, call: F) -> Result<T, E>
    where
        E: Classified,
        F: AsyncFnOnce() -> Result<T, E>,
    {
        self.acquire().await;
        let result = call().await;
        self.report(Answer::of_result(&result));
        result
    }

    /// Learns from an answer.
    pub fn report(&self, answer: Answer) {
        let now = self.clock.now();
        self.lock().report(now, answer);
    }

    /// Gives the calls a second that may be made; `None` as long as nothing is held back.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.lock().rate()
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole figures.
    fn lock(&self) -> MutexGuard<'_, Cubic> {
        self.cubic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("cubic", &*self.lock()).finish_non_exhaustive()
    }
}

/// A token that is taken and not used yet.
struct Turn<'a>(Option<&'a Throttle>);

impl Turn<'_> {
    fn taken(mut self) {
        self.0 = None;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(throttle) = self.0 {
            throttle.lock().give_back();
        }
    }
}
