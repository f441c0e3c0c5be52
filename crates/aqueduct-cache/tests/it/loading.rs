//! What is loaded before anybody asks for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_cache::{
    Cache, Eviction, HotKeys, Loading, Namespace, NamespaceBuilder, NamespaceConfig, Warmed,
};
use aqueduct_core::{Clock, ManualClock, Timestamp};

const SECOND: Duration = Duration::from_secs(1);

fn space(config: NamespaceBuilder) -> (Namespace<u64>, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(1_795_255_200_000));
    let cache = Cache::builder().clock(clock).build();
    (cache.in_memory("n", config.build().unwrap()).unwrap(), hand)
}

/// Loads the number of the load.
fn counting(space: Namespace<u64>) -> (Loading<u64>, Arc<AtomicU64>) {
    let loads = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&loads);
    let load = move |_key| {
        let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok::<_, Infallible>(Some(number)) }
    };
    (Loading::new(space, load), loads)
}

#[tokio::test]
async fn what_is_in_use_is_loaded_again_ahead_of_its_end_and_nobody_waits() {
    let (space, hand) = space(NamespaceConfig::builder().ttl(10 * SECOND).refresh_ahead(0.2));
    let (loading, loads) = counting(space);
    assert_eq!(loading.get("k").await.unwrap(), Some(1));
    hand.advance(7 * SECOND);
    assert_eq!(loading.get("k").await.unwrap(), Some(1));
    loading.settle().await;
    assert_eq!(loads.load(Ordering::Relaxed), 1, "its time is not near its end");
    hand.advance(SECOND);
    assert_eq!(loading.get("k").await.unwrap(), Some(1), "the old one, at once");
    loading.settle().await;
    assert_eq!(loading.get("k").await.unwrap(), Some(2));
    hand.advance(7 * SECOND);
    assert_eq!(loading.get("k").await.unwrap(), Some(2), "with all of its time");
    assert_eq!(loading.stats().refreshed, 1);
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_what_is_there_and_is_not_tried_at_every_request() {
    let (space, hand) = space(NamespaceConfig::builder().ttl(16 * SECOND).refresh_ahead(0.5));
    let loads = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&loads);
    let loading = Loading::new(space, move |_key| {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        async move { if number == 0 { Ok(Some(1)) } else { Err("away") } }
    });
    assert_eq!(loading.get("k").await.unwrap(), Some(1));
    hand.advance(8 * SECOND);
    for _ in 0..10 {
        assert_eq!(loading.get("k").await.unwrap(), Some(1));
        loading.settle().await;
    }
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    hand.advance(4 * SECOND);
    for _ in 0..10 {
        assert_eq!(loading.get("k").await.unwrap(), Some(1));
        loading.settle().await;
    }
    assert_eq!(loads.load(Ordering::Relaxed), 3, "again at half of the time that was left");
    hand.advance(4 * SECOND);
    assert!(loading.get("k").await.is_err());
}

#[tokio::test]
async fn the_most_popular_are_warmed_first_and_what_is_there_is_not_loaded() {
    let (old, _) = space(NamespaceConfig::builder().eviction(Eviction::Lfu));
    for key in 0..10_u64 {
        old.set(key.to_string(), key).await;
        for _ in 0..key {
            old.get(key.to_string()).await;
        }
    }
    let hottest = old.hottest(3);
    assert_eq!(hottest, [b"9", b"8", b"7"].map(|key| Box::from(key.as_slice())));

    let (new, hand) = space(NamespaceConfig::builder());
    new.set("8", 8).await;
    let (loading, loads) = counting(new.clone());
    let mut seen = Vec::new();
    let warming = loading.warm(&hottest, 2, |warmed| seen.push(warmed));
    let (warmed, ()) = tokio::join!(warming, async {
        while loads.load(Ordering::Relaxed) < 2 {
            hand.advance(SECOND / 2);
            tokio::task::yield_now().await;
        }
    });
    assert_eq!((warmed.present, warmed.loaded, warmed.failed), (1, 2, 0));
    assert_eq!(seen.len(), 3);
    assert_eq!(seen.last(), Some(&warmed));
    assert_eq!((new.get("9").await, new.get("7").await), (Some(1), Some(2)));
}

#[test]
fn hot_keys_are_kept_from_one_run_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hot.jsonl");
    assert_eq!(HotKeys::read(&path).unwrap(), HotKeys::default(), "there is none yet");
    let keys: [&[u8]; 4] = [b"aeo:1", b"with\nline ends and \"quotes\"", b"\xff\0", b""];
    let keys = HotKeys::new(keys.map(Into::into).to_vec());
    keys.save(&path).unwrap();
    assert_eq!(HotKeys::read(&path).unwrap(), keys);
    let mut damaged = std::fs::read(&path).unwrap();
    damaged.extend_from_slice(b"{}\n[300]\nnot json\n\"last\"\n\"cut");
    std::fs::write(&path, damaged).unwrap();
    let found: Vec<_> = HotKeys::read(&path).unwrap().into_iter().collect();
    assert_eq!((found.len(), found.last().map(|key| &**key)), (5, Some(&b"last"[..])));
    assert!(HotKeys::read(folder.path()).is_err(), "a folder is not a file");
}

#[tokio::test]
async fn warming_keeps_to_its_rate() {
    let (new, hand) = space(NamespaceConfig::builder());
    let (loading, loads) = counting(new);
    let keys: Vec<String> = (0..5).map(|key| key.to_string()).collect();
    let mut warming = std::pin::pin!(loading.warm(&keys, 10, |_: Warmed| {}));
    for loaded in 1..=4 {
        for _ in 0..5 {
            let waits =
                tokio::select! { biased; _ = &mut warming => false, () = tokio::task::yield_now() => true };
            assert!(waits);
        }
        assert_eq!(loads.load(Ordering::Relaxed), loaded, "one in each tenth of a second");
        hand.advance(SECOND / 10);
    }
    assert_eq!(warming.await.loaded, 5);
}

/// Asks for keys one after the other, with time for the background between, and gives the share of hits in a hundred.
async fn hit_rate(keys: impl Iterator<Item = u64>, is_predicting: bool) -> (f64, u64) {
    let config = NamespaceConfig::builder().capacity(100).eviction(Eviction::Lru).shards(1);
    let (space, _) = space(config);
    let load = |_key| async { Ok::<_, Infallible>(Some(1)) };
    let loading = if is_predicting { Loading::predicting(space, load) } else { Loading::new(space, load) };
    for key in keys {
        loading.get(key.to_be_bytes()).await.unwrap();
        loading.settle().await;
    }
    (loading.namespace().stats().hit_rate_percent, loading.stats().predicted)
}

#[tokio::test]
async fn keys_that_come_in_the_same_order_again_and_again_are_loaded_before() {
    let keys = || (0..20).flat_map(|_| 0..200);
    let (without, _) = hit_rate(keys(), false).await;
    let (with, _) = hit_rate(keys(), true).await;
    assert!(without < 1.0, "a loop of twice the capacity is the worst for it: {without}");
    assert!(with > 80.0, "{with}");
}

#[tokio::test]
async fn nothing_is_loaded_before_where_nothing_can_be_known() {
    let mut chance = aqueduct_core::Random::seeded(7);
    let keys: Vec<u64> = (0..5_000).map(|_| chance.below(1_000)).collect();
    let (without, _) = hit_rate(keys.iter().copied(), false).await;
    let (with, predicted) = hit_rate(keys.iter().copied(), true).await;
    assert_eq!(predicted, 0);
    assert!((with - without).abs() < f64::EPSILON, "{with} {without}");
}

#[tokio::test]
async fn prediction_stops_where_the_order_does() {
    let mut chance = aqueduct_core::Random::seeded(7);
    let ordered = (0..10).flat_map(|_| 0..200_u64);
    let (_, predicted_before) = hit_rate(ordered.clone(), true).await;
    let random: Vec<u64> = (0..10_000).map(|_| chance.below(200)).collect();
    let (_, predicted) = hit_rate(ordered.chain(random), true).await;
    assert!(predicted_before > 1_000);
    assert!(predicted - predicted_before < 1_000, "{predicted} of which {predicted_before} in order");
}
