//! Question: what does a retry add to a call, first when nothing fails and then when something does?
//!
//! Workload: one thread makes a call that is ready at once. It succeeds; it succeeds with a budget, with a time limit,
//! with its latency measured for a hedge; it fails once and is tried again without a wait. A budget is asked for one
//! retry, alone and by both cores.
//!
//! A good answer: a call that succeeds costs less than one read of the clock and a budget some nanoseconds more, so
//! that nobody has a reason to leave them out; a failure may cost more, since a wait follows it. The comparison with
//! others is in benches/peers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Clock, Instant};
use aqueduct_retry::{Advice, Budget, BudgetConfig, Config, Growth, Hedge, HedgeConfig, Retry, Schedule};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ASKED: u64 = 100_000;

fn retry(config: Config) -> Retry {
    Retry::new(config, Clock::system()).expect("the bench's own configuration")
}

fn calls(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut group = criterion.benchmark_group("retry");
    let stop = |_: &Result<u64, Infallible>| Advice::Stop;
    let plain = retry(Config::default());
    group.bench_function("succeeds, blocking", |b| {
        b.iter(|| plain.call_blocking(stop, |_| (), |attempt| Ok(u64::from(attempt))));
    });
    let mut measure = |name: &str, retry: &Retry| {
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                runtime.block_on(async {
                    let clock = Clock::system();
                    for _ in 0..rounds {
                        let _ = std::hint::black_box(
                            retry.call_with(stop, async |attempt| Ok(attempt.into())).await,
                        );
                    }
                    clock.now().elapsed_since_start()
                })
            });
        });
    };
    measure("succeeds", &plain);
    measure("succeeds, with a budget", &retry(Config::default()).with_budget(Arc::default()));
    let bounded = Config { time_max: Some(Duration::from_secs(1)), ..Config::default() };
    measure("succeeds, within a time", &retry(bounded));

    let hedge = Hedge::new(HedgeConfig::default(), Clock::system()).expect("the default is valid");
    group.bench_function("succeeds, measured for a hedge", |b| {
        b.iter_custom(|rounds| {
            runtime.block_on(async {
                let clock = Clock::system();
                for _ in 0..rounds {
                    let _ =
                        std::hint::black_box(hedge.call_with(stop, async |attempt| Ok(attempt.into())).await);
                }
                clock.now().elapsed_since_start()
            })
        });
    });

    let schedule = Schedule::builder(Growth::Constant { delay: Duration::ZERO }).build();
    let at_once = retry(Config { schedule: schedule.expect("it is in the ranges"), ..Config::default() });
    group.bench_function("fails once, blocking", |b| {
        b.iter(|| {
            at_once.call_blocking(
                |result| if result.is_ok() { Advice::Stop } else { Advice::AGAIN },
                |_| (),
                |attempt| if attempt == 1 { Err(()) } else { Ok(()) },
            )
        });
    });
    group.finish();
}

fn budgets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("budget");
    group.throughput(Throughput::Elements(ASKED));
    let config = BudgetConfig { ratio: 0.2, per_second: 0.0, ..BudgetConfig::default() };
    let budget = Budget::new(config).expect("it is in the ranges");
    let ask = || {
        budget.deposit(Instant::ZERO);
        budget.try_withdraw(Instant::ZERO).is_some_and(|retry| {
            retry.spend();
            true
        })
    };
    group.bench_function("a call and a retry, one thread", |b| {
        b.iter(|| (0..ASKED).filter(|_| ask()).count());
    });
    group.bench_function("a call and a retry, two threads", |b| {
        b.iter(|| {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (0..ASKED / 2).filter(|_| ask()).count());
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, calls, budgets);
criterion_main!(benches);
