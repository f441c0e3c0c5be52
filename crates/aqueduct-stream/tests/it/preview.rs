//! What a pipeline would do, without doing it.

use std::time::Duration;

use aqueduct_stream::{Dedupe, Horizon, JsonlSink, OnError, Preview, StageError};
use serde::{Deserialize, Serialize};

use crate::support::Folder;

#[derive(Clone, Serialize, Deserialize)]
struct Number {
    n: u64,
}

fn in_words(preview: &Preview) -> Vec<String> {
    let mut lines = Vec::new();
    for item in &preview.items {
        lines.push(format!("{} {} {:?}", item.id, item.original, item.refused));
        for step in &item.steps {
            let payloads = |shown: &[aqueduct_stream::Shown]| {
                shown.iter().map(|shown| shown.payload.clone()).collect::<Vec<_>>().join(" ")
            };
            let (before, after) = (payloads(&step.before), payloads(&step.after));
            lines.push(format!("  {}: {before} -> {after} {:?}", step.stage, step.news));
        }
        for (sink, written) in &item.delivered {
            lines.push(format!("  => {sink}: {}", written.join(" ")));
        }
        lines.extend(item.at_sinks.iter().map(|news| format!("  !! {news}")));
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_shows_what_it_makes_of_an_item_and_nothing_is_written() {
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"n\":1}\n{\"n\":2}\nnone\n{\"n\":2}\n{\"n\":4}\n");
    let pipeline = folder
        .pipeline()
        .ordered_stage(
            "dedupe",
            Dedupe::new(Horizon::Time(Duration::from_secs(60)), "all", |item, bytes| {
                bytes.extend_from_slice(item.payload.record()?.as_bytes());
                Ok(())
            }),
        )
        .try_map("double", |number: &Number| match number.n {
            1 => Err(StageError::permanent("one")),
            n => Ok(Number { n: 2 * n }),
        })
        .on_error(OnError::DeadLetter)
        .sink("rows", folder.table_sink().with_columns(["n"]))
        .sink("file", JsonlSink::new(folder.at("file.jsonl")));
    let preview = pipeline.preview(4).await.unwrap();
    assert_eq!(
        in_words(&preview),
        [
            "a0a0a0 {\"n\":1} []",
            "  dedupe: {\"n\":1} -> {\"n\":1} []",
            "  double: {\"n\":1} ->  [\"dead letter: one\"]",
            "a0a0a8 {\"n\":2} []",
            "  dedupe: {\"n\":2} -> {\"n\":2} []",
            "  double: {\"n\":2} -> {\"n\":4} []",
            "  => file: {\"n\":4}",
            "  => rows: {\"n\":4}",
            "a0a0b16 none [\"dead letter: line 3: not JSON: expected true, false or null at byte 1\"]",
            "a0a0b21 {\"n\":2} []",
            "  dedupe: {\"n\":2} ->  [\"skipped\"]",
        ]
    );
    let mut there: Vec<_> =
        std::fs::read_dir(folder.at(".")).unwrap().map(|found| found.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["in.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_cannot_take_shows_before_the_run() {
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"n\":1,\"extra\":2}\n");
    let preview =
        folder.pipeline().sink("rows", folder.table_sink().with_columns(["n"])).preview(9).await.unwrap();
    assert_eq!(preview.items[0].delivered.len(), 0);
    assert!(preview.items[0].at_sinks[0].contains("extra"), "{:?}", preview.items[0].at_sinks);
}
