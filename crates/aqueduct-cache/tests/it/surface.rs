use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aqueduct_cache::{Config, Eviction, Memory, Stats};

#[test]
fn everything_can_be_sent_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Memory<String, Vec<u8>>>();
    check::<Config>();
    check::<Stats>();
}

#[test]
fn statistics_count_every_look_and_every_change() {
    let cache = Memory::new(Config::builder().capacity(2).eviction(Eviction::Lru).shards(1).build().unwrap());
    assert_eq!(cache.stats().hit_rate_percent(), 0.0);
    cache.insert("a", 1);
    cache.insert("a", 2);
    cache.insert("b", 3);
    assert_eq!((cache.get("a"), cache.get("c"), cache.get("b")), (Some(2), None, Some(3)));
    cache.insert("c", 4);
    assert_eq!((cache.remove("c"), cache.remove("a")), (Some(4), None));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.sets, stats.deletes, stats.evictions), (2, 1, 4, 1, 1));
    assert_eq!((stats.total_requests(), stats.hit_rate_percent()), (3, 66.67));
    assert_eq!((stats.entries, stats.weight, stats.capacity), (1, 1, 2));
    cache.clear();
    assert_eq!((cache.stats().deletes, cache.is_empty(), cache.get("b")), (2, true, None));
}

/// Counts how often it is dropped, and looks into the cache meanwhile.
struct Nosy {
    cache: std::sync::Weak<Memory<u32, Arc<Nosy>>>,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(cache) = self.cache.upgrade() {
            cache.contains(&0);
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_value_that_uses_the_cache_when_it_is_dropped_does_no_harm() {
    let cache = Arc::new(Memory::new(Config::builder().capacity(4).shards(1).build().unwrap()));
    let dropped = Arc::new(AtomicUsize::new(0));
    let new = || Arc::new(Nosy { cache: Arc::downgrade(&cache), dropped: Arc::clone(&dropped) });
    (0..10).for_each(|key| cache.insert(key, new()));
    assert_eq!(dropped.load(Ordering::Relaxed), 6, "evicted");
    (0..10).for_each(|key| cache.insert(key, new()));
    cache.set_capacity(2).unwrap();
    (0..10).for_each(|key| drop(cache.remove(&key)));
    assert_eq!(dropped.load(Ordering::Relaxed), 20);
}

/// A key and a value that panic when they are told to.
#[derive(PartialEq, Eq, Hash)]
struct Touchy(u32);

thread_local! {
    static PANICS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        assert!(!PANICS.get(), "told to");
        Self(self.0)
    }
}

#[test]
fn a_clone_that_panics_leaves_the_cache_whole() {
    let cache = Memory::new(Config::builder().capacity(4).shards(1).build().unwrap());
    (0..4).for_each(|key| cache.insert(key, Touchy(key)));
    PANICS.set(true);
    let caught =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cache.get(&2).map(|found| found.0)));
    PANICS.set(false);
    assert!(caught.is_err());
    assert_eq!(cache.get(&2).map(|found| found.0), Some(2));
    cache.insert(9, Touchy(9));
    assert_eq!((cache.len(), cache.stats().hits), (4, 2));
}

/// A key that looks into the cache when it is dropped.
#[derive(Clone)]
struct NosyKey(u32, std::sync::Weak<Memory<NosyKey, ()>>);

impl PartialEq for NosyKey {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for NosyKey {}

impl std::hash::Hash for NosyKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Drop for NosyKey {
    fn drop(&mut self) {
        if let Some(cache) = self.1.upgrade() {
            assert!(cache.len() <= 4);
        }
    }
}

#[test]
fn a_key_whose_place_is_taken_is_dropped_with_nothing_locked() {
    let cache = Arc::new(Memory::new(Config::builder().capacity(4).shards(1).build().unwrap()));
    for number in [1, 2, 1, 1, 3, 4, 5, 6, 1] {
        cache.insert(NosyKey(number, Arc::downgrade(&cache)), ());
    }
    assert_eq!(cache.len(), 4);
}

#[test]
fn eight_threads_find_what_they_put_in() {
    let cache = Memory::new(Config::builder().capacity(100_000).build().unwrap());
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..20_000 {
                    let key = (round % 1_000) * 8 + thread;
                    cache.insert(key, key * 3);
                    assert_eq!(cache.get(&key), Some(key * 3));
                    if round % 7 == 0 {
                        assert_eq!(cache.remove(&key), Some(key * 3));
                    }
                }
            });
        }
    });
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.sets), (160_000, 0, 160_000));
    assert_eq!(stats.evictions, 0);
}

#[test]
fn keys_of_any_bytes_and_any_length_are_kept_apart() {
    let cache: Memory<Vec<u8>, usize> = Memory::new(Config::default());
    let keys = [
        vec![],
        vec![0],
        vec![0; 65_536],
        b"../../etc/passwd".to_vec(),
        vec![0xff, 0, b'/'],
        vec![1; 65_536],
    ];
    for (at, key) in keys.iter().enumerate() {
        cache.insert(key.clone(), at);
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(cache.get(key.as_slice()), Some(at));
    }
}
