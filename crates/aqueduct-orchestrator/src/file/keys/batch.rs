//! The keys of `[batch]`.

use aqueduct_store::Retention;

use super::{Absent, Key, Kind, Section, key};
use crate::settings::defaults;

pub(in crate::file) const SIZE: Key = key(
    "size",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(defaults::CHUNK_SIZE),
    "the most items in one batch: `run.batch_size` under its name here",
);
pub(in crate::file) const EVERY_BATCHES: Key = key(
    "checkpoint_interval",
    Kind::Integer(1, 1_000_000_000),
    Absent::Integer(defaults::CHECKPOINT_INTERVAL),
    "a checkpoint is kept every so many batches, or as many as there are partitions if those are more; also the most that \
     is in flight, and so done again after a crash",
);
pub(in crate::file) const EVERY_ITEMS: Key = key(
    "checkpoint_items",
    Kind::Integer(1, 1 << 50),
    Absent::Words("by batches"),
    "a checkpoint is kept with the batch that reaches so many items, instead of by batches",
);
pub(in crate::file) const EVERY_BYTES: Key = key(
    "checkpoint_bytes",
    Kind::Integer(1, 1 << 50),
    Absent::Words("by batches"),
    "a checkpoint is kept with the batch that reaches so many bytes of input, instead of by batches",
);
pub(in crate::file) const EVERY_SECONDS: Key = key(
    "checkpoint_seconds",
    Kind::Number(0.001, 2_592_000.0),
    Absent::Words("by batches"),
    "a checkpoint is kept with the first batch after so much time, instead of by batches; `[run]` alone bounds then what \
     is in flight",
);
pub(in crate::file) const CHECKPOINT_DIR: Key = key(
    "checkpoint_dir",
    Kind::Text,
    Absent::Words("`data_dir`"),
    "the folder of the lock and the ledger with the checkpoints: `data_dir` under its name here. With a database sink \
     the ledger is in its database",
);
pub(in crate::file) const KEPT_CHECKPOINTS: Key = key(
    "keep",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(Retention::CHECKPOINTS as u64),
    "how many checkpoints are kept: `retention.checkpoints` under its name here",
);
pub(in crate::file) const SKIP_LIMIT: Key = key(
    "skip_limit",
    Kind::Integer(0, 1 << 50),
    Absent::Words("any number"),
    "how many items of one run may fail and be left behind, as skipped or dead letters; one more ends it, with everything \
     before that item committed",
);
pub(in crate::file) const SKIP_SHARE: Key = key(
    "skip_share",
    Kind::Number(0.0, 1.0),
    Absent::Words("any share"),
    "the same as a share of the items read so far, counted as at least 1,000",
);

pub(in crate::file) const BATCH_SECTION: Section = Section {
    heading: "[batch]",
    of_type: None,
    keys: &[
        SIZE,
        EVERY_BATCHES,
        EVERY_ITEMS,
        EVERY_BYTES,
        EVERY_SECONDS,
        CHECKPOINT_DIR,
        KEPT_CHECKPOINTS,
        SKIP_LIMIT,
        SKIP_SHARE,
    ],
};
