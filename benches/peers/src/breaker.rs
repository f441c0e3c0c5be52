use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_breaker::{Breaker, BreakerLayer, Config, Window};
use aqueduct_core::{Clock, Timestamp, Verdict};
use failsafe::CircuitBreaker as _;
use tower::{Layer, Service, service_fn};
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer, SlidingWindowType};

use crate::report::{Report, cost};

pub(crate) fn run(report: &mut Report) {
    a_window_that_does_not_slide(report);
    a_window_that_scans_its_calls(report);
    probes_without_a_bound(report);
    costs(report);
}

const HOUR: Duration = Duration::from_secs(3600);

fn ours(window: Window) -> Breaker {
    let config = Config::builder().window(window).minimum_calls(100);
    Breaker::new(config.build().expect("it is within the ranges"), Clock::system())
}

fn succeed(breaker: &Breaker) -> bool {
    breaker.try_acquire().map(|permit| permit.finish(Verdict::Success)).is_ok()
}

fn fail(breaker: &Breaker) -> bool {
    breaker.try_acquire().map(|permit| permit.finish(Verdict::FAILURE)).is_ok()
}

#[inline(never)]
fn asks(breaker: &Breaker) -> bool {
    breaker.try_acquire().is_ok()
}

/// Calls until one is refused.
fn failures_until_open(mut fail: impl FnMut() -> bool) -> u32 {
    let mut failures = 0;
    while fail() {
        failures += 1;
    }
    failures
}

/// Polls once. Every service here is ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

fn is_open<T>(result: &Result<(), CircuitBreakerError<T>>) -> bool {
    matches!(result, Err(CircuitBreakerError::OpenCircuit))
}

type Answer = Ready<Result<(), ()>>;

fn answers(good: bool) -> Answer {
    ready(if good { Ok(()) } else { Err(()) })
}

fn a_window_that_does_not_slide(report: &mut Report) {
    let mut peer = Vec::new();
    let mut other = Vec::new();
    let mut own = Vec::new();
    for successes in [100, 1_000, 10_000] {
        let layer = CircuitBreakerLayer::builder()
            .failure_rate_threshold(0.5)
            .sliding_window_size(100)
            .wait_duration_in_open(HOUR)
            .build()
            .expect("it is a usual configuration");
        let mut service = layer.layer(service_fn(answers));
        for _ in 0..successes {
            let _ = now(service.call(true));
        }
        peer.push(failures_until_open(|| !is_open(&now(service.call(false)))));

        let recloser = recloser::Recloser::custom().error_rate(0.5).closed_len(100).open_wait(HOUR).build();
        for _ in 0..successes {
            let _ = recloser.call(|| Ok::<(), ()>(()));
        }
        let refused = |result| matches!(result, Err(recloser::Error::Rejected));
        other.push(failures_until_open(|| !refused(recloser.call(|| Err::<(), ()>(())))));

        let breaker = ours(Window::Calls(100));
        for _ in 0..successes {
            succeed(&breaker);
        }
        own.push(failures_until_open(|| fail(&breaker)));
    }
    report.defect(
        "D1 failures needed to open a window of 100 at 50 %, after 100, 1,000 and 10,000 successes",
        &format!("tower-resilience {peer:?}; recloser {other:?}"),
        &format!("{own:?}"),
        own == [50, 50, 50],
    );
}

fn a_window_that_scans_its_calls(report: &mut Report) {
    let window = Duration::from_secs(60);
    let mut peer = Vec::new();
    for calls in [1_000, 5_000, 20_000] {
        let layer = CircuitBreakerLayer::builder()
            .sliding_window_type(SlidingWindowType::TimeBased)
            .sliding_window_duration(window)
            .sliding_window_size(100)
            .build()
            .expect("it is a usual configuration");
        let mut service = layer.layer(service_fn(answers));
        for _ in 0..calls {
            let _ = now(service.call(true));
        }
        // Few enough not to change how many there are.
        let start = std::time::Instant::now();
        for _ in 0..100 {
            let _ = now(service.call(true));
        }
        peer.push(format!("{:.0} ns", start.elapsed().as_secs_f64() * 1e9 / 100.0));
    }
    let of = |calls: u32| {
        let breaker = ours(Window::Time { buckets: 60, each: Duration::from_secs(1) });
        for _ in 0..calls {
            succeed(&breaker);
        }
        breaker
    };
    let (few, many) = (of(1_000), of(1_000_000));
    let seen = crate::report::compare(|| succeed(&many), || succeed(&few));
    report.defect(
        "D2 a call in a window of 60 s that holds 1,000, 5,000 and 20,000 calls",
        &format!("tower-resilience {}", peer.join(", ")),
        &format!("{:.2} x from 1,000 to 1,000,000 calls ({:.1} ns)", seen.ratio, seen.ours_ns),
        seen.ratio <= 1.1,
    );
}

fn probes_without_a_bound(report: &mut Report) {
    const CALLS: u32 = 200;
    let wait = Duration::from_millis(1);
    let pass = || std::thread::sleep(wait * 5);

    let backoff = failsafe::backoff::constant(wait);
    let policy = failsafe::failure_policy::consecutive_failures(1, backoff);
    let failsafe = failsafe::Config::new().failure_policy(policy).build();
    let _ = failsafe.call(|| Err::<(), ()>(()));
    pass();
    let by_failsafe = (0..CALLS).filter(|_| failsafe.is_call_permitted()).count();

    let recloser = recloser::Recloser::custom().closed_len(1).half_open_len(5).open_wait(wait).build();
    while !matches!(recloser.call(|| Err::<(), ()>(())), Err(recloser::Error::Rejected)) {}
    pass();
    let recloser = recloser::AsyncRecloser::from(recloser);
    let under_way = AtomicU32::new(0);
    let mut calls: Vec<_> = (0..CALLS)
        .map(|_| {
            Box::pin(recloser.call(async {
                under_way.fetch_add(1, Ordering::Relaxed);
                pending::<Result<(), ()>>().await
            }))
        })
        .collect();
    for call in &mut calls {
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    let by_recloser = under_way.load(Ordering::Relaxed);

    let config = Config::builder().consecutive_failures(1).open_for(wait, 1.0, wait).half_open(5, HOUR);
    let (clock, hand) = Clock::manual(Timestamp(0));
    let breaker = Breaker::new(config.build().expect("it is within the ranges"), clock);
    fail(&breaker);
    hand.advance(wait);
    let permits: Vec<_> = (0..CALLS).filter_map(|_| breaker.try_acquire().ok()).collect();
    report.defect(
        "D3 calls under way at once in half-open, of 200 that ask",
        &format!("failsafe (1 probe) {by_failsafe}; recloser (5 probes) {by_recloser}"),
        &format!("(5 probes) {}", permits.len()),
        permits.len() == 5,
    );
}

fn costs(report: &mut Report) {
    let recloser = recloser::Recloser::custom().error_rate(0.5).closed_len(100).build();
    let breaker = ours(Window::Calls(100));
    report.ratio(
        "a closed call that succeeds, against recloser",
        1.0,
        || succeed(&breaker),
        || recloser.call(|| Ok::<(), ()>(())).is_ok(),
    );
    // Failures now and then, so that the window always holds some.
    let (mut one, mut two) = (0_u32, 0_u32);
    let breaker = ours(Window::Calls(100));
    let recloser = recloser::Recloser::custom().error_rate(0.5).closed_len(100).build();
    report.ratio(
        "the same with 2 % failures",
        1.0,
        || {
            one = one.wrapping_add(1);
            if one % 50 == 0 { fail(&breaker) } else { succeed(&breaker) }
        },
        || {
            two = two.wrapping_add(1);
            recloser.call(|| if two % 50 == 0 { Err(()) } else { Ok(()) }).is_ok()
        },
    );
    let (mut one, mut two) = (0_u32, 0_u32);
    let breaker = ours(Window::Calls(100));
    let recloser = recloser::Recloser::custom().error_rate(0.5).closed_len(100).build();
    let seen = crate::report::compare(
        || {
            one = one.wrapping_add(1);
            if one % 3 == 0 { fail(&breaker) } else { succeed(&breaker) }
        },
        || {
            two = two.wrapping_add(1);
            recloser.call(|| if two % 3 == 0 { Err(()) } else { Ok(()) }).is_ok()
        },
    );
    report.figure(
        "the same with 33 % failures",
        &format!("{:.2} x ({:.1} ns against {:.1} ns)", seen.ratio, seen.ours_ns, seen.peer_ns),
    );

    let policy = failsafe::failure_policy::success_rate_over_time_window(
        0.5,
        100,
        Duration::from_secs(60),
        failsafe::backoff::constant(HOUR),
    );
    let failsafe = failsafe::Config::new().failure_policy(policy).build();
    let breaker = ours(Window::Time { buckets: 60, each: Duration::from_secs(1) });
    report.ratio(
        "a closed call in a window of time, against failsafe",
        1.0,
        || succeed(&breaker),
        || failsafe.call(|| Ok::<(), ()>(())).is_ok(),
    );

    let config = Config::builder().slow_calls(Duration::from_secs(1), 0.5).build();
    let breaker = Breaker::new(config.expect("it is within the ranges"), Clock::system());
    report.cost("a closed call whose time is measured", 60.0, || succeed(&breaker));
    let time = Window::Time { buckets: 60, each: Duration::from_secs(1) };
    let config = Config::builder().window(time).slow_calls(Duration::from_secs(1), 0.5).build();
    let breaker = Breaker::new(config.expect("it is within the ranges"), Clock::system());
    report.figure("the same in a window of time", &format!("{:.1} ns", cost(|| succeed(&breaker))));

    let config = Config::builder().consecutive_failures(1).open_for(HOUR, 1.0, HOUR).build();
    let breaker = Breaker::new(config.expect("it is within the ranges"), Clock::system());
    fail(&breaker);
    // In a function of its own, as a caller would have it: the loop around it is no part of what it costs.
    report.cost("a refused call", 10.0, || asks(&breaker));
    let recloser = recloser::Recloser::custom().closed_len(1).open_wait(HOUR).build();
    while !matches!(recloser.call(|| Err::<(), ()>(())), Err(recloser::Error::Rejected)) {}
    report.ratio(
        "the same, against recloser",
        1.0,
        || asks(&breaker),
        || recloser.call(|| Ok::<(), ()>(())).is_ok(),
    );

    let (small, large) = (ours(Window::Calls(100)), ours(Window::Calls(4_096)));
    for _ in 0..5_000 {
        succeed(&small);
        succeed(&large);
    }
    let seen = crate::report::compare(|| fail_and_succeed(&large), || fail_and_succeed(&small));
    report.figure("a window of 4,096 calls against one of 100", &format!("{:.2} x", seen.ratio));

    through_a_stack(report);
}

/// A failure and what makes up for it, so that neither way around the lock nor the open state is taken.
fn fail_and_succeed(breaker: &Breaker) -> bool {
    fail(breaker) && succeed(breaker) && succeed(breaker)
}

fn through_a_stack(report: &mut Report) {
    let mut bare = service_fn(|good: bool| ready(Ok::<bool, Infallible>(good)));
    let bare_ns = cost(|| {
        let _ = bare.poll_ready(&mut Context::from_waker(Waker::noop()));
        now(bare.call(true)).is_ok()
    });
    let breaker = Arc::new(ours(Window::Calls(100)));
    let mut ours = BreakerLayer::new(breaker).layer(service_fn(answers));
    let layer =
        CircuitBreakerLayer::builder().sliding_window_size(100).build().expect("it is a usual configuration");
    let mut peer = layer.layer(service_fn(answers));
    let mut our_call = || {
        let _ = ours.poll_ready(&mut Context::from_waker(Waker::noop()));
        now(ours.call(true)).is_ok()
    };
    let mut peer_call = || {
        let _ = peer.poll_ready(&mut Context::from_waker(Waker::noop()));
        now(peer.call(true)).is_ok()
    };
    report.ratio(
        "a call through a tower service, against tower-resilience",
        0.5,
        &mut our_call,
        &mut peer_call,
    );
    report.cost("the same, above a bare service", bare_ns + 60.0, our_call);
}
