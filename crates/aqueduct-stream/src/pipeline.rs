use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aqueduct_core::ShutdownSignal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Options, Replay};
use crate::engine;
use crate::error::{ConfigError, RunError, StageError};
use crate::fault::{self, Fault};
use crate::guarantee::{Guarantee, SinkGuarantee};
use crate::paths::same_file_key;
use crate::preview::Preview;
use crate::report::{Report, RunFailure};
use crate::rule::{OnError, Rule};
use crate::sink::{Sink, SqliteSink};
use crate::source::Source;
use crate::stage::{AsyncStage, BatchStage, Lane, OrderedStage, Stage, Step, Work};
use crate::typed;
use crate::ways::Ways;

/// A source, stages in their order, and sinks.
///
/// The parts are checked when it runs, all at once, before anything is read or written.
#[must_use = "a pipeline does nothing until it runs"]
pub struct Pipeline {
    pub(crate) name: String,
    pub(crate) source: Option<Box<dyn Source>>,
    pub(crate) source_rule: OnError,
    pub(crate) steps: Vec<Step>,
    pub(crate) sinks: Vec<NamedSink>,
    pub(crate) options: Options,
    last: Last,
}

/// What [`Pipeline::on_error`] is about.
#[derive(Clone, Copy, Debug)]
enum Last {
    Source,
    Step,
    Sink,
}

pub(crate) struct NamedSink {
    pub(crate) name: Arc<str>,
    pub(crate) kind: SinkKind,
    pub(crate) on_error: OnError,
    /// The branch whose items it takes; those on the main way without one.
    pub(crate) branch: Option<Arc<str>>,
}

/// A sink for [`Pipeline::sink`]: a table, or anything that implements [`Sink`].
pub enum SinkKind {
    /// Rows of a SQLite table.
    Table(SqliteSink),
    /// A file, a pipe, or a sink of your own.
    Direct(Box<dyn Sink>),
}

impl fmt::Debug for SinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => table.fmt(f),
            Self::Direct(sink) => f.write_str(&sink.describe()),
        }
    }
}

impl From<SqliteSink> for SinkKind {
    fn from(sink: SqliteSink) -> Self {
        Self::Table(sink)
    }
}

impl<S: Sink + 'static> From<S> for SinkKind {
    fn from(sink: S) -> Self {
        Self::Direct(Box::new(sink))
    }
}

impl Pipeline {
    /// Starts a pipeline. The ledger keeps it under this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: None,
            source_rule: OnError::DeadLetter,
            steps: Vec::new(),
            sinks: Vec::new(),
            options: Options::default(),
            last: Last::Source,
        }
    }

    /// Sets where items come from. What cannot be decoded becomes a dead letter, unless
    /// [`Pipeline::on_error`] follows and says otherwise.
    pub fn source(mut self, source: impl Source + 'static) -> Self {
        self.source = Some(Box::new(source));
        self.last = Last::Source;
        self
    }

    /// Adds a stage that makes one Rust value of another. Values go from one typed stage to the next as they
    /// are; JSON is read and written only at the ends.
    pub fn map<T, U, F>(self, name: &str, work: F) -> Self
    where
        T: DeserializeOwned + Any,
        U: Serialize + Any + Send + Sync,
        F: Fn(&T) -> U + Send + Sync + 'static,
    {
        self.try_map(name, move |value: &T| Ok(work(value)))
    }

    /// Adds a stage that makes one Rust value of another, or fails on it.
    pub fn try_map<T, U, F>(self, name: &str, work: F) -> Self
    where
        T: DeserializeOwned + Any,
        U: Serialize + Any + Send + Sync,
        F: Fn(&T) -> Result<U, StageError> + Send + Sync + 'static,
    {
        self.stage(name, typed::Map::<T, F>::new(work))
    }

    /// Adds a stage that leaves out every item for which `keeps` says no.
    pub fn filter<T, F>(self, name: &str, keeps: F) -> Self
    where
        T: DeserializeOwned + Any,
        F: Fn(&T) -> bool + Send + Sync + 'static,
    {
        self.stage(name, typed::Filter::<T, F>::new(keeps))
    }

    /// Adds a stage that does not wait.
    pub fn stage(self, name: &str, stage: impl Stage + 'static) -> Self {
        self.step(name, Work::Sync(Arc::new(stage)))
    }

    /// Adds a stage that waits, item by item.
    pub fn async_stage(self, name: &str, stage: impl AsyncStage + 'static) -> Self {
        let permits = Arc::new(tokio::sync::Semaphore::new(stage.concurrency().max(1)));
        self.step(name, Work::Async(Arc::new(stage), permits))
    }

    /// Adds a stage that waits, batch by batch.
    pub fn batch_stage(self, name: &str, stage: impl BatchStage + 'static) -> Self {
        self.step(name, Work::Batch(Arc::new(stage)))
    }

    /// Adds a stage that sees items in the order of the input, and remembers.
    pub fn ordered_stage(self, name: &str, stage: impl OrderedStage + 'static) -> Self {
        self.step(name, Work::Ordered(Arc::new(Mutex::new(stage))))
    }

    fn step(mut self, name: &str, work: Work) -> Self {
        self.steps.push(Step {
            name: name.into(),
            rule: Rule::default(),
            work,
            branch: None,
            lane: Lane::Main,
            exits: Vec::new(),
            journalled: false,
        });
        self.last = Last::Step;
        self
    }

    /// Adds a sink. Every sink takes every item that leaves the last stage, except those on a branch, which take
    /// the items of that branch, and those that a stage names as its targets, which take what it sends them.
    pub fn sink(mut self, name: &str, sink: impl Into<SinkKind>) -> Self {
        self.sinks.push(NamedSink {
            name: name.into(),
            kind: sink.into(),
            on_error: OnError::Stop,
            branch: None,
        });
        self.last = Last::Sink;
        self
    }

    /// Sets what happens to items on which the part that was added last fails for good.
    pub fn on_error(self, on_error: OnError) -> Self {
        self.rule(Rule::new(on_error))
    }

    /// Sets the rule of the part that was added last, its schedule of attempts included. Sources and sinks
    /// have no attempts.
    pub fn rule(mut self, rule: Rule) -> Self {
        match self.last {
            Last::Source => self.source_rule = rule.on_error,
            Last::Step => {
                if let Some(step) = self.steps.last_mut() {
                    step.rule = rule;
                }
            }
            Last::Sink => {
                if let Some(sink) = self.sinks.last_mut() {
                    sink.on_error = rule.on_error;
                }
            }
        }
        self
    }

    /// Puts the stage or sink that was added last on a branch: it takes the items that an earlier stage sent there,
    /// and no others.
    pub fn on_branch(mut self, branch: &str) -> Self {
        match self.last {
            Last::Source => {}
            Last::Step => {
                if let Some(step) = self.steps.last_mut() {
                    step.branch = Some(branch.into());
                }
            }
            Last::Sink => {
                if let Some(sink) = self.sinks.last_mut() {
                    sink.branch = Some(branch.into());
                }
            }
        }
        self
    }

    /// Keeps every answer of the waiting stage that was added last, durably, until the item is committed: a call that
    /// was answered and kept is never made again, whatever crashes. For calls that cost money.
    ///
    /// A call that was answered in the moment of a crash, before its answer was kept, is made again. A kept answer is
    /// taken only for an item of the same content. It costs one more sync of the ledger for all answers that
    /// come while the last one is under way.
    pub fn journalled(mut self) -> Self {
        if matches!(self.last, Last::Step)
            && let Some(step) = self.steps.last_mut()
        {
            step.journalled = true;
        }
        self
    }

    /// Makes the stage that was added last fail as a script says. For tests of pipelines.
    pub fn faulted(mut self, fault: Fault) -> Self {
        if matches!(self.last, Last::Step)
            && let Some(step) = self.steps.pop()
        {
            self.steps.push(Step { work: fault::before(step.work, fault), ..step });
        }
        self
    }

    /// Sets how it runs. It replaces all options, so what [`Pipeline::data_dir`] and [`Pipeline::shutdown`] set
    /// before is gone.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Sets the folder for the lock and, without a database sink, the ledger.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.data_dir = Some(path.into());
        self
    }

    /// Lets somebody ask the run to drain or stop.
    pub fn shutdown(mut self, signal: ShutdownSignal) -> Self {
        self.options.shutdown = signal;
        self
    }

    /// Tells what each sink gives and why, without running.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as [`Pipeline::run`] would give it.
    pub fn guarantees(&self) -> Result<Vec<SinkGuarantee>, ConfigError> {
        self.check()?;
        let guarantees = self.sink_guarantees();
        let weakest = guarantees.iter().min_by_key(|given| given.guarantee);
        if let (Some(wanted), Some(weakest)) = (self.options.guarantee, weakest)
            && weakest.guarantee < wanted
        {
            return Err(ConfigError::Guarantee {
                wanted,
                given: weakest.guarantee,
                reason: format!("sink {}: {}", weakest.sink, weakest.reason),
            });
        }
        Ok(guarantees)
    }

    /// The name under which the ledger keeps it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells where the ledger is: in the first database sink, else in the data folder.
    #[must_use]
    pub fn ledger_path(&self) -> PathBuf {
        let table = self.sinks.iter().find_map(|sink| match &sink.kind {
            SinkKind::Table(table) => Some(table.path.clone()),
            SinkKind::Direct(_) => None,
        });
        table.unwrap_or_else(|| self.data_folder().join("ledger.db"))
    }

    pub(crate) fn data_folder(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| PathBuf::from(".aqueduct").join(&self.name))
    }

    fn sink_guarantees(&self) -> Vec<SinkGuarantee> {
        let ledger = same_file_key(&self.ledger_path());
        let weak = self.options.guarantee == Some(Guarantee::AtLeastOnce);
        let ahead = self.options.is_ahead().then(|| {
            let reason =
                "the position is committed before the work, so what a crash cuts off is not repeated";
            (Guarantee::AtMostOnce, reason.to_owned())
        });
        let source = ahead.or_else(|| self.source.as_ref().map(|source| source.guarantee()));
        self.sinks
            .iter()
            .map(|sink| {
                let (what, (guarantee, reason)) = match &sink.kind {
                    SinkKind::Direct(direct) => (direct.describe(), direct.guarantee()),
                    SinkKind::Table(table) => (
                        format!("sqlite {}, table {}", table.path.display(), table.table),
                        if same_file_key(&table.path) == ledger {
                            (Guarantee::ExactlyOnce, "its rows and the position are one transaction".to_owned())
                        } else {
                            let key = table.key.as_deref().unwrap_or("the item id");
                            let reason = format!(
                                "it is a second database, so its commit is a second commit; a repeated epoch replaces \
                                 its own rows by {key}"
                            );
                            (Guarantee::EffectivelyOnce, reason)
                        },
                    ),
                };
                let (guarantee, reason) = if weak && guarantee > Guarantee::AtLeastOnce {
                    (Guarantee::AtLeastOnce, "at least once is what the pipeline asks for".to_owned())
                } else {
                    (guarantee, reason)
                };
                let (guarantee, reason) = match &source {
                    Some((limit, why)) if *limit < guarantee => (*limit, why.clone()),
                    _ => (guarantee, reason),
                };
                SinkGuarantee { sink: sink.name.to_string(), what, guarantee, reason }
            })
            .collect()
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.options.check()?;
        if self.source.is_none() {
            return Err(ConfigError::Missing { missing: "source" });
        }
        if self.sinks.is_empty() {
            return Err(ConfigError::Missing { missing: "sink" });
        }
        let names = self.steps.iter().map(|step| &step.name).chain(self.sinks.iter().map(|sink| &sink.name));
        let mut seen: Vec<&Arc<str>> = Vec::new();
        for name in names {
            // Dead letters and reports call the decoding by this name.
            if seen.contains(&name) || &**name == "source" {
                return Err(ConfigError::Duplicate { name: name.to_string() });
            }
            seen.push(name);
        }
        for step in self.steps.iter().filter(|step| step.journalled) {
            if !matches!(step.work, Work::Async(..)) {
                return Err(ConfigError::Value {
                    field: format!("the journal of stage {}", step.name),
                    value: "on".to_owned(),
                    expected: "off: only a stage that waits item by item gives answers that can be kept"
                        .to_owned(),
                });
            }
        }
        Ways::of(self).check(self)
    }

    /// Runs until the input ends, somebody asks it to stop, or something fails. Run it again to continue.
    ///
    /// Needs a tokio runtime with time, for retries and stages that wait; everything else has threads of its own.
    ///
    /// # Errors
    ///
    /// [`RunFailure`] says why, and what was done before. What is committed stays; nothing else happened.
    ///
    /// # Cancel safety
    ///
    /// A dropped run goes on to its next commit on threads of its own and then stops by itself; use
    /// [`Pipeline::shutdown`] instead.
    pub async fn run(self) -> Result<Report, RunFailure> {
        engine::run(self, None).await
    }

    /// Takes the first items of the input through the stages and tells what each makes of them. The stages work
    /// for real, waiting ones included; nothing is written, claimed or locked, and ordered stages remember nothing.
    ///
    /// # Errors
    ///
    /// [`RunError`] when the pipeline makes no sense or the input cannot be read. An item that fails is no error:
    /// the preview tells.
    ///
    /// # Complexity
    ///
    /// Linear in the items that are looked at, whatever the size of the input.
    pub async fn preview(self, items_max: usize) -> Result<Preview, RunError> {
        engine::preview(self, items_max).await
    }

    /// Runs over dead letters of earlier runs instead of the source: each goes on at the stage that failed on it,
    /// with the payload it had there and its id. A letter goes in the commit that has what became of it, so one
    /// that fails again is there again and nothing is lost when it is cut short.
    ///
    /// Input that could not be read is decoded once more; what was too large to keep is read from the source. The
    /// letters of stages that are gone stay ([`Report::left`]). Checkpoints from before a replay are dropped:
    /// nobody could go back over it.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run`].
    ///
    /// # Cancel safety
    ///
    /// As [`Pipeline::run`].
    pub async fn replay(self, replay: Replay) -> Result<Report, RunFailure> {
        engine::run(self, Some(replay)).await
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.name)
            .field("source", &self.source.as_ref().map(|source| source.describe()))
            .field("stages", &self.steps.iter().map(|step| &step.name).collect::<Vec<_>>())
            .field("sinks", &self.sinks.iter().map(|sink| &sink.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
