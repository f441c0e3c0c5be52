use std::time::Duration;

use aqueduct_cache::{Config, Eviction, Memory, Terms};
use aqueduct_core::{Clock, ManualClock, Timestamp};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn cache(builder: aqueduct_cache::Builder) -> (Memory<u32, u32>, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    (Memory::with_clock(builder.shards(1).build().unwrap(), clock), hand)
}

#[test]
fn an_entry_is_found_until_its_time_is_over_and_not_after() {
    let (cache, hand) = cache(Config::builder().ttl(SECOND * 10));
    cache.insert(1, 1);
    cache.insert_on(2, 2, Terms::new().ttl(SECOND));
    hand.advance(SECOND - Duration::from_nanos(1));
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), Some(2)));
    hand.advance(Duration::from_nanos(1));
    assert_eq!((cache.get(&1), cache.get(&2), cache.contains(&2)), (Some(1), None, false));
    assert_eq!(cache.remove(&2), None, "what has expired is not there to be removed");
    hand.advance(SECOND * 9);
    assert_eq!(cache.get(&1), None);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.deletes, stats.expirations), (3, 2, 0, 1));
}

#[test]
fn a_time_of_nought_keeps_nothing_and_one_of_centuries_for_ever() {
    let (cache, hand) = cache(Config::builder());
    cache.insert(1, 1);
    cache.insert_on(1, 2, Terms::new().ttl(Duration::ZERO));
    assert_eq!(cache.get(&1), None, "the old value is not to be found either");
    for ttl in [Duration::MAX, SECOND * 3_200_000_000, Duration::from_secs(20_000_000_000)] {
        cache.insert_on(1, 3, Terms::new().ttl(ttl));
        cache.insert_on(2, 3, Terms::new().ttl(SECOND));
        hand.advance(Duration::from_hours(24 * 365));
        cache.sweep();
        assert_eq!((cache.get(&1), cache.len()), (Some(3), 1), "{ttl:?}");
    }
}

#[test]
fn a_new_value_has_a_time_of_its_own() {
    let (cache, hand) = cache(Config::builder());
    cache.insert_on(1, 1, Terms::new().ttl(SECOND));
    cache.insert_on(2, 1, Terms::new().ttl(SECOND));
    cache.insert(1, 2);
    cache.insert_on(2, 2, Terms::new().ttl(SECOND * 5));
    hand.advance(SECOND * 4);
    cache.sweep();
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(2), Some(2)));
    hand.advance(SECOND * 3);
    cache.sweep();
    assert_eq!((cache.len(), cache.stats().expirations), (1, 1));
}

#[test]
fn what_expires_leaves_its_room_without_being_asked_for() {
    let (cache, hand) = cache(Config::builder().capacity(10_000).ttl(SECOND * 60));
    (0..5_000).for_each(|key| cache.insert(key, key));
    hand.advance(SECOND * 62);
    // An insertion takes out a few at a time, so that it is never slow.
    (5_000..5_400).for_each(|key| cache.insert(key, key));
    assert_eq!((cache.len(), cache.stats().expirations), (400, 5_000));
    hand.advance(SECOND * 62);
    cache.sweep();
    assert!(cache.is_empty());
}

#[test]
fn chance_takes_off_no_more_than_its_share() {
    let (cache, hand) = cache(Config::builder().capacity(10_000).ttl(SECOND * 100).ttl_jitter(0.2));
    (0..1_000).for_each(|key| cache.insert(key, key));
    let left = || (0..1_000).filter(|key| cache.contains(key)).count();
    hand.advance(SECOND * 79);
    assert_eq!(left(), 1_000);
    hand.advance(SECOND * 11);
    assert!((400..=600).contains(&left()), "half of them after half of the chance: {}", left());
    hand.advance(SECOND * 10);
    assert_eq!(left(), 0);
}

#[test]
fn chance_takes_nothing_from_what_lasts_for_ever() {
    // So small a share is none, once it is taken off one.
    for share in [1e-18, 0.5, 1.0] {
        let (cache, hand) = cache(Config::builder().ttl(Duration::MAX).ttl_jitter(share));
        cache.insert(1, 1);
        hand.advance(SECOND);
        assert_eq!(cache.get(&1), Some(1), "{share}");
    }
}

#[test]
fn who_expires_next_leaves_first_and_who_does_not_last() {
    let (cache, _hand) = cache(Config::builder().capacity(4).eviction(Eviction::Ttl));
    cache.insert(1, 0);
    for (key, seconds) in [(2, 30), (3, 10), (4, 20)] {
        cache.insert_on(key, 0, Terms::new().ttl(SECOND * seconds));
    }
    let mut order = Vec::new();
    for new in 10..13 {
        cache.insert_on(new, 0, Terms::new().ttl(SECOND * 1_000));
        order.extend((1..5).filter(|key| !cache.contains(key) && !order.contains(key)).collect::<Vec<_>>());
    }
    assert_eq!(order, [3, 4, 2]);
    assert!(cache.contains(&1));
}

proptest! {
    /// Every entry with the time that it ends, looked through each time.
    #[test]
    fn expiry_is_as_its_model(
        steps in prop::collection::vec((0..6_u8, 0..60_u32, 0..4_000_u64), 1..300),
    ) {
        let (cache, hand) = cache(Config::builder().capacity(1_000));
        let (mut model, mut now) = (std::collections::BTreeMap::new(), 0_u64);
        // With those that have expired and are still to leave.
        let mut inside = std::collections::BTreeMap::new();
        for (kind, key, seconds) in steps {
            match kind {
                0 => {
                    cache.remove(&key);
                    inside.remove(&key);
                }
                1 => {
                    cache.insert(key, key);
                    inside.insert(key, u64::MAX);
                }
                2 | 3 => {
                    cache.insert_on(key, key, Terms::new().ttl(SECOND * u32::try_from(seconds).unwrap()));
                    if seconds == 0 { inside.remove(&key) } else { inside.insert(key, now + seconds) };
                }
                4 => {
                    hand.advance(SECOND * u32::try_from(seconds).unwrap());
                    now += seconds;
                }
                _ => cache.sweep(),
            }
            model.clone_from(&inside);
            model.retain(|_, end| *end > now);
            let held: Vec<u32> = (0..60).filter(|key| cache.contains(key)).collect();
            prop_assert_eq!(held, model.keys().copied().collect::<Vec<_>>());
        }
        // What has expired leaves with the tick after its own, of 2^30 ns.
        cache.sweep();
        let tick = |seconds: u64| (u128::from(seconds) * 1_000_000_000) >> 30;
        inside.retain(|_, end| tick(*end) >= tick(now));
        prop_assert_eq!(cache.len(), inside.len());
    }
}
