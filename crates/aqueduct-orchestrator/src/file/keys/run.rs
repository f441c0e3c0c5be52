//! The keys of `[run]`.

use super::{Absent, Key, Kind, Section, key};
use crate::settings::defaults;

pub(crate) const WORKERS: Key = key(
    "workers",
    Kind::Integer(1, 1024),
    Absent::Words("two for each core"),
    "threads that work on batches; 1 works on one batch at a time",
);
pub(crate) const BATCH_SIZE: Key = key(
    "batch_size",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(defaults::BATCH_SIZE),
    "the most items in one batch; more cost memory, fewer cost time",
);
pub(crate) const CHECKPOINT_INTERVAL: Key = key(
    "checkpoint_interval",
    Kind::Integer(1, 1_000_000_000),
    Absent::Integer(defaults::CHECKPOINT_INTERVAL),
    "a named checkpoint is kept every so many batches",
);
pub(crate) const EPOCH_BATCHES: Key = key(
    "epoch_batches",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(defaults::EPOCH_BATCHES),
    "the most batches in one commit; with 1 every batch is one",
);
pub(crate) const WINDOW_BYTES: Key = key(
    "window_bytes",
    Kind::Integer(64 * 1024, 1 << 40),
    Absent::Integer(defaults::WINDOW_BYTES),
    "the most bytes of input in flight, at least `line_bytes_max`; the source pauses when it is full",
);
pub(crate) const WINDOW_ITEMS: Key = key(
    "window_items",
    Kind::Integer(1, 1 << 40),
    Absent::Integer(defaults::WINDOW_ITEMS),
    "the most items in flight, at least `batch_size`",
);
pub(crate) const MAX_ELAPSED_SECONDS: Key = key(
    "max_elapsed_seconds",
    Kind::Number(0.001, 86_400.0),
    Absent::Number(defaults::MAX_ELAPSED_SECONDS),
    "how long an item may be tried again in all; it holds back what is behind it",
);
pub(crate) const ALLOWED_DEAD_LETTER_RATIO: Key = key(
    "allowed_dead_letter_ratio",
    Kind::Number(0.0, 1.0),
    Absent::Number(defaults::ALLOWED_DEAD_LETTER_RATIO),
    "the share of items that may end as dead letters; with more the run ends with exit code 3",
);

pub(in crate::file) const OVERFLOW: Key = key(
    "overflow",
    Kind::Choice(&["wait", "drop-newest", "drop-oldest"]),
    Absent::Text("wait"),
    "what happens when the source is faster than the stages; dropping means at most once, and is counted",
);

pub(in crate::file) const RUN_SECTION: Section = Section {
    heading: "[run]",
    of_type: None,
    keys: &[
        WORKERS,
        BATCH_SIZE,
        CHECKPOINT_INTERVAL,
        EPOCH_BATCHES,
        WINDOW_BYTES,
        WINDOW_ITEMS,
        OVERFLOW,
        MAX_ELAPSED_SECONDS,
        ALLOWED_DEAD_LETTER_RATIO,
    ],
};
