//! Question: what does the policy block add to a call, layer by layer and all together?
//!
//! Workload: one thread calls a service that answers at once, through no layer, through each layer alone, and through all
//! but cache and hedge; then the same with a service that is pending once, so that the timers of deadline and time-out are
//! really set. Nothing is contended and nothing is refused: keys are one of 1,000, quotas and limits are wide.
//!
//! A good answer: all layers together cost less than two microseconds of CPU a call, and no layer most of it.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_policy::{
    AimdConfig, Backend, Builder, Call, Concurrency, Endpoint, GradientConfig, Policy, Scope,
};
use aqueduct_ratelimit::Quota;
use criterion::{Criterion, criterion_group, criterion_main};
use tower_service::Service;

const MINUTE: Duration = Duration::from_mins(1);

/// Answers with the request, after so many polls that are pending.
#[derive(Clone)]
struct Echo {
    pending: u32,
}

struct Answer {
    request: u64,
    pending: u32,
}

/// Never made.
#[derive(Clone, Copy, Debug)]
struct Never;

impl Classified for Never {
    fn class(&self) -> ErrorClass {
        ErrorClass::Internal
    }
}

impl Service<u64> for Echo {
    type Response = u64;
    type Error = Never;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Answer {
        Answer { request, pending: self.pending }
    }
}

impl Future for Answer {
    type Output = Result<u64, Never>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if self.pending > 0 {
            self.pending -= 1;
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.request))
    }
}

/// Polls until it is ready. Whoever is pending here is so by count.
fn drive<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// So much that nobody waits.
fn plenty() -> Quota {
    let quota = Quota::per_second(1_000_000_000).and_then(|quota| quota.with_burst(1 << 40));
    quota.expect("it is within the ranges")
}

fn all(builder: Builder) -> Builder {
    builder
        .deadline(MINUTE)
        .concurrency(Concurrency::aimd(AimdConfig::default()))
        .retry(aqueduct_retry::Config::default())
        .breaker(aqueduct_breaker::Config::default())
        .rate_limit(plenty(), Scope::Shared)
        .rate_limit(plenty(), Scope::PerKey)
        .balancer(aqueduct_balancer::Config::default())
        .attempt_timeout(MINUTE)
}

fn one(builder: Builder, pending: u32) -> Backend<Echo, u64> {
    let policy = builder.build().expect("the bench's own configuration");
    policy.over_one(Echo { pending }).expect("one endpoint")
}

fn three(builder: Builder, pending: u32) -> Backend<Echo, u64> {
    let policy = builder.build().expect("the bench's own configuration");
    let endpoints = ["a", "b", "c"].map(|name| Endpoint::new(name, Echo { pending }));
    policy.over(endpoints).expect("three names")
}

fn block(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    // The timers of a service that is pending want a driver, and nobody waits for them.
    let _entered = runtime.enter();
    let keys: Vec<&'static str> =
        (0..1_000).map(|number| &*format!("host-{number}.example.org").leak()).collect();
    let mut group = criterion.benchmark_group("policy_block");
    group.sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    for pending in [0, 1] {
        let how = if pending == 0 { "at once" } else { "pending once" };
        group.bench_function(format!("bare call, {how}"), |b| {
            let mut service = Echo { pending };
            b.iter(|| drive(service.call(black_box(7))).is_ok());
        });
        let layers = [
            ("no layer", one(Policy::builder(), pending)),
            ("deadline", one(Policy::builder().deadline(MINUTE), pending)),
            ("concurrency, fixed", one(Policy::builder().concurrency(Concurrency::fixed(100)), pending)),
            (
                "concurrency, aimd",
                one(Policy::builder().concurrency(Concurrency::aimd(AimdConfig::default())), pending),
            ),
            (
                "concurrency, gradient",
                one(Policy::builder().concurrency(Concurrency::gradient(GradientConfig::default())), pending),
            ),
            ("retry", one(Policy::builder().retry(aqueduct_retry::Config::default()), pending)),
            ("breaker", one(Policy::builder().breaker(aqueduct_breaker::Config::default()), pending)),
            ("rate limit, shared", one(Policy::builder().rate_limit(plenty(), Scope::Shared), pending)),
            ("rate limit, per key", one(Policy::builder().rate_limit(plenty(), Scope::PerKey), pending)),
            ("balancer, three", three(Policy::builder(), pending)),
            ("attempt timeout", one(Policy::builder().attempt_timeout(MINUTE), pending)),
            ("all together, three", three(all(Policy::builder()), pending)),
        ];
        for (name, backend) in layers {
            let mut number = 0;
            group.bench_function(format!("{name}, {how}"), |b| {
                b.iter(|| {
                    number = (number + 1) % keys.len();
                    let key = keys.get(number).copied().unwrap_or_default();
                    drive(backend.call(Call::new(black_box(7)).key(key).tenant("t"))).is_ok()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, block);
criterion_main!(benches);
