//! What can be typed about batches.

use clap::Subcommand;

use super::Look;

#[derive(Debug, Subcommand)]
pub(crate) enum Batch {
    /// Tells how far a batch is, how fast it goes, how long the rest takes, and which checkpoints are kept
    Status(Look),
}
