//! The sliding windows against naive models.

use std::time::Duration;

use aqueduct_core::Instant;
use aqueduct_ratelimit::{Algorithm, Limit, Quota};
use proptest::prelude::*;

fn at(millis: u64) -> Instant {
    Instant::ZERO.after(Duration::from_millis(millis))
}

fn limit(tokens: u64, millis: u64, algorithm: Algorithm) -> Limit {
    let quota = Quota::new(tokens, Duration::from_millis(millis)).expect("a test's own");
    Limit::new(quota, algorithm).expect("a test's own")
}

proptest! {
    #[test]
    fn a_log_is_every_use_of_the_last_so_much_time(
        most in 1_u64..12,
        steps in prop::collection::vec((0_u64..60, 1_u64..5), 1..200),
    ) {
        let mut limit = limit(most, 100, Algorithm::SlidingLog);
        let mut uses: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        for (step, tokens) in steps {
            now += step;
            let held: u64 = uses.iter().filter(|(used, _)| used + 100 > now).map(|(_, tokens)| tokens).sum();
            let given = limit.check(at(now), tokens);
            prop_assert_eq!(given.is_ok(), held + tokens <= most);
            if let Ok(given) = given {
                uses.push((now, tokens));
                prop_assert_eq!(given.remaining(), most - held - tokens);
            }
        }
    }

    #[test]
    fn a_counter_is_this_window_and_a_part_of_the_one_before(
        most in 1_u64..40,
        steps in prop::collection::vec((0_u64..60, 1_u64..5), 1..200),
    ) {
        let mut limit = limit(most, 100, Algorithm::SlidingCounter);
        let mut uses: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        for (step, tokens) in steps {
            now += step;
            let in_window = |window: u64| -> u64 {
                uses.iter().filter(|(used, _)| used / 100 == window).map(|(_, tokens)| tokens).sum()
            };
            let before = if now >= 100 { in_window(now / 100 - 1) } else { 0 };
            // Times a hundred, so that nothing is rounded.
            let held = before * (100 - now % 100) + in_window(now / 100) * 100;
            let given = limit.check(at(now), tokens);
            prop_assert_eq!(given.is_ok(), held + tokens * 100 <= most * 100);
            if given.is_ok() {
                uses.push((now, tokens));
            }
        }
    }
}

#[test]
fn a_fixed_window_would_give_twice_at_its_edge_and_these_do_not() {
    for algorithm in [Algorithm::SlidingLog, Algorithm::SlidingCounter] {
        let mut limit = limit(10, 1_000, algorithm);
        let around_the_edge = (0..10).map(|_| 999).chain((0..10).map(|_| 1_001));
        let given = around_the_edge.filter(|millis| limit.check(at(*millis), 1).is_ok()).count();
        assert!(given <= 10, "{algorithm:?} gave {given} in 2 ms");
    }
}

#[test]
fn a_drained_window_gives_nothing_until_then() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingLog, Algorithm::SlidingCounter] {
        let mut limit = limit(10, 1_000, algorithm);
        limit.drain(at(0), Duration::from_secs(30));
        // A shorter one does not end it.
        limit.drain(at(0), Duration::from_secs(1));
        assert_eq!(
            limit.check(at(1_000), 1).expect_err("it is drained").retry_after,
            Some(Duration::from_secs(29))
        );
        assert!(limit.check(at(29_999), 1).is_err());
        assert!(limit.check(at(30_000), 1).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn a_new_quota_keeps_what_was_used() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingLog, Algorithm::SlidingCounter] {
        let mut limit = limit(10, 1_000, algorithm);
        limit.check(at(0), 6).expect("there are ten");
        limit.set_quota(at(0), Quota::per_second(20).expect("a test's own")).expect("it goes with each");
        assert_eq!(limit.peek(at(0), 0).expect("a look").remaining(), 14, "{algorithm:?}");
        limit.set_quota(at(0), Quota::per_second(8).expect("a test's own")).expect("it goes with each");
        assert_eq!(limit.peek(at(0), 0).expect("a look").remaining(), 2, "{algorithm:?}");
        limit.reset();
        assert_eq!(limit.peek(at(0), 0).expect("a look").remaining(), 8, "{algorithm:?}");
    }
}
