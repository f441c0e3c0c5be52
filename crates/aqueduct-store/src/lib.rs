//! Results and ledger in one transaction.
//!
//! # When to use it
//!
//! You process a stream of inputs into rows or files and want every input to have its effect once, although
//! the process may be killed at any moment. The store keeps the rows, how far the input was read, what could
//! not be processed, named checkpoints and small keyed state, and changes them together or not at all. Do not
//! use it as a general database layer: it has no queries beyond reading back what it wrote.
//!
//! # The model
//!
//! Two writes. [`Store::journal`] is durable at once. [`Store::commit`] makes one epoch durable: its rows, dead
//! letters, state, file marks and positions. Both are conditional on the [`Fence`](aqueduct_core::Fence) that
//! [`Store::claim`] gave, and a commit also on the [`Revision`](aqueduct_core::Revision) of each position. So
//! the newest run wins, and a commit that is repeated or late changes nothing.
//!
//! Backends: [`MemoryStore`] for tests and throw-away runs, [`SqliteStore`] for one machine. One conformance
//! suite holds them to the same behaviour.
//!
//! # Guarantees and limits
//!
//! A commit that returned is on disk (SQLite: write-ahead log, `synchronous=FULL`). A commit that failed with
//! [`CommitError::Unknown`] may be on disk: reopen and read. Everything else that fails changed nothing. One
//! store has one connection; commits are in the order of the calls.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use aqueduct_core::{Position, Timestamp};
//! use aqueduct_store::{Advance, Claim, Commit, MemoryStore, Store};
//!
//! let mut store = MemoryStore::new();
//! let claim = Claim { pipeline: "demo".into(), partitions: vec!["in.jsonl".into()], at: Timestamp(0), ..Claim::default() };
//! let claimed = store.claim(claim).await?;
//! let part = &claimed.partitions[0];
//! let mut commit = Commit::new("demo", claimed.fence, Timestamp(1));
//! let next_item = "a0a0b42".to_owned();
//! commit.advances.push(Advance { partition: part.id, from: part.revision, to: Position::new("42"), next_item });
//! store.commit(commit).await?;
//! let ledger = store.ledger("demo").await?.ok_or("claimed above")?;
//! assert_eq!(ledger.partitions[0].position, Some(Position::new("42")));
//! # Ok(())
//! # }
//! ```
//!
//! # Units
//!
//! Lengths are bytes; [`Timestamp`](aqueduct_core::Timestamp) is milliseconds since 1970. It emits no metrics.
//!
//! # Sources
//!
//! The rule that rows and position share a transaction: decision 0001 of this repository. SQLite, "Write-Ahead
//! Logging" and "PRAGMA synchronous".

mod backends;
mod contract;
mod dead_letter;
mod error;
mod facts;
mod retention;
mod row;

pub use backends::{MemoryStore, SqliteStore};
pub use contract::{
    Advance, Checkpoint, CheckpointPosition, Claim, Claimed, Commit, FileMark, FoundTable, JournalEntry,
    Ledger, PartitionState, Rewind, RunOutcome, RunState, StateChange, Store,
};
pub use dead_letter::{DeadLetter, DeadLetterEdit, DeadLetterFilter, DeadLetterTotal, Original, Purged};
pub use error::{BackendError, ClaimError, CommitError, EditError, OpenError, ReadError};
pub use facts::{PipelineFacts, StoreFacts, TableFacts};
pub use retention::{Removed, Retention};
pub use row::{Column, Conflict, ITEM_ID, Rows, Table, Value};
