//! Every order against a naive model, expiry and weights against the clock and the scales, and many threads at once.

#![cfg(test)]

mod adaptive;
mod config;
#[cfg(all(feature = "disk", unix))]
mod disk;
mod expiry;
#[cfg(all(feature = "disk", unix))]
mod levels;
mod loading;
mod loads;
mod models;
mod nodes;
mod orders;
#[cfg(feature = "redis")]
mod redis;
mod scripted;
#[cfg(feature = "redis")]
mod shared;
mod spaces;
mod stored;
mod surface;
mod threads;
mod truth;
mod weights;

/// What the scripted level is made of; the tests inside of the crate have it too.
mod api {
    pub(crate) use aqueduct_cache::{Invalidations, Level, LevelError, Place, Scope, Stored};
}
