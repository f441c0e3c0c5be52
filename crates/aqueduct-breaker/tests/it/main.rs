//! The machine against naive models and known scenarios, the breaker under threads, behind keys and as a service.

#![cfg(test)]

mod breaker;
mod config;
mod keyed;
mod machine;
mod metrics;
mod resilience4j;
mod service;
mod shedding;
