use aqueduct_cache::{Config, Eviction, Memory, Terms};

/// The share of requests that are hits, for keys in this order.
fn hit_ratio(eviction: Eviction, capacity: u64, keys: impl Iterator<Item = u64>) -> f64 {
    let cache =
        Memory::new(Config::builder().capacity(capacity).eviction(eviction).shards(1).build().unwrap());
    for key in keys {
        if cache.get(&key).is_none() {
            cache.insert(key, ());
        }
    }
    cache.stats().hit_rate_percent() / 100.0
}

/// What is too large for LRU by a little.
fn around(times: u64, keys: u64) -> impl Iterator<Item = u64> + Clone {
    (0..times * keys).map(move |at| at % keys)
}

/// Each key is asked for twice more, a little later, and never again: there is nothing to know of it but that it is new.
fn soon_or_never(keys: u64) -> impl Iterator<Item = u64> + Clone {
    (0..keys).flat_map(|at| [at, at.saturating_sub(40), at.saturating_sub(80)]).map(|key| key + (1 << 32))
}

#[test]
fn a_loop_that_is_a_little_too_large_is_kept_where_lru_keeps_nothing() {
    assert!(hit_ratio(Eviction::Lru, 250, around(200, 500)) < 0.001);
    let ours = hit_ratio(Eviction::Adaptive, 250, around(200, 500));
    assert!(ours > 0.45, "{ours} of 0.5");
}

#[test]
fn what_is_asked_for_soon_or_never_is_kept_as_by_lru() {
    let lru = hit_ratio(Eviction::Lru, 250, soon_or_never(30_000));
    let ours = hit_ratio(Eviction::Adaptive, 250, soon_or_never(30_000));
    assert!(lru > 0.66 && ours > lru - 0.02, "{ours}, LRU {lru}");
}

#[test]
fn one_setting_serves_both_in_turn() {
    let both = || {
        let first = soon_or_never(10_000).chain(around(200, 500));
        first.chain(soon_or_never(10_000).map(|key| key + (1 << 40)))
    };
    let ours = hit_ratio(Eviction::Adaptive, 250, both());
    let best =
        [Eviction::Lru, Eviction::S3Fifo, Eviction::Sieve].map(|eviction| hit_ratio(eviction, 250, both()));
    assert!(best.iter().all(|other| ours > other + 0.1), "{ours}, the others {best:?}");
}

#[test]
fn it_follows_when_the_requests_become_others() {
    let cache = Memory::new(Config::builder().capacity(250).shards(1).build().unwrap());
    let ask = |keys: &mut dyn Iterator<Item = u64>| {
        let before = cache.stats();
        for key in keys {
            if cache.get(&key).is_none() {
                cache.insert(key, 0);
            }
        }
        let after = cache.stats();
        (after.hits - before.hits) * 100 / (after.total_requests() - before.total_requests())
    };
    ask(&mut around(600, 500));
    let percent = ask(&mut soon_or_never(5_000));
    assert!(percent > 40, "{percent} of 66, although a loop was all that there was for long");
}

#[test]
fn what_was_popular_once_makes_way() {
    let cache = Memory::new(Config::builder().capacity(250).shards(1).build().unwrap());
    let mut random = aqueduct_core::Random::seeded(7);
    // Each time another 250 keys are popular; beside them come keys that nobody asks for again.
    let mut percent = [0; 4];
    for (era, percent) in (0_u64..).zip(&mut percent) {
        let before = cache.stats();
        for at in 0..60_000 {
            let popular = at % 3 > 0;
            let key = if popular { era << 40 | random.below(250) } else { 1 << 60 | era << 40 | at };
            if cache.get(&key).is_none() {
                cache.insert(key, 0);
            }
        }
        *percent = (cache.stats().hits - before.hits) * 100 / 60_000;
    }
    assert!(percent.iter().all(|percent| *percent >= 50), "{percent:?} of 66");
}

#[test]
fn it_learns_in_a_cache_of_heavy_entries_too() {
    let cache = Memory::new(Config::builder().capacity(250_000).shards(1).build().unwrap());
    let ask = |keys: &mut dyn Iterator<Item = u64>| {
        for key in keys {
            if cache.get(&key).is_none() {
                cache.insert_on(key, (), Terms::new().weight(1_000));
            }
        }
        cache.stats()
    };
    ask(&mut around(200, 500));
    assert_eq!(cache.len(), 250);
    // Another capacity, and what was learned of weights still holds.
    cache.set_capacity(400_000).unwrap();
    let before = ask(&mut around(100, 800));
    let after = ask(&mut soon_or_never(30_000));
    let percent = (after.hits - before.hits) * 100 / (after.total_requests() - before.total_requests());
    assert!(percent > 60, "{percent} of 66");
    assert_eq!(cache.len(), 400);
}

#[test]
fn shards_that_follow_others_serve_as_well_as_those_that_find_out_by_themselves() {
    // 16 shards, of which 8 follow. The capacity of one is that of the tests above.
    let cache = Memory::new(Config::builder().capacity(16 * 250).shards(16).build().unwrap());
    let ask = |keys: &mut dyn Iterator<Item = u64>| {
        let before = cache.stats();
        for key in keys {
            if cache.get(&key).is_none() {
                cache.insert(key, 0);
            }
        }
        let after = cache.stats();
        (after.hits - before.hits) * 100 / (after.total_requests() - before.total_requests())
    };
    // Here a large window serves best, and a small one 10 points and more worse: who did not follow would stay with it.
    let soon_or_never =
        |keys: u64| (0..keys).flat_map(|at| [at, at.saturating_sub(640), at.saturating_sub(1_280)]);
    ask(&mut soon_or_never(100_000));
    let percent = ask(&mut soon_or_never(50_000).map(|key| key + (1 << 32)));
    assert!(percent >= 64, "{percent} of 66");
    // Another start, for the followers too.
    cache.clear();
    let percent = ask(&mut around(100, 16 * 500));
    assert!(percent > 40, "{percent} of 50");
}
