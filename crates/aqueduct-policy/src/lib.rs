//! Calls a backend that fails, is slow, and allows only so much: everything between a caller and a call, in one block.
//!
//! # When to use it
//!
//! You call a service over a network many times, and want its quota kept, its failures survived and its bad hours not made
//! worse, without putting a limiter, a breaker, a retry and a balancer together yourself. Do not use it around something
//! that has retries of its own, or for calls that never fail in passing; a single part of it is a crate of its own.
//!
//! # The model
//!
//! A [`Policy`] is what was configured, a [`Backend`] one or more endpoints behind it, a [`Call`] a request with what the
//! layers need to know of it: a key (what fails and is limited by itself, such as a host), a tenant, a cost in tokens, and
//! whether it may be made twice. Every layer is optional. From outermost to innermost, in [`Backend::call_counted`]:
//!
//! * the *deadline* of the call with all that follows;
//! * the *cache*, and one call for all who ask for the same at the same time;
//! * *concurrency*: so many calls under way, fixed or found out ([`Aimd`], [`Gradient`]), with tenants taking turns;
//! * the *retry* with its budget, and the *hedge* out of the same budget;
//! * the *circuit* of the key;
//! * the *rate limit* of all, of the key, or both: every attempt and every hedge takes its tokens;
//! * the *choice* of an endpoint that is neither ejected nor behind an open circuit of its own;
//! * the *time-out* of the attempt, and the call.
//!
//! The class of an error says what becomes of it. *Transient* is retried, and a failure of circuit and endpoint. *Overload*
//! is retried, and pauses the rate limit of the key as long as it asks; the circuit takes no notice, since a backend that
//! says so is there. *Permanent* is an answer: it ends the call, and circuit and endpoint are well. *Invalid*, *cancelled*
//! and *internal* end it too and say nothing, since it may never have been sent. An attempt that takes too long is
//! transient. An error that [is a refusal](aqueduct_core::Classified::is_refusal) is handed on as one.
//!
//! # Guarantees and limits
//!
//! * A refusal is no failure: it uses no token and no budget, counts no attempt, and says how long to wait where that is
//!   known. A call that was refused after some attempts keeps those in [`Refusal::attempts`].
//! * The quota is kept by attempts that are sent, whatever is retried, hedged or dropped. Tokens are given in the order of
//!   asking, and a wait that would reach the deadline is refused before it is begun.
//! * A wait for a token is no slow call, and what has waited is not sent to a circuit that opened meanwhile.
//! * Retries and hedges together are at most the share of the calls that the budget allows, or its reserve where that is more.
//! * Where calls wait for a place, a tenant waits for at most one call of each other tenant, however many those have.
//! * A call that is dropped anywhere leaves every layer as it was, but for what its sent attempts have used. A hedge that
//!   was still waiting for its token counts against the budget.
//! * Of calls that ask for the same, one is made; when it is dropped, the next makes it. An error is not shared: the next
//!   one tries by itself, one after the other.
//! * Keys are bounded. One whose circuit is not closed or whose quota is in use is the last to be forgotten.
//! * Nothing here starts a task or panics.
//!
//! # Units
//!
//! Times are [`Duration`](std::time::Duration)s, shares and ratios are from 0 to 1, tokens are whole numbers.
//!
//! # Example
//!
//! ```
//! use std::task::{Context, Poll};
//! use std::time::Duration;
//!
//! use aqueduct_core::{Classified, ErrorClass};
//! use aqueduct_policy::{Call, Endpoint, Policy, Scope};
//! use aqueduct_ratelimit::Quota;
//! # #[derive(Debug)]
//! # struct Down;
//! # impl std::fmt::Display for Down { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("down") } }
//! # impl std::error::Error for Down {}
//! # impl Classified for Down { fn class(&self) -> ErrorClass { ErrorClass::Transient } }
//! # #[derive(Clone)]
//! # struct Client(&'static str);
//! # impl tower_service::Service<u32> for Client {
//! #     type Response = u32;
//! #     type Error = Down;
//! #     type Future = std::future::Ready<Result<u32, Down>>;
//! #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Down>> { Poll::Ready(Ok(())) }
//! #     fn call(&mut self, page: u32) -> Self::Future { std::future::ready(Ok(page)) }
//! # }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::builder()
//!     .deadline(Duration::from_secs(30))
//!     .retry(aqueduct_retry::Config::default())
//!     .breaker(aqueduct_breaker::Config::default())
//!     .rate_limit(Quota::per_second(100)?, Scope::PerKey)
//!     .attempt_timeout(Duration::from_secs(5))
//!     .build()?;
//! let backend = policy.over([Endpoint::new("a", Client("10.0.0.1")), Endpoint::new("b", Client("10.0.0.2"))])?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let page = backend.call(Call::new(7).key("example.org")).await?;
//! # assert_eq!((page, backend.snapshot().attempts), (7, 1));
//! # Ok::<(), aqueduct_policy::PolicyError<Down>>(())
//! # })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! [`Metrics`] counts calls by outcome, attempts by why they were begun, time-outs, waits for tokens and what the cache gave,
//! under a name that you give. [`Backend::snapshot`] has the figures of each layer, [`Builder::observer`] the changes.
//!
//! # Sources
//!
//! The limits that adapt are those of Netflix concurrency-limits. The order of the layers is argued at
//! [`Backend::call_counted`]; that a rate limit belongs within the retry, and a deadline around all, is the experience of Beyer et
//! al., "Site Reliability Engineering", 2016, chapters 21 and 22.

mod backend;
mod cache;
mod call;
mod concurrency;
mod config;
mod endpoints;
mod error;
mod event;
mod hedge;
mod lane;
mod line;
mod metrics;
mod scope;
mod service;
mod snapshot;
mod tokens;

pub use aqueduct_balancer::Endpoint;
pub use backend::{Answered, Backend};
pub use cache::{Cache, CacheFuture};
pub use call::Call;
pub use concurrency::{Aimd, AimdConfig, Concurrency, Gradient, GradientConfig, Sample};
pub use config::{Builder, Cached, NoCache, Policy};
pub use error::{ConfigError, PolicyError, Refusal, RefusedBy};
pub use event::Event;
pub use metrics::Metrics;
pub use scope::Scope;
pub use snapshot::Snapshot;
