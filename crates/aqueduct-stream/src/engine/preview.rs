//! A look at what a pipeline would do: the real path over a few items, and nothing written.

use std::collections::BTreeMap;
use std::sync::Arc;

use aqueduct_core::Random;
use tokio::runtime::Handle;

use super::decode::decode;
use super::encode::encode;
use super::journal::Journal;
use super::shared::{Shared, SinkSide, Stages};
use super::steps::{run_ordered, run_sync, run_waiting};
use super::window::{Limits, Window};
use crate::batch::{Batch, Event, in_words};
use crate::error::RunError;
use crate::pipeline::{NamedSink, Pipeline, SinkKind};
use crate::preview::{Preview, PreviewItem, PreviewStep, Shown};
use crate::sink::Encode;
use crate::sink::table::{Shape, TableEncoder};
use crate::source::{Source, SourceContext};
use crate::stage::{Lane, Work};
use crate::ways::Ways;

/// Takes the first `items_max` items of the input through all stages, one at a time.
pub(crate) async fn preview(mut pipeline: Pipeline, items_max: usize) -> Result<Preview, RunError> {
    pipeline.check()?;
    let Some(source) = pipeline.source.take() else {
        return Err(crate::ConfigError::Missing { missing: "source" }.into());
    };
    let context = SourceContext {
        clock: pipeline.options.clock.clone(),
        shutdown: pipeline.options.shutdown.clone(),
        runtime: Handle::current(),
    };
    let shared = shared(pipeline, source.decoder())?;
    let (mut source, partitions) = waiting(source, move |source| {
        source.start(&context);
        source.partitions()
    })
    .await;
    let partitions = partitions?;
    for step in &shared.steps {
        step.open().await?;
    }
    let mut preview = Preview { items: Vec::new(), partitions: partitions.len() };
    let mut random = Random::seeded(0);
    for (index, _) in partitions.iter().enumerate() {
        let id = aqueduct_core::PartitionId(u32::try_from(index).unwrap_or(u32::MAX));
        let opened;
        (source, opened) = waiting(source, move |source| source.open(index, id, None)).await;
        opened?;
        while preview.items.len() < items_max {
            let chunk;
            (source, chunk) = waiting(source, |source| source.next(1)).await;
            let Some(chunk) = chunk? else { break };
            if chunk.items > 0 {
                let mut batch = Batch::new(preview.items.len() as u64, chunk);
                preview.items.push(follow(&shared, &mut batch, &mut random).await);
            }
        }
    }
    for step in &shared.steps {
        step.close().await;
    }
    Ok(preview)
}

/// Lets the source work on a thread that may wait, as it has one in a run: a pipe blocks until somebody writes.
async fn waiting<T: Send + 'static>(
    mut source: Box<dyn Source>,
    work: impl FnOnce(&mut dyn Source) -> T + Send + 'static,
) -> (Box<dyn Source>, T) {
    let worked = tokio::task::spawn_blocking(move || {
        let result = work(&mut *source);
        (source, result)
    });
    match worked.await {
        Ok(worked) => worked,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What the stages need, without anything to write to.
fn shared(mut pipeline: Pipeline, decoder: Arc<dyn crate::source::Decode>) -> Result<Arc<Shared>, RunError> {
    let ways = Ways::of(&pipeline);
    let lanes = ways.sink_lanes(&pipeline);
    ways.resolve(&mut pipeline.steps);
    let mut sides = Vec::new();
    for NamedSink { name, kind, on_error, .. } in std::mem::take(&mut pipeline.sinks) {
        let encoder: Arc<dyn Encode> = match kind {
            SinkKind::Direct(sink) => sink.encoder(),
            SinkKind::Table(table) => {
                let shape = Arc::new(Shape::new(&name, &table.table, table.conflict(false)));
                if let Some(columns) = table.columns {
                    shape.fix(columns)?;
                }
                Arc::new(TableEncoder(shape))
            }
        };
        sides.push(SinkSide { name, encoder, on_error });
    }
    let options = pipeline.options;
    let window = Window::new(Limits { batches: 1, items: 1, bytes: usize::MAX }, false);
    let stages = Stages {
        name: &pipeline.name,
        steps: pipeline.steps,
        source_rule: pipeline.source_rule,
        // A dry run keeps nothing, and asks again for what it shows.
        journal: Journal::default(),
    };
    Ok(Arc::new(Shared::new(stages, ways, &lanes, sides, decoder, window, options)?))
}

/// Takes one item through all stages, and notes what each makes of it.
async fn follow(shared: &Shared, batch: &mut Batch, random: &mut Random) -> PreviewItem {
    decode(shared, batch);
    let input = batch.inputs.first();
    let id = input.map(|input| shared.decoder.item_id(batch.chunk.partition, input.offset).to_string());
    let original =
        input.map_or_else(String::new, |input| String::from_utf8_lossy(&input.original).into_owned());
    let mut seen = Seen::default();
    let refused = seen.news(batch);
    let mut steps = Vec::new();
    for (at, step) in shared.steps.iter().enumerate() {
        batch.step = at;
        let waiting = |batch: &Batch| -> Vec<Shown> {
            let slots = batch.slots.iter().filter(|slot| slot.waits_for(at, step.lane));
            slots.map(|slot| shown(shared, slot)).collect()
        };
        let before = waiting(batch);
        if before.is_empty() {
            continue;
        }
        loop {
            let delay = match &step.work {
                Work::Sync(_) => run_sync(shared, batch, step, random),
                Work::Ordered(stage) => {
                    run_ordered(shared, batch, step, stage, random);
                    None
                }
                Work::Async(..) | Work::Batch(_) => run_waiting(shared, batch, step, None, random).await,
            };
            let Some(delay) = delay else { break };
            shared.options.clock.sleep(delay).await;
        }
        let after =
            batch.slots.iter().filter(|slot| slot.step == at + 1).map(|slot| shown(shared, slot)).collect();
        steps.push(PreviewStep { stage: step.name.to_string(), before, after, news: seen.news(batch) });
    }
    batch.step = shared.steps.len();
    let mut delivered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for slot in &batch.slots {
        for at in shared.takers(slot.lane) {
            let sink = shared.sinks[*at].name.to_string();
            delivered.entry(sink).or_default().push(shown(shared, slot).payload);
        }
    }
    // What a sink cannot take shows only when it is asked to.
    let encoded = encode(shared, batch, shared.options.clock.wall());
    let at_sinks = seen.news(batch);
    if encoded.is_none() || !at_sinks.is_empty() {
        delivered.clear();
    }
    PreviewItem { id: id.unwrap_or_default(), original, refused, steps, delivered, at_sinks }
}

fn shown(shared: &Shared, slot: &crate::batch::Slot) -> Shown {
    let mut payload = Vec::new();
    let payload = match slot.item.payload.write_json(&mut payload) {
        Ok(()) => String::from_utf8_lossy(&payload).into_owned(),
        Err(error) => in_words(&error),
    };
    let way = match slot.lane {
        Lane::Main => None,
        lane => shared.ways.name(lane).map(str::to_owned),
    };
    Shown { id: slot.item.id.to_string(), way, payload }
}

/// How much of what happened was told already.
#[derive(Default)]
struct Seen {
    events: usize,
    letters: usize,
    stopped: bool,
}

impl Seen {
    /// What happened since the last time, in words.
    fn news(&mut self, batch: &Batch) -> Vec<String> {
        let skipped = batch.events[self.events..].iter().filter(|(_, event)| matches!(event, Event::Skipped));
        let mut news: Vec<String> = skipped.map(|_| "skipped".to_owned()).collect();
        let letters = batch.letters[self.letters..].iter();
        news.extend(letters.map(|(_, letter)| format!("dead letter: {}", letter.reason)));
        if let Some((_, failure)) = batch.cut.as_ref().filter(|_| !self.stopped) {
            news.push(format!("the run would stop: {}", in_words(failure.source.as_ref())));
        }
        (self.events, self.letters, self.stopped) =
            (batch.events.len(), batch.letters.len(), batch.cut.is_some());
        news
    }
}
