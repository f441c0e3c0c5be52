//! Going back to a checkpoint: the output afterwards is that of a run that was never disturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aqueduct_core::Item;
use aqueduct_store::{SqliteStore, Store};
use aqueduct_stream::{
    Dedupe, Ended, Every, Horizon, JsonlSink, OnError, Options, Pipeline, Resume, StageError,
};
use serde::{Deserialize, Serialize};

use crate::support::{Folder, words};

#[derive(Clone, Serialize, Deserialize)]
struct Number {
    n: u64,
}

fn back_to(checkpoint: &str, rollback: bool) -> Option<Resume> {
    Some(Resume { checkpoint: checkpoint.to_owned(), rollback })
}

/// Batches of ten items, an epoch and a checkpoint each.
fn options(folder: &Folder, resume: Option<Resume>) -> Options {
    Options {
        batch_items: 10,
        epoch_batches: 1,
        checkpoint_interval: Every::Batches(1),
        data_dir: Some(folder.at("data")),
        resume,
        ..Options::default()
    }
}

fn last_digits(item: &Item, bytes: &mut Vec<u8>) -> Result<(), StageError> {
    let record = item.payload.record()?;
    let number: Number = serde_json::from_str(record.as_text()).map_err(|_| StageError::permanent("no n"))?;
    bytes.extend_from_slice(&(number.n % 47).to_le_bytes());
    Ok(())
}

/// Every part that a rewind has to take back: state, rows without a key, parts of a folder, dead letters.
fn pipeline(folder: &Folder, resume: Option<Resume>) -> Pipeline {
    folder
        .pipeline()
        .options(options(folder, resume))
        .ordered_stage("dedupe", Dedupe::new(Horizon::Items(20), "last digits", last_digits))
        .try_map("odd", |number: &Number| match number.n % 50 {
            7 => Err(StageError::permanent("seven")),
            _ => Ok(number.clone()),
        })
        .on_error(OnError::DeadLetter)
        .sink("rows", folder.table_sink())
        .sink("parts", JsonlSink::new(folder.at("parts")).with_part_bytes(100))
}

/// Everything that a pipeline left behind, its counts included.
async fn outcome(folder: &Folder) -> (Vec<Vec<Option<String>>>, String, Vec<Vec<Option<String>>>) {
    let rows = folder.query("out.db", "select item_id, n from items order by 1").await;
    let letters = "select item_id, stage, reason from aqueduct_dead_letter order by 1";
    let mut letters = folder.query("out.db", letters).await;
    let counts = "select read, spawned, delivered, dead_lettered, skipped from aqueduct_pipeline";
    letters.extend(folder.query("out.db", counts).await);
    let mut parts: Vec<_> =
        std::fs::read_dir(folder.at("parts")).unwrap().map(|part| part.unwrap().path()).collect();
    parts.sort();
    let text = parts.iter().filter(|part| part.extension().is_some_and(|end| end == "jsonl"));
    (rows, text.map(|part| std::fs::read_to_string(part).unwrap()).collect(), letters)
}

async fn checkpoints(folder: &Folder) -> Vec<String> {
    let mut store = SqliteStore::open_read_only(&folder.at("out.db")).await.unwrap();
    store.checkpoints("test").await.unwrap().into_iter().map(|kept| kept.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_rollback_every_kept_checkpoint_leads_to_the_same_end() {
    let undisturbed = Folder::new();
    undisturbed.write_numbers(400);
    pipeline(&undisturbed, None).run().await.unwrap();
    let wanted = outcome(&undisturbed).await;

    let folder = Folder::new();
    folder.write_numbers(400);
    pipeline(&folder, None).run().await.unwrap();
    let kept = checkpoints(&folder).await;
    assert_eq!(kept.len(), 16);
    // Newest first, so that those further back are still there.
    for checkpoint in kept.iter().rev() {
        let report = pipeline(&folder, back_to(checkpoint, true)).run().await.unwrap();
        assert!(matches!(report.ended, Ended::Done | Ended::NothingToDo), "{checkpoint}: {:?}", report.ended);
        assert_eq!(outcome(&folder).await, wanted, "back from {checkpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_cannot_overwrite_themselves_need_a_rollback() {
    let folder = Folder::new();
    folder.write_numbers(100);
    pipeline(&folder, None).run().await.unwrap();
    let before = outcome(&folder).await;
    let checkpoint = checkpoints(&folder).await.remove(0);
    let refused = pipeline(&folder, back_to(&checkpoint, false)).run().await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "going back to {checkpoint} would write some results a second time (table items, files of sink parts); \
             remove them with --rollback, or give the sinks a key to upsert by"
        )
    );
    let unknown = pipeline(&folder, back_to("yesterday", true)).run().await.unwrap_err();
    assert!(
        words(&unknown).starts_with("there is no checkpoint yesterday; there are epoch-"),
        "{}",
        words(&unknown)
    );
    assert_eq!(outcome(&folder).await, before);
    assert_eq!(pipeline(&folder, None).run().await.unwrap().ended, Ended::NothingToDo);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_a_key_overwrite_themselves_and_a_mended_stage_corrects_them() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let wrong = Arc::new(AtomicBool::new(true));
    let run = |resume: Option<Resume>| {
        let wrong = Arc::clone(&wrong);
        let stage = move |number: &Number| {
            let off = u64::from(wrong.load(Ordering::Relaxed) && number.n >= 50) * 1000;
            serde_json::json!({"k": number.n, "v": number.n + off})
        };
        let pipeline = folder.pipeline().options(options(&folder, resume)).map("value", stage);
        pipeline.sink("rows", folder.table_sink().with_key("k")).run()
    };
    run(None).await.unwrap();
    let kept = checkpoints(&folder).await;
    wrong.store(false, Ordering::Relaxed);
    run(back_to(&kept[4], false)).await.unwrap();
    let rows = folder.query("out.db", "select sum(v), count(*) from items").await;
    assert_eq!(rows, [[Some("4950".to_owned()), Some("100".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_not_what_was_read_is_refused_at_the_checkpoint() {
    let folder = Folder::new();
    folder.write_numbers(100);
    pipeline(&folder, None).run().await.unwrap();
    let checkpoint = checkpoints(&folder).await.remove(0);
    let before = outcome(&folder).await;
    let replaced: String = (0..100).map(|n| format!("{{\"n\":{}}}\n", n + 3)).collect();
    folder.write("in.jsonl", replaced);
    let refused = pipeline(&folder, back_to(&checkpoint, true)).run().await.unwrap_err();
    assert!(
        words(&refused).contains("what stands in front of that place is different now"),
        "{}",
        words(&refused)
    );
    // It was refused before anything was taken back.
    folder.write_numbers(100);
    assert_eq!(pipeline(&folder, None).run().await.unwrap().ended, Ended::NothingToDo);
    assert_eq!(outcome(&folder).await, before);
}
