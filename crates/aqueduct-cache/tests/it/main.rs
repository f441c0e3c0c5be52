//! Every order against a naive model, expiry and weights against the clock and the scales, and many threads at once.

#![cfg(test)]

mod adaptive;
mod config;
mod expiry;
mod loading;
mod loads;
mod models;
mod orders;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod shared;
mod spaces;
mod surface;
mod weights;
