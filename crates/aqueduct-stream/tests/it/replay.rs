//! Dead letters that go back on their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aqueduct_core::{Clock, Counts, Item, Payload, Timestamp};
use aqueduct_store::{DeadLetter, DeadLetterFilter, SqliteStore, Store};
use aqueduct_stream::{
    Emission, Ended, JsonlSink, OnError, Options, Outcome, Pipeline, Replay, Stage, StageError,
};
use serde::{Deserialize, Serialize};

use crate::support::{Folder, words};

#[derive(Clone, Serialize, Deserialize)]
struct Number {
    n: u64,
}

/// Fails on every seventh number while it is broken, and adds 1000 in front of it.
fn pipeline(folder: &Folder, broken: &Arc<AtomicBool>, options: Options) -> Pipeline {
    let broken = Arc::clone(broken);
    folder
        .pipeline()
        .options(Options { data_dir: Some(folder.at("data")), batch_items: 10, ..options })
        .map("thousand", |number: &Number| Number { n: number.n + 1000 })
        .try_map("sevens", move |number: &Number| {
            if broken.load(Ordering::Relaxed) && number.n.is_multiple_of(7) {
                return Err(StageError::permanent("a seven"));
            }
            Ok(number.clone())
        })
        .on_error(OnError::DeadLetter)
        .sink("rows", folder.table_sink())
        .sink("file", folder.file_sink())
}

async fn letters(folder: &Folder) -> Vec<DeadLetter> {
    let mut store = SqliteStore::open_read_only(&folder.at("out.db")).await.unwrap();
    store.dead_letters("test", DeadLetterFilter::default()).await.unwrap()
}

async fn total(folder: &Folder) -> Counts {
    let mut store = SqliteStore::open_read_only(&folder.at("out.db")).await.unwrap();
    let counts = store.ledger("test").await.unwrap().unwrap().counts;
    counts.check().unwrap();
    counts
}

async fn rows(folder: &Folder) -> Vec<u64> {
    let rows = folder.query("out.db", "select n from items order by item_id").await;
    rows.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_stage_takes_its_letters_and_the_ledger_balances() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let broken = Arc::new(AtomicBool::new(true));
    pipeline(&folder, &broken, Options::default()).run().await.unwrap();
    assert_eq!(letters(&folder).await.len(), 15);
    broken.store(false, Ordering::Relaxed);
    let report = pipeline(&folder, &broken, Options::default()).replay(Replay::default()).await.unwrap();
    assert_eq!(report.counts, Counts { read: 15, spawned: 15, delivered: 30, ..Counts::default() });
    assert_eq!(report.ended, Ended::Done);
    // Not added to a second time: they went on at the stage that failed, with what it was given.
    assert_eq!(rows(&folder).await, (1000..1100).collect::<Vec<_>>());
    assert_eq!(folder.read("out.jsonl").lines().count(), 100);
    assert_eq!(letters(&folder).await, []);
    let wanted = Counts { read: 100, spawned: 100, delivered: 200, ..Counts::default() };
    assert_eq!(total(&folder).await, wanted);
    let again = pipeline(&folder, &broken, Options::default()).replay(Replay::default()).await.unwrap();
    assert_eq!(again.ended, Ended::NothingToDo);
    assert_eq!(pipeline(&folder, &broken, Options::default()).run().await.unwrap().ended, Ended::NothingToDo);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_fails_again_is_there_again_and_remembers() {
    let folder = Folder::new();
    folder.write_numbers(20);
    let broken = Arc::new(AtomicBool::new(true));
    pipeline(&folder, &broken, Options::default()).run().await.unwrap();
    let before = letters(&folder).await;
    let report = pipeline(&folder, &broken, Options::default()).replay(Replay::default()).await.unwrap();
    assert_eq!((report.counts.read, report.counts.dead_lettered), (3, 3));
    let after = letters(&folder).await;
    let last = after[0].last;
    let wanted: Vec<_> =
        before.into_iter().map(|letter| DeadLetter { attempts: 2, last, ..letter }).collect();
    assert_eq!(after.into_iter().map(|letter| DeadLetter { last, ..letter }).collect::<Vec<_>>(), wanted);
    let counts = total(&folder).await;
    assert_eq!((counts.read, counts.dead_lettered), (20, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_filtered_limited_and_what_is_left_stays() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let broken = Arc::new(AtomicBool::new(true));
    pipeline(&folder, &broken, Options::default()).run().await.unwrap();
    broken.store(false, Ordering::Relaxed);
    let options = Options { limit: Some(4), ..Options::default() };
    let report = pipeline(&folder, &broken, options).replay(Replay::default()).await.unwrap();
    assert_eq!((report.ended, report.counts.read), (Ended::Limited, 4));
    let first = letters(&folder).await;
    assert_eq!(first.len(), 11);
    let filter = DeadLetterFilter { stage: Some("nobody".to_owned()), ..DeadLetterFilter::default() };
    let replay = Replay { filter, rate: None };
    let report = pipeline(&folder, &broken, Options::default()).replay(replay).await.unwrap();
    assert_eq!(report.ended, Ended::NothingToDo);
    // The stage is gone: its letters are counted and stay.
    let without = folder.pipeline().sink("rows", folder.table_sink()).sink("file", folder.file_sink());
    let report = without.replay(Replay::default()).await.unwrap();
    assert_eq!(report.left.into_iter().collect::<Vec<_>>(), [("sevens".to_owned(), 11)]);
    assert_eq!(letters(&folder).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_replay_loses_nothing() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let broken = Arc::new(AtomicBool::new(true));
    pipeline(&folder, &broken, Options::default()).run().await.unwrap();
    broken.store(false, Ordering::Relaxed);
    let stops = folder
        .pipeline()
        .try_map("sevens", |number: &Number| match number.n {
            1050 => Err(StageError::permanent("not this one")),
            _ => Ok(number.clone()),
        })
        .sink("rows", folder.table_sink())
        .sink("file", folder.file_sink());
    let failure = stops.replay(Replay::default()).await.unwrap_err();
    assert!(words(&failure).contains("sevens failed on item"), "{}", words(&failure));
    let left: Vec<_> = letters(&folder).await.into_iter().filter_map(|letter| letter.payload).collect();
    assert_eq!(left.len(), 8);
    assert_eq!(&left[0][..], br#"{"n":1050}"#);
    total(&folder).await;
    pipeline(&folder, &broken, Options::default()).replay(Replay::default()).await.unwrap();
    assert_eq!(rows(&folder).await, (1000..1100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_could_not_be_read_is_read_again_also_what_was_too_large_to_keep() {
    let folder = Folder::new();
    let large = format!("{{\"n\":1,\"pad\":\"{}\"}}\n", "x".repeat(100_000));
    folder.write("in.jsonl", format!("{{\"n\":0}}\n{large}no json\n{{\"n\":3}}\n"));
    let run = |line_bytes_max: usize| {
        let source = aqueduct_stream::Jsonl::new(folder.at("in.jsonl")).named("in.jsonl");
        Pipeline::named("test")
            .source(source.with_line_bytes_max(line_bytes_max))
            .data_dir(folder.at("data"))
            .map("number", |number: &Number| number.clone())
            .sink("rows", folder.table_sink())
    };
    let report = run(1000).run().await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (2, 2));
    let report = run(1000).replay(Replay::default()).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (1, 1));
    assert_eq!(rows(&folder).await, [0, 1, 3]);
    let left = letters(&folder).await;
    assert_eq!((left.len(), left[0].stage.as_str(), left[0].attempts), (1, "source", 2));
    assert!(left[0].reason.starts_with("line 3: "), "{}", left[0].reason);
}

/// Sends a copy to `copies` in front of every item.
struct Copy;

impl Stage for Copy {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?.into_owned();
        Ok(Outcome::Many(vec![Emission::Keep, Emission::To("copies".into(), Payload::Record(record))]))
    }

    fn targets(&self) -> Vec<Arc<str>> {
        vec!["copies".into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_born_before_and_after_the_failure_have_ids_of_their_own() {
    let folder = Folder::new();
    folder.write_numbers(3);
    let broken = Arc::new(AtomicBool::new(true));
    let run = || {
        let broken = Arc::clone(&broken);
        folder
            .pipeline()
            .stage("first", Copy)
            .try_map("middle", move |number: &Number| {
                if broken.load(Ordering::Relaxed) {
                    Err(StageError::permanent("no"))
                } else {
                    Ok(number.clone())
                }
            })
            .on_error(OnError::DeadLetter)
            .stage("second", Copy)
            .sink("items", JsonlSink::new(folder.at("items.jsonl")))
            .sink("copies", folder.table_sink())
    };
    run().run().await.unwrap();
    broken.store(false, Ordering::Relaxed);
    run().replay(Replay::default()).await.unwrap();
    let ids = folder.query("out.db", "select item_id from items order by 1").await;
    let ids: Vec<_> = ids.into_iter().map(|row| row[0].clone().unwrap()).collect();
    assert_eq!(ids, ["a0a0a0a0", "a0a0a0a1", "a0a0a8a0", "a0a0a8a1", "a0a0b16a0", "a0a0b16a1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_in_the_time_of_the_clock() {
    let folder = Folder::new();
    folder.write_numbers(140);
    let broken = Arc::new(AtomicBool::new(true));
    pipeline(&folder, &broken, Options::default()).run().await.unwrap();
    broken.store(false, Ordering::Relaxed);
    let (clock, hand) = Clock::manual(Timestamp(0));
    let options = Options { clock: clock.clone(), ..Options::default() };
    let begun = clock.now();
    let replay = Replay { rate: Some(2.0), ..Replay::default() };
    let running = tokio::spawn(pipeline(&folder, &broken, options).replay(replay));
    while !running.is_finished() {
        hand.advance_to_next();
        tokio::task::yield_now().await;
    }
    assert_eq!(running.await.unwrap().unwrap().counts.read, 20);
    // Twenty letters, two a second: the last is given 9.5 seconds after the first.
    assert_eq!(clock.now().since(begun).as_millis(), 9_500);
}
