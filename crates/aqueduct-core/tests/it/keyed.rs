use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_core::{Forget, Instant, Keyed, Random};

/// A thing that says itself whether it matters.
#[derive(Debug, Default)]
struct Thing {
    matters: AtomicBool,
}

impl Forget for Thing {
    fn may_forget(&self, _: Instant) -> bool {
        !self.matters.load(Ordering::Relaxed)
    }
}

const MINUTE: Duration = Duration::from_mins(1);

fn keyed(capacity: usize) -> Keyed<u64, Thing> {
    let capacity = NonZeroUsize::new(capacity).expect("a test asks for one at least");
    Keyed::new(capacity, MINUTE, |_| Thing::default())
}

fn at(seconds: u64) -> Instant {
    Instant::default().after(Duration::from_secs(seconds))
}

#[test]
fn one_key_has_one_value() {
    let keyed = keyed(4);
    let first = keyed.get(&1, at(0));
    assert!(Arc::ptr_eq(&first, &keyed.get(&1, at(1))));
    assert!(!Arc::ptr_eq(&first, &keyed.get(&2, at(1))));
    assert_eq!(keyed.len(), 2);
}

#[test]
fn a_key_is_found_by_what_it_borrows_as() {
    let keyed: Keyed<String, Thing> = Keyed::new(NonZeroUsize::MIN, MINUTE, |_| Thing::default());
    let made = keyed.get("example.org", at(0));
    assert!(keyed.find("example.org").is_some_and(|found| Arc::ptr_eq(&found, &made)));
    assert!(keyed.find("example.com").is_none());
}

#[test]
fn what_is_made_knows_its_key() {
    let last = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&last);
    let keyed = Keyed::new(NonZeroUsize::MIN, MINUTE, move |key: &u64| {
        seen.store(*key, Ordering::Relaxed);
        Thing::default()
    });
    keyed.get(&7, at(0));
    assert_eq!(last.load(Ordering::Relaxed), 7);
}

#[test]
fn where_there_is_no_room_the_least_recently_used_goes() {
    let keyed = keyed(3);
    for key in 1..=3 {
        keyed.get(&key, at(key));
    }
    keyed.get(&1, at(4));
    keyed.get(&4, at(5));
    assert!(keyed.find(&2).is_none());
    assert_eq!((keyed.len(), keyed.forgotten(), keyed.displaced()), (3, 1, 0));
}

#[test]
fn what_matters_goes_last() {
    let keyed = keyed(3);
    for key in 1..=3 {
        keyed.get(&key, at(key)).matters.store(key != 3, Ordering::Relaxed);
    }
    keyed.get(&4, at(4));
    assert!(keyed.find(&3).is_none());
    keyed.get(&4, at(5)).matters.store(true, Ordering::Relaxed);
    keyed.get(&5, at(6));
    assert!(keyed.find(&1).is_none(), "all three mattered, and this one was used longest ago");
    assert_eq!((keyed.len(), keyed.forgotten(), keyed.displaced()), (3, 1, 1));
}

#[test]
fn what_somebody_holds_goes_last() {
    let keyed = keyed(2);
    let held = keyed.get(&1, at(1));
    keyed.get(&2, at(2));
    keyed.get(&3, at(3));
    assert!(keyed.find(&1).is_some_and(|found| Arc::ptr_eq(&found, &held)));
    assert!(keyed.find(&2).is_none());
}

#[test]
fn idle_keys_go_when_a_new_one_comes() {
    let keyed = keyed(100);
    for key in 0..10 {
        keyed.get(&key, at(0));
    }
    keyed.get(&0, at(59));
    keyed.find(&1).expect("it is there").matters.store(true, Ordering::Relaxed);
    keyed.get(&10, at(60));
    let mut kept: Vec<u64> = keyed.all().into_iter().map(|(key, _)| key).collect();
    kept.sort_unstable();
    assert_eq!(kept, [0, 1, 10]);
    assert_eq!(keyed.forgotten(), 8);
}

#[test]
fn a_removed_key_begins_anew() {
    let keyed = keyed(2);
    let first = keyed.get(&1, at(0));
    assert!(keyed.remove(&1).is_some_and(|removed| Arc::ptr_eq(&removed, &first)));
    assert!(keyed.remove(&1).is_none() && keyed.is_empty());
    assert!(!Arc::ptr_eq(&first, &keyed.get(&1, at(0))));
}

#[test]
fn there_are_never_more_than_allowed_and_each_key_has_one_value_on_eight_threads() {
    const CAPACITY: usize = 64;
    let keyed = keyed(CAPACITY);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let keyed = &keyed;
            scope.spawn(move || {
                let mut random = Random::seeded(thread);
                for step in 0..5_000 {
                    let key = random.below(200);
                    let value = keyed.get(&key, at(step));
                    value.matters.store(random.below(3) == 0, Ordering::Relaxed);
                    assert!(keyed.len() <= CAPACITY);
                    if random.below(50) == 0 {
                        keyed.remove(&key);
                    }
                }
            });
        }
    });
    assert_eq!(keyed.all().len(), keyed.len());
    for (key, value) in keyed.all() {
        assert!(Arc::ptr_eq(&value, &keyed.get(&key, at(9_999))));
    }
}
