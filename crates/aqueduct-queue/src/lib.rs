//! A queue whose messages survive: priorities, delays, leases, fair tenants, dead letters, in memory or in one file.

mod broker;
mod capability;
mod config;
mod contract;
mod error;
mod index;
mod log;
mod message;
mod queue;
mod topic;

pub use capability::{Capabilities, Capability, Support};
pub use config::{Builder, Config, DeadLettersFull, Fairness};
pub use contract::{Backend, Dead, DeadCause, Depth, Pause, Peeked, Pressure, Reserve, State, TenantShare};
pub use error::{
    AdminError, Broken, DeclareError, OpenError, PublishError, ReserveError, SettleError, Unsupported,
};
pub use log::redb::{Damage, RepairReport, VerifyReport, repair, verify};
pub use message::{Delivered, Durability, Message, MessageId, Priority, Receipt, Settlement, Token};
pub use queue::{Delivery, Queue, Queues, Redrive};
pub use topic::{Pattern, Topic};
