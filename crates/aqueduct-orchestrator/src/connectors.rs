//! What goes over the network, and backends that are called; and queues.

pub(crate) mod answers;
pub(crate) mod backend;
mod exchange;
pub(crate) mod figures;
pub(crate) mod http;
pub(crate) mod model;
pub(crate) mod queue;
pub(crate) mod rules;
pub(crate) mod stand_in;
