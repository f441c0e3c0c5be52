//! Kills a pipeline at every place where it writes, resumes it, and proves offline that nothing was lost.
//!
//! # When to use it
//!
//! You changed how Aqueduct writes or resumes and want to know that the promise still holds; or you doubt the
//! promise. `aqueduct-crash --binary PATH` needs the binary built with its feature `failpoints`. It is not a
//! load test, and it says nothing about power loss: a killed process leaves its unsynced bytes to the system.
//!
//! # The model
//!
//! ```text
//! generator -> workload (files) -> BINARY run, killed at a point -> BINARY run, resumed -> checker -> report
//!     `-> oracle: what must be there --------------------------------------------------------^
//! ```
//!
//! * A [`Workload`] is an input made from a seed, some of it poison, and a pipeline over it. There is one for each
//!   [`Kind`] of thing that a pipeline does; in some a finished run comes before the one that is struck.
//! * [`Expected`] is what must be in every sink and among the dead letters, computed in plain Rust.
//! * A [`Point`] says where the run is struck: at a named place in the code, or before the Nth system call of a
//!   kind on a file; some points strike the resumed run a second time.
//! * [`check`] reads the files and the SQLite tables itself. It never asks Aqueduct anything.
//! * On top, every call and every place fails once with an error (`EIO`) instead: the run must stop, and the next
//!   one must go on.
//! * A [`RedisServer`] is a real server of a test's own, which the test kills, freezes and starts again.
//! * A [`proxy`] stands before a server and does to its connections what networks do, or puts TLS before it.
//! * A [`Campaign`] spreads points over the kinds and the writing calls; [`sabotage`] runs builds with a
//!   deliberate bug, each of which must be caught, since a checker that finds nothing proves nothing.
//!
//! # Guarantees and limits
//!
//! Only points at which the process really died are counted, and each only once. A point's text repeats it
//! exactly, as far as the threads of the run allow. Zero faults at n points mean less than 3/n faults at 95 %
//! (the rule of three). System calls are struck on Linux only, through `strace`.
//!
//! # Units
//!
//! Recovery is the time from the start of the resumed run to its end, the work that was left included.
//!
//! # Example
//!
//! ```
//! use aqueduct_testkit::{Kind, Workload};
//!
//! let workload = Workload::new(7, Kind::Jsonl);
//! let expected = workload.expected();
//! assert_eq!(expected.sinks[0].entries.len() + expected.letters.len(), 500);
//! ```
//!
//! # Sources
//!
//! Fail the Nth operation, for every N: SQLite, "How SQLite Is Tested", section 3. Keep the oracle outside of
//! what is killed: RocksDB, `db_crashtest`. The rule of three: Hanley and Lippman-Hand, "If nothing goes wrong,
//! is everything all right?", JAMA 249, 1983.

pub mod backend;
mod campaign;
mod checker;
mod error;
mod generator;
mod oracle;
mod plan;
mod point;
mod process;
pub mod proxy;
mod report;
pub mod sabotage;
mod servers;
mod strace;
mod trial;
mod workload;

pub use campaign::{Campaign, Options};
pub use checker::{Fault, Finding, check};
pub use error::CrashError;
pub use oracle::{Counts, Entry, Expected, Form, Holding, Letter, Type, Value};
pub use point::{Action, Blow, Point, PointError, Target};
pub use report::{Broken, KindReport, Report, Sabotaged, Share};
pub use servers::{RedisServer, ServerError};
pub use trial::{Outcome, Trial};
pub use workload::{Kind, KindError, Workload};
