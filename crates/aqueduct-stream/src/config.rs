use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_core::{Clock, ShutdownSignal};
use aqueduct_metrics::Registry;
use aqueduct_store::{DeadLetterFilter, Retention};

use crate::error::ConfigError;
use crate::every::Every;
use crate::guarantee::Guarantee;
use crate::progress::Progress;
use crate::skip_limit::SkipLimit;

/// How a pipeline runs. Every field has a default that suits most.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that decode, run stages and encode. Default: the cores of the machine. 1 to 1,024.
    pub workers: usize,
    /// The most items in one batch. Default 1,000: a batch stage gets that many at once. 1 to 1,000,000.
    pub batch_items: usize,
    /// The most batches in one commit. Default 1,024, so that bytes decide. With 1 every batch is an epoch.
    pub epoch_batches: usize,
    /// A commit is made once this many bytes of input are ready, or nothing else is being worked on. Default
    /// 4 MiB: a sync costs the same for 4 MiB as for 4 KiB, and a lone item never waits for it.
    pub epoch_bytes: usize,
    /// The most bytes of input in flight. Default 32 MiB; what stages and sinks make of them is about twice
    /// that again. The source pauses when it is full.
    pub window_bytes: usize,
    /// The most items in flight. Default 1,000,000.
    pub window_items: usize,
    /// How much lies between two named checkpoints, and between the begin of a run and its first. Default 10 batches. A
    /// run that stops on an item or has used what it may keeps one, too.
    pub checkpoint_interval: Every,
    /// Whether a commit ends where a checkpoint is due. Then checkpoints lie exactly as far apart as
    /// [`Options::checkpoint_interval`] says, and a commit is never longer than that. Default: a checkpoint comes with
    /// the first commit behind that place, because short commits cost syncs.
    pub checkpoints_exact: bool,
    /// How many items may fail and be left behind. Default: any number, as the rules say.
    pub skip_limit: Option<SkipLimit>,
    /// What stays of checkpoints and dead letters. Default: 16 checkpoints, and all dead letters.
    pub retention: Retention,
    /// Reads at most this many items, commits them and ends. Default: all.
    pub limit: Option<u64>,
    /// What the run must give. Default: the best that the route gives.
    pub guarantee: Option<Guarantee>,
    /// What happens when the source is faster than the stages. Default: the source waits.
    pub overflow: Overflow,
    /// Goes back to a kept checkpoint first. Default: continues behind the last commit.
    pub resume: Option<Resume>,
    /// Runs although the source, the meaning of a stage's state or the columns of a sink are not those of the run
    /// before. Default: refuses.
    pub accept_change: bool,
    /// The folder for the lock and, without a database sink, the ledger. Default `.aqueduct/NAME`.
    pub data_dir: Option<PathBuf>,
    /// What the pipeline is made of, in words; a change is recorded as a new generation.
    pub configuration: String,
    /// Where time comes from.
    pub clock: Clock,
    /// Who may ask the run to drain or stop.
    pub shutdown: ShutdownSignal,
    /// Where live figures go.
    pub progress: Arc<Progress>,
    /// Where metrics are registered.
    pub metrics: Registry,
}

/// What happens to input for which there is no room. Dropping it means at most once: its position is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The source waits. Nothing is lost.
    #[default]
    Wait,
    /// What was read last is let go and counted as dropped.
    DropNewest,
    /// What has waited longest is let go and counted as dropped.
    DropOldest,
}

/// Going back to a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The checkpoint's name, or [`Resume::NEWEST`].
    pub checkpoint: String,
    /// Removes what was written behind it: rows of tables without a key, and the ends of files. Without it going
    /// back is refused where results would be there twice.
    pub rollback: bool,
}

impl Resume {
    /// Stands for the newest checkpoint that is whole: a damaged one is passed over, and the report says so.
    pub const NEWEST: &str = "newest";
}

/// Which dead letters go back on their way, and how fast.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Which of them; its `after` and `limit` are not looked at, [`Options::limit`] is.
    pub filter: DeadLetterFilter,
    /// At most so many a second, evenly. Default: as fast as the stages take them.
    pub rate: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            batch_items: 1000,
            epoch_batches: 1024,
            epoch_bytes: 4 * 1024 * 1024,
            window_bytes: 32 * 1024 * 1024,
            window_items: 1_000_000,
            checkpoint_interval: Every::Batches(10),
            checkpoints_exact: false,
            skip_limit: None,
            retention: Retention::default(),
            limit: None,
            guarantee: None,
            overflow: Overflow::Wait,
            resume: None,
            accept_change: false,
            data_dir: None,
            configuration: String::new(),
            clock: Clock::system(),
            shutdown: ShutdownSignal::never(),
            progress: Arc::default(),
            metrics: Registry::default(),
        }
    }
}

impl Options {
    /// Whether positions are committed before the work is done.
    pub(crate) fn is_ahead(&self) -> bool {
        self.guarantee == Some(Guarantee::AtMostOnce) || self.overflow != Overflow::Wait
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let within = |field: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(ConfigError::Value {
                field: field.to_owned(),
                value: value.to_string(),
                expected: format!("from 1 to {most}"),
            })
        };
        within("workers", self.workers, 1024)?;
        within("batch_items", self.batch_items, 1_000_000)?;
        within("epoch_batches", self.epoch_batches, 1_000_000)?;
        within("epoch_bytes", self.epoch_bytes, 1 << 40)?;
        within("window_bytes", self.window_bytes, 1 << 40)?;
        within("window_items", self.window_items, 1 << 40)?;
        self.checkpoint_interval.check("checkpoint_interval")?;
        self.skip_limit.as_ref().map_or(Ok(()), SkipLimit::check)
    }
}
