//! Stops calling what does not answer, and finds out when it does again.
//!
//! # When to use it
//!
//! You call something that may be down or slow for a while, and calling it then costs you time and costs it its
//! recovery. Put one breaker before each thing that fails by itself: a host, a database, a model. Do not use it to
//! limit a rate, to bound how many calls run at once, or around calls whose errors are your own.
//!
//! # The model
//!
//! A *closed* circuit lets every call pass and counts what came of it in a window: the last so many calls, or the
//! calls of the last so much time. It opens when too large a share has failed, too large a share was slow, or too many
//! failed one after the other; any of them is enough. An *open* circuit refuses for a time that grows each time it
//! opens again. Then it is *half-open*: a few probes pass, and what comes of them closes or opens it. With
//! [`Shedding`] a closed circuit turns away a growing share of the calls before, or instead of, all of them.
//!
//! A caller gets a [`Permit`] or a [`Refusal`], and ends the permit with a [`Verdict`](aqueduct_core::Verdict). A permit
//! that is dropped, because the call was cancelled or panicked, counts as nothing. A [`Mode`] lets a person decide.
//!
//! One breaker for each host or service is a [`Keyed<K, Breaker>`](aqueduct_core::Keyed): bounded, and a circuit that
//! is open or has failures in its window is the last to go. [`Machine`] is all of this without clock and lock, for
//! tests and for runtimes of your own. With the feature `tower`, `BreakerLayer` puts a breaker before a service.
//!
//! # Guarantees and limits
//!
//! * Windows slide: after any number of successes, as many failures open the circuit as after none.
//! * There are never more probes under way than allowed, and a lost probe does not wedge the circuit.
//! * A call that began before a change does not count after it.
//! * A call costs O(1) and allocates nothing, whatever the window holds; the largest window of calls, 4,096, takes
//!   1 KiB, and the largest of time, 128 buckets, 1.5 KiB.
//! * A wait that the other side asked for is kept, up to `retry_after_max`. An open circuit may stay open for a tick of
//!   the system's timer longer, at most 10 ms.
//! * A configuration that was built cannot be wrong, and it can be changed while calls are under way.
//! * Nothing here panics.
//!
//! # Units
//!
//! Times are [`Duration`](std::time::Duration)s, shares are from 0 to 1.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use aqueduct_breaker::{Breaker, Config, State};
//! use aqueduct_core::{Clock, Timestamp, Verdict};
//!
//! # fn main() -> Result<(), aqueduct_breaker::ConfigError> {
//! let (clock, hand) = Clock::manual(Timestamp(0));
//! let config = Config::builder()
//!     .minimum_calls(4)
//!     .open_for(Duration::from_secs(1), 2.0, Duration::from_secs(60))
//!     .half_open(1, Duration::from_secs(10))
//!     .build()?;
//! let breaker = Breaker::new(config, clock);
//! for _ in 0..4 {
//!     if let Ok(permit) = breaker.try_acquire() {
//!         permit.finish(Verdict::FAILURE);
//!     }
//! }
//! let refused = breaker.try_acquire().map(drop).expect_err("half of the calls have failed");
//! assert!(refused.retry_after <= Some(Duration::from_secs(1)));
//!
//! hand.advance(Duration::from_secs(1));
//! if let Ok(probe) = breaker.try_acquire() {
//!     probe.finish(Verdict::Success);
//! }
//! assert_eq!(breaker.state(), State::Closed);
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! [`Metrics`] counts calls by outcome and changes by state, and tells how many circuits are not closed, under a name
//! that you give. [`Breaker::snapshot`] has the figures of one circuit, [`Breaker::with_observer`] its changes.
//!
//! # Sources
//!
//! The pattern and its name: Michael Nygard, "Release It!", 2007. The rates, the minimum and the modes are those that
//! resilience4j has made known; the windows are our own. Shedding is the client-side throttling of Beyer et al., "Site
//! Reliability Engineering", 2016, chapter 21, with the exponent and the cap of Envoy's admission control filter.

mod breaker;
mod config;
mod error;
#[cfg(feature = "tower")]
mod layer;
mod machine;
mod metrics;
#[cfg(feature = "tower")]
mod service;
mod window;

pub use breaker::{Breaker, Permit};
pub use config::{Builder, Config, Shedding, Window};
pub use error::{CallError, ConfigError, Refusal};
#[cfg(feature = "tower")]
pub use layer::BreakerLayer;
pub use machine::{Grant, Machine, Mode, Reason, Snapshot, State, Transition};
pub use metrics::Metrics;
#[cfg(feature = "tower")]
pub use service::{Circuit, CircuitFuture};
pub use window::Tally;
