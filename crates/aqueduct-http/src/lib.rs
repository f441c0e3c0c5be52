//! Calls HTTP servers over a pool of connections, and bounds what a server can do to its caller.
//!
//! # When to use it
//!
//! You call servers that you do not run, or at addresses that come from data: they may be slow, endless, wrong, or point
//! into your own network. Do not use it for a response that is to be read as a stream (a [`Response`] holds all of it),
//! for HTTP/2, for cookies, or through a proxy of the system. It does not try again: put a retry around it.
//!
//! # The model
//!
//! A [`Client`] is a handle of one pool. A call takes a place at its host (scheme, name and port) and in it a turn to
//! connect or to use a connection that is there, sends its request, and reads the whole response. A host that no call
//! uses gives its place to one that needs it, and its idle connections close. All of it is under one time limit.
//!
//! A status is no error: [`Response`] has it. [`HttpError`] is a call that brought no response, one variant for each way.
//!
//! # Guarantees
//!
//! * There are never more calls at a host than `connections_per_host`, and never more hosts than `hosts`. Calls that wait
//!   get their turn in the order they came, and one that is dropped leaves nothing behind.
//! * No more than `response_bytes_max` of a response is kept, counted after it was decompressed, and of its head no more
//!   than hyper takes: 100 headers.
//! * A call ends within its time limit, whatever the server does, waiting in the pool included.
//! * Without `allow_private` no connection is made to an address that is not public, unless the configuration names it. A
//!   name is looked up once, its addresses are checked, and the one that is connected to is one of those.
//! * A redirect is followed only where asked for, is checked like a first call, and takes no credentials to another origin.
//! * Nothing with CR, LF or NUL in a header is sent, no URL with a user or a password, and no scheme but `http` and `https`.
//! * No message of an error has a query, a fragment or a header in it.
//!
//! # Limits
//!
//! The bound is on calls, and each has one connection. One that has answered is back in the pool only when tasks have run
//! behind it; if they come late, and a call has its turn meanwhile, it opens another. That is seldom, and never are more
//! connections idle than there are turns. A pool belongs to the runtime that its calls are made on. A name is looked
//! up on a thread of its own, which a call that ends does not end.
//!
//! A call costs O(1) and a few allocations; the first one to a host makes a client, and looks at all hosts when one has to
//! give way. Certificates are checked against the roots of Mozilla, which are compiled in, and those that the
//! configuration adds: it is the same on every machine, one without certificates included, and a root that is withdrawn
//! goes with the next build. Revocation is not checked.
//!
//! # Units
//!
//! Times are [`Duration`](std::time::Duration)s, sizes are bytes.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use aqueduct_http::{Client, Config, HttpError, Method, Request};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::builder().response_bytes_max(1 << 20).timeout(Duration::from_secs(5)).build()?;
//! let client = Client::new(config)?;
//!
//! let request = Request::new(Method::GET, "http://169.254.169.254/latest/meta-data").header("accept", "text/plain");
//! let refused = client.call(request).await.expect_err("it is link-local");
//! assert!(matches!(refused, HttpError::Address { .. }));
//! # Ok(())
//! # }
//! ```
//!
//! It emits no metrics; [`Client::snapshot`] has its figures.
//!
//! # Sources
//!
//! HTTP is RFC 9110 and 9112; which method a redirect keeps is the Fetch standard of the WHATWG, "HTTP-redirect fetch".
//! The addresses that are not public are those of the registries of IANA, named beside their table.

mod address;
mod client;
mod config;
mod dial;
mod error;
mod exchange;
mod pool;
mod redirect;
mod request;
mod resolver;
mod response;
mod service;
mod target;

pub use address::AddressKind;
pub use client::Client;
pub use config::{Builder, Config};
pub use error::{BodyError, ConfigError, HeaderFault, HttpError, Phase, UrlFault};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use pool::Snapshot;
pub use request::Request;
pub use response::Response;
pub use service::CallFuture;
