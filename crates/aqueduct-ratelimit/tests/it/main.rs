//! Each algorithm against known tables and naive models, the limiters under threads, keys, waits and as a service.

#![cfg(test)]

mod exact;
mod headers;
mod keyed;
mod limiter;
mod limits;
mod metrics;
mod quota;
mod redis;
mod redis_cell;
mod service;
mod waiting;
mod windows;
