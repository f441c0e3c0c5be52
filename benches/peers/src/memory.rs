use std::future::ready;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_breaker::{Breaker, Config, Window};
use aqueduct_core::{Clock, Verdict};
use aqueduct_ratelimit::{KeyedRateLimiter, Quota, RateLimiter};
use aqueduct_retry::{Advice, Retry};
use stats_alloc::{Region, Stats};

use crate::ALLOCATOR;
use crate::report::Report;

pub(crate) fn run(report: &mut Report) {
    hot_paths(report);
    breakers(report);
}

/// Each is asked once before, so that what is made with the first question does not count.
const CALLS: u64 = 10_000;

fn counted(mut work: impl FnMut()) -> Stats {
    work();
    let region = Region::new(ALLOCATOR);
    for _ in 0..CALLS {
        work();
    }
    region.change()
}

fn hot_paths(report: &mut Report) {
    let clock = Clock::system();
    let quota = Quota::per_minute(1_000).expect("it is within the ranges");
    let limiter = RateLimiter::token_bucket(quota, clock.clone());
    let keyed = KeyedRateLimiter::new(quota, NonZeroUsize::MIN, clock.clone());
    let breaker = Breaker::new(Config::default(), clock.clone());
    let hour = Duration::from_secs(3_600);
    let config = Config::builder().consecutive_failures(1).open_for(hour, 1.0, hour).build();
    let open = Breaker::new(config.expect("it is within the ranges"), clock);
    let retry = Retry::default();
    let judge = |_: &Result<u32, ()>| Advice::Stop;
    let call =
        |breaker: &Breaker, verdict| breaker.try_acquire().map(|permit| permit.finish(verdict)).is_ok();
    let mut number = 0_u32;
    let seen = [
        (
            "limiter, allowed and denied",
            counted(|| {
                let _ = limiter.check();
            }),
        ),
        (
            "keyed limiter, allowed and denied",
            counted(|| {
                let _ = keyed.check(&7_u64);
            }),
        ),
        (
            "breaker, with failures",
            counted(|| {
                number += 1;
                call(&breaker, if number.is_multiple_of(3) { Verdict::FAILURE } else { Verdict::Success });
            }),
        ),
        (
            "breaker, open",
            counted(|| {
                let _ = call(&open, Verdict::FAILURE);
            }),
        ),
        (
            "retry, a call that succeeds",
            counted(|| {
                let mut call = pin!(retry.call_with(judge, async |attempt| ready(Ok(attempt)).await));
                let Poll::Ready(_) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                    unreachable!("nothing here waits")
                };
            }),
        ),
    ];
    for (name, stats) in seen {
        report.figure(name, &format!("{} allocations in {CALLS} calls", stats.allocations));
        report.hold(&format!("{name} allocates"), stats.allocations == 0);
    }
}

fn breakers(report: &mut Report) {
    for (name, window) in [
        ("a breaker over 1,000 calls", Window::Calls(1_000)),
        ("a breaker over 60 buckets", Window::Time { buckets: 60, each: Duration::from_secs(1) }),
    ] {
        let config = Config::builder().window(window).build().expect("it is within the ranges");
        let clock = Clock::system();
        let region = Region::new(ALLOCATOR);
        let breaker = Box::new(Breaker::new(config, clock));
        let bytes = region.change().bytes_allocated;
        drop(breaker);
        report.figure(name, &format!("{bytes} bytes, at most 2,048"));
        report.hold(&format!("{name} is too large"), bytes <= 2_048);
    }
}
