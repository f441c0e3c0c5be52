//! Everything that happens before the first item is read.

use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_core::{Phase, Shutdown};
use aqueduct_store::{Claim, Commit, FileMark, PartitionState};
use tokio::runtime::Handle;

use super::committer::{Committer, Output};
use super::databases::{Ask, Databases};
use super::identity::Identity;
use super::journal::Journal;
use super::letters::Letters;
use super::lock::FolderLock;
use super::reader::Assignment;
use super::shared::{Shared, SinkSide, Stages};
use super::window::{Limits, Window};
use super::{resume, state};
use crate::config::Replay;
use crate::error::{ConfigError, RunError};
use crate::guarantee::{Guarantee, SinkGuarantee};
use crate::pipeline::{NamedSink, Pipeline, SinkKind};
use crate::report::Resumed;
use crate::sink::table::TableEncoder;
use crate::sink::{Encode, Opening};
use crate::source::{Source, SourceContext};
use crate::ways::Ways;

/// The most batches in flight: enough to keep every core busy over a slow commit, and a bound for channels.
pub(super) const BATCHES_MAX: usize = 1024;

/// What a run reads.
pub(super) enum Intake {
    Source(Box<dyn Source>, Vec<Assignment>),
    Letters(Box<Letters>),
}

/// A run that may begin.
pub(super) struct Started {
    pub(super) shared: Arc<Shared>,
    pub(super) intake: Intake,
    pub(super) committer: Committer,
    pub(super) sinks: Vec<SinkGuarantee>,
    pub(super) lock: FolderLock,
    /// The checkpoint that it went back to.
    pub(super) resumed: Option<Resumed>,
}

pub(super) async fn start(mut pipeline: Pipeline, replay: Option<Replay>) -> Result<Started, RunError> {
    let guarantees = pipeline.guarantees()?;
    let Some(mut source) = pipeline.source.take() else {
        return Err(ConfigError::Missing { missing: "source" }.into());
    };
    let (source_ends, source_asked) = Shutdown::new();
    source.start(&SourceContext {
        clock: pipeline.options.clock.clone(),
        shutdown: source_asked,
        runtime: Handle::current(),
    });
    // A replay needs the input only for what was too large to keep.
    let partitions = if replay.is_some() { Vec::new() } else { source.partitions()? };
    refuse_loops(source.as_ref(), &pipeline)?;
    let lock = FolderLock::take(&pipeline.data_folder())?;

    for sink in &mut pipeline.sinks {
        if let SinkKind::Direct(direct) = &mut sink.kind {
            direct.reserve(&sink.name)?;
        }
    }

    let ledger_path = pipeline.ledger_path();
    let tables = pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
        SinkKind::Table(table) => Some(table.path.clone()),
        SinkKind::Direct(_) => None,
    });
    let paths: Vec<PathBuf> = std::iter::once(ledger_path.clone()).chain(tables).collect();
    let mut databases = Databases::open(&paths).await?;
    let identity = Identity::of(&pipeline, source.identity());
    let before = databases.all[0].store.ledger(&pipeline.name).await?;
    let before = before.and_then(|ledger| Identity::read(&ledger.configuration));
    if let Some(before) = &before
        && !pipeline.options.accept_change
    {
        identity.check(before, "the last run")?;
    }
    let claim = Claim {
        pipeline: pipeline.name.clone(),
        partitions,
        configuration: identity.write(),
        at: pipeline.options.clock.wall(),
    };
    let mut claimed = databases.all[0].store.claim(claim.clone()).await?;
    databases.all[0].fence = claimed.fence;
    // What the pipeline was at the checkpoint that it goes back to.
    let (mut then, mut resumed) = (None, None);
    if let Some(resume) = &pipeline.options.resume {
        if !source.goes_back() {
            let (source_name, checkpoint) = (source.describe(), resume.checkpoint.clone());
            return Err(RunError::NoWayBack { source_name, checkpoint });
        }
        let store = databases.all[0].store.as_mut();
        let (checkpoint, found) = resume::find(store, &claimed.ledger, resume).await?;
        then = Identity::read(&checkpoint.configuration);
        if let Some(then) = &then
            && !pipeline.options.accept_change
        {
            identity.check(then, &format!("checkpoint {}", checkpoint.name))?;
        }
        resumed = Some(found);
        resume::verify(source.as_mut(), &checkpoint, &claimed.partitions)?;
        resume::rewind(store, &claimed.ledger, claimed.fence, checkpoint, claim.at).await?;
        claimed.ledger = store.ledger(&pipeline.name).await?.unwrap_or(claimed.ledger);
        for part in &mut claimed.partitions {
            if let Some(then) = claimed.ledger.partitions.iter().find(|then| then.id == part.id) {
                part.clone_from(then);
            }
        }
    }
    for second in &mut databases.all[1..] {
        let claim = Claim { partitions: Vec::new(), ..claim.clone() };
        second.fence = second.store.claim(claim).await?.fence;
    }

    let mut outputs = Vec::new();
    let mut sides = Vec::new();
    let mut marks = Vec::new();
    let weak = pipeline.options.guarantee == Some(Guarantee::AtLeastOnce);
    let ways = Ways::of(&pipeline);
    let lanes = ways.sink_lanes(&pipeline);
    ways.resolve(&mut pipeline.steps);
    for (NamedSink { name, kind, on_error, .. }, given) in
        std::mem::take(&mut pipeline.sinks).into_iter().zip(&guarantees)
    {
        let (output, encoder): (Output, Arc<dyn Encode>) = match kind {
            SinkKind::Direct(mut sink) => {
                let known: Vec<FileMark> =
                    claimed.ledger.files.iter().filter(|mark| *mark.sink == *name).cloned().collect();
                let opening = Opening { sink: &name, marks: &known, guarantee: given.guarantee };
                let wanted = sink.open(&opening)?;
                marks.extend(wanted.into_iter().filter(|mark| !known.contains(mark)));
                let encoder = sink.encoder();
                (Output::Direct(sink), encoder)
            }
            SinkKind::Table(table) => {
                let store = databases.index_of(&table.path);
                let ask = Ask { weak, pipeline: &pipeline.name, widen: pipeline.options.accept_change };
                let shape = databases.shape(&name, &table, store, &ask).await?;
                let encoder = Arc::new(TableEncoder(Arc::clone(&shape)));
                (Output::Table { shape, store }, encoder)
            }
        };
        outputs.push(output);
        sides.push(SinkSide { name, encoder, on_error });
    }
    // New files are known to the ledger before their first byte is written, and state that nobody reads any more
    // goes before new state comes.
    let mut commit = Commit::new(&pipeline.name, claimed.fence, pipeline.options.clock.wall());
    commit.files = marks;
    for stage in before.iter().chain(&then).flat_map(|before| identity.lost_state(before)) {
        commit.state.extend(state::forget(databases.all[0].store.as_mut(), &pipeline.name, stage).await?);
    }
    let registers = !commit.files.is_empty() || !commit.state.is_empty();
    if registers {
        databases.all[0].store.commit(commit).await?;
    }
    let kept = state::restore(&pipeline.steps, databases.all[0].store.as_mut(), &pipeline.name).await?;
    let checkpoints = databases.all[0].store.checkpoints(&pipeline.name).await?;

    let journal = Journal::read(&pipeline.steps, databases.all[0].store.as_mut(), &pipeline.name).await?;

    let unshaped = outputs.iter().any(|output| match output {
        Output::Table { shape, .. } => shape.table().is_none(),
        Output::Direct(sink) => !sink.is_shaped(),
    });
    let options = pipeline.options;
    let limits = Limits { batches: BATCHES_MAX, items: options.window_items, bytes: options.window_bytes };
    let window = Window::new(limits, unshaped);
    let stages =
        Stages { name: &pipeline.name, steps: pipeline.steps, source_rule: pipeline.source_rule, journal };
    let mut shared = Shared::new(stages, ways, &lanes, sides, source.decoder(), window, options)?;
    shared.source_ends = source_ends.clone();
    let shared = Arc::new(shared);
    let mut asked = shared.options.shutdown.clone();
    shared.suspend(async move {
        asked.reached(Phase::Draining).await;
        source_ends.drain();
        asked.reached(Phase::Stopping).await;
        source_ends.stop();
    });
    let committer = Committer {
        shared: Arc::clone(&shared),
        pipeline: pipeline.name,
        runtime: Handle::current(),
        outputs,
        databases: databases.all,
        revisions: claimed.partitions.iter().map(|part| (part.id, part.revision)).collect(),
        kept,
        recorded: 0,
        checkpoints: checkpoints.into_iter().map(|kept| kept.epoch).collect(),
        widen: shared.options.accept_change,
        // A replay reads letters, and nothing of the source.
        acknowledges: source.acknowledges().filter(|_| replay.is_none()),
        replays: replay.is_some(),
        // Dead letters are in the ledger until their results are, so there is no position to commit.
        ahead: shared.options.is_ahead() && replay.is_none(),
        guarantee: if weak { Guarantee::AtLeastOnce } else { Guarantee::ExactlyOnce },
        epoch: claimed.ledger.epoch + u64::from(registers),
        begun: shared.options.clock.now(),
    };
    let intake = match replay {
        Some(replay) => {
            let names = claimed.ledger.partitions.into_iter().map(|part| (part.id, part.name)).collect();
            let letters = Letters::open(&ledger_path, &committer.pipeline, replay, source, names).await?;
            Intake::Letters(Box::new(letters))
        }
        None => {
            let assignment = |part: PartitionState| Assignment { id: part.id, position: part.position };
            Intake::Source(source, claimed.partitions.into_iter().map(assignment).collect())
        }
    };
    Ok(Started { shared, intake, committer, sinks: guarantees, lock, resumed })
}

/// A run that reads its own results does not end.
fn refuse_loops(source: &dyn Source, pipeline: &Pipeline) -> Result<(), ConfigError> {
    for sink in &pipeline.sinks {
        let path = match &sink.kind {
            SinkKind::Direct(direct) => direct.writes(),
            SinkKind::Table(table) => Some(table.path.clone()),
        };
        if let Some(path) = path.filter(|path| source.would_read(path)) {
            return Err(ConfigError::Loop {
                source_name: source.describe(),
                sink: sink.name.to_string(),
                path,
            });
        }
    }
    Ok(())
}
