use aqueduct_cache::{Config, Eviction, Memory, Terms};
use proptest::prelude::*;

fn weighed(eviction: Eviction, capacity: u64) -> Memory<u8, u32> {
    Memory::new(Config::builder().capacity(capacity).eviction(eviction).shards(1).build().unwrap())
}

#[test]
fn a_heavy_entry_puts_out_as_many_as_it_takes() {
    let cache = weighed(Eviction::Lru, 10);
    (0..10).for_each(|key| cache.insert(key, 0));
    cache.insert_on(10, 0, Terms::new().weight(4));
    let held: Vec<u8> = (0..=10).filter(|key| cache.contains(key)).collect();
    assert_eq!(held, [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!((cache.stats().weight, cache.stats().evictions), (10, 4));
}

#[test]
fn an_entry_that_is_too_heavy_is_not_kept_nor_what_was_in_its_place() {
    let cache = weighed(Eviction::Adaptive, 10);
    cache.insert(1, 1);
    cache.insert(2, 2);
    cache.insert_on(1, 3, Terms::new().weight(11));
    assert_eq!((cache.get(&1), cache.get(&2)), (None, Some(2)));
    assert_eq!(cache.stats().rejections, 1);
    cache.insert_on(1, 4, Terms::new().weight(10));
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(4), None), "as heavy as all may be");
}

#[test]
fn an_entry_that_becomes_heavier_makes_room_for_itself() {
    let cache = weighed(Eviction::Lru, 10);
    (0..10).for_each(|key| cache.insert(key, 0));
    cache.insert_on(9, 1, Terms::new().weight(5));
    assert_eq!((cache.get(&9), cache.stats().weight, cache.len()), (Some(1), 10, 6));
}

proptest! {
    #[test]
    fn the_weight_is_the_sum_of_what_is_held_and_never_more_than_it_may_be(
        steps in prop::collection::vec((0..40_u8, 0..12_u32, 0..8_u8), 1..300),
    ) {
        for eviction in [Eviction::Adaptive, Eviction::S3Fifo, Eviction::Sieve, Eviction::Lfu] {
            let cache = weighed(eviction, 30);
            let mut weights = [0; 40];
            for (key, weight, kind) in &steps {
                if *kind == 0 {
                    cache.remove(key);
                } else {
                    cache.insert_on(*key, 0, Terms::new().weight(*weight));
                    weights[*key as usize] = (*weight).max(1);
                }
                let held: u32 = (0..40).filter(|key| cache.contains(key)).map(|key| weights[key as usize]).sum();
                prop_assert_eq!(cache.stats().weight, u64::from(held));
                prop_assert!(held <= 30);
            }
        }
    }
}
