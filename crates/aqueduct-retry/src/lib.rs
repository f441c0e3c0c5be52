//! Calls again what failed in passing, in time, and within a budget.
//!
//! # When to use it
//!
//! A call fails now and then, calling again is safe, and you want neither to give up too early nor to make the trouble of
//! the other side worse. Do not use it for a call that may take effect twice when it is made twice, and not in two
//! places of one way: three retries around three retries are fifteen.
//!
//! # The model
//!
//! * A [`Schedule`] says when to call again: a [`Growth`] of delays, a [`Jitter`] over them, and its limits. A wait that
//!   the other side asks for counts instead of a shorter one, up to a bound.
//! * A [`Retry`] makes the calls. It asks the class of an error, or your judge, for [`Advice`]: what is overloaded or
//!   failed in passing is tried again, anything else is not. A refusal of a limiter or a breaker is handed back at
//!   once: it is no attempt, and who refuses knows better when to come back.
//! * A [`Deadline`] bounds a call with all its attempts and waits, and is handed down.
//! * A [`Budget`] bounds the retries of all who call the same thing to a share of their calls. Without it, everybody
//!   calls a broken service four times as often as a sound one, and it stays broken.
//! * A [`Hedge`] begins a second attempt when the first takes longer than nearly all did recently, out of the same
//!   budget, and takes the first answer.
//! * A [`Throttle`] holds calls back once the other side has asked for fewer, and finds the rate that it takes.
//!
//! One budget for each service is a [`Keyed<K, Budget>`](aqueduct_core::Keyed). [`Course`], [`Account`], [`Latencies`] and
//! [`Cubic`] are all of this without clock, lock and runtime: time and chance are arguments. With the feature `tower`,
//! `RetryLayer` repeats the calls of a service.
//!
//! From outermost to innermost: the deadline, the retry with its budget, the hedge, a breaker, a rate limit, the time
//! limit of one attempt, the call.
//!
//! # Guarantees and limits
//!
//! * A call makes at most `retries_max + 1` attempts, and each extra attempt of a hedge comes out of the budget.
//! * No call takes longer than its deadline: an attempt is dropped then, and a wait that would reach it is not begun.
//!   [`Retry::call_blocking`] cannot drop an attempt and bounds only when one begins.
//! * No wait of our own choosing is longer than `delay_max`, none that the other side asks for is cut short, and one of
//!   more than `retry_after_max` ends the retries.
//! * In the window of a budget there are never more retries than its ratio of the calls, or than the reserve where that is
//!   more: exact for every ratio, over all threads, and whatever the clock does. A call counts for nine tenths of the window
//!   at least.
//! * A dropped call does nothing more; what it has withdrawn for a retry that had not begun is given back.
//! * A call that succeeds at once takes no lock, and allocates nothing unless its time is bounded. Everything is O(1) and
//!   of fixed size: a budget takes 300 bytes, the latencies of a hedge 4 KiB.
//! * What was built cannot be wrong, nothing overflows or panics, and the same seed gives the same delays.
//!
//! # Units
//!
//! Times are [`Duration`](std::time::Duration)s with a grain of one nanosecond, shares are from 0 to 1, rates are per
//! second. Attempts are counted from 1, which is the first call.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use aqueduct_core::Clock;
//! use aqueduct_retry::{Advice, Budget, Config, Ended, Growth, Jitter, Retry, Schedule};
//!
//! # fn main() -> Result<(), aqueduct_retry::ConfigError> {
//! let schedule = Schedule::builder(Growth::Exponential { first: Duration::from_millis(100), factor: 2.0 })
//!     .jitter(Jitter::Full)
//!     .build()?;
//! let config = Config { schedule, time_max: Some(Duration::from_secs(5)), ..Config::default() };
//! let retry = Retry::new(config, Clock::system())?.with_budget(Arc::new(Budget::default()));
//!
//! # async fn fetch(attempt: u32) -> Result<&'static str, u16> {
//! #     if attempt < 3 { Err(503) } else { Ok("found") }
//! # }
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let judge = |result: &Result<_, u16>| match result {
//!     Err(429 | 500..=599) => Advice::AGAIN,
//!     _ => Advice::Stop,
//! };
//! let found = retry.call_with(judge, async |attempt| fetch(attempt).await).await;
//! assert_eq!(found, Ok("found"));
//!
//! let missing = retry.call_with(judge, async |_| Err(404)).await.unwrap_err();
//! assert_eq!((missing.error, missing.attempts, missing.ended), (Some(404), 1, Ended::Final));
//! # });
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! [`Metrics`] counts calls by how they ended and attempts by why they were made, under a name that you give;
//! [`Retry::with_observer`] and [`Hedge::with_observer`] tell of each.
//!
//! # Sources
//!
//! Full, equal and decorrelated jitter are those of Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog,
//! 2015. Ours differs in what bounds them: the cap is checked when the schedule is built, and a decorrelated delay whose
//! predecessor was longer than the cap, because the other side asked for it, goes on from the cap.
//!
//! The budget is that of Finagle's `RetryBudget`, with its defaults. Ours counts calls and retries in a window, and not a
//! balance, in billionths of a retry, and not in whole ones.
//!
//! Hedging is that of Dean and Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013. The percentile is read
//! from two histograms in turn, with the buckets of Tene, "HdrHistogram", 2012.
//!
//! The throttle is the client rate limiter of the AWS SDKs ("Retry behavior", AWS SDKs and Tools Reference Guide, adaptive
//! mode), with the curve of RFC 9438. Ours differs in its turns: they are reserved, so whoever waits is served in order.

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
pub use metrics::Metrics;
pub use retry::Retry;
pub use schedule::{Attempt, Limit, Next, Schedule};
#[cfg(feature = "tower")]
pub use service::{Adviser, Cloned, Repeat, ResultAdviser, Retrying, RetryingFuture};
pub use throttle::{Answer, Cubic, Throttle};
