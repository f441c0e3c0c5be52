//! Question: what does a circuit breaker add to a call, and does it grow with what the window holds?
//!
//! Workload: one thread asks for a permit and ends it. Closed and healthy; closed with a failure in every fifty calls;
//! closed with the time of calls measured; open; and a window of a minute that holds 1,000 to 1,000,000 calls.
//!
//! A good answer: a healthy call costs a few nanoseconds and a refusal at most 10, measuring the time costs two reads of
//! the clock, and a full window costs no more than an empty one. The comparison with others is in benches/peers.

use std::time::Duration;

use aqueduct_breaker::{Breaker, Builder, Config, Window};
use aqueduct_core::{Clock, Verdict};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn breaker(builder: Builder) -> Breaker {
    Breaker::new(builder.build().expect("the bench's own configuration"), Clock::system())
}

fn call(breaker: &Breaker, verdict: Verdict) -> bool {
    breaker.try_acquire().map(|permit| permit.finish(verdict)).is_ok()
}

fn one_call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker");
    let healthy = breaker(Config::builder());
    group.bench_function("closed, healthy", |b| b.iter(|| call(&healthy, Verdict::Success)));
    let shaken = breaker(Config::builder());
    let mut number = 0_u32;
    group.bench_function("closed, 2 % failures", |b| {
        b.iter(|| {
            number = number.wrapping_add(1);
            call(&shaken, if number.is_multiple_of(50) { Verdict::FAILURE } else { Verdict::Success })
        });
    });
    let timed = breaker(Config::builder().slow_calls(Duration::from_secs(1), 0.5));
    group.bench_function("closed, timed", |b| b.iter(|| call(&timed, Verdict::Success)));
    let hour = Duration::from_hours(1);
    let open = breaker(Config::builder().consecutive_failures(1).open_for(hour, 1.0, hour));
    call(&open, Verdict::FAILURE);
    group.bench_function("open", |b| b.iter(|| call(&open, Verdict::Success)));
    group.finish();
}

fn full_windows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker, calls in the window");
    let minute = Window::Time { buckets: 60, each: Duration::from_secs(1) };
    for held in [1_000, 10_000, 100_000, 1_000_000] {
        let breaker = breaker(Config::builder().window(minute));
        for _ in 0..held {
            call(&breaker, Verdict::Success);
        }
        group.bench_function(BenchmarkId::from_parameter(held), |b| {
            b.iter(|| call(&breaker, Verdict::Success))
        });
    }
    group.finish();
}

criterion_group!(benches, one_call, full_windows);
criterion_main!(benches);
