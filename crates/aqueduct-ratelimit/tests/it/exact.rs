//! Never above the quota, and waits that are exact.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_core::{Clock, Instant, Random, Timestamp};
use aqueduct_ratelimit::{Algorithm, Config, Limit, Quota, RateLimiter};
use proptest::prelude::*;

fn at(nanos: u64) -> Instant {
    Instant::ZERO.after(Duration::from_nanos(nanos))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("584 years fit")
}

/// From one a day with a large burst to one a nanosecond.
fn quotas() -> impl Strategy<Value = Quota> {
    let per = prop_oneof![
        Just(Duration::from_micros(1)),
        (1_u64..10_000).prop_map(Duration::from_millis),
        Just(Duration::from_hours(24)),
        Just(Duration::from_hours(24 * 366)),
    ];
    (1_u64..2_000, per, 1_u64..60).prop_filter_map("the arithmetic holds it", |(tokens, per, burst)| {
        Quota::new(tokens, per).and_then(|quota| quota.with_burst(burst)).ok()
    })
}

/// How many tokens a bucket may have given in so many nanoseconds, at the rate that was written and not a rounded one.
fn most(quota: &Quota, nanos: u64) -> u128 {
    let per = quota.per().as_nanos();
    u128::from(quota.burst()) + u128::from(nanos) * u128::from(quota.tokens()) / per
}

proptest! {
    #[test]
    fn a_bucket_never_gives_more_than_its_quota_whatever_the_clock_does(
        quota in quotas(),
        steps in prop::collection::vec((0_u64..4, 0_u64..3_000, 1_u64..5), 1..300),
    ) {
        let mut limit = Limit::new(quota, Algorithm::TokenBucket).unwrap();
        let token = nanos(quota.per()) / quota.tokens() + 1;
        let (mut now, mut latest) = (0_u64, 0_u64);
        let mut given: Vec<(u64, u64)> = Vec::new();
        for (kind, part, tokens) in steps {
            // Mostly about a token's time forward, sometimes a long pause, sometimes back.
            now = match kind {
                0 => now.saturating_sub(token.saturating_mul(part) / 1_000),
                1 => now.saturating_add(token.saturating_mul(part)),
                _ => now.saturating_add(token.saturating_mul(part) / 1_000),
            };
            latest = latest.max(now);
            if limit.check(at(now), tokens).is_ok() {
                given.push((latest, tokens));
            }
        }
        // Every span of time between two uses holds no more than the quota allows in it.
        for from in 0..given.len() {
            let mut sum = 0_u128;
            for &(until, tokens) in &given[from..] {
                sum += u128::from(tokens);
                prop_assert!(sum <= most(&quota, until - given[from].0), "{sum} in {} ns", until - given[from].0);
            }
        }
    }

    #[test]
    fn what_is_denied_is_given_at_the_nanosecond_that_was_told_and_not_before(
        quota in quotas(),
        algorithm in prop_oneof![
            Just(Algorithm::TokenBucket), Just(Algorithm::LeakyBucket), Just(Algorithm::SlidingLog), Just(Algorithm::SlidingCounter),
        ],
        steps in prop::collection::vec((0_u64..2_000, 1_u64..8), 1..120),
    ) {
        let mut limit = Limit::new(quota, algorithm).unwrap();
        let token = nanos(quota.per()) / quota.tokens() + 1;
        let mut now = 0_u64;
        for (part, tokens) in steps {
            now = now.saturating_add(token.saturating_mul(part) / 1_000);
            let Err(denied) = limit.check(at(now), tokens) else { continue };
            let Some(wait) = denied.retry_after else { continue };
            let then = now.saturating_add(nanos(wait));
            prop_assert!(wait > Duration::ZERO);
            prop_assert!(limit.clone().check(at(then - 1), tokens).is_err(), "a nanosecond early");
            prop_assert!(limit.clone().check(at(then), tokens).is_ok(), "at the time that was told");
        }
    }

    #[test]
    fn a_reservation_is_due_exactly_when_a_wait_would_end(
        quota in quotas(),
        asked in prop::collection::vec(1_u64..6, 1..60),
        log in any::<bool>(),
    ) {
        let algorithm = if log { Algorithm::SlidingLog } else { Algorithm::TokenBucket };
        let mut reserving = Limit::new(quota, algorithm).unwrap();
        let mut waiting = Limit::new(quota, algorithm).unwrap();
        let mut now = 0_u64;
        for tokens in asked {
            let Ok(promised) = reserving.reserve(at(0), tokens, Duration::MAX) else { continue };
            // One after the other, each waiting as long as it is told.
            while let Err(denied) = waiting.check(at(now), tokens) {
                now += nanos(denied.retry_after.unwrap());
            }
            prop_assert_eq!(promised.wait, Duration::from_nanos(now));
        }
    }

    #[test]
    fn a_refund_undoes_a_use(quota in quotas(), before in 0_u64..20, tokens in 1_u64..20) {
        for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingLog, Algorithm::SlidingCounter] {
            let mut limit = Limit::new(quota, algorithm).unwrap();
            let _ = limit.check(at(0), before);
            let left = limit.peek(at(0), 0).unwrap();
            if limit.check(at(0), tokens).is_ok() {
                limit.refund(at(0), tokens);
                prop_assert_eq!(limit.peek(at(0), 0).unwrap().remaining(), left.remaining());
            }
        }
    }
}

#[test]
fn eight_threads_never_get_more_than_the_quota() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingLog, Algorithm::SlidingCounter] {
        for seed in 0..20 {
            let (clock, hand) = Clock::manual(Timestamp(0));
            let quota =
                Quota::per_second(1_000).and_then(|quota| quota.with_burst(50)).expect("a test's own");
            let watch = clock.clone();
            let limiter =
                RateLimiter::new(Config::new(quota).with_algorithm(algorithm), clock).expect("a test's own");
            let given = AtomicU64::new(0);
            std::thread::scope(|scope| {
                for thread in 0..8 {
                    let (limiter, hand, given) = (&limiter, &hand, &given);
                    scope.spawn(move || {
                        let mut random = Random::seeded(seed * 8 + thread);
                        for _ in 0..500 {
                            let tokens = 1 + random.below(3);
                            if limiter.check_n(tokens).is_ok() {
                                given.fetch_add(tokens, Ordering::Relaxed);
                            }
                            if random.below(20) == 0 {
                                hand.advance(Duration::from_micros(random.below(800)));
                            }
                        }
                    });
                }
            });
            // As much time has passed as the clock says now, and the burst of a window is the whole quota.
            let burst = if algorithm == Algorithm::TokenBucket { 50 } else { 1_000 };
            let elapsed = watch.now().elapsed_since_start();
            let most = burst + u64::try_from(elapsed.as_micros() / 1_000).expect("it is short");
            let given = given.into_inner();
            assert!(given <= most, "{algorithm:?}: {given} of {most} after {elapsed:?}");
            if algorithm == Algorithm::TokenBucket {
                assert!(given + 3 > most.min(8 * 500), "{given} of {most}: what was there was given");
            }
        }
    }
}
