//! The machine against naive models and known scenarios, the breaker under threads.

#![cfg(test)]

mod breaker;
mod config;
mod machine;
