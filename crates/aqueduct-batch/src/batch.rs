use std::any::Any;
use std::future::Future;
use std::path::PathBuf;

use aqueduct_store::{Checkpoint, SqliteStore, Store};
use aqueduct_stream::{
    Every, OnError, Options, Pipeline, Resume, Rule, RunError, RunFailure, SinkKind, SkipLimit, Source,
    StageError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bisect::Bisect;
use crate::chunk::{Chunk, Each, ItemResult};
use crate::config::{self, within_interval};
use crate::items::Items;
use crate::report::Report;

/// A data set, what is done with it, and where results go.
///
/// Everything is checked when it runs, before anything is read or written. Stages keep to the order in which they are
/// added; items keep to the order of the input.
#[must_use = "a batch does nothing until it runs"]
#[derive(Debug)]
pub struct Batch {
    pipeline: Pipeline,
    options: Options,
    concurrency: usize,
}

impl Batch {
    /// Starts a batch. The ledger keeps it under this name: with another name, everything is done again.
    pub fn named(name: impl Into<String>) -> Self {
        let mut options = Options {
            batch_items: config::SIZE,
            checkpoint_interval: config::CHECKPOINT,
            ..Options::default()
        };
        options.retention.checkpoints = config::KEEP;
        Self { pipeline: Pipeline::named(name), options, concurrency: config::CONCURRENCY }
    }

    /// Sets where items come from: files, programs, or a source of your own. What cannot be read becomes a dead letter,
    /// unless [`Batch::on_error`] follows.
    pub fn source(self, source: impl Source + 'static) -> Self {
        self.with(|pipeline| pipeline.source(source))
    }

    /// Takes the items from an iterator, such as rows of a query. Each run asks for a new one and passes over what is
    /// done, so it must give the same items again, each a struct or a map.
    ///
    /// # Complexity
    ///
    /// Going on is linear in what was done before; no more than a chunk is in memory.
    pub fn items<T, I>(self, begin: impl Fn() -> I + Send + 'static) -> Self
    where
        T: Serialize + 'static,
        I: Iterator<Item = T> + Send + 'static,
    {
        type Never = std::convert::Infallible;
        self.source(Items::new(move || begin().map(Ok::<T, Never>)))
    }

    /// As [`Batch::items`], for an iterator that may fail. The run fails with it, and goes on from there the next time.
    pub fn try_items<T, E, I>(self, begin: impl Fn() -> I + Send + 'static) -> Self
    where
        T: Serialize + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
        I: Iterator<Item = Result<T, E>> + Send + 'static,
    {
        self.source(Items::new(begin))
    }

    /// Sets how many items a chunk has at most. Default [`SIZE`](crate::SIZE), from 1 to 1,000,000. It is what
    /// bounds the memory.
    pub fn size(mut self, items: usize) -> Self {
        self.options.batch_items = items;
        self
    }

    /// Sets what lies between two checkpoints, which is also the most that is done again after a crash. Default 10
    /// chunks.
    pub fn checkpoint(mut self, every: Every) -> Self {
        self.options.checkpoint_interval = every;
        self
    }

    /// Sets how many checkpoints are kept. Default [`KEEP`](crate::KEEP); at least the newest is.
    pub fn keep(mut self, checkpoints: usize) -> Self {
        self.options.retention.checkpoints = checkpoints;
        self
    }

    /// Sets the folder of the lock and the ledger, which holds the checkpoints. Default `.aqueduct/` and the name. When a
    /// sink is a SQLite table the ledger is in its database, so that both change in one transaction.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.options.data_dir = Some(path.clone());
        self.with(|pipeline| pipeline.data_dir(path))
    }

    /// Sets how many items may fail for good and be left behind in one run. One more ends it, with everything before
    /// that item committed. Default: as many as the rules say.
    pub fn skip_limit(mut self, limit: SkipLimit) -> Self {
        self.options.skip_limit = Some(limit);
        self
    }

    /// Goes back to a kept checkpoint first; [`Resume`] says what becomes of results behind it. Default: goes on behind
    /// the last commit.
    pub fn resume(mut self, resume: Resume) -> Self {
        self.options.resume = Some(resume);
        self
    }

    /// Sets how many calls of a function run at once, for the stages that are added after it. Default
    /// [`CONCURRENCY`](crate::CONCURRENCY), at least 1; never more than there are chunks between two checkpoints.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.max(1);
        self
    }

    /// Sets how the run goes otherwise: clock, shutdown, progress, workers, what is kept of dead letters. The sizes,
    /// checkpoints, folder, skip limit and resume of this batch stay as they are.
    pub fn options(mut self, options: Options) -> Self {
        let mut retention = options.retention;
        retention.checkpoints = self.options.retention.checkpoints;
        self.options = Options {
            batch_items: self.options.batch_items,
            checkpoint_interval: self.options.checkpoint_interval,
            data_dir: self.options.data_dir,
            skip_limit: self.options.skip_limit,
            resume: self.options.resume,
            retention,
            ..options
        };
        self
    }

    /// Adds a function that works on a whole chunk and gives one result for each item, in their order.
    ///
    /// When it fails in a way that would not pass again, the chunk is halved until the items that it fails on stand
    /// alone, and only those fail: see [`Bisect`]. So it may see an item several times, and must bear that.
    pub fn chunk<T, U, E, F, R>(self, name: &str, work: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        U: Serialize + Send + Sync + 'static,
        E: Into<StageError>,
        F: Fn(Vec<T>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<U>, E>> + Send,
    {
        self.chunk_results(name, move |items: Vec<T>| {
            let working = work(items);
            async move {
                let results = working.await.map_err(Into::into)?;
                Ok(results.into_iter().map(|result| Ok(Some(result))).collect())
            }
        })
    }

    /// Adds a function that works on a whole chunk and says of each item what becomes of it: a result, nothing, or an
    /// error of its own, which is tried again or goes by the rule without the others.
    pub fn chunk_results<T, U, F, R>(self, name: &str, work: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        U: Serialize + Send + Sync + 'static,
        F: Fn(Vec<T>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<ItemResult<U>>, StageError>> + Send,
    {
        let chunk = Chunk::<T, F>::new(work, self.concurrency);
        self.with(|pipeline| pipeline.batch_stage(name, Bisect::new(chunk)))
    }

    /// Adds a function that works on one item: a result, nothing, or an error.
    pub fn each<T, U, F, R>(self, name: &str, work: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        U: Serialize + Send + Sync + 'static,
        F: Fn(T) -> R + Send + Sync + 'static,
        R: Future<Output = ItemResult<U>> + Send,
    {
        let each = Each::<T, F>::new(work, self.concurrency);
        self.with(|pipeline| pipeline.async_stage(name, each))
    }

    /// Adds a stage that makes one Rust value of another and does not wait.
    pub fn map<T, U, F>(self, name: &str, work: F) -> Self
    where
        T: DeserializeOwned + Any,
        U: Serialize + Any + Send + Sync,
        F: Fn(&T) -> Result<U, StageError> + Send + Sync + 'static,
    {
        self.with(|pipeline| pipeline.try_map(name, work))
    }

    /// Adds a sink.
    pub fn sink(self, name: &str, sink: impl Into<SinkKind>) -> Self {
        self.with(|pipeline| pipeline.sink(name, sink))
    }

    /// Sets what happens to items on which the part that was added last fails for good. Default: the run stops in front
    /// of it.
    pub fn on_error(self, on_error: OnError) -> Self {
        self.with(|pipeline| pipeline.on_error(on_error))
    }

    /// Sets the rule of the part that was added last, with how often and how long it is tried again.
    pub fn rule(self, rule: Rule) -> Self {
        self.with(|pipeline| pipeline.rule(rule))
    }

    /// Adds what this builder has no word for: any stage, branches, a journal.
    pub fn with(mut self, add: impl FnOnce(Pipeline) -> Pipeline) -> Self {
        self.pipeline = add(self.pipeline);
        self
    }

    /// The batch as a pipeline, with everything set.
    pub fn into_pipeline(self) -> Pipeline {
        self.pipeline.options(within_interval(self.options))
    }

    /// Reads the kept checkpoints, the oldest first; none before the first run.
    ///
    /// # Errors
    ///
    /// [`RunError`] when there is a ledger that cannot be read.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>, RunError> {
        let path = self.pipeline.ledger_path();
        if !path.exists() {
            return Ok(Vec::new());
        }
        let mut store = SqliteStore::open_read_only(&path).await?;
        let checkpoints = store.checkpoints(self.pipeline.name()).await;
        Box::new(store).close().await?;
        Ok(checkpoints?)
    }

    /// Works on everything that is not done yet. Run it again to go on.
    ///
    /// # Errors
    ///
    /// [`RunFailure`] says why, and what was done before. What is committed stays, and so do the checkpoints.
    ///
    /// # Cancel safety
    ///
    /// As [`Pipeline::run`].
    pub async fn run(self) -> Result<Report, RunFailure> {
        self.into_pipeline().run().await.map(Report::new)
    }
}
