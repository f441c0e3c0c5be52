use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_core::{Clock, Instant, ManualClock, Timestamp};
use aqueduct_ratelimit::{Algorithm, KeyedRateLimiter, Limit, Quota, Reason};
use proptest::prelude::*;

fn quota(tokens: u64, seconds: u64) -> Quota {
    Quota::new(tokens, Duration::from_secs(seconds)).expect("a test's own")
}

fn keyed(quota: Quota, capacity: usize) -> (KeyedRateLimiter<u64>, Clock, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let capacity = NonZeroUsize::new(capacity).expect("a test asks for one at least");
    (KeyedRateLimiter::new(quota, capacity, clock.clone()), clock, hand)
}

proptest! {
    #[test]
    fn a_key_is_a_bucket_of_its_own(steps in prop::collection::vec((0_u64..400, 0_u64..40, 1_u64..6), 1..400)) {
        let quota = quota(10, 1);
        let (limiter, clock, hand) = keyed(quota, 64);
        let mut model: HashMap<u64, Limit> = HashMap::new();
        for (step, key, tokens) in steps {
            hand.advance(Duration::from_millis(step));
            let of_model = model.entry(key).or_insert_with(|| Limit::new(quota, Algorithm::TokenBucket).unwrap());
            prop_assert_eq!(limiter.peek(&key, tokens), of_model.peek(clock.now(), tokens));
            prop_assert_eq!(limiter.check_n(&key, tokens), of_model.check(clock.now(), tokens));
        }
    }

    /// Whatever is forgotten, no key ever gets more than its quota.
    #[test]
    fn a_key_that_had_to_go_keeps_its_debt(
        capacity in 1_usize..12,
        steps in prop::collection::vec((0_u64..300, 0_u64..60), 1..600),
    ) {
        let (limiter, clock, hand) = keyed(quota(4, 1), capacity);
        let mut given: HashMap<u64, Vec<Instant>> = HashMap::new();
        for (step, key) in steps {
            hand.advance(Duration::from_millis(step));
            if limiter.check(&key).is_ok() {
                given.entry(key).or_default().push(clock.now());
            }
            prop_assert!(limiter.len() <= capacity);
        }
        for uses in given.values() {
            for (first, from) in uses.iter().enumerate() {
                for (last, until) in uses.iter().enumerate().skip(first) {
                    let most = 4 + until.since(*from).as_millis() / 250;
                    prop_assert!((last - first + 1) as u128 <= most);
                }
            }
        }
    }
}

#[test]
fn a_million_keys_that_come_once_take_the_room_of_a_hundred_thousand() {
    const CAPACITY: usize = 100_000;
    let (limiter, _clock, hand) = keyed(quota(100, 60), CAPACITY);
    let mut denied = 0;
    for key in 0..1_000_000 {
        denied += u32::from(limiter.check(&key).is_err());
        if key % 1_000 == 0 {
            hand.advance(Duration::from_millis(10));
            assert!(limiter.len() <= CAPACITY);
        }
    }
    assert!(limiter.len() <= CAPACITY && limiter.len() > CAPACITY * 9 / 10);
    assert!(limiter.bytes() <= 48 * CAPACITY, "{} bytes a key", limiter.bytes() as f64 / CAPACITY as f64);
    assert_eq!(denied, 0, "nobody came twice");
}

#[test]
fn nobody_is_denied_for_another_as_long_as_there_is_room() {
    const KEYS: u64 = 10_000;
    let (limiter, _clock, hand) = keyed(quota(2, 1), 10_000);
    for round in 0..20 {
        for key in 0..KEYS {
            assert!(limiter.check(&key).is_ok() && limiter.check(&key).is_ok(), "{key} in round {round}");
            assert!(limiter.check(&key).is_err());
        }
        hand.advance(Duration::from_secs(1));
    }
}

#[test]
fn a_flood_does_not_make_the_limiter_forget_who_owes() {
    let (limiter, _clock, hand) = keyed(quota(5, 3_600), 1_000);
    for _ in 0..5 {
        limiter.check(&0).expect("the burst");
    }
    // They owe as much, and later, so it is the first to go.
    for key in 1..200_000 {
        let _ = limiter.check_n(&key, 5);
    }
    assert!(limiter.check(&0).is_err(), "an hour is not over");
    assert!(limiter.evictions() > 0);
    hand.advance(Duration::from_hours(2));
    assert!(limiter.check(&0).is_ok());
}

#[test]
fn idle_keys_go_when_others_come() {
    let (limiter, _clock, hand) = keyed(quota(10, 1), 10_000);
    for key in 0..5_000 {
        limiter.check(&key).expect("the burst");
    }
    hand.advance(Duration::from_mins(2));
    // So few that each part of the table has some to let go, however the hash spreads them.
    for key in 10_000..14_000 {
        limiter.check(&key).expect("the burst");
    }
    assert_eq!(limiter.evictions(), 0, "all that went owed nothing");
    assert!(limiter.len() <= 10_000);
    // A newcomer looks at two others, so it takes a while.
    for round in 1..=10 {
        hand.advance(Duration::from_mins(2));
        for key in 0..1_000 {
            limiter.check(&(round * 100_000 + key)).expect("the burst");
        }
    }
    assert!(limiter.len() < 2_500, "{}", limiter.len());
}

#[test]
fn each_key_may_have_a_quota_of_its_own_and_it_may_change() {
    static GOLD: AtomicU64 = AtomicU64::new(20);
    let (clock, _hand) = Clock::manual(Timestamp(0));
    let limiter: KeyedRateLimiter<String> = KeyedRateLimiter::new(quota(1, 1), NonZeroUsize::MIN, clock)
        .with_quota_of(|key| quota(if key == "gold" { GOLD.load(Ordering::Relaxed) } else { 5 }, 1));
    let given = |key: &str, of: u64| (0..of).filter(|_| limiter.check(key).is_ok()).count();
    assert_eq!((given("gold", 100), given("plain", 100)), (20, 5));
    GOLD.store(40, Ordering::Relaxed);
    limiter.reset("gold");
    assert_eq!(given("gold", 100), 40);
}

#[test]
fn a_new_quota_for_all_keeps_what_was_used() {
    let (limiter, _clock, _hand) = keyed(quota(10, 1), 100);
    limiter.check_n(&1, 6).expect("the burst");
    limiter.set_quota(quota(20, 1));
    assert_eq!(limiter.peek(&1, 0).expect("a look").remaining(), 14);
    assert_eq!(limiter.peek(&2, 0).expect("a look").remaining(), 20);
}

#[test]
fn a_key_is_refunded_drained_and_reset_by_itself() {
    let (limiter, _clock, hand) = keyed(quota(10, 1), 100);
    limiter.check_n(&1, 10).expect("the burst");
    limiter.refund(&1, 4);
    assert_eq!(limiter.peek(&1, 0).expect("a look").remaining(), 4);
    limiter.drain(&1, Duration::from_secs(9));
    assert_eq!(limiter.check(&1).expect_err("it is drained").retry_after, Some(Duration::from_secs(9)));
    assert!(limiter.check(&2).is_ok());
    limiter.reset(&1);
    assert!(limiter.check_n(&1, 10).is_ok());
    assert_eq!(limiter.check_n(&1, 11).expect_err("there never are").reason, Reason::TooLarge);
    hand.advance(Duration::from_secs(1));
    assert_eq!(limiter.len(), 2);
    let _ = limiter.peek(&3, 1);
    assert_eq!(limiter.len(), 2, "a look remembers nobody");
}

#[test]
fn eight_threads_never_get_more_for_a_key_than_its_quota() {
    let (limiter, _clock, _hand) = keyed(quota(50, 3_600), 64);
    let given: Vec<AtomicU64> = (0..200).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    for (key, given) in (0_u64..).zip(&given) {
                        given.fetch_add(u64::from(limiter.check(&key).is_ok()), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(given.iter().all(|given| given.load(Ordering::Relaxed) <= 50));
    assert!(limiter.len() <= 64);
}
