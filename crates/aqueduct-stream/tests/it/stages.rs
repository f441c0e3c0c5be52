use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_core::{Clock, Counts, Item, Payload, Record, Timestamp};
use aqueduct_stream::{AsyncStage, BatchStage, Emission, OnError, Options, Outcome, Stage, StageError};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::support::{Folder, words};

#[derive(Serialize, Deserialize)]
struct Number {
    n: u64,
}

fn number(item: &Item) -> u64 {
    item.payload.record().unwrap().get("n").unwrap().as_i64().unwrap().unsigned_abs()
}

fn record(text: &str) -> Payload {
    Payload::Record(Record::parse(text.as_bytes().to_vec()).unwrap())
}

fn small(folder: &Folder) -> Options {
    Options { batch_items: 7, epoch_batches: 1, data_dir: Some(folder.at("data")), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_skip_and_typed_values_travel_between_stages() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let report = folder
        .pipeline()
        .map("double", |n: &Number| Number { n: n.n * 2 })
        .filter("tens", |n: &Number| n.n.is_multiple_of(10))
        .sink("out", folder.file_sink())
        .run()
        .await
        .unwrap();
    assert_eq!(report.counts, Counts { read: 100, delivered: 20, skipped: 80, ..Counts::default() });
    let tens: String = (0..20).map(|n| format!("{{\"n\":{}}}\n", n * 10)).collect();
    assert_eq!(folder.read("out.jsonl"), tens);
    let figures: Vec<_> =
        report.stages.iter().map(|stage| (stage.name.as_str(), stage.taken, stage.given)).collect();
    assert_eq!(figures, [("source", 100, 100), ("double", 100, 100), ("tens", 100, 20)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_the_wrong_shape_follows_the_stages_rule() {
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"n\":1}\n{\"m\":2}\n");
    let report = folder
        .pipeline()
        .map("same", |n: &Number| Number { n: n.n })
        .on_error(OnError::DeadLetter)
        .sink("out", folder.file_sink())
        .run()
        .await
        .unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (1, 1));
    let letters = folder.letters().await;
    assert!(letters[0].0.starts_with("the item is not a Number: missing field `n`"), "{letters:?}");
}

struct Fan;

impl Stage for Fan {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let n = number(item);
        let children =
            (0..n).map(|child| Emission::Next(record(&format!("{{\"n\":{n},\"child\":{child}}}"))));
        let alert = Emission::To("alerts".into(), record(&format!("{{\"alert\":{n}}}")));
        Ok(Outcome::Many(children.chain((n == 2).then_some(alert)).collect()))
    }

    fn targets(&self) -> Vec<Arc<str>> {
        vec!["alerts".into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_item_may_become_none_or_many_and_results_for_a_named_sink_stay_out_of_the_others() {
    let folder = Folder::new();
    folder.write_numbers(4);
    let report = folder
        .pipeline()
        .stage("fan", Fan)
        .sink("out", folder.file_sink())
        .sink("alerts", aqueduct_stream::JsonlSink::new(folder.at("alerts.jsonl")))
        .run()
        .await
        .unwrap();
    // 0 becomes nothing, 1 one, 2 two and an alert, 3 three.
    assert_eq!(report.counts, Counts { read: 4, spawned: 4, delivered: 7, skipped: 1, ..Counts::default() });
    assert_eq!(folder.read("alerts.jsonl"), "{\"alert\":2}\n");
    assert_eq!(folder.read("out.jsonl").lines().count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_stage_spoils_one_item_only() {
    let folder = Folder::new();
    folder.write_numbers(10);
    let report = folder
        .pipeline()
        .map("fragile", |n: &Number| {
            assert!(n.n != 4, "four is too much");
            Number { n: n.n }
        })
        .on_error(OnError::DeadLetter)
        .sink("out", folder.file_sink())
        .run()
        .await
        .unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (9, 1));
    assert_eq!(folder.letters().await[0].0, "the stage panicked: four is too much");
}

/// Fails with a passing error until each item was tried three times.
struct Flaky(Vec<AtomicU64>);

#[async_trait]
impl AsyncStage for Flaky {
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let n = number(item);
        tokio::task::yield_now().await;
        match self.0[usize::try_from(n).unwrap()].fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Err(StageError::transient("busy")),
            _ => Ok(Outcome::Emit(record(&format!("{{\"n\":{n}}}")))),
        }
    }

    fn concurrency(&self) -> usize {
        3
    }
}

/// Lets a manual clock run whenever everything waits for it.
fn run_clock(owner: aqueduct_core::ManualClock) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            owner.advance_to_next();
            tokio::task::yield_now().await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_errors_are_tried_again_in_virtual_time_and_order_is_kept() {
    let folder = Folder::new();
    folder.write_numbers(50);
    let (clock, owner) = Clock::manual(Timestamp(0));
    let ticking = run_clock(owner);
    let report = folder
        .pipeline()
        .async_stage("flaky", Flaky((0..50).map(|_| AtomicU64::new(0)).collect()))
        .sink("out", folder.file_sink())
        .options(Options { clock, ..small(&folder) })
        .run()
        .await
        .unwrap();
    ticking.abort();
    assert_eq!((report.counts.delivered, report.retries), (50, 100));
    let expected: String = (0..50).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    assert_eq!(folder.read("out.jsonl"), expected);
}

struct AlwaysBusy;

impl Stage for AlwaysBusy {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        if number(item) == 5 { Err(StageError::transient("still busy")) } else { Ok(Outcome::Keep) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_end_and_then_the_rule_decides() {
    for (rule, delivered) in
        [(OnError::DeadLetter, 9), (OnError::Skip, 9), (OnError::Stop, 5), (OnError::Retry, 5)]
    {
        let folder = Folder::new();
        folder.write_numbers(10);
        let (clock, owner) = Clock::manual(Timestamp(0));
        let ticking = run_clock(owner);
        let result = folder
            .pipeline()
            .stage("busy", AlwaysBusy)
            .on_error(rule)
            .sink("out", folder.file_sink())
            .options(Options { clock: clock.clone(), ..small(&folder) })
            .run()
            .await;
        ticking.abort();
        let report = match result {
            Ok(report) => report,
            Err(failure) => {
                assert!(words(&failure).ends_with("still busy"), "{failure}");
                *failure.report.unwrap()
            }
        };
        assert_eq!(report.counts.delivered, delivered, "{rule:?}");
        assert!(report.retries > 2, "{rule:?}");
        let waited = clock.now().elapsed_since_start();
        assert!(waited <= aqueduct_stream::Rule::ELAPSED_MAX, "{rule:?} waited {waited:?}");
        assert_eq!(report.counts.check(), Ok(()));
        if rule == OnError::DeadLetter {
            assert_eq!(folder.letters().await.len(), 1);
        }
    }
}

/// Doubles a batch; refuses every number that ends in 9.
struct Doubler;

#[async_trait]
impl BatchStage for Doubler {
    async fn apply(&self, items: &[&Item]) -> Result<Vec<Result<Outcome, StageError>>, StageError> {
        Ok(items
            .iter()
            .map(|item| match number(item) {
                n if n % 10 == 9 => Err(StageError::permanent("ends in nine")),
                n => Ok(Outcome::Emit(record(&format!("{{\"n\":{}}}", n * 2)))),
            })
            .collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_stage_takes_batches_and_only_its_failed_items_are_set_aside() {
    let folder = Folder::new();
    folder.write_numbers(40);
    let report = folder
        .pipeline()
        .batch_stage("double", Doubler)
        .on_error(OnError::DeadLetter)
        .map("same", |n: &Number| Number { n: n.n })
        .sink("out", folder.file_sink())
        .options(small(&folder))
        .run()
        .await
        .unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (36, 4));
    let expected: String =
        (0..40).filter(|n| n % 10 != 9).map(|n| format!("{{\"n\":{}}}\n", n * 2)).collect();
    assert_eq!(folder.read("out.jsonl"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_field_without_a_column_is_an_error_that_names_it() {
    let folder = Folder::new();
    let mut input: String = (0..20).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    input.push_str("{\"n\":20,\"late\":1}\n");
    folder.write("in.jsonl", input);
    let failure =
        folder.pipeline().sink("out", folder.table_sink()).options(small(&folder)).run().await.unwrap_err();
    let text = words(&failure);
    assert!(text.contains("field late has no column in table items (it has n)"), "{text}");
    assert_eq!(failure.report.unwrap().counts.delivered, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_not_ours_are_refused_with_what_they_have() {
    use sqlx::Connection;
    let folder = Folder::new();
    folder.write_numbers(3);
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(folder.at("out.db")).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("create table items (a, b)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let failure = folder.pipeline().sink("out", folder.table_sink()).run().await.unwrap_err();
    let text = words(&failure);
    assert!(
        text.contains("table items is there already, with the columns a, b and without item_id"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_makes_no_sense_is_refused_before_anything_is_touched() {
    let folder = Folder::new();
    folder.write_numbers(1);
    let no_sink = folder.pipeline().run().await.unwrap_err();
    assert_eq!(words(&no_sink), "the pipeline has no sink");
    let twice = folder
        .pipeline()
        .sink("a", folder.file_sink())
        .sink("a", folder.table_sink())
        .run()
        .await
        .unwrap_err();
    assert!(words(&twice).starts_with("two parts of the pipeline are named \"a\""), "{twice}");
    let unknown =
        folder.pipeline().stage("fan", Fan).sink("out", folder.file_sink()).run().await.unwrap_err();
    assert_eq!(
        words(&unknown),
        "stage \"fan\" sends items to \"alerts\", but the sinks and branches are out"
    );
    let nowhere =
        folder.pipeline().stage("fan", Fan).sink("alerts", folder.file_sink()).run().await.unwrap_err();
    assert!(words(&nowhere).starts_with("no sink takes the items"), "{nowhere}");
    let options = Options { workers: 0, ..Options::default() };
    let zero = folder.pipeline().sink("out", folder.file_sink()).options(options).run().await.unwrap_err();
    assert_eq!(words(&zero), "workers is 0; it must be from 1 to 1024");
    assert!(!folder.at("data").exists());
}

/// A destination that panics, as a sink from outside may.
struct Panics;

impl std::io::Write for Panics {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        panic!("a bug in a sink")
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_panics_ends_the_run_with_an_error_and_nothing_hangs() {
    let folder = Folder::new();
    folder.write_numbers(10_000);
    let failure = folder
        .pipeline()
        .sink("out", aqueduct_stream::StdoutSink::to(Box::new(Panics)))
        .options(Options { window_items: 50, ..small(&folder) })
        .run()
        .await
        .unwrap_err();
    assert!(
        words(&failure).starts_with("the committer thread of the engine stopped unexpectedly"),
        "{failure}"
    );
    let report = folder.pipeline().sink("out", folder.file_sink()).run().await.unwrap();
    assert_eq!(report.counts.delivered, 10_000);
}
