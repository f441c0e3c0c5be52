use std::hint::black_box;
use std::path::Path;
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use aqueduct_cache::{Config, Memory};
use stats_alloc::Region;

use crate::ALLOCATOR;
use crate::report::{Report, compare, cost};

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
        let (own_2, quick_2) = (ours(capacity), quick_cache::sync::Cache::new(capacity as usize));
        for key in 0..keys {
            own_2.insert(key, key);
            quick_2.insert(key, key);
        }
        for _ in 0..capacity * 9 {
            black_box(own_2.get(&next(&mut one, keys)));
        }
        in_two_threads(
            report,
            keys,
            [&|key| own.get(&key), &|key| own_2.get(&key)],
            [&|key| quick.get(&key), &|key| quick_2.get(&key)],
        );
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
    let seen = compare(ask_own, ask_quick);
    report.figure(
        &format!("a request of {capacity}, nine of ten of them hits, the tenth evicts, against quick_cache"),
        &format!(
            "{:.2} x ({:.2} to {:.2}; {:.1} ns against {:.1} ns)",
            seen.ratio, seen.low, seen.high, seen.ours_ns, seen.peer_ns
        ),
    );
    hits_between_evictions(report, capacity, &own, &quick);
}

/// What a hit costs while entries come and leave: between two rounds of hits that are timed, and all for what is popular, newcomers put
/// out a fiftieth of the cache.
fn hits_between_evictions(
    report: &mut Report,
    capacity: u64,
    own: &Memory<u64, u64>,
    quick: &quick_cache::sync::Cache<u64, u64>,
) {
    const ROUNDS: usize = 201;
    const LOOKS: u32 = 20_000;
    let popular = capacity * 3 / 5;
    let mut state = 1;
    let mut newcomer = 1 << 62;
    let time = |look: Look<'_>, seed: u64| {
        let mut state = seed;
        let start = Instant::now();
        for _ in 0..LOOKS {
            black_box(look(next(&mut state, popular)));
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKS)
    };
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            for _ in 0..capacity / 50 {
                newcomer += 1;
                own.insert(newcomer, newcomer);
                quick.insert(newcomer, newcomer);
            }
            let seed = next(&mut state, u64::MAX >> 32);
            (time(&|key| own.get(&key), seed), time(&|key| quick.get(&key), seed))
        })
        .collect();
    let least = |of: fn(&(f64, f64)) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
    let (our_ns, their_ns) = (least(|round| round.0), least(|round| round.1));
    rounds.sort_by(|left, right| (left.0 / left.1).total_cmp(&(right.0 / right.1)));
    let at = |index: usize| rounds[index].0 / rounds[index].1;
    let (low, ratio, high) = (at(ROUNDS / 4), at(ROUNDS / 2), at(ROUNDS * 3 / 4));
    let missed = if ratio <= 1.0 { "" } else { "   <-- MISSED" };
    let name = format!("a look at one of {capacity}, of which entries leave meanwhile, against quick_cache");
    report.figure(
        &name,
        &format!(
            "{ratio:.2} x ({low:.2} to {high:.2}; {our_ns:.1} ns against {their_ns:.1} ns), at most 1.00{missed}"
        ),
    );
    report.hold(&name, ratio <= 1.0);
}

type Look<'a> = &'a (dyn Fn(u64) -> Option<u64> + Sync);

/// What a look costs each of two threads that look at once into one cache, beside what it costs each of two that have a cache each:
/// that is what the machine has to give. And the same of a peer.
fn in_two_threads(report: &mut Report, keys: u64, caches: [Look<'_>; 2], peers: [Look<'_>; 2]) {
    const ROUNDS: usize = 15;
    // Long enough for the threads to begin and to end at about the same time.
    const LOOKS: u32 = 400_000;
    let time = |looks: [Look<'_>; 2], seed: u64| {
        let together = Barrier::new(2);
        let thread = |look: Look<'_>, seed: u64| {
            let mut state = seed;
            together.wait();
            let start = Instant::now();
            for _ in 0..LOOKS {
                black_box(look(next(&mut state, keys)));
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKS)
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| thread(looks[1], seed + 1));
            let own = thread(looks[0], seed);
            // Of the one that was longer with the other.
            own.max(other.join().expect("it only looks"))
        })
    };
    let middle = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[ROUNDS / 2]
    };
    let rounds: Vec<_> = (0..ROUNDS as u64)
        .map(|round| {
            let one = |[cache, _]: [Look<'_>; 2]| time([cache, cache], round * 7);
            [one(caches), time(caches, round * 7), one(peers), time(peers, round * 7)]
        })
        .collect();
    let of = |at: usize| middle(rounds.iter().map(|round| round[at]).collect());
    let (ratio, theirs) = (
        middle(rounds.iter().map(|round| round[0] / round[1]).collect()),
        middle(rounds.iter().map(|round| round[2] / round[3]).collect()),
    );
    let name = format!("a look at one of {keys}, two threads at one cache, against each at its own");
    let missed = if ratio <= FLAT { "" } else { "   <-- MISSED" };
    report.figure(
        &name,
        &format!(
            "{ratio:.2} x ({:.1} ns against {:.1} ns; quick_cache {theirs:.2} x, {:.1} ns against {:.1} ns), at most {FLAT:.2}{missed}",
            of(0),
            of(1),
            of(2),
            of(3)
        ),
    );
    report.hold(&name, ratio <= FLAT);
}

/// What is flat here: chance gives a tenth.
const FLAT: f64 = 1.1;

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
