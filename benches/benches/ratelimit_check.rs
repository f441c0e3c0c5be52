//! Question: what does asking a limiter cost, and what do keys, threads and algorithms add?
//!
//! Workload: one limiter that always gives and one that never does, with the time read and with the time given; each
//! algorithm with the time given; one of 10,000 keys in an order that is none, by one thread and by two; and newcomers that
//! push others out, with debts left behind.
//!
//! A good answer: with the time given, a bucket costs a few nanoseconds more than the exchange of its one word; reading the
//! clock is the larger part of the rest. A key adds a hash, a lock and a look; two threads are not slower by the key.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Duration;

use aqueduct_core::{Clock, Instant};
use aqueduct_ratelimit::{Algorithm, KeyedRateLimiter, Limit, Quota, RateLimiter};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const KEYS: usize = 10_000;
const HOUR: Duration = Duration::from_hours(1);

fn plenty() -> Quota {
    let quota = Quota::per_second(1_000_000_000).and_then(|quota| quota.with_burst(1 << 40));
    quota.expect("it is within the ranges")
}

fn little() -> Quota {
    Quota::new(1, HOUR).expect("it is within the ranges")
}

fn keyed(quota: Quota, capacity: usize) -> KeyedRateLimiter<u64> {
    KeyedRateLimiter::new(quota, NonZeroUsize::new(capacity).expect("it is not zero"), Clock::system())
}

fn direct(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one limiter");
    let now = Instant::default().after(HOUR);
    for (name, quota) in [("allowed", plenty()), ("denied", little())] {
        let limiter = RateLimiter::token_bucket(quota, Clock::system());
        let _ = limiter.check();
        group.bench_function(format!("{name}, the time read"), |b| b.iter(|| limiter.check().is_ok()));
        let limiter = RateLimiter::token_bucket(quota, Clock::system());
        let _ = limiter.check_at(now, 1);
        group.bench_function(format!("{name}, the time given"), |b| {
            b.iter(|| limiter.check_at(black_box(now), 1).is_ok());
        });
    }
    let quota = Quota::per_second(1_000).expect("it is within the ranges");
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingLog, Algorithm::SlidingCounter] {
        let mut limit = Limit::new(quota, algorithm).expect("a log of 1,000 is small");
        let mut now = Instant::default();
        group.bench_function(format!("{algorithm:?} at its rate"), |b| {
            b.iter(|| {
                now = now.after(Duration::from_millis(1));
                limit.check(now, 1).is_ok()
            });
        });
    }
}

fn by_key(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10,000 keys");
    let mut random = fastrand::Rng::with_seed(5);
    let order: Vec<u64> = (0..KEYS * 10).map(|_| random.u64(0..KEYS as u64)).collect();
    group.throughput(Throughput::Elements(order.len() as u64));
    for (name, quota) in [("allowed", plenty()), ("denied", little())] {
        let limiter = keyed(quota, KEYS * 2);
        let ask = |keys: &[u64]| keys.iter().filter(|key| limiter.check(*key).is_ok()).count();
        ask(&order);
        group.bench_function(format!("{name}, one thread"), |b| b.iter(|| ask(&order)));
        group.bench_function(format!("{name}, two threads"), |b| {
            b.iter(|| {
                std::thread::scope(|scope| {
                    let (left, right) = order.split_at(order.len() / 2);
                    [left, right].map(|half| scope.spawn(|| ask(half))).map(|half| half.join().ok())
                })
            });
        });
    }
    let limiter = keyed(little(), KEYS);
    let mut newcomer = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("a newcomer where there is no room", |b| {
        b.iter(|| {
            newcomer += 1;
            limiter.check(&newcomer).is_ok()
        });
    });
}

criterion_group!(benches, direct, by_key);
criterion_main!(benches);
