//! A queue whose messages survive: priorities, delays, leases, fair tenants, dead letters, in memory or in one file.
//!
//! # When to use it
//!
//! Work comes faster than it can be done, or must outlive the process that asked for it: jobs, calls to slow services,
//! steps between pipelines. One process owns a file of queues; other processes reach it through that one. Do not use it to
//! hand values between tasks of a process (a channel is a thousand times faster), as a log to be read again (what is
//! acknowledged is gone), or as a lock: a lease can run out while its worker still works.
//!
//! # The model
//!
//! ```text
//!            publish                 reserve                 ack
//! Message -----------> ready -----------------> leased ----------------> gone
//!    | delay             ^  lease over, release   | |
//!    +----> delayed -----+ <----------------------+ | last attempt, or refused
//!                 ^------------- nack --------------+----------------> dead letter -- redrive --> ready
//! ```
//!
//! * A queue has one group of consumers, `default`, or several with a [`Pattern`] each; each group has its own copy of every
//!   message whose [`Topic`] fits, with its own leases and dead letters.
//! * A worker gets a [`Delivery`] with a [`Token`]. The number of its lease grows with every lease of the store; a later
//!   lease makes an earlier one stale.
//! * What goes next: the tenant that has had the least of the workers' time (start-time fair queueing), then its highest
//!   [`Priority`], where waiting for an ageing counts as one priority more, then the oldest. Of one key one message at a time.
//! * The index in memory decides, the log makes it last: [`Queues::memory`] has none, [`Queues::open`] one file and one
//!   sync for all that wait for it.
//!
//! Publishing and settling are O(log n) in the tenants with work and in what is delayed or leased; a message that waits
//! takes some 80 bytes of memory, and its body none.
//!
//! # Guarantees and limits
//!
//! * At least once: a message is handed out until it is settled. [`Delivery::ack_and_publish`] makes what came of it, and
//!   that it is gone, one transaction, so what stays in the file is effectively once.
//! * A [`Receipt`] names the [`Durability`] that was reached, and is given when it was. A failed sync breaks the store until it
//!   is opened again; it is never tried again.
//! * Attempts are counted before they begin, and survive the process that they kill.
//! * No message is handed out after one of its tenant that was published more than three ageings later.
//! * Never more than [`Config::items_max`] messages in a group, and never more bytes: publishers are refused or wait.
//! * A file opens with everything that was acknowledged, or is refused as damaged; [`repair`] takes out what can be read.
//! * What a backend cannot do is [`Unsupported`] when the queue is declared, and never emulated in silence.
//!
//! # Units
//!
//! Times are [`std::time::Duration`], sizes bytes with everything that belongs to a message, shares ratios from 0 to 1.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use aqueduct_queue::{Config, Message, Priority, Queues};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?; let path = folder.path().join("queues.redb");
//! let queues = Queues::open(path)?;
//! let mails = queues.declare("mails", Config::builder().attempts_max(3).build()?).await?;
//! mails.publish(Message::new("to a").with_tenant("acme")).await?;
//! mails.publish(Message::new("to b").with_tenant("acme").with_priority(Priority::High)).await?;
//!
//! let delivery = mails.reserve().await?;
//! assert_eq!(delivery.message.body, "to b");
//! delivery.ack().await?;
//! mails.reserve().await?.nack(Duration::from_secs(5), "mailbox busy").await?;
//! assert_eq!(mails.depth().await?.delayed, 1);
//! queues.close().await?;
//! # Ok(()) }
//! ```
//!
//! [`Queue::with_metrics`] counts into a registry what goes through a handle; [`Queue::depth`] and [`Queue::tenants`] give
//! the figures of the moment.
//!
//! # Sources
//!
//! Goyal, Vin and Cheng, "Start-time Fair Queuing", SIGCOMM 1996, with the cost put right afterwards; the rule of who is noisy
//! is that of SQS fair queues. Group commit: Gawlick and Kinkade, "Varieties of Concurrency Control in IMS/VS Fast Path",
//! 1985. Fencing by growing numbers: Kleppmann, "How to do distributed locking", 2016.

mod broker;
mod capability;
mod config;
mod contract;
mod error;
mod index;
mod log;
mod message;
mod metrics;
mod queue;
mod topic;

pub use capability::{Capabilities, Capability, Support, Unsupported};
pub use config::{Builder, Config, DeadLettersFull, Fairness};
pub use contract::{Backend, Dead, DeadCause, Depth, Pause, Peeked, Pressure, Reserve, State, TenantShare};
pub use error::{AdminError, Broken, DeclareError, OpenError, PublishError, ReserveError, SettleError};
pub use log::redb::{Damage, RepairReport, VerifyReport, repair, verify};
pub use message::{Delivered, Durability, Message, MessageId, Priority, Receipt, Settlement, Token};
pub use queue::{Delivery, Queue, Queues, Redrive};
pub use topic::{Pattern, Topic};
