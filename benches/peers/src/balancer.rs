use std::cell::Cell;
use std::future::{Ready, poll_fn, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_balancer::{Algorithm, Balancer, Config, Endpoint};
use aqueduct_core::{Clock, Instant, ManualClock, Random, Timestamp, Verdict};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use loadwise::Strategy;
use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, Load, PeakEwma};
use tower::util::BoxService;

use crate::report::{Report, compare, cost};

pub(crate) fn run(report: &mut Report) {
    an_endpoint_that_fails_at_once(report);
    weights(report);
    a_pick_that_scans(report);
    slow_endpoints(report);
    costs(report);
}

const MILLISECOND: Duration = Duration::from_millis(1);
/// What tower's own example takes.
const SEED: Duration = Duration::from_millis(30);
const DECAY_NANOS: f64 = 10e9;

type Inner = BoxService<(), usize, tower::BoxError>;

/// In virtual time, on one thread.
fn paused<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("it needs nothing").block_on(work)
}

fn peak_ewma(services: Vec<Inner>) -> Balance<ServiceList<Vec<PeakEwma<Inner>>>, ()> {
    let services = services
        .into_iter()
        .map(|service| PeakEwma::new(service, SEED, DECAY_NANOS, CompleteOnResponse::default()));
    Balance::new(ServiceList::new::<()>(services.collect::<Vec<_>>()))
}

fn ours(endpoints: usize, algorithm: Algorithm, clock: Clock) -> Balancer<usize> {
    let config = Config::builder().algorithm(algorithm).build().expect("it is within the ranges");
    let endpoints = (0..endpoints).map(|index| Endpoint::new(index.to_string(), index));
    Balancer::seeded(endpoints, config, clock, 7).expect("they are endpoints")
}

const LEAST_TIME: Algorithm = Algorithm::LeastResponseTime;

fn an_endpoint_that_fails_at_once(report: &mut Report) {
    const CALLS: usize = 400;
    let took = MILLISECOND * 10;
    let by_tower = paused(async {
        let services = (0..4).map(|index| {
            BoxService::new(tower::service_fn(move |()| async move {
                if index == 0 {
                    return Err("it is broken".into());
                }
                tokio::time::sleep(took).await;
                Ok(index)
            }))
        });
        let mut balance = peak_ewma(services.collect());
        let mut failed = 0;
        for _ in 0..CALLS {
            let _ = poll_fn(|cx| balance.poll_ready(cx)).await;
            failed += usize::from(balance.call(()).await.is_err());
        }
        failed
    });
    let by_ours = |algorithm| {
        let (clock, hand) = Clock::manual(Timestamp(0));
        let balancer = ours(4, algorithm, clock);
        let call = || {
            let lease = balancer.pick().expect("one is always left");
            let bad = *lease.value() == 0;
            if !bad {
                hand.advance(took);
            }
            lease.finish(if bad { Verdict::FAILURE } else { Verdict::Success });
            usize::from(bad)
        };
        // What is not counted.
        for _ in 0..20 {
            call();
        }
        (0..CALLS).map(|_| call()).sum::<usize>()
    };
    let all = [LEAST_TIME, Algorithm::PowerOfTwo, Algorithm::RoundRobin, Algorithm::Random].map(by_ours);
    report.defect(
        "D5 of 400 calls, those that go to the one of four endpoints that fails at once (after the first 20 for ours)",
        &format!("tower p2c with PeakEwma {by_tower}"),
        &format!("{all:?} (least response time, power of two, round robin, random)"),
        all.iter().all(|bad| *bad <= CALLS * 3 / 100),
    );
}

/// A service whose load is its calls under way for its weight, as people write it for weights.
struct Weighted {
    index: usize,
    weight: f64,
}

impl Load for Weighted {
    type Metric = f64;

    fn load(&self) -> f64 {
        1.0 / self.weight
    }
}

impl Service<()> for Weighted {
    type Response = usize;
    type Error = tower::BoxError;
    type Future = Ready<Result<usize, tower::BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), tower::BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(self.index))
    }
}

fn weights(report: &mut Report) {
    const CALLS: usize = 100_000;
    const WEIGHTS: [u32; 3] = [198, 1, 1];
    let services =
        WEIGHTS.iter().enumerate().map(|(index, weight)| Weighted { index, weight: f64::from(*weight) });
    let mut balance = Balance::new(ServiceList::new::<()>(services.collect::<Vec<_>>()));
    let by_tower = (0..CALLS)
        .filter(|_| {
            assert!(balance.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
            now(balance.call(())).is_ok_and(|index| index == 0)
        })
        .count();
    let config = Config::builder().algorithm(Algorithm::PowerOfTwo).build().expect("it is within the ranges");
    let endpoints = WEIGHTS
        .iter()
        .enumerate()
        .map(|(index, weight)| Endpoint::new(index.to_string(), index).with_weight(*weight));
    let balancer = Balancer::new(endpoints, config, Clock::system()).expect("they are endpoints");
    let by_ours = (0..CALLS).filter(|_| balancer.pick().is_ok_and(|lease| *lease.value() == 0)).count();
    let share = |count: usize| count as f64 / CALLS as f64;
    report.defect(
        "tower#696 the share of one endpoint of three whose weight is 0.99",
        &format!("tower p2c {:.3}", share(by_tower)),
        &format!("{:.3} (power of two)", share(by_ours)),
        (share(by_ours) - 0.99).abs() <= 0.01,
    );
}

struct Node(AtomicUsize);

impl loadwise::LoadMetric for Node {
    fn load_score(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }
}

const SIZES: [usize; 3] = [10, 100, 1_000];

fn a_pick_that_scans(report: &mut Report) {
    let peer = SIZES.map(|size| {
        let nodes: Vec<_> = (0..size).map(|_| Node(AtomicUsize::new(0))).collect();
        let (strategy, context) =
            (loadwise::strategy::PowerOfTwoChoices::new(), loadwise::SelectionContext::default());
        cost(|| strategy.select(&nodes, &context))
    });
    let own = SIZES.map(|size| {
        let balancer = ours(size, Algorithm::PowerOfTwo, Clock::system());
        cost(|| balancer.pick().is_ok())
    });
    let in_words = |costs: [f64; 3]| costs.map(|cost| format!("{cost:.0} ns")).join(", ");
    report.defect(
        "D8 a pick by two choices among 10, 100 and 1,000 endpoints",
        &format!("loadwise {}", in_words(peer)),
        &format!("{} with its lease", in_words(own)),
        own[2] <= own[0] * 1.5,
    );
}

/// The longest times of tower's own example, in milliseconds.
const SLOWEST: [u64; 10] = [1, 5, 10, 10, 10, 100, 100, 100, 500, 1_000];
const REQUESTS: usize = 50_000;
const CONCURRENCY: usize = 50;

/// What a run of the example gave, in virtual time.
struct Demo {
    wall: Duration,
    p99: Duration,
    p999: Duration,
}

impl Demo {
    fn of(wall: Duration, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        Self { wall, p99: at(0.99), p999: at(0.999) }
    }
}

impl std::fmt::Display for Demo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wall, p99, p999 } = self;
        write!(
            f,
            "wall {:.1} s, p99 {} ms, p999 {} ms",
            wall.as_secs_f64(),
            p99.as_millis(),
            p999.as_millis()
        )
    }
}

/// How long each answer takes: the same chance for both sides.
fn time_of(index: usize, random: &Cell<u64>) -> Duration {
    let seed = random.get();
    random.set(seed + 1);
    MILLISECOND * u32::try_from(Random::seeded(seed).below(SLOWEST[index])).expect("it is small")
}

fn demo_of_tower(seed: u64) -> Demo {
    paused(async {
        let chance = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(seed));
        let services = (0..SLOWEST.len()).map(|index| {
            let chance = std::sync::Arc::clone(&chance);
            BoxService::new(tower::service_fn(move |()| {
                let cell = Cell::new(chance.fetch_add(1, Ordering::Relaxed));
                let took = time_of(index, &cell);
                async move {
                    tokio::time::sleep(took).await;
                    Ok::<_, tower::BoxError>(index)
                }
            }))
        });
        let mut balance = peak_ewma(services.collect());
        let start = tokio::time::Instant::now();
        let mut under_way = FuturesUnordered::new();
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            if under_way.len() == CONCURRENCY {
                times.extend(under_way.next().await);
            }
            let _ = poll_fn(|cx| balance.poll_ready(cx)).await;
            let (call, begun) = (balance.call(()), tokio::time::Instant::now());
            under_way.push(async move {
                let _ = call.await;
                begun.elapsed()
            });
        }
        times.extend(under_way.collect::<Vec<_>>().await);
        Demo::of(start.elapsed(), times)
    })
}

fn demo_of_ours(seed: u64, algorithm: Algorithm) -> Demo {
    paused(async {
        let (clock, hand) = Clock::manual(Timestamp(0));
        let balancer = ours(SLOWEST.len(), algorithm, clock.clone());
        let start = tokio::time::Instant::now();
        // Our clock follows the runtime's.
        let follow = |hand: &ManualClock| {
            hand.advance(start.elapsed().saturating_sub(clock.now().since(Instant::ZERO)));
        };
        let chance = Cell::new(seed);
        let mut under_way = FuturesUnordered::new();
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            if under_way.len() == CONCURRENCY {
                times.extend(under_way.next().await);
            }
            follow(&hand);
            let lease = balancer.pick().expect("there are ten");
            let (took, begun) = (time_of(*lease.value(), &chance), tokio::time::Instant::now());
            let (hand, follow) = (&hand, &follow);
            under_way.push(async move {
                tokio::time::sleep(took).await;
                follow(hand);
                lease.finish(Verdict::Success);
                begun.elapsed()
            });
        }
        times.extend(under_way.collect::<Vec<_>>().await);
        Demo::of(start.elapsed(), times)
    })
}

/// The middle of several runs, each with its own chance.
fn middle(demo: impl Fn(u64) -> Demo) -> Demo {
    let demos: Vec<_> = (0..5).map(|run| demo(run * 1_000_000)).collect();
    let middle = |figure: fn(&Demo) -> Duration| {
        let mut figures: Vec<_> = demos.iter().map(figure).collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    };
    Demo { wall: middle(|demo| demo.wall), p99: middle(|demo| demo.p99), p999: middle(|demo| demo.p999) }
}

fn slow_endpoints(report: &mut Report) {
    let peer = middle(demo_of_tower);
    let own = middle(|seed| demo_of_ours(seed, LEAST_TIME));
    report.defect(
        "tower#76 50,000 calls, 50 at a time, to ten endpoints that answer within 1 to 1,000 ms (middle of 5 runs)",
        &format!("tower p2c with PeakEwma: {peer}"),
        &format!("{own} (least response time)"),
        own.wall <= peer.wall && own.p999 <= peer.p999,
    );
    for (name, algorithm) in [
        ("adaptive", Algorithm::Adaptive { hot_quantile: 0.84 }),
        ("least connections", Algorithm::LeastConnections { choices: 4 }),
        ("power of two", Algorithm::PowerOfTwo),
        ("round robin", Algorithm::RoundRobin),
    ] {
        report.figure(
            &format!("the same by {name}"),
            &middle(|seed| demo_of_ours(seed, algorithm)).to_string(),
        );
    }
}

/// Polls once. Every service here is ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

fn pick_and_finish(balancer: &Balancer<usize>) -> bool {
    balancer.pick().map(|lease| lease.finish(Verdict::Success)).is_ok()
}

fn costs(report: &mut Report) {
    for size in SIZES {
        let services = (0..size).map(|index| {
            PeakEwma::new(Weighted { index, weight: 1.0 }, SEED, DECAY_NANOS, CompleteOnResponse::default())
        });
        let mut balance = Balance::new(ServiceList::new::<()>(services.collect::<Vec<_>>()));
        let balancer = ours(size, LEAST_TIME, Clock::system());
        report.ratio(
            &format!("a call among {size} endpoints with its time, against tower p2c with PeakEwma"),
            1.0,
            || pick_and_finish(&balancer),
            || {
                let _ = balance.poll_ready(&mut Context::from_waker(Waker::noop()));
                now(balance.call(())).is_ok()
            },
        );
    }
    for (name, algorithm) in [
        ("least response time", LEAST_TIME),
        ("power of two", Algorithm::PowerOfTwo),
        ("round robin", Algorithm::RoundRobin),
        ("weighted round robin", Algorithm::WeightedRoundRobin),
        ("adaptive", Algorithm::Adaptive { hot_quantile: 0.84 }),
        ("maglev, by key", Algorithm::Maglev { table: 65_537 }),
        ("ketama, by key", Algorithm::Ketama),
    ] {
        let (small, large) = (ours(10, algorithm, Clock::system()), ours(1_000, algorithm, Clock::system()));
        // So that each endpoint has an estimate to read.
        let _ = (0..50_000).filter(|_| pick_and_finish(&small) && pick_and_finish(&large)).count();
        let pick = |balancer: &Balancer<usize>| balancer.pick_for(b"a key of 20 letters.").is_ok();
        let seen = compare(|| pick(&large), || pick(&small));
        let figure = format!("{:.1} ns, {:.2} x that among 10", seen.ours_ns, seen.ratio);
        report.figure(&format!("a pick among 1,000 by {name}, and its lease given back"), &figure);
        // Under load it looks at more of them.
        let busy: Vec<_> = (0..5_000).filter_map(|_| large.pick().ok()).collect();
        if algorithm == LEAST_TIME {
            report.figure(
                "the same with five calls under way at each",
                &format!("{:.1} ns", cost(|| pick(&large))),
            );
        }
        drop(busy);
        if matches!(algorithm, Algorithm::LeastResponseTime | Algorithm::PowerOfTwo) {
            report.hold(&format!("a pick by {name} within 80 ns, as fast among 1,000 as among 10"), {
                seen.ours_ns <= 80.0 && seen.ratio <= 1.25
            });
        }
    }
}
