use aqueduct_cache::{Config, Eviction, Memory};
use proptest::prelude::*;

use crate::models::{Fifo, Lfu, Lru, Model, S3Fifo, Sieve};

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(u8),
    Insert(u8),
    Remove(u8),
    Resize(usize),
}

/// Mostly looks and insertions, of fewer keys than there are bytes, so that they come back.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..40_u8).prop_map(Step::Get),
        8 => (0..40_u8).prop_map(Step::Insert),
        1 => (0..40_u8).prop_map(Step::Remove),
        1 => (1..24_usize).prop_map(Step::Resize),
    ];
    prop::collection::vec(step, 1..400)
}

/// Takes a cache and a model through the same, and compares what they hold after each step.
fn check(eviction: Eviction, mut model: impl Model, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut capacity = 12;
    let config = Config::builder().capacity(12).eviction(eviction).shards(1).build().unwrap();
    let cache = Memory::new(config);
    for step in steps {
        match *step {
            Step::Get(key) => {
                let is_there = model.keys().contains(&key);
                prop_assert_eq!(cache.get(&key), is_there.then_some(u32::from(key)));
                if is_there {
                    model.hit(key);
                }
            }
            Step::Insert(key) => {
                cache.insert(key, u32::from(key));
                if model.keys().contains(&key) {
                    model.hit(key);
                } else {
                    while model.keys().len() >= capacity {
                        model.evict(capacity);
                    }
                    model.add(key, capacity);
                }
            }
            Step::Remove(key) => {
                prop_assert_eq!(cache.remove(&key).is_some(), model.keys().contains(&key));
                model.remove(key);
            }
            Step::Resize(to) => {
                capacity = to;
                cache.set_capacity(to as u64).unwrap();
                while model.keys().len() > capacity {
                    model.evict(capacity);
                }
            }
        }
        let mut keys = model.keys();
        keys.sort_unstable();
        let held: Vec<u8> = (0..40).filter(|key| cache.contains(key)).collect();
        prop_assert_eq!(held, keys, "after {:?}", step);
        prop_assert_eq!(cache.len(), model.keys().len());
    }
    Ok(())
}

proptest! {
    #[test]
    fn fifo_is_as_its_model(steps in steps()) {
        check(Eviction::Fifo, Fifo::default(), &steps)?;
    }

    #[test]
    fn lru_is_as_its_model(steps in steps()) {
        check(Eviction::Lru, Lru::default(), &steps)?;
    }

    #[test]
    fn lfu_is_as_its_model(steps in steps()) {
        check(Eviction::Lfu, Lfu::default(), &steps)?;
    }

    #[test]
    fn sieve_is_as_its_model(steps in steps()) {
        check(Eviction::Sieve, Sieve::default(), &steps)?;
    }

    #[test]
    fn s3_fifo_is_as_its_model(steps in steps()) {
        check(Eviction::S3Fifo, S3Fifo::default(), &steps)?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The adaptive one has no model; what holds for every order holds for it.
    #[test]
    fn no_order_holds_more_than_it_may_or_loses_what_it_holds(steps in steps()) {
        for eviction in [
            Eviction::Adaptive, Eviction::Lru, Eviction::Lfu, Eviction::Fifo, Eviction::Ttl, Eviction::S3Fifo,
            Eviction::Sieve,
        ] {
            let config = Config::builder().capacity(12).eviction(eviction).shards(1).build().unwrap();
            let (cache, mut capacity) = (Memory::new(config), 12);
            for step in &steps {
                match *step {
                    Step::Get(key) => {
                        let is_there = cache.contains(&key);
                        prop_assert_eq!(cache.get(&key), is_there.then_some(u32::from(key)));
                    }
                    Step::Insert(key) => cache.insert(key, u32::from(key)),
                    Step::Remove(key) => {
                        cache.remove(&key);
                        prop_assert!(!cache.contains(&key));
                    }
                    Step::Resize(to) => {
                        capacity = to;
                        cache.set_capacity(to as u64).unwrap();
                    }
                }
                let held = (0..40).filter(|key| cache.contains(key)).count();
                prop_assert!(held <= capacity && held == cache.len());
            }
            let stats = cache.stats();
            prop_assert_eq!(stats.weight, stats.entries);
        }
    }
}
