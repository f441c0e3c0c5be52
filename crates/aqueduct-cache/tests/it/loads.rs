//! One load for all who want the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_cache::{Cache, LoadError, Namespace, NamespaceBuilder, NamespaceConfig, SetOptions};
use aqueduct_core::{Clock, ManualClock, Timestamp};
use tokio::sync::oneshot;

const SECOND: Duration = Duration::from_secs(1);

fn space(config: NamespaceBuilder) -> (Namespace<u64>, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(1_795_255_200_000));
    let cache = Cache::builder().clock(clock).build();
    (cache.in_memory("n", config.build().unwrap()).unwrap(), hand)
}

fn plain() -> Namespace<u64> {
    space(NamespaceConfig::builder()).0
}

/// A load that is under way: it has begun, and ends when it is let go.
struct UnderWay {
    go: oneshot::Sender<()>,
    caller: tokio::task::JoinHandle<Option<u64>>,
}

/// Begins to load 1, under the tag `t`.
async fn under_way(space: &Namespace<u64>) -> UnderWay {
    let (begun, has_begun) = oneshot::channel();
    let (go, may_go) = oneshot::channel::<()>();
    let space = space.clone();
    let caller = tokio::spawn(async move {
        let load = || async {
            begun.send(()).unwrap();
            may_go.await.expect("a fault of the loader");
            Ok::<_, Infallible>(Some(1))
        };
        space.try_get_with("k", SetOptions::new().tags(&["t"]), load).await.unwrap()
    });
    has_begun.await.unwrap();
    UnderWay { go, caller }
}

/// Somebody who comes while a load is under way, and would load 2.
async fn follower(space: &Namespace<u64>) -> tokio::task::JoinHandle<u64> {
    let space = space.clone();
    let load = || async { Ok::<_, Infallible>(2) };
    let follower = tokio::spawn(async move { space.get_with("k", load).await.unwrap() });
    tokio::task::yield_now().await;
    assert!(!follower.is_finished(), "it waits for the leader");
    follower
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_want_the_same_make_one_load() {
    let space = plain();
    let loads = Arc::new(AtomicU64::new(0));
    let (open, gate) = tokio::sync::watch::channel(false);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (space, loads, mut gate) = (space.clone(), Arc::clone(&loads), gate.clone());
        callers.spawn(async move {
            let load = || async move {
                loads.fetch_add(1, Ordering::Relaxed);
                gate.wait_for(|open| *open).await.map_err(|error| error.to_string())?;
                Ok::<_, String>(7)
            };
            space.get_with("k", load).await.unwrap()
        });
    }
    while loads.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    open.send(true).unwrap();
    assert_eq!(callers.join_all().await, [7; 1_000]);
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(space.stats().loads, 1);
}

#[tokio::test]
async fn who_leads_and_is_dropped_leaves_the_load_to_the_next() {
    let space = plain();
    let leader = under_way(&space).await;
    let follower = follower(&space).await;
    leader.caller.abort();
    assert_eq!(follower.await.unwrap(), 2);
}

#[tokio::test]
async fn who_leads_and_panics_leaves_the_load_to_the_next() {
    let space = plain();
    let leader = under_way(&space).await;
    let follower = follower(&space).await;
    // The load waits for a word that cannot come any more.
    drop(leader.go);
    assert!(leader.caller.await.unwrap_err().is_panic());
    assert_eq!(follower.await.unwrap(), 2);
}

#[tokio::test]
async fn all_who_wait_get_the_same_error_and_the_next_loads_again() {
    let space = plain();
    let loads = AtomicU64::new(0);
    let failing = || async {
        loads.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Err::<u64, _>("the database is away")
    };
    let (one, other) = tokio::join!(space.get_with("k", failing), space.get_with("k", failing));
    for error in [one.unwrap_err(), other.unwrap_err()] {
        assert_eq!(error.cause().to_string(), "the database is away");
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(space.get_with("k", || async { Ok::<_, Infallible>(1) }).await.unwrap(), 1);
    assert_eq!((space.stats().loads, space.stats().load_failures), (2, 1));
}

#[tokio::test]
async fn what_was_set_or_removed_during_a_load_is_not_undone_by_it() {
    for is_set in [true, false] {
        let space = plain();
        let loading = under_way(&space).await;
        if is_set {
            space.set("k", 2).await;
        } else {
            space.remove("k").await;
        }
        loading.go.send(()).unwrap();
        assert_eq!(loading.caller.await.unwrap(), Some(1), "who asked before gets what was there before");
        assert_eq!(space.get("k").await, is_set.then_some(2));
    }
}

#[tokio::test]
async fn what_was_invalidated_during_a_load_is_not_kept_of_it() {
    let space = plain();
    let loading = under_way(&space).await;
    space.invalidate_tag("t").await;
    loading.go.send(()).unwrap();
    assert_eq!(loading.caller.await.unwrap(), Some(1));
    assert_eq!(space.get("k").await, None);
}

#[tokio::test]
async fn a_stale_value_is_better_than_an_error_until_it_is_too_old() {
    let (space, hand) = space(NamespaceConfig::builder().ttl(SECOND).stale(10 * SECOND));
    space.set("k", 1).await;
    hand.advance(2 * SECOND);
    assert_eq!(space.get("k").await, None, "it is not the answer any more");
    let failing = || async { Err::<u64, _>("away") };
    assert_eq!(space.get_with("k", failing).await.unwrap(), 1);
    assert_eq!(space.stats().stale, 1);
    hand.advance(10 * SECOND);
    assert!(matches!(space.get_with("k", failing).await, Err(LoadError { .. })));
}

#[tokio::test]
async fn that_there_is_none_is_remembered_for_as_long_as_was_said() {
    let (space, hand) = space(NamespaceConfig::builder().absent_ttl(SECOND));
    let loads = AtomicU64::new(0);
    let absent = || async {
        loads.fetch_add(1, Ordering::Relaxed);
        Ok::<Option<u64>, Infallible>(None)
    };
    for _ in 0..3 {
        assert_eq!(space.try_get_with("k", SetOptions::new(), absent).await.unwrap(), None);
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    hand.advance(SECOND);
    assert_eq!(space.try_get_with("k", SetOptions::new(), absent).await.unwrap(), None);
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    // Who must have a value loads it all the same.
    assert_eq!(space.get_with("k", || async { Ok::<_, Infallible>(5) }).await.unwrap(), 5);

    let forgetful = plain();
    for _ in 0..3 {
        forgetful.try_get_with("k", SetOptions::new(), absent).await.unwrap();
    }
    assert_eq!(loads.load(Ordering::Relaxed), 5, "nothing was said");
}

#[tokio::test]
async fn no_time_and_all_of_it_are_what_they_say() {
    let (space, hand) = space(NamespaceConfig::builder());
    space.set("k", 1).await;
    space.set_with("k", 2, SetOptions::new().ttl(Duration::ZERO)).await;
    assert_eq!(space.get("k").await, None, "the old value is not what was wanted there");
    space.set_with("k", 3, SetOptions::new().ttl(Duration::MAX)).await;
    hand.advance(Duration::from_secs(400 * 366 * 24 * 3_600));
    assert_eq!(space.get("k").await, Some(3));
}
