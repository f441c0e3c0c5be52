//! Where a limit for many processes is kept.

pub(crate) mod redis;
