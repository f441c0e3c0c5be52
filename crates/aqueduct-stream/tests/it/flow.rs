//! At most once, and what happens when there is no room.

use std::sync::Arc;

use aqueduct_core::{Counts, Item, PartitionId, Position};
use aqueduct_store::{SqliteStore, Store};
use aqueduct_stream::{
    AsyncStage, Chunk, Decode, Ended, Guarantee, Jsonl, Options, Outcome, Overflow, Pipeline, Source,
    SourceError, StageError,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::support::{Folder, words};

#[derive(Clone, Serialize, Deserialize)]
struct Number {
    n: u64,
}

fn written(folder: &Folder) -> Vec<u64> {
    folder.read("out.jsonl").lines().map(|line| serde_json::from_str::<Number>(line).unwrap().n).collect()
}

async fn total(folder: &Folder) -> Counts {
    let mut store = SqliteStore::open_read_only(&folder.at("data/ledger.db")).await.unwrap();
    let counts = store.ledger("test").await.unwrap().unwrap().counts;
    counts.check().unwrap();
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_once_never_repeats_and_counts_what_a_failure_cut_off() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let run = |poison: bool| {
        let options = Options {
            guarantee: Some(Guarantee::AtMostOnce),
            batch_items: 10,
            data_dir: Some(folder.at("data")),
            ..Options::default()
        };
        folder
            .pipeline()
            .options(options)
            .try_map("poison", move |number: &Number| match number.n {
                35 if poison => Err(StageError::permanent("poison")),
                _ => Ok(number.clone()),
            })
            .sink("out", folder.file_sink())
            .run()
    };
    let failure = run(true).await.unwrap_err();
    assert!(words(&failure).contains("poison failed on item"), "{}", words(&failure));
    let counts = failure.report.unwrap().counts;
    counts.check().unwrap();
    assert_eq!(counts.delivered, 35);
    // The rest of the item's batch is lost for good; other batches may have been given up as well.
    assert!(counts.abandoned >= 5, "{counts}");
    total(&folder).await;
    let report = run(false).await.unwrap();
    assert_eq!(report.guarantee, Guarantee::AtMostOnce);
    let counts = total(&folder).await;
    assert_eq!((counts.read, counts.in_flight), (100, 0));
    assert_eq!(counts.delivered + counts.abandoned, 100);
    let written = written(&folder);
    assert!(written.windows(2).all(|pair| pair[0] < pair[1]), "{written:?}");
    assert_eq!(written.len() as u64, counts.delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undisturbed_run_at_most_once_delivers_everything() {
    let folder = Folder::new();
    folder.write_numbers(1000);
    let options = Options { guarantee: Some(Guarantee::AtMostOnce), batch_items: 7, ..Options::default() };
    let pipeline = folder.pipeline().options(Options { data_dir: Some(folder.at("data")), ..options });
    let report = pipeline.sink("out", folder.file_sink()).run().await.unwrap();
    assert_eq!(report.counts, Counts { read: 1000, delivered: 1000, ..Counts::default() });
    assert_eq!(written(&folder), (0..1000).collect::<Vec<_>>());
    assert_eq!(total(&folder).await, report.counts);
}

/// Tells when everything is read.
struct Telling {
    source: Jsonl,
    done: watch::Sender<bool>,
}

impl Source for Telling {
    fn describe(&self) -> String {
        self.source.describe()
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        self.source.partitions()
    }

    fn open(
        &mut self,
        index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        self.source.open(index, id, position)
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        let next = self.source.next(items_max)?;
        self.done.send_replace(next.is_none());
        Ok(next)
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        self.source.decoder()
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }
}

/// Works on nothing before everything is read.
struct Late(watch::Receiver<bool>);

#[async_trait]
impl AsyncStage for Late {
    async fn apply(&self, _: &Item) -> Result<Outcome, StageError> {
        let done = self.0.clone().wait_for(|done| *done).await.map(|_| ());
        done.map(|()| Outcome::Keep).map_err(|_| StageError::permanent("the source is gone"))
    }
}

fn overflowing(folder: &Folder, overflow: Overflow) -> Pipeline {
    let (done, read) = watch::channel(false);
    let options = Options {
        overflow,
        batch_items: 5,
        window_items: 20,
        data_dir: Some(folder.at("data")),
        ..Options::default()
    };
    Pipeline::named("test")
        .source(Telling { source: Jsonl::new(folder.at("in.jsonl")).named("in.jsonl"), done })
        .options(options)
        .async_stage("late", Late(read))
        .sink("out", folder.file_sink())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_is_slow_loses_the_newest_or_the_oldest_and_says_how_many() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let folder = Folder::new();
        folder.write_numbers(1000);
        let report = overflowing(&folder, overflow).run().await.unwrap();
        let counts = report.counts;
        counts.check().unwrap();
        assert_eq!((counts.read, report.ended), (1000, Ended::Done), "{overflow:?}");
        // Twenty in the window, twenty that wait, and a batch between the two.
        assert!((20..=45).contains(&counts.delivered), "{overflow:?}: {counts}");
        assert_eq!(counts.delivered + counts.dropped, 1000, "{overflow:?}: {counts}");
        let written = written(&folder);
        assert!(written.windows(2).all(|pair| pair[0] < pair[1]), "{written:?}");
        match overflow {
            Overflow::DropOldest => assert_eq!(written.last(), Some(&999)),
            _ => assert_eq!(written[..5], [0, 1, 2, 3, 4]),
        }
        assert_eq!(total(&folder).await, counts);
        // What was let go is behind the position.
        let again = overflowing(&folder, overflow).run().await.unwrap();
        assert_eq!(again.ended, Ended::NothingToDo);
    }
}

#[test]
fn dropping_means_at_most_once_and_more_cannot_be_asked_for() {
    let folder = Folder::new();
    let options = |guarantee| Options { overflow: Overflow::DropOldest, guarantee, ..Options::default() };
    let given = |guarantee| {
        folder.pipeline().options(options(guarantee)).sink("out", folder.file_sink()).guarantees()
    };
    assert_eq!(given(None).unwrap()[0].guarantee, Guarantee::AtMostOnce);
    let refused = given(Some(Guarantee::ExactlyOnce)).unwrap_err().to_string();
    assert_eq!(
        refused,
        "exactly-once is asked for, but the route gives at-most-once: sink out: the position is committed before the \
         work, so what a crash cuts off is not repeated"
    );
}
