//! A chunk that fails is halved until the bad items stand alone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aqueduct_batch::{Batch, OnError, Rule};
use aqueduct_core::{Clock, ErrorClass, Timestamp};
use aqueduct_stream::{Options, RunError, StageError};
use proptest::prelude::*;

use crate::support::{Folder, Number, words};

/// What a chunk function saw: the numbers of each call.
type Calls = Arc<Mutex<Vec<Vec<u64>>>>;

/// A batch whose function fails as a whole when one of these is in the chunk.
fn failing(folder: &Folder, count: u64, bad: BTreeSet<u64>, class: ErrorClass) -> (Batch, Calls) {
    let calls = Calls::default();
    let seen = Arc::clone(&calls);
    let batch = folder
        .numbers(count)
        .concurrency(1)
        .chunk("work", move |some: Vec<Number>| {
            let numbers: Vec<u64> = some.iter().map(|one| one.n).collect();
            let fails = numbers.iter().any(|n| bad.contains(n));
            seen.lock().unwrap().push(numbers);
            async move { if fails { Err(StageError::new(class, "no")) } else { Ok(some) } }
        })
        .sink("out", folder.file());
    (batch, calls)
}

/// The most calls that it may take to find these among so many, the first included.
fn calls_max(items: u64, bad: u64) -> u64 {
    if bad == 0 {
        return 1;
    }
    let share = items.div_ceil(bad);
    let halvings = u64::from(u64::BITS - (share - 1).leading_zeros().min(u64::BITS - 1));
    (1 + 2 * bad * (halvings + 1)).min(2 * items - 1)
}

fn blocking<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn exactly_the_bad_items_are_found_and_few_calls_find_them(
        count in 1_u64..200,
        picks in prop::collection::btree_set(0_u64..200, 0..12),
    ) {
        let bad: BTreeSet<u64> = picks.into_iter().filter(|n| *n < count).collect();
        let folder = Folder::new();
        let calls = Arc::new(AtomicU64::new(0));
        let (seen, wrong) = (Arc::clone(&calls), bad.clone());
        let report = blocking(
            folder
                .numbers(count)
                .size(200)
                .chunk("work", move |some: Vec<Number>| {
                    seen.fetch_add(1, Ordering::Relaxed);
                    let fails = some.iter().any(|one| wrong.contains(&one.n));
                    async move { if fails { Err(StageError::permanent("no")) } else { Ok(some) } }
                })
                .on_error(OnError::DeadLetter)
                .sink("out", folder.file())
                .run(),
        )
        .unwrap();
        let good: Vec<u64> = (0..count).filter(|n| !bad.contains(n)).collect();
        prop_assert_eq!(folder.out(), good);
        prop_assert_eq!(report.run.counts.dead_lettered, bad.len() as u64);
        prop_assert_eq!(report.found, bad.len() as u64);
        let calls = calls.load(Ordering::Relaxed);
        prop_assert_eq!(calls, report.chunk_calls);
        prop_assert!(
            calls <= calls_max(count, bad.len() as u64),
            "{} calls for {} of {}", calls, bad.len(), count
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_made_twice_when_nothing_fails() {
    let folder = Folder::new();
    let (batch, calls) = failing(&folder, 100, BTreeSet::new(), ErrorClass::Permanent);
    let report = batch.size(10).run().await.unwrap();
    assert_eq!((report.chunk_calls, report.bisected, report.found), (10, 0, 0));
    assert!(calls.lock().unwrap().iter().all(|call| call.len() == 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_to_stop_stops_in_front_of_the_bad_item_and_what_is_before_it_is_committed() {
    let folder = Folder::new();
    let (batch, _) = failing(&folder, 100, [37].into(), ErrorClass::Invalid);
    let failure = batch.size(10).run().await.unwrap_err();
    assert!(matches!(failure.error, RunError::Item { .. }), "{}", words(&failure));
    assert_eq!(folder.out(), (0..37).collect::<Vec<_>>());
    // The next run begins with it.
    let (batch, calls) = failing(&folder, 100, BTreeSet::new(), ErrorClass::Invalid);
    assert_eq!(batch.size(10).run().await.unwrap().run.counts.delivered, 63);
    assert_eq!(calls.lock().unwrap().iter().flatten().min(), Some(&37));
    assert_eq!(folder.out(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_again_is_tried_whole_and_never_halved() {
    for class in [ErrorClass::Transient, ErrorClass::Overload] {
        let folder = Folder::new();
        let calls = Calls::default();
        let seen = Arc::clone(&calls);
        let (clock, hand) = Clock::manual(Timestamp(0));
        let running = folder
            .numbers(8)
            .options(Options { clock, ..Options::default() })
            .chunk("work", move |some: Vec<Number>| {
                let mut calls = seen.lock().unwrap();
                calls.push(some.iter().map(|one| one.n).collect());
                let fails = calls.len() < 3;
                async move { if fails { Err(StageError::new(class, "later")) } else { Ok(some) } }
            })
            .sink("out", folder.file())
            .run();
        let running = tokio::spawn(running);
        while !running.is_finished() {
            if !hand.is_busy() {
                hand.advance_to_next();
            }
            tokio::task::yield_now().await;
        }
        let report = running.await.unwrap().unwrap();
        assert_eq!((report.chunk_calls, report.bisected), (3, 0));
        assert!(calls.lock().unwrap().iter().all(|call| call.len() == 8), "{calls:?}");
        assert_eq!(folder.out(), (0..8).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_on_which_the_function_panics_is_found_like_any_other() {
    let folder = Folder::new();
    let report = folder
        .numbers(64)
        .size(64)
        .chunk("work", |some: Vec<Number>| async move {
            assert!(some.iter().all(|one| one.n != 20), "twenty");
            Ok::<_, StageError>(some)
        })
        .on_error(OnError::Skip)
        .sink("out", folder.file())
        .run()
        .await
        .unwrap();
    assert_eq!((report.found, report.run.counts.skipped), (1, 1));
    assert_eq!(folder.out(), (0..64).filter(|n| *n != 20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_counts_wrongly_is_to_blame_and_not_its_items() {
    let folder = Folder::new();
    let failure = folder
        .numbers(64)
        .chunk("work", |mut some: Vec<Number>| async move {
            some.pop();
            Ok::<_, StageError>(some)
        })
        .rule(Rule::new(OnError::DeadLetter))
        .sink("out", folder.file())
        .run()
        .await
        .unwrap_err();
    assert!(words(&failure).contains("gave 49 results for 50"), "{}", words(&failure));
    assert_eq!(failure.report.unwrap().counts.dead_lettered, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_stops_the_run_stops_it_from_a_chunk_as_well() {
    let folder = Folder::new();
    let calls = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&calls);
    let failure = folder
        .numbers(100)
        .size(100)
        .chunk("work", move |_: Vec<Number>| {
            seen.fetch_add(1, Ordering::Relaxed);
            async { Err::<Vec<Number>, _>(StageError::stop("the key is not valid any more")) }
        })
        .on_error(OnError::DeadLetter)
        .sink("out", folder.file())
        .run()
        .await
        .unwrap_err();
    assert!(words(&failure).contains("the key is not valid"), "{}", words(&failure));
    assert_eq!((calls.load(Ordering::Relaxed), failure.report.unwrap().counts.dead_lettered), (1, 0));
}
