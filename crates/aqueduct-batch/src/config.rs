use aqueduct_store::Retention;
use aqueduct_stream::{Every, Options};

/// The items of one chunk unless a batch says otherwise: requirement A1. Small enough that little is done again when a
/// chunk fails, large enough that a call pays.
pub const SIZE: usize = 50;

/// What lies between two checkpoints unless a batch says otherwise: requirement A1, and 500 items with [`SIZE`].
pub const CHECKPOINT: Every = Every::Batches(10);

/// How many checkpoints are kept unless a batch says otherwise.
pub const KEEP: usize = Retention::CHECKPOINTS;

/// Calls of a chunk function at once: more than a service that takes whole chunks usually bears, and enough to hide the
/// time it takes to answer.
pub const CONCURRENCY: usize = 8;

/// Makes the options of a run those of a batch: commits end where checkpoints are due, and no more is in flight than
/// lies between two checkpoints, so that no more than that is ever done again.
///
/// Between two checkpoints by time, anything may lie: then the window stays as it is, and bounds what is done again.
#[must_use]
pub fn within_interval(options: Options) -> Options {
    let size = options.batch_items;
    let (items, bytes) = match options.checkpoint_interval {
        Every::Batches(batches) => {
            (usize::try_from(batches).unwrap_or(usize::MAX).saturating_mul(size), usize::MAX)
        }
        Every::Items(items) => (usize::try_from(items).unwrap_or(usize::MAX), usize::MAX),
        Every::Bytes(bytes) => (usize::MAX, usize::try_from(bytes).unwrap_or(usize::MAX)),
        Every::Time(_) => (usize::MAX, usize::MAX),
    };
    Options {
        window_items: options.window_items.min(items.max(size)),
        window_bytes: options.window_bytes.min(bytes),
        checkpoints_exact: true,
        ..options
    }
}
