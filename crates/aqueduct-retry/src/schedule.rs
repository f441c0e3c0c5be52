use std::fmt;
use std::time::Duration;

use aqueduct_core::Random;

use crate::{Builder, Growth, Jitter};

/// When to call again. Checked when it was built; a copy costs nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule(Builder);

/// The attempt that failed, and what the caller knows of those before it.
///
/// The default is a first call that failed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number. The first call is 1; 0 counts as 1.
    pub number: u32,
    /// The time since the first call began.
    pub elapsed: Duration,
    /// The wait before this attempt; zero for the first call. Only [`Growth::Decorrelated`] reads it.
    pub previous_delay: Duration,
    /// How long the other side asked to be left alone, as in the HTTP field `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// What to do after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether to call again"]
pub enum Next {
    /// Wait that long, then call again.
    Wait(Duration),
    /// Give up, because a limit is reached.
    Stop(Limit),
}

/// The limit that ended the retries. Its text fits after "gave up: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// As many retries as allowed were made.
    Retries,
    /// The next retry would begin later than allowed.
    Elapsed,
    /// The other side asked for a longer wait than is believed.
    RetryAfter,
    /// The [budget](crate::Budget) that the calls share is used up.
    Budget,
    /// The [deadline](crate::Deadline) is over, or comes before the next retry.
    Deadline,
}

// ---- Schedule ----

impl Schedule {
    /// Starts a schedule with this growth, without jitter, with three retries, delays of at most 10 s, and all
    /// of it within 30 s.
    pub fn builder(growth: Growth) -> Builder {
        Builder::new(growth)
    }

    pub(crate) fn checked(builder: Builder) -> Self {
        Self(builder)
    }

    /// Says when to call again after `failed`, or that it was the last attempt. It knows nothing of a budget or a
    /// deadline and never stops for one.
    ///
    /// Draws at most one number from `random`, and none when nothing is left to chance.
    pub fn next(&self, failed: &Attempt, random: &mut Random) -> Next {
        if failed.number.max(1) > self.0.retries_max {
            return Next::Stop(Limit::Retries);
        }
        if failed.retry_after.is_some_and(|asked| asked > self.0.retry_after_max) {
            return Next::Stop(Limit::RetryAfter);
        }
        let own = self.jittered(self.grown(failed, random), random);
        let delay = own.max(failed.retry_after.unwrap_or_default());
        if failed.elapsed.saturating_add(delay) > self.0.elapsed_max {
            return Next::Stop(Limit::Elapsed);
        }
        Next::Wait(delay)
    }

    /// Gives the number of retries that the schedule allows after the first call.
    #[must_use]
    pub fn retries_max(&self) -> u32 {
        self.0.retries_max
    }

    /// Gives the time from the start of the first call within which a retry may begin.
    #[must_use]
    pub fn elapsed_max(&self) -> Duration {
        self.0.elapsed_max
    }

    /// The delay before jitter, at most `delay_max`.
    fn grown(&self, failed: &Attempt, random: &mut Random) -> Duration {
        let retry = failed.number.max(1);
        let cap = self.0.delay_max;
        match self.0.growth {
            Growth::Constant { delay } => delay,
            Growth::Linear { first } => first.saturating_mul(retry).min(cap),
            Growth::Exponential { first, factor } => {
                let power = i32::try_from(retry - 1).unwrap_or(i32::MAX);
                // What no duration can hold, infinity among it, is over the cap.
                let delay = Duration::try_from_secs_f64(first.as_secs_f64() * factor.powi(power));
                delay.unwrap_or(cap).min(cap)
            }
            // Brooker 2015: sleep = min(cap, random_between(base, sleep * 3)).
            Growth::Decorrelated { first } => {
                let previous = failed.previous_delay.clamp(first, cap);
                let longest = previous.saturating_mul(3);
                first.saturating_add(up_to(longest.saturating_sub(first), random)).min(cap)
            }
        }
    }

    fn jittered(&self, delay: Duration, random: &mut Random) -> Duration {
        match self.0.jitter {
            Jitter::None => delay,
            Jitter::Full => up_to(delay, random),
            Jitter::Equal => {
                let half = delay / 2;
                half + up_to(delay - half, random)
            }
        }
    }
}

impl Default for Schedule {
    /// Three retries after waits of 2, 4 and 8 s, all within 30 s, without jitter.
    fn default() -> Self {
        // The defaults are within their own ranges; a test builds them.
        Self(Builder::default())
    }
}

/// Anything from zero to `longest`, each nanosecond as likely as any other.
fn up_to(longest: Duration, random: &mut Random) -> Duration {
    // A delay is at most three days, and 584 years fit.
    let nanoseconds = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random.below(nanoseconds.saturating_add(1)))
}

// ---- Attempt, Next, Limit ----

impl Default for Attempt {
    fn default() -> Self {
        Self { number: 1, elapsed: Duration::ZERO, previous_delay: Duration::ZERO, retry_after: None }
    }
}

impl Next {
    /// Gives the wait, if there is to be one.
    #[must_use]
    pub fn delay(self) -> Option<Duration> {
        match self {
            Self::Wait(delay) => Some(delay),
            Self::Stop(_) => None,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retries => "all retries are used",
            Self::Elapsed => "the next retry would come too late",
            Self::RetryAfter => "the other side asks for too long a wait",
            Self::Budget => "the budget for retries is used up",
            Self::Deadline => "the deadline comes first",
        })
    }
}
