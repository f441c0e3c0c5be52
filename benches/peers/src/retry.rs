use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_core::{Clock, Instant};
use aqueduct_retry::{Advice, Budget, BudgetConfig, CallError, Config, Growth, Hedge, HedgeConfig, Retry};
use aqueduct_retry::{RetryLayer, Schedule};
use backon::{BlockingRetryable, ConstantBuilder, ExponentialBuilder, Retryable};
use tower::retry::Policy;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::{Layer, Service, service_fn};

use crate::report::{Compared, Report, compare};

pub(crate) fn run(report: &mut Report) {
    ratios_that_are_not_kept(report);
    a_storm(report);
    times(report);
}

const WINDOW: Duration = Duration::from_secs(10);

fn budget(ratio: f64) -> Budget {
    let config = BudgetConfig { ratio, per_second: 0.0, window: WINDOW };
    Budget::new(config).expect("it is within the ranges")
}

fn ours() -> Retry {
    Retry::new(Config::default(), Clock::system()).expect("the default is valid")
}

/// Polls once. Everything here is ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

fn ratios_that_are_not_kept(report: &mut Report) {
    let (mut peer, mut own, mut right) = (Vec::new(), Vec::new(), true);
    for tenths in 1..=9_u8 {
        let ratio = f64::from(tenths) / 10.0;
        let theirs = TpsBudget::new(WINDOW, 0, ratio as f32);
        let ours = budget(ratio);
        for _ in 0..1_000 {
            theirs.deposit();
            ours.deposit(Instant::ZERO);
        }
        peer.push((0..2_000).filter(|_| theirs.withdraw()).count());
        let allowed =
            std::iter::from_fn(|| ours.try_withdraw(Instant::ZERO).map(|retry| retry.spend())).count();
        right &= allowed == usize::from(tenths) * 100;
        own.push(allowed);
    }
    report.defect(
        "D4 retries allowed for 1,000 calls at a ratio of 0.1 to 0.9",
        &format!("tower {peer:?}"),
        &format!("{own:?}"),
        right,
    );
}

/// What 10,000 calls come to, of which each fails and may be tried four times.
fn a_storm(report: &mut Report) {
    const CALLS: u32 = 10_000;
    let growth = |attempts: u32| f64::from(attempts) / f64::from(CALLS);
    let mut naive = 0_u32;
    for _ in 0..CALLS {
        let again = ConstantBuilder::default().with_delay(Duration::ZERO).with_max_times(3);
        let call = || {
            naive += 1;
            Err::<(), ()>(())
        };
        let _ = call.retry(again).sleep(|_| ()).call();
    }
    for (ratio, most) in [(0.2, 1.2), (0.6, 1.6)] {
        // A deposit for each call, as in Finagle; where only a success deposits, nothing is ever retried in a storm.
        let theirs = TpsBudget::new(WINDOW, 0, ratio as f32);
        let mut with_theirs = 0;
        for _ in 0..CALLS {
            theirs.deposit();
            with_theirs += 1 + (0..3).take_while(|_| theirs.withdraw()).count() as u32;
        }
        let schedule = Schedule::builder(Growth::Constant { delay: Duration::ZERO }).build();
        let config = Config { schedule: schedule.expect("it is within the ranges"), ..Config::default() };
        let retry = Retry::new(config, Clock::system()).expect("it is within the ranges");
        let retry = retry.with_budget(Arc::new(budget(ratio)));
        let mut with_ours = 0;
        for _ in 0..CALLS {
            let _ = retry.call_blocking(
                |_| Advice::AGAIN,
                |_| (),
                |_| {
                    with_ours += 1;
                    Err::<(), ()>(())
                },
            );
        }
        report.defect(
            &format!("calls for each call when everything fails, with three retries and a budget of {ratio}"),
            &format!("backon, which has none, {:.3}; tower {:.3}", growth(naive), growth(with_theirs)),
            &format!("{:.3}", growth(with_ours)),
            growth(with_ours) <= most && growth(with_ours) >= most - 0.001,
        );
    }
}

/// What is called, and each way of calling it, stands in a function of its own, as a caller would have it: a call that
/// the compiler sees through leaves nothing to repeat, and it takes the loop away.
#[inline(never)]
fn answer() -> Result<u64, Infallible> {
    Ok(black_box(1))
}

#[inline(never)]
fn ours_blocking(retry: &Retry) -> bool {
    retry.call_blocking(|_| Advice::Stop, |_| (), |_| answer()).is_ok()
}

#[inline(never)]
fn theirs_blocking() -> bool {
    answer.retry(ExponentialBuilder::default()).call().is_ok()
}

#[inline(never)]
fn ours_async(retry: &Retry) -> bool {
    now(retry.call_with(|_| Advice::Stop, async |_| answer())).is_ok()
}

#[inline(never)]
fn theirs_async() -> bool {
    now((|| ready(answer())).retry(ExponentialBuilder::default())).is_ok()
}

fn times(report: &mut Report) {
    let retry = ours();
    // backon reads no clock, and where the compiler sees through it, nothing but the call is left. Ours reads the tick of
    // the timer, 2 ns, since its retries end in time. So these are shown and not held.
    let seen = compare(|| ours_blocking(&retry), theirs_blocking);
    let text = |seen: Compared| {
        format!("{:.2} x ({:.1} ns against {:.1} ns)", seen.ratio, seen.ours_ns, seen.peer_ns)
    };
    report.figure("a call that succeeds, without a runtime, against backon", &text(seen));
    let seen = compare(|| ours_async(&retry), theirs_async);
    report.figure("an async call that succeeds, against backon", &text(seen));

    let (ours_shared, theirs) = (budget(0.2), TpsBudget::new(WINDOW, 0, 0.2));
    let clock = Clock::system();
    report.ratio(
        "a deposit with its time, against tower's budget",
        1.0,
        || ours_shared.deposit(clock.coarse()),
        || theirs.deposit(),
    );
    let with_budget = ours().with_budget(Arc::new(budget(0.2)));
    report.figure(
        "an async call that succeeds, with a budget",
        &format!(
            "{:.1} ns",
            crate::report::cost(|| now(
                with_budget.call_with(|_| Advice::Stop, async |_| Ok::<u64, Infallible>(1))
            ))
        ),
    );
    let hedge = Hedge::new(HedgeConfig::default(), Clock::system()).expect("the default is valid");
    report.figure(
        "the same, its time measured for a hedge that is not needed yet",
        &format!(
            "{:.1} ns",
            crate::report::cost(
                || now(hedge.call_with(|_| Advice::Stop, async |_| Ok::<u64, Infallible>(1)))
            )
        ),
    );
    through_a_stack(report);
}

/// The recipe of tower's documentation.
#[derive(Clone)]
struct Recipe(Arc<TpsBudget>);

impl Policy<u64, u64, Infallible> for Recipe {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, Infallible>) -> Option<Self::Future> {
        if result.is_ok() {
            self.0.deposit();
            return None;
        }
        self.0.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

fn through_a_stack(report: &mut Report) {
    let service = || service_fn(|number: u64| ready(Ok::<u64, Infallible>(number)));
    let stop = |_: &Result<u64, Infallible>| Advice::Stop;
    let retry = Arc::new(ours().with_budget(Arc::new(budget(0.2))));
    let mut ours = RetryLayer::new(retry).with_adviser(stop).layer(service());
    let policy = Recipe(Arc::new(TpsBudget::new(WINDOW, 0, 0.2)));
    let mut theirs = tower::retry::RetryLayer::new(policy).layer(service());
    report.ratio(
        "a call through a tower service with a budget, against tower's",
        1.25,
        || -> Result<u64, CallError<Infallible>> {
            let _ = ours.poll_ready(&mut Context::from_waker(Waker::noop()));
            now(ours.call(1))
        },
        || {
            let _ = Service::<u64>::poll_ready(&mut theirs, &mut Context::from_waker(Waker::noop()));
            now(theirs.call(1))
        },
    );
}
