//! Says when to call again after a call that failed, and when to give up.
//!
//! # When to use it
//!
//! A call failed in passing, calling again is safe, and you want to wait a little longer each time without
//! waiting for ever. Whether calling again helps at all is not decided here: ask the error's class,
//! [`ErrorClass::is_retryable`](aqueduct_core::ErrorClass::is_retryable). Nothing here calls or waits, so the
//! same schedule serves a blocking loop, an async one, and a test without a clock.
//!
//! # The model
//!
//! A [`Schedule`] is a [`Growth`] of delays, a [`Jitter`] over them, and three limits. [`Schedule::next`] is a
//! function of the [`Attempt`] that failed and of chance:
//!
//! 1. All retries used: stop.
//! 2. The growth gives a delay, no longer than `delay_max`.
//! 3. Jitter shortens it by chance, so that callers that failed together do not come back together.
//! 4. The other side may have said how long to wait. It then waits at least that long.
//! 5. A wait that would end after `elapsed_max`: stop, and do not wait in vain.
//!
//! Each call is O(1) and allocates nothing.
//!
//! # Guarantees and limits
//!
//! * No wait of our own choosing is longer than `delay_max`. One that the other side asked for may be.
//! * No wait ends later than `elapsed_max` after the first call began.
//! * There are at most `retries_max` waits.
//! * A schedule that was built cannot be wrong: no attempt, however extreme its figures, overflows or panics.
//! * The same seed gives the same delays.
//!
//! # Units
//!
//! Delays are [`Duration`](std::time::Duration)s, with a grain of one nanosecond. Attempts are counted from 1,
//! which is the first call; the retry after it is attempt 2.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use aqueduct_core::Random;
//! use aqueduct_retry::{Attempt, Growth, Jitter, Limit, Next, Schedule};
//!
//! # fn main() -> Result<(), aqueduct_retry::ConfigError> {
//! let schedule = Schedule::builder(Growth::Exponential { first: Duration::from_millis(100), factor: 2.0 })
//!     .jitter(Jitter::Full)
//!     .retries_max(5)
//!     .build()?;
//!
//! let mut random = Random::seeded(1);
//! let failed = Attempt { number: 3, elapsed: Duration::from_secs(1), ..Attempt::default() };
//! match schedule.next(&failed, &mut random) {
//!     Next::Wait(delay) => assert!(delay <= Duration::from_millis(400)),
//!     Next::Stop(limit) => println!("gave up: {limit}"),
//! }
//!
//! let last = Attempt { number: 6, ..failed };
//! assert_eq!(schedule.next(&last, &mut random), Next::Stop(Limit::Retries));
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! None. Who waits knows for what, and counts there.
//!
//! # Sources
//!
//! Full, equal and decorrelated jitter are those of Marc Brooker, "Exponential Backoff and Jitter", AWS
//! Architecture Blog, 2015. Ours differs in what bounds them: the cap is checked when the schedule is built,
//! and a decorrelated delay whose predecessor was longer than the cap, because the other side asked for it,
//! goes on from the cap.

mod advice;
mod budget;
mod config;
mod course;
mod deadline;
mod error;
mod event;
mod hedge;
mod latencies;
#[cfg(feature = "tower")]
mod layer;
mod metrics;
mod retry;
mod schedule;
#[cfg(feature = "tower")]
mod service;
mod throttle;

pub use advice::Advice;
pub use budget::{Account, Budget, Slot, Withdrawal};
pub use config::{After, BudgetConfig, Builder, Config, Growth, HedgeConfig, Jitter};
pub use course::Course;
pub use deadline::Deadline;
pub use error::{CallError, ConfigError, Ended, Refusal};
pub use event::Event;
pub use hedge::Hedge;
pub use latencies::Latencies;
#[cfg(feature = "tower")]
pub use layer::RetryLayer;
pub use metrics::{Metrics, MetricsError};
pub use retry::Retry;
pub use schedule::{Attempt, Limit, Next, Schedule};
#[cfg(feature = "tower")]
pub use service::{Cloned, Judge, Repeat, ResultJudge, Retrying, RetryingFuture};
pub use throttle::{Answer, Cubic, Throttle};
