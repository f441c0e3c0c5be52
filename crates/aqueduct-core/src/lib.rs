//! The words that every part of Aqueduct shares.
//!
//! # When to use it
//!
//! You write a stage, a source or a sink for Aqueduct, or you use one of its parts alone and want to hand it
//! a clock. This crate holds only nouns that two or more crates need. It is not a place for helpers, it does
//! no input or output, and on its own it runs nothing.
//!
//! # The model
//!
//! * An [`Item`] is one datum in flight: an [`ItemId`] that sorts in input order and a [`Payload`].
//! * A payload is a [`Record`], one JSON object kept as the bytes it arrived in, checked once and indexed at
//!   its top level; or a typed Rust value that is written as JSON only when somebody needs the bytes.
//! * A [`Position`] says how far a source has been read. Only the source understands it.
//! * [`Counts`] is the ledger of a run. It balances, or something was lost.
//! * [`ErrorClass`] says what to do about an error; retries, breakers and metrics read it and nothing else.
//! * [`Clock`] and [`Random`] are the only sources of time and chance, so a test can own both.
//! * [`Keyed`] holds one shared thing for each key, in bounded number.
//! * [`Shutdown`] asks a run to drain, then to stop.
//! * [`Verdict`] is what a caller says of a call, to whoever decides about the next one.
//!
//! # Guarantees and limits
//!
//! Parsing a record is linear in its length, never recursive, and refuses nesting deeper than
//! [`json::DEPTH_MAX`]. Reading a top-level field is linear in the number of fields. Of duplicate keys the
//! last wins; the record that comes out has each key once.
//!
//! # Example
//!
//! ```
//! use aqueduct_core::Record;
//!
//! # fn main() -> Result<(), aqueduct_core::json::JsonError> {
//! let record = Record::parse(&br#"{"id":"a-1","passed":9,"tags":["x","y"]}"#[..])?;
//! let passed = record.get("passed").and_then(|value| value.as_i64());
//! assert_eq!(passed, Some(9));
//! assert_eq!(record.get("tags").and_then(|tags| tags.index(1)).map(|tag| tag.as_text()), Some("\"y\""));
//! # Ok(())
//! # }
//! ```
//!
//! # Units
//!
//! Time is [`std::time::Duration`] or [`Instant`]; a [`Timestamp`] is milliseconds since 1970-01-01 UTC.
//! Sizes are bytes. It emits no metrics.
//!
//! # Sources
//!
//! JSON is RFC 8259. Civil dates follow Howard Hinnant, "chrono-compatible low-level date algorithms", 2013.

mod class;
mod clock;
mod counts;
mod error;
pub mod failpoint;
mod item;
pub mod json;
mod keyed;
mod position;
mod random;
mod rfc3339;
mod shutdown;
mod verdict;

pub use class::{Classified, ErrorClass};
pub use clock::{Busy, Clock, Instant, ManualClock, Timestamp};
pub use counts::{Counts, Imbalance};
pub use error::{CallError, ConfigError};
pub use item::{Item, ItemId, ItemIdError, PartitionId, Payload, PayloadError, SourceId, TypedPayload};
pub use json::{Record, RecordBuilder};
pub use keyed::{Forget, Keyed};
pub use position::{Fence, Position, Revision};
pub use random::Random;
pub use rfc3339::TimestampError;
pub use shutdown::{Phase, Shutdown, ShutdownSignal};
pub use verdict::{Judge, ResultJudge, Verdict};
