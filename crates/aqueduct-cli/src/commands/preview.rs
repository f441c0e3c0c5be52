use std::collections::BTreeMap;

use aqueduct_orchestrator::{CacheReach, PipelineSpec, RunRequest, assemble};
use aqueduct_stream::{Preview, PreviewItem};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::exit::Exit;
use crate::flags::{Format, Run};
use crate::output;

/// How many items are looked at unless the caller says otherwise: a screen full.
const ITEMS_DEFAULT: usize = 10;

/// What `run --dry-run -o json` prints.
#[derive(Serialize)]
struct Shown<'a> {
    pipeline: &'a str,
    partitions: usize,
    items: Vec<ShownItem<'a>>,
}

#[derive(Serialize)]
struct ShownItem<'a> {
    item: &'a str,
    original: &'a str,
    /// Why it is no record.
    refused: &'a [String],
    stages: Vec<ShownStage<'a>>,
    /// By sink, what would be written.
    delivered: BTreeMap<&'a str, Vec<Box<RawValue>>>,
    /// What would go wrong at the sinks.
    at_sinks: &'a [String],
}

#[derive(Serialize)]
struct ShownStage<'a> {
    stage: &'a str,
    before: Vec<Box<RawValue>>,
    after: Vec<ShownAfter<'a>>,
    /// Skipped, dead letters with their reasons, a stop.
    news: &'a [String],
}

#[derive(Serialize)]
struct ShownAfter<'a> {
    /// The branch or sink that it is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'a str>,
    item: Box<RawValue>,
}

/// Shows what each stage makes of the first items, and writes nothing.
pub(super) async fn preview(spec: &PipelineSpec, flags: &Run, request: RunRequest) -> Exit {
    let items = flags.limit.map_or(ITEMS_DEFAULT, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    // What it finds out is for a look, and what runs have kept stays theirs.
    let request = RunRequest { cache: CacheReach::Memory, ..request };
    let preview = match assemble(spec, request).preview(items).await {
        Ok(preview) => preview,
        Err(error) => {
            output::error(&error);
            return Exit::of_run(&error);
        }
    };
    match flags.output.output {
        Format::Text => print(&preview),
        Format::Json => output::data_line(&output::json(Format::Json, &shown(spec, &preview))),
        Format::Jsonl => {
            for item in &shown(spec, &preview).items {
                output::data_line(&output::json(Format::Jsonl, item));
            }
        }
    }
    output::message(&format!(
        "{} looked at; nothing was written",
        output::plural(preview.items.len() as u64, "item")
    ));
    if preview.items.is_empty() { Exit::Nothing } else { Exit::Done }
}

fn print(preview: &Preview) {
    for item in &preview.items {
        output::data_line(&format!("item {}", item.id));
        output::data_line(&format!("  {:<16} {}", "source", one_line(&item.original)));
        for news in &item.refused {
            output::data_line(&format!("  {:<16} {}", "", one_line(news)));
        }
        print_stages(item);
        for (sink, written) in &item.delivered {
            for payload in written {
                output::data_line(&format!("  {:<16} {}", format!("=> {sink}"), one_line(payload)));
            }
        }
        for news in &item.at_sinks {
            output::data_line(&format!("  {:<16} {}", "=> no sink", one_line(news)));
        }
    }
}

fn print_stages(item: &PreviewItem) {
    for step in &item.steps {
        let mut name = step.stage.as_str();
        let unchanged = step.after.len() == step.before.len()
            && step.after.iter().zip(&step.before).all(|(after, before)| after.payload == before.payload);
        for after in &step.after {
            let way = after.way.as_ref().map_or(String::new(), |way| format!("to {way}: "));
            let payload = if unchanged { "unchanged".to_owned() } else { one_line(&after.payload) };
            output::data_line(&format!("  {name:<16} {way}{payload}"));
            name = "";
        }
        for news in &step.news {
            output::data_line(&format!("  {name:<16} {}", one_line(news)));
            name = "";
        }
    }
}

fn shown<'a>(spec: &'a PipelineSpec, preview: &'a Preview) -> Shown<'a> {
    let item = |item: &'a PreviewItem| ShownItem {
        item: &item.id,
        original: &item.original,
        refused: &item.refused,
        stages: item
            .steps
            .iter()
            .map(|step| ShownStage {
                stage: &step.stage,
                before: step.before.iter().map(|before| raw(&before.payload)).collect(),
                after: step
                    .after
                    .iter()
                    .map(|after| ShownAfter { way: after.way.as_deref(), item: raw(&after.payload) })
                    .collect(),
                news: &step.news,
            })
            .collect(),
        delivered: item
            .delivered
            .iter()
            .map(|(sink, written)| (sink.as_str(), written.iter().map(|payload| raw(payload)).collect()))
            .collect(),
        at_sinks: &item.at_sinks,
    };
    Shown {
        pipeline: &spec.name,
        partitions: preview.partitions,
        items: preview.items.iter().map(item).collect(),
    }
}

/// A payload as it is written; one that is no JSON as a text.
fn raw(payload: &str) -> Box<RawValue> {
    RawValue::from_string(payload.to_owned())
        .or_else(|_| serde_json::value::to_raw_value(payload))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Item data never moves the cursor of a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
