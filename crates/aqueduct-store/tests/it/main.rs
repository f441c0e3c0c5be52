//! Behaviour of the stores, through the public surface.

#![expect(clippy::panic, reason = "a helper that finds the wrong error has nothing else to say")]

mod conformance;
mod model;
mod place;
mod sqlite;
