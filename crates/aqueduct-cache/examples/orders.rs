//! Three kinds of requests one after the other, and what each order makes of them: new things, a loop that is a little too
//! large, new things again.
//!
//! `cargo run -p aqueduct-cache --example orders`.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use aqueduct_cache::{Config, ConfigError, Eviction, Memory};

/// Each key is asked for twice more, a little later, and then never again.
fn new_things(from: u64) -> impl Iterator<Item = u64> {
    (100..5_000).flat_map(move |at| [at, at - 20, at - 50]).map(move |key| from + key)
}

fn main() -> Result<(), ConfigError> {
    println!("{:10} {:>6} {:>6} {:>6}   hits in a hundred, in a cache of 500", "", "new", "loop", "new");
    for eviction in
        [Eviction::Lru, Eviction::Fifo, Eviction::Lfu, Eviction::S3Fifo, Eviction::Sieve, Eviction::Adaptive]
    {
        let cache = Memory::new(Config::builder().capacity(500).eviction(eviction).shards(1).build()?);
        let mut figures = Vec::new();
        let mut ask = |keys: &mut dyn Iterator<Item = u64>| {
            let (mut hits, mut looks) = (0.0, 0.0);
            for key in keys {
                looks += 1.0;
                match cache.get(&key) {
                    Some(()) => hits += 1.0,
                    None => cache.insert(key, ()),
                }
            }
            figures.push(format!("{:6.0}", hits / looks * 100.0));
        };
        ask(&mut new_things(10_000));
        ask(&mut (0..400_000).map(|at| at % 750));
        ask(&mut new_things(20_000));
        println!("{:10} {}", format!("{eviction:?}"), figures.join(" "));
    }
    Ok(())
}
