//! Keeps to a rate: of calls, of tokens, of whatever is counted.
//!
//! # When to use it
//!
//! A service allows so many calls in a minute, or you want to. Use it on the side that calls, to stay within a quota and to
//! wait in order; or on the side that is called, a bucket for each client. Do not use it to bound how many calls run at
//! once, or to find out what a service can bear; a limit is a number that somebody knows.
//!
//! # The model
//!
//! A [`Quota`] is a number of tokens in a time, and a burst. [`Limit`] counts what is used of it by one of four
//! [`Algorithm`]s, with the time as an argument: the pure core. [`RateLimiter`] shares one between threads and tasks,
//! [`KeyedRateLimiter`] has a bucket for each key, [`Limits`] several limits that are used together. With the feature
//! `redis`, `RedisLimiter` is one limit for many processes; with `tower`, `RateLimitLayer` puts one before a service; with
//! `headers`, `Announcement` is what a service says of its limits.
//!
//! Whatever is asked is answered at once with [`Allowed`] or [`Denied`], and a denial says exactly how long to wait.
//! `acquire` waits, in the order of asking.
//!
//! # Guarantees and limits
//!
//! * Never more than the quota, with any number of threads, a clock that goes back, and quotas as extreme as may be built.
//!   A token that was waited for counts from when it was due, and not from when a late timer came.
//! * What was denied is given after the wait that was told, to the nanosecond, and not before, if nobody else takes it. A
//!   sliding counter estimates, and its waits are exact for its own estimate.
//! * Those who wait are served in order; one who stops waiting has used nothing.
//! * A keyed limiter never knows more keys than it may, takes at most 48 bytes for a key of eight, and does not forgive
//!   what a key owes by forgetting it. As long as there are no more keys than it may know, nobody is denied for another.
//! * A change of quota keeps what was used: as many tokens are missing as before.
//! * Asking costs O(1) and allocates nothing, a new key aside. A token comes back in whole nanoseconds, rounded up.
//!
//! # Units
//!
//! Tokens are whole numbers. Times are [`Duration`](std::time::Duration)s, counted in nanoseconds.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use aqueduct_core::{Clock, Timestamp};
//! use aqueduct_ratelimit::{Config, Quota, RateLimiter};
//!
//! # fn main() -> Result<(), aqueduct_ratelimit::ConfigError> {
//! let (clock, hand) = Clock::manual(Timestamp(0));
//! let limiter = RateLimiter::new(Config::new(Quota::per_second(10)?.with_burst(2)?), clock)?;
//! assert!(limiter.check().is_ok() && limiter.check().is_ok());
//!
//! let denied = limiter.check().expect_err("the burst is used up");
//! assert_eq!(denied.retry_after, Some(Duration::from_millis(100)));
//! hand.advance(Duration::from_millis(100));
//! assert!(limiter.check().is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! [`Metrics`] counts what was allowed and denied, and why, and how long those who waited did, under a name that you give.
//! [`RateLimiter::with_observer`] tells each denial, wait, drain and change of quota.
//!
//! # Sources
//!
//! The buckets are the generic cell rate algorithm of ITU-T I.371, annex A, in its virtual scheduling form. The sliding
//! counter is Cloudflare's, "How we built rate limiting capable of scaling to millions of domains", 2017. The places of
//! the debts are those of a set-associative cache with marks, as in Fan et al., "Cuckoo Filter", CoNEXT 2014, without its
//! moves. The headers follow draft-ietf-httpapi-ratelimit-headers-10 and RFC 9110, section 10.2.3.

mod algorithm;
mod config;
mod error;
#[cfg(feature = "headers")]
mod headers;
mod keyed;
#[cfg(feature = "tower")]
mod layer;
mod limiter;
mod limits;
mod metrics;
mod quota;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "tower")]
mod service;
mod shared_bucket;
mod turn;

pub use algorithm::{Algorithm, Allowed, Limit, Promised};
pub use config::Config;
#[cfg(feature = "redis")]
pub use error::StoreFailure;
pub use error::{CallError, ConfigError, Denied, Reason};
#[cfg(feature = "headers")]
pub use headers::{Announcement, Balance, Policy, retry_after};
pub use keyed::KeyedRateLimiter;
#[cfg(feature = "tower")]
pub use layer::RateLimitLayer;
pub use limiter::{Event, RateLimiter, Reservation};
pub use limits::{Limits, LimitsDenied};
pub use metrics::Metrics;
pub use quota::Quota;
#[cfg(feature = "redis")]
pub use redis::{Enforcement, OnFailure, RedisBuilder, RedisConfig, RedisEvent, RedisLimiter};
#[cfg(feature = "tower")]
pub use service::{RateLimit, RateLimitFuture, WhenDenied};
