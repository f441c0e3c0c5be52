use std::hint::black_box;
use std::path::Path;
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use aqueduct_cache::{Config, Memory};
use stats_alloc::Region;

use crate::ALLOCATOR;
use crate::report::{Report, cost};

/// The traces and their capacities stand beside the figures of our own orders.
#[expect(dead_code, reason = "what else is there runs by itself")]
#[path = "../../benches/cache_hit_ratio.rs"]
mod hit_ratio;

pub(crate) fn run(report: &mut Report) {
    bytes_an_entry(report);
    looks(report);
    statistics(report);
    hit_ratios(report);
}

fn ours(capacity: u64) -> Memory<u64, u64> {
    Memory::new(Config::builder().capacity(capacity).build().expect("it is within the ranges"))
}

/// The next of so many keys, in an order that is none.
fn next(state: &mut u64, keys: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 32) * keys) >> 32
}

/// What is held for each entry of a full cache, without the 16 bytes of the key and the value.
fn bytes_an_entry(report: &mut Report) {
    for capacity in [100_000_u64, 1_000_000] {
        // Twice as many keys as there is room.
        let held = |fill: &dyn Fn() -> (Box<dyn std::any::Any>, u64)| {
            let region = Region::new(ALLOCATOR);
            let (cache, entries) = fill();
            let change = region.change();
            drop(cache);
            (change.bytes_allocated as f64 - change.bytes_deallocated as f64) / entries as f64 - 16.0
        };
        let own = held(&|| {
            let cache = ours(capacity);
            (0..capacity * 2).for_each(|key| cache.insert(key, key));
            let entries = cache.len() as u64;
            (Box::new(cache), entries)
        });
        let quick = held(&|| {
            let cache = quick_cache::sync::Cache::new(capacity as usize);
            (0..capacity * 2).for_each(|key| cache.insert(key, key));
            let entries = cache.len() as u64;
            (Box::new(cache), entries)
        });
        let moka = held(&|| {
            let cache = moka::sync::Cache::new(capacity);
            for key in 0..capacity * 2 {
                cache.insert(key, key);
            }
            cache.run_pending_tasks();
            let entries = cache.entry_count();
            (Box::new(cache), entries)
        });
        let foyer = held(&|| {
            let cache: foyer_memory::Cache<u64, u64> =
                foyer_memory::CacheBuilder::new(capacity as usize).build();
            for key in 0..capacity * 2 {
                cache.insert(key, key);
            }
            let entries = cache.entries() as u64;
            (Box::new(cache), entries)
        });
        let name = format!("bytes an entry beside key and value, {capacity} entries");
        let missed = if own <= 48.0 { "" } else { "   <-- MISSED" };
        report.figure(
            &name,
            &format!(
                "{own:.1}, at most 48 (quick_cache {quick:.1}, moka {moka:.1}, foyer {foyer:.1}){missed}"
            ),
        );
        report.hold(&name, own <= 48.0);
    }
}

fn looks(report: &mut Report) {
    for keys in [1_000_u64, 100_000, 1_000_000] {
        let capacity = keys * 2;
        let own = ours(capacity);
        let quick = quick_cache::sync::Cache::new(capacity as usize);
        let moka = moka::sync::Cache::new(capacity);
        for key in 0..keys {
            own.insert(key, key);
            quick.insert(key, key);
            moka.insert(key, key);
        }
        moka.run_pending_tasks();
        let (mut one, mut two) = (1, 1);
        // Nothing is evicted here. Until ours has seen that, it does what it does where something is.
        for _ in 0..capacity * 9 {
            black_box(own.get(&next(&mut one, keys)));
        }
        report.ratio(
            &format!("a look at one of {keys}, nothing evicted, one thread, against quick_cache"),
            1.0,
            || own.get(&next(&mut one, keys)),
            || quick.get(&next(&mut two, keys)),
        );
        let (mut one, mut two) = (1, 1);
        report.ratio(
            &format!("a look at one of {keys}, one thread, against moka"),
            1.0,
            || own.get(&next(&mut one, keys)),
            || moka.get(&next(&mut two, keys)),
        );
        let mut one = 1;
        report.cost(&format!("a look at one of {keys}"), 60.0, || own.get(&next(&mut one, keys)));
        in_two_threads(report, keys, "quick_cache", &|key| own.get(&key), &|key| quick.get(&key));
        in_two_threads(report, keys, "moka", &|key| own.get(&key), &|key| moka.get(&key));
        with_evictions(report, keys);
    }
}

/// Of ten requests one is for what was never there, and has to be inserted; the others are for three fifths of what fits.
fn with_evictions(report: &mut Report, capacity: u64) {
    let own = ours(capacity);
    let quick = quick_cache::sync::Cache::new(capacity as usize);
    let popular = capacity * 3 / 5;
    let request = |state: &mut u64| {
        let at = next(state, popular * 10);
        if at < popular { *state | 1 << 63 } else { at % popular }
    };
    let (mut one, mut two) = (1, 1);
    let mut ask_own = || {
        let key = request(&mut one);
        own.get(&key).is_some() || {
            own.insert(key, key);
            false
        }
    };
    let mut ask_quick = || {
        let key = request(&mut two);
        quick.get(&key).is_some() || {
            quick.insert(key, key);
            false
        }
    };
    // Until both are full, and ours has found its window.
    for _ in 0..capacity * 10 {
        black_box((ask_own(), ask_quick()));
    }
    let name =
        format!("a request of {capacity}, nine of ten of them hits, the tenth evicts, against quick_cache");
    report.ratio(&name, 1.0, ask_own, ask_quick);
}

type Look<'a> = &'a (dyn Fn(u64) -> Option<u64> + Sync);

/// What a look costs each of two threads that look at once.
fn in_two_threads(report: &mut Report, keys: u64, peer: &str, ours: Look<'_>, theirs: Look<'_>) {
    const ROUNDS: usize = 31;
    const LOOKS: u32 = 100_000;
    let time = |look: Look<'_>, seed: u64| {
        let together = Barrier::new(2);
        let thread = |seed: u64| {
            let mut state = seed;
            together.wait();
            let start = Instant::now();
            for _ in 0..LOOKS {
                black_box(look(next(&mut state, keys)));
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKS)
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| thread(seed + 1));
            let own = thread(seed);
            f64::midpoint(own, other.join().expect("it only looks"))
        })
    };
    let mut rounds: Vec<_> =
        (0..ROUNDS as u64).map(|round| (time(ours, round * 7), time(theirs, round * 7))).collect();
    let least = |of: fn(&(f64, f64)) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
    let (our_ns, their_ns) = (least(|round| round.0), least(|round| round.1));
    let alone = |look: Look<'_>| {
        let mut state = 1;
        cost(|| look(next(&mut state, keys)))
    };
    let (our_alone_ns, their_alone_ns) = (alone(ours), alone(theirs));
    rounds.sort_by(|left, right| (left.0 / left.1).total_cmp(&(right.0 / right.1)));
    let ratio = rounds[ROUNDS / 2].0 / rounds[ROUNDS / 2].1;
    let name = format!("a look at one of {keys}, two threads at once, against {peer}");
    report.figure(
        &name,
        &format!(
            "{ratio:.2} x ({our_ns:.1} ns against {their_ns:.1} ns for each thread; one thread alone {our_alone_ns:.1} ns and \
             {their_alone_ns:.1} ns)"
        ),
    );
}

/// What counting a hit adds: a number is counted up under a lock that is held anyway, as in a shard of ours.
fn statistics(report: &mut Report) {
    let bare = Mutex::new((0_u64, 0_u64));
    let counted = Mutex::new((0_u64, 0_u64));
    let (mut without, mut with) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..3 {
        without = without.min(cost(|| {
            let mut shard = black_box(&bare).lock().expect("nobody panics under it");
            shard.0 = black_box(7);
        }));
        with = with.min(cost(|| {
            let mut shard = black_box(&counted).lock().expect("nobody panics under it");
            shard.0 = black_box(7);
            shard.1 += 1;
        }));
    }
    let added = with - without;
    report.figure(
        "what counting adds to a look, by a lock with and without a count under it",
        &format!(
            "{added:.1} ns ({with:.1} - {without:.1}), at most 2{}",
            if added <= 2.0 { "" } else { "   <-- MISSED" }
        ),
    );
    report.hold("statistics", added <= 2.0);
}

fn hit_ratios(report: &mut Report) {
    println!("{:14} {:>9} {:>9} {:>9} {:>9} {:>9}", "hit ratio", "ours", "shards", "quick", "moka", "foyer");
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/traces");
    let (mut sums, mut cells) = ([0.0; 5], 0.0);
    for (name, capacities) in hit_ratio::CELLS {
        let trace = hit_ratio::trace(&traces, name).expect("it is in benches/data");
        for &(capacity, _) in capacities {
            let config = Config::builder().capacity(capacity);
            let one = Memory::new(config.shards(1).build().expect("it is within the ranges"));
            let many = Memory::new(config.build().expect("it is within the ranges"));
            let mut quick = quick_cache::unsync::Cache::new(capacity as usize);
            let moka = moka::sync::Cache::new(capacity);
            let foyer: foyer_memory::Cache<u64, ()> =
                foyer_memory::CacheBuilder::new(capacity as usize).with_shards(1).build();
            let mut hits = [0_u64; 5];
            for &key in &trace {
                let found = [
                    one.get(&key).is_some(),
                    many.get(&key).is_some(),
                    quick.get(&key).is_some(),
                    moka.get(&key).is_some(),
                    foyer.get(&key).is_some(),
                ];
                for (hits, found) in hits.iter_mut().zip(found) {
                    *hits += u64::from(found);
                }
                if !found[0] {
                    one.insert(key, ());
                }
                if !found[1] {
                    many.insert(key, ());
                }
                if !found[2] {
                    quick.insert(key, ());
                }
                if !found[3] {
                    moka.insert(key, ());
                }
                if !found[4] {
                    foyer.insert(key, ());
                }
            }
            let row = hits.map(|hits| hits as f64 * 100.0 / trace.len() as f64);
            print_row(&format!("{name}@{capacity}"), &row);
            for (sum, figure) in sums.iter_mut().zip(row) {
                *sum += figure;
            }
            cells += 1.0;
        }
    }
    let means = sums.map(|sum| sum / cells);
    print_row("mean", &means);
    report.hold(
        "the mean hit ratio is less than that of a peer",
        means[2..].iter().all(|peer| means[0] > *peer),
    );
}

fn print_row(name: &str, row: &[f64]) {
    let figures: String = row.iter().map(|figure| format!(" {figure:9.2}")).collect();
    println!("{name:14}{figures}");
}
