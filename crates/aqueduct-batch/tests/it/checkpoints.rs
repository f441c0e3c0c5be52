//! Where checkpoints lie, and the way back to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_batch::{Batch, Checkpoint, Every, Resume};
use aqueduct_core::{Clock, Item, Timestamp};
use aqueduct_stream::{Dedupe, Ended, Horizon, Options, Progress, RunError, StageError};

use crate::support::{Folder, Number, words};

/// The numbers below `count` into a file, without a function.
fn plain(folder: &Folder, count: u64) -> Batch {
    folder.numbers(count).sink("out", folder.file())
}

/// How many items each checkpoint has in front of it.
async fn places(folder: &Folder) -> Vec<u64> {
    kept(folder).await.iter().map(|checkpoint| checkpoint.counts.read).collect()
}

async fn kept(folder: &Folder) -> Vec<Checkpoint> {
    plain(folder, 0).checkpoints().await.unwrap()
}

fn back_to(checkpoint: &str) -> Resume {
    Resume { checkpoint: checkpoint.to_owned(), rollback: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_lie_exactly_as_far_apart_as_it_says() {
    // Ten items of `{"n":10}` and the like and their line ends have about 90 bytes.
    let cases: [(Every, Vec<u64>); 4] = [
        (Every::Batches(3), vec![30, 60, 90]),
        (Every::Batches(1), (1..=10).map(|at| 10 * at).collect()),
        // A chunk is never divided.
        (Every::Items(25), vec![30, 60, 90]),
        (Every::Bytes(150), vec![20, 40, 60, 80, 100]),
    ];
    for (every, expected) in cases {
        let folder = Folder::new();
        let report = plain(&folder, 100).size(10).checkpoint(every).run().await.unwrap();
        assert_eq!(places(&folder).await, expected, "{every}");
        assert_eq!(report.run.checkpoints, expected.len() as u64);
    }
}

/// One thread of each kind, so that chunks come in their order.
#[tokio::test]
async fn by_time_a_checkpoint_comes_with_the_first_chunk_behind_it() {
    let folder = Folder::new();
    let (clock, hand) = Clock::manual(Timestamp(0));
    let sleeper = clock.clone();
    let progress = Arc::<Progress>::default();
    // Each chunk takes four seconds, one after the other.
    let running = folder
        .numbers(100)
        .size(10)
        .concurrency(1)
        .checkpoint(Every::Time(Duration::from_secs(10)))
        .options(Options { clock, workers: 1, progress: Arc::clone(&progress), ..Options::default() })
        .chunk("slow", move |some: Vec<Number>| {
            let clock = sleeper.clone();
            async move {
                clock.sleep(Duration::from_secs(4)).await;
                Ok::<_, StageError>(some)
            }
        })
        .sink("out", folder.file())
        .run();
    let running = tokio::spawn(running);
    for chunk in 0..10 {
        while hand.waiting() == 0 || progress.snapshot().delivered < 10 * chunk {
            tokio::task::yield_now().await;
        }
        hand.advance(Duration::from_secs(4));
    }
    assert_eq!(running.await.unwrap().unwrap().run.checkpoints, 3);
    let times: Vec<i64> = kept(&folder).await.iter().map(|checkpoint| checkpoint.at.0 / 1000).collect();
    assert_eq!(times, [12, 24, 36]);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_are_kept_as_it_says_and_16_without_a_word() {
    let folder = Folder::new();
    plain(&folder, 200).size(1).checkpoint(Every::Batches(5)).run().await.unwrap();
    assert_eq!(places(&folder).await, (25..=40).map(|at| 5 * at).collect::<Vec<_>>());
    let folder = Folder::new();
    plain(&folder, 200).size(1).checkpoint(Every::Batches(5)).keep(2).run().await.unwrap();
    assert_eq!(places(&folder).await, [195, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kept_checkpoint_leads_to_the_same_end() {
    let folder = Folder::new();
    let wanted: Vec<u64> = (0..300).collect();
    plain(&folder, 300).size(10).checkpoint(Every::Batches(2)).run().await.unwrap();
    let checkpoints = kept(&folder).await;
    assert_eq!(checkpoints.len(), 15);
    for checkpoint in checkpoints.iter().rev() {
        let again = plain(&folder, 300).size(10).checkpoint(Every::Batches(2));
        let report = again.resume(back_to(&checkpoint.name)).run().await.unwrap();
        assert_eq!(report.run.counts.read, 300 - checkpoint.counts.read);
        assert_eq!(folder.out(), wanted, "back from {}", checkpoint.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_kept_where_an_item_stopped_the_run() {
    let folder = Folder::new();
    let calls = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&calls);
    let batch = folder.numbers(100).size(10).chunk("work", move |some: Vec<Number>| {
        seen.fetch_add(1, Ordering::Relaxed);
        async move {
            if some.iter().any(|one| one.n == 43) {
                return Err(StageError::permanent("no"));
            }
            Ok(some)
        }
    });
    let failure = batch.sink("out", folder.file()).run().await.unwrap_err();
    assert!(matches!(failure.error, RunError::Item { .. }), "{}", words(&failure));
    assert_eq!(failure.report.unwrap().checkpoints, 1);
    assert_eq!(places(&folder).await, [43]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_that_is_whole_is_gone_back_to_and_a_damaged_one_is_named() {
    let folder = Folder::new();
    plain(&folder, 100).size(10).checkpoint(Every::Batches(3)).run().await.unwrap();
    let names: Vec<String> = kept(&folder).await.into_iter().map(|kept| kept.name).collect();
    folder
        .tamper("update aqueduct_checkpoint set positions = replace(positions, '90', '91') where read = 90")
        .await;

    let again = || plain(&folder, 100).size(10).checkpoint(Every::Batches(3));
    let refused = again().resume(back_to(&names[2])).run().await.unwrap_err();
    let expected = format!("checkpoint {} is damaged (its checksum is ", names[2]);
    assert!(words(&refused).starts_with(&expected), "{}", words(&refused));
    assert!(words(&refused).ends_with(&format!("whole before it is {}", names[1])), "{}", words(&refused));

    let report = again().resume(back_to(Resume::NEWEST)).run().await.unwrap();
    let resumed = report.run.resumed.unwrap();
    assert_eq!((resumed.checkpoint.as_str(), resumed.damaged.len()), (names[1].as_str(), 1));
    assert_eq!((resumed.damaged[0].0.as_str(), report.run.counts.read), (names[2].as_str(), 40));
    assert_eq!(folder.out(), (0..100).collect::<Vec<_>>());
    // Going on needs no checkpoint.
    folder.tamper("update aqueduct_checkpoint set at = at + 1").await;
    assert_eq!(again().run().await.unwrap().run.ended, Ended::NothingToDo);
    let refused = again().resume(back_to(Resume::NEWEST)).run().await.unwrap_err();
    assert!(words(&refused).ends_with("there is no whole one before it"), "{}", words(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_configuration_is_refused_with_what_has_changed() {
    let folder = Folder::new();
    let run = |key: &'static str, resume: Option<&str>, accept_change: bool| {
        let dedupe = Dedupe::new(Horizon::Items(20), key, |item: &Item, key: &mut Vec<u8>| {
            key.extend_from_slice(item.payload.record()?.as_bytes());
            Ok(())
        });
        let mut batch = folder.numbers(100).size(10).options(Options { accept_change, ..Options::default() });
        if let Some(checkpoint) = resume {
            batch = batch.resume(back_to(checkpoint));
        }
        batch.with(|pipeline| pipeline.ordered_stage("once", dedupe)).sink("out", folder.file()).run()
    };
    run("n", None, false).await.unwrap();
    let checkpoint = kept(&folder).await.remove(0).name;
    run("m", None, true).await.unwrap();
    let refused = run("m", Some(&checkpoint), false).await.unwrap_err();
    let expected = format!("the state of stage once has changed since checkpoint {checkpoint}, from ");
    assert!(words(&refused).starts_with(&expected), "{}", words(&refused));
    // Told to accept it, the run forgets what the stage remembered and goes back all the same.
    run("m", Some(&checkpoint), true).await.unwrap();
    assert_eq!(folder.out(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_range_is_refused_with_field_value_and_range() {
    let cases = [
        (Every::Batches(0), "checkpoint_interval is 0 batches; it must be from 1 to 1099511627776"),
        (Every::Items(0), "checkpoint_interval is 0 items; it must be from 1 to 1125899906842624"),
        (Every::Time(Duration::ZERO), "checkpoint_interval is 0 s; it must be from 1 ms to 30 days"),
    ];
    for (every, expected) in cases {
        let folder = Folder::new();
        let failure = plain(&folder, 10).checkpoint(every).run().await.unwrap_err();
        assert_eq!(failure.to_string(), expected);
        assert!(!folder.at("data").exists());
    }
    let folder = Folder::new();
    let failure = plain(&folder, 10).size(0).run().await.unwrap_err();
    assert_eq!(failure.to_string(), "batch_items is 0; it must be from 1 to 1000000");
    assert_eq!(plain(&folder, 10).run().await.unwrap().run.ended, Ended::Done);
}
