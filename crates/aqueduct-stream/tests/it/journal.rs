use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aqueduct_core::{Counts, Item, Payload, Record};
use aqueduct_stream::{
    AsyncStage, Emission, Ended, JsonlSink, OnError, Options, Outcome, Pipeline, Report, RunFailure, Stage,
    StageError,
};
use async_trait::async_trait;

use crate::support::{Folder, words};

/// How often each item was asked about.
type Calls = Arc<Mutex<BTreeMap<u64, u32>>>;

/// A service that answers in every way that there is, and counts.
struct Paid(Calls);

#[async_trait]
impl AsyncStage for Paid {
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let n = number(item);
        *self.0.lock().unwrap().entry(n).or_default() += 1;
        let record = |text: String| Payload::Record(Record::parse(text.into_bytes()).unwrap());
        Ok(match n % 5 {
            0 => Outcome::Keep,
            1 => Outcome::Emit(record(format!("{{\"n\":{n},\"answer\":\"\\u00e9 \\\"{n}\\\"\"}}"))),
            2 => Outcome::Skip("two".into()),
            3 => Outcome::Send(0),
            _ => Outcome::Many(vec![
                Emission::Keep,
                Emission::Next(record(format!("{{\"n\":{n},\"child\":1}}"))),
                Emission::To("side".into(), record(format!("{{\"n\":{n},\"side\":1}}"))),
            ]),
        })
    }

    fn concurrency(&self) -> usize {
        4
    }

    fn targets(&self) -> Vec<Arc<str>> {
        vec!["side".into()]
    }
}

/// Lets nothing pass from an item on.
struct Wall(u64, fn(String) -> StageError);

impl Stage for Wall {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        if number(item) >= self.0 { Err((self.1)("no further".into())) } else { Ok(Outcome::Keep) }
    }
}

fn number(item: &Item) -> u64 {
    item.payload.record().unwrap().get("n").unwrap().as_i64().unwrap().unsigned_abs()
}

fn pipeline(folder: &Folder, calls: &Calls) -> Pipeline {
    let options =
        Options { batch_items: 7, epoch_batches: 1, data_dir: Some(folder.at("data")), ..Options::default() };
    folder.pipeline().options(options).async_stage("ask", Paid(Arc::clone(calls))).journalled()
}

fn finished(folder: &Folder, pipeline: Pipeline) -> Pipeline {
    pipeline.sink("out", folder.file_sink()).sink("side", JsonlSink::new(folder.at("side.jsonl")))
}

async fn run_into_wall(folder: &Folder, calls: &Calls, wall: Wall) -> Result<Report, RunFailure> {
    finished(folder, pipeline(folder, calls).stage("wall", wall)).run().await
}

async fn journalled(folder: &Folder) -> String {
    let rows = folder.query("data/ledger.db", "select cast(count(*) as text) from aqueduct_journal").await;
    rows[0][0].clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_answered_is_never_made_again() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let calls = Calls::default();
    let failure = run_into_wall(&folder, &calls, Wall(40, StageError::stop)).await.unwrap_err();
    assert!(words(&failure).contains("no further"), "{}", words(&failure));
    let answered = calls.lock().unwrap().len();
    assert!(answered > 40, "the service ran ahead of the wall, to item {answered}");
    assert_ne!(journalled(&folder).await, "0", "answers behind the wall wait for the next run");

    let report = run_into_wall(&folder, &calls, Wall(u64::MAX, StageError::stop)).await.unwrap();
    assert_eq!(report.ended, Ended::Done);
    let repeated: Vec<_> =
        calls.lock().unwrap().iter().filter(|(_, times)| **times != 1).map(|(n, _)| *n).collect();
    assert_eq!(repeated, [0_u64; 0], "asked about more than once");
    assert_eq!(calls.lock().unwrap().len(), 100);
    assert_eq!(journalled(&folder).await, "0", "what is committed is forgotten");

    // The same input without any wall or journal gives the same results.
    let plain = Folder::new();
    plain.write_numbers(100);
    let fresh = Calls::default();
    finished(&plain, plain.pipeline().async_stage("ask", Paid(fresh))).run().await.unwrap();
    for file in ["out.jsonl", "side.jsonl"] {
        assert_eq!(folder.read(file), plain.read(file), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_an_item_of_other_content_is_no_answer() {
    let folder = Folder::new();
    folder.write_numbers(20);
    let calls = Calls::default();
    run_into_wall(&folder, &calls, Wall(0, StageError::stop)).await.unwrap_err();
    let asked = calls.lock().unwrap().len();
    assert!(asked > 0);
    // An earlier stage makes other items of the same input, with the same ids.
    let add = |n: &BTreeMap<String, u64>| BTreeMap::from([("n".to_owned(), n["n"] + 100)]);
    let options = Options { data_dir: Some(folder.at("data")), ..Options::default() };
    let changed = folder
        .pipeline()
        .options(options)
        .map("add", add)
        .async_stage("ask", Paid(Arc::clone(&calls)))
        .journalled();
    finished(&folder, changed).run().await.unwrap();
    assert_eq!(calls.lock().unwrap().keys().filter(|n| **n >= 100).count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_a_dead_letter_behind_the_call_needs_its_answer_no_more() {
    let folder = Folder::new();
    folder.write_numbers(10);
    let calls = Calls::default();
    let walled =
        pipeline(&folder, &calls).stage("wall", Wall(0, StageError::permanent)).on_error(OnError::DeadLetter);
    let report = finished(&folder, walled).run().await.unwrap();
    // Two items each are skipped, sent aside, and doubled.
    let counts =
        Counts { read: 10, spawned: 4, delivered: 4, skipped: 2, dead_lettered: 8, ..Counts::default() };
    assert_eq!(report.counts, counts);
    assert_eq!(journalled(&folder).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_stage_that_waits_item_by_item_can_be_journalled() {
    let folder = Folder::new();
    folder.write_numbers(1);
    let wall = Wall(9, StageError::stop);
    let refused =
        folder.pipeline().stage("wall", wall).journalled().sink("out", folder.file_sink()).run().await;
    let text = words(&refused.unwrap_err());
    assert!(text.contains("the journal of stage wall is on; it must be off"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_used_what_it_may_commits_what_is_before_and_ends_without_a_failure() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let calls = Calls::default();
    let report = run_into_wall(&folder, &calls, Wall(40, StageError::end)).await.unwrap();
    assert_eq!((report.ended, report.exhausted.as_deref()), (Ended::Exhausted, Some("no further")));
    assert!(report.counts.in_flight > 0, "{:?}", report.counts);
    report.counts.check().unwrap();
    // 40 items are 8 each of the five kinds.
    assert_eq!(folder.read("out.jsonl").lines().count(), 8 + 8 + 16);

    let report = run_into_wall(&folder, &calls, Wall(u64::MAX, StageError::end)).await.unwrap();
    assert_eq!((report.ended, report.exhausted), (Ended::Done, None));
    assert_eq!(calls.lock().unwrap().values().copied().max(), Some(1));
    assert_eq!(folder.read("out.jsonl").lines().count(), 20 + 20 + 40);
}
