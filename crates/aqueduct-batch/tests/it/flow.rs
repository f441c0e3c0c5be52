//! From items to results, and on from there in the next run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use aqueduct_batch::{Batch, Every, OnError, Pace, SIZE};
use aqueduct_core::Shutdown;
use aqueduct_stream::{Ended, Options, ProgressSnapshot, SqliteSink, StageError};
use tokio::sync::Semaphore;

use crate::support::{Folder, Number, words};

async fn doubled(some: Vec<Number>) -> Result<Vec<Number>, StageError> {
    Ok(some.iter().map(|one| Number { n: 2 * one.n }).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_a_chunk_has_50_items_and_a_checkpoint_comes_every_10() {
    let folder = Folder::new();
    let largest = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&largest);
    let batch = folder.numbers(1234).chunk("double", move |some: Vec<Number>| {
        seen.fetch_max(some.len(), Ordering::Relaxed);
        doubled(some)
    });
    let report = batch.sink("out", folder.file()).run().await.unwrap();
    assert_eq!((report.run.ended, report.run.batches, report.run.checkpoints), (Ended::Done, 25, 2));
    assert_eq!((SIZE, largest.load(Ordering::Relaxed)), (50, 50));
    assert_eq!(folder.out(), (0..1234).map(|n| 2 * n).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_works_on_what_is_new_and_on_nothing_else() {
    let folder = Folder::new();
    let calls = Arc::new(AtomicU64::new(0));
    for (count, new) in [(100, 100), (100, 0), (130, 30)] {
        let before = calls.load(Ordering::Relaxed);
        let seen = Arc::clone(&calls);
        let batch = folder.numbers(count).chunk("double", move |some: Vec<Number>| {
            seen.fetch_add(some.len() as u64, Ordering::Relaxed);
            doubled(some)
        });
        let report = batch.sink("out", folder.file()).run().await.unwrap();
        assert_eq!((report.run.counts.read, calls.load(Ordering::Relaxed) - before), (new, new));
    }
    assert_eq!(folder.out(), (0..130).map(|n| 2 * n).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_items_than_those_that_were_read_are_refused() {
    let folder = Folder::new();
    let run = |from: u64, count: u64| {
        let batch = Batch::named("test").items(move || (from..from + count).map(|n| Number { n }));
        batch.dir(folder.at("data")).sink("out", folder.file()).run()
    };
    run(0, 100).await.unwrap();
    for (from, count, how) in [(1, 200, "the last of them is another one now"), (0, 99, "they are fewer now")]
    {
        let failure = run(from, count).await.unwrap_err();
        assert!(words(&failure).contains(how), "{}", words(&failure));
    }
    assert_eq!(run(0, 101).await.unwrap().run.counts.read, 1);
    assert_eq!(folder.out(), (0..=100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_cannot_be_had_fail_the_run_and_it_goes_on_with_them() {
    let folder = Folder::new();
    let run = |bad: Option<u64>| {
        let items = move || {
            (0..120).map(
                move |n| {
                    if Some(n) == bad { Err("the connection is gone") } else { Ok(Number { n }) }
                },
            )
        };
        folder.numbers(0).try_items(items).size(10).sink("out", folder.file()).run()
    };
    let failure = run(Some(75)).await.unwrap_err();
    assert!(words(&failure).ends_with("the next item cannot be had: the connection is gone"));
    assert_eq!(folder.out(), (0..70).collect::<Vec<_>>());
    assert_eq!(run(None).await.unwrap().run.counts.read, 50);
    assert_eq!(folder.out(), (0..120).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_may_have_an_outcome_of_its_own() {
    let folder = Folder::new();
    let batch = folder.numbers(90).size(7).chunk_results("sort", |some: Vec<Number>| async move {
        let one = |one: Number| match one.n % 3 {
            0 => Ok(Some(one)),
            1 => Ok(None),
            _ => Err(StageError::permanent("two")),
        };
        Ok(some.into_iter().map(one).collect())
    });
    let report = batch.on_error(OnError::DeadLetter).sink("out", folder.file()).run().await.unwrap();
    let counts = report.run.counts;
    assert_eq!((counts.delivered, counts.skipped, counts.dead_lettered), (30, 30, 30));
    // An item's own error says nothing about the chunk, so nothing was halved. Left out on purpose is not failed.
    assert_eq!((report.bisected, report.run.failed), (0, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_not_what_the_function_takes_fails_alone() {
    let folder = Folder::new();
    std::fs::write(folder.at("in.jsonl"), "{\"n\":1}\n{\"m\":2}\n{\"n\":3}\n").unwrap();
    let batch = Batch::named("test").source(aqueduct_stream::Jsonl::new(folder.at("in.jsonl")));
    let batch = batch.dir(folder.at("data")).chunk("double", doubled).on_error(OnError::Skip);
    let report = batch.sink("out", folder.file()).run().await.unwrap();
    assert_eq!((report.chunk_calls, report.bisected, report.run.counts.skipped), (1, 0, 1));
    assert_eq!(folder.out(), [2, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_in_flight_than_lies_between_two_checkpoints() {
    for (every, most) in [(Every::Batches(3), 30), (Every::Items(25), 20), (Every::Bytes(100), 10)] {
        let folder = Folder::new();
        let (gate, started) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
        let (hold, seen) = (Arc::clone(&gate), Arc::clone(&started));
        let (shutdown, signal) = Shutdown::new();
        let batch = folder.numbers(1000).size(10).checkpoint(every).concurrency(100);
        let batch = batch.options(Options { shutdown: signal, ..Options::default() }).chunk(
            "hold",
            move |some: Vec<Number>| {
                seen.fetch_add(some.len() as u64, Ordering::SeqCst);
                let hold = Arc::clone(&hold);
                async move {
                    hold.acquire().await.unwrap().forget();
                    Ok::<_, StageError>(some)
                }
            },
        );
        let running = tokio::spawn(batch.sink("out", folder.file()).run());
        // A window of chunks that is let go makes room for another one, and for no more.
        for windows in 1..=5 {
            while started.load(Ordering::SeqCst) < windows * most {
                tokio::task::yield_now().await;
            }
            (0..50).for_each(|_| std::thread::yield_now());
            assert_eq!(started.load(Ordering::SeqCst), windows * most, "{every}");
            gate.add_permits(usize::try_from(most / 10).unwrap());
        }
        shutdown.drain();
        gate.add_permits(1000);
        let report = running.await.unwrap().unwrap();
        assert_eq!(report.run.ended, Ended::Drained);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_and_positions_are_one_transaction_in_the_database_of_a_table() {
    let folder = Folder::new();
    let batch = folder.numbers(100).chunk("double", doubled);
    let batch = batch.sink("rows", SqliteSink::new(folder.at("out.db"), "rows").with_key("n"));
    assert_eq!(batch.checkpoints().await.unwrap().len(), 0);
    assert!(!folder.at("out.db").exists());
    let report = batch.size(5).checkpoint(Every::Items(50)).run().await.unwrap();
    assert_eq!(report.run.guarantee, aqueduct_stream::Guarantee::ExactlyOnce);
    let again = folder.numbers(100).sink("rows", SqliteSink::new(folder.at("out.db"), "rows").with_key("n"));
    assert_eq!(again.checkpoints().await.unwrap().len(), 2);
}

#[test]
fn pace_says_how_long_the_rest_takes() {
    let pace = Pace::new(200, Duration::from_secs(10), 50, Some(200));
    assert_eq!((pace.items_per_second, pace.done_share), (20.0, Some(0.25)));
    assert_eq!(pace.left, Some(Duration::from_secs(30)));
    assert_eq!(Pace::new(0, Duration::ZERO, 0, Some(10)).left, None);
    assert_eq!(Pace::new(10, Duration::from_secs(1), 10, None).done_share, None);
    assert_eq!(Pace::new(10, Duration::from_secs(1), 20, Some(10)).left, Some(Duration::ZERO));
    let now = ProgressSnapshot { read: 30, read_bytes: 300, total_bytes: 400, ..ProgressSnapshot::default() };
    assert_eq!(Pace::of(&now, Duration::from_secs(3)).left, Some(Duration::from_secs(1)));
}

#[test]
fn everything_public_can_be_sent_and_shown() {
    fn check<T: Send + std::fmt::Debug>() {}
    check::<Batch>();
    check::<aqueduct_batch::Report>();
    check::<aqueduct_batch::FinishedSet>();
    check::<aqueduct_batch::FinishedError>();
    check::<aqueduct_batch::SkipLimitReached>();
    check::<Pace>();
    check::<Every>();
}
