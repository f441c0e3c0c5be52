//! The level in memory and many threads at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use aqueduct_cache::{Config, Eviction, Memory};

const ORDERS: [Eviction; 7] = [
    Eviction::Adaptive,
    Eviction::Lru,
    Eviction::Lfu,
    Eviction::Fifo,
    Eviction::Ttl,
    Eviction::S3Fifo,
    Eviction::Sieve,
];

/// More than there are seats on a small machine, so that some have none of their own.
const READERS: u32 = 12;
const LOOKS: u64 = 5_000;
const KEYS: u64 = 300;

fn value(key: u64, edition: u64) -> String {
    format!("{key} {edition} {edition}")
}

/// Whether it is one that somebody made for the key, and not parts of two.
fn is_whole(key: u64, value: &str) -> bool {
    let words: Vec<_> = value.split(' ').collect();
    words.len() == 3 && words[0].parse() == Ok(key) && words[1] == words[2]
}

#[test]
fn who_looks_while_others_change_finds_whole_values_and_is_counted() {
    for order in ORDERS {
        // Most of what is looked for is there, and now and then something has to leave.
        let config = Config::builder().capacity(KEYS - 20).eviction(order).shards(2).build().unwrap();
        let memory = Memory::new(config);
        (0..KEYS).for_each(|key| memory.insert(key, value(key, 0)));
        let (begin, is_over) = (Barrier::new(READERS as usize + 1), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                let mut edition = 0;
                while !is_over.load(Ordering::Relaxed) {
                    edition += 1;
                    let key = edition * 7 % KEYS;
                    if edition % 5 == 0 {
                        let gone = memory.remove(&key);
                        assert!(gone.is_none_or(|gone| is_whole(key, &gone)));
                    } else {
                        memory.insert(key, value(key, edition));
                    }
                    // Long enough without a change, now and then, for the readers to have the shards for themselves.
                    if edition % 50 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
            let readers: Vec<_> = (0..READERS)
                .map(|number| {
                    let (memory, begin) = (&memory, &begin);
                    scope.spawn(move || {
                        begin.wait();
                        for look in 0..LOOKS {
                            let key = (look * 11 + u64::from(number) * 13) % KEYS;
                            if let Some(found) = memory.get(&key) {
                                assert!(is_whole(key, &found), "{found:?} under {key}");
                            }
                        }
                    })
                })
                .collect();
            let ends: Vec<_> = readers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(ends.iter().all(Result::is_ok));
        });
        let stats = memory.stats();
        assert_eq!(stats.hits + stats.misses, u64::from(READERS) * LOOKS, "{order:?}");
        assert!(stats.hits > 0 && stats.entries <= KEYS - 20, "{stats:?}");
    }
}

/// Looks into another cache while it is copied.
struct Looks<'a> {
    at: &'a Memory<u64, u64>,
}

impl Clone for Looks<'_> {
    fn clone(&self) -> Self {
        assert_eq!(self.at.get(&1), Some(1));
        Self { at: self.at }
    }
}

#[test]
fn a_value_that_looks_into_another_cache_while_it_is_copied_may() {
    let inner = Memory::new(Config::default());
    inner.insert(1, 1);
    let outer = Memory::new(Config::default());
    outer.insert(2, Looks { at: &inner });
    // Enough for both to have no change behind them for long.
    let found = (0..1_000).filter(|_| outer.get(&2).is_some()).count();
    assert_eq!((found, inner.stats().hits, outer.stats().hits), (1_000, 1_000, 1_000));
}

/// Panics while it is copied.
struct Panics;

impl Clone for Panics {
    fn clone(&self) -> Self {
        panic!("on purpose")
    }
}

#[test]
fn a_value_that_panics_while_it_is_copied_leaves_a_cache_that_goes_on() {
    let memory = Memory::new(Config::builder().shards(1).build().unwrap());
    memory.insert(1, Some(Panics));
    memory.insert(2, None);
    for _ in 0..1_000 {
        assert!(memory.get(&2).is_some());
    }
    // By those who look without a lock, and by the one who takes it behind a change.
    for _ in 0..3 {
        assert!(std::panic::catch_unwind(|| memory.get(&1).is_some()).is_err());
        assert!(memory.get(&2).is_some());
        memory.insert(2, None);
    }
    assert!(memory.remove(&1).is_some());
}
