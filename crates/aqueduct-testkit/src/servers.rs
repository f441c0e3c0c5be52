//! Servers of a test's own: child processes with their data in a folder that goes with them.

mod redis;

pub use redis::{RedisServer, ServerError};
