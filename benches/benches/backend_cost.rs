//! Question: what does the whole block cost beside a bare call, in time, processor and memory?
//!
//! Workload: the block has all its layers but the cache and the hedge: deadline, concurrency, retry with its budget, circuit,
//! a quota for all and one for each key, three endpoints with a circuit each, time-out, metrics. Its quotas are out of reach,
//! so that it is measured and not the wait.
//!
//! * Processor: a service that answers at once and without a socket, 200,000 calls bare and through the block in turn,
//!   and the time of the processor that the process used.
//! * Time: a backend in another process that answers after 1 ms, 500 calls at a time one after another: reqwest bare, the same
//!   again (the control), our client, and our client behind the block, in turn, 20 rounds.
//! * Memory: 10,000 calls in flight at a backend in another process that answers after 20 s: of reqwest bare, of our client,
//!   of our client behind the block, and of a pipeline; and that pipeline with 100.
//!
//! A good answer: below 2 us of processor a call; at most 5 % more time than bare; under 300 MiB.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::process::{Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use aqueduct_balancer::Endpoint;
use aqueduct_benches::arms;
use aqueduct_benches::calls::{Failure, row, run_at, title};
use aqueduct_core::{Classified, Clock, ErrorClass};
use aqueduct_http::{Client, Method, Request};
use aqueduct_metrics::Registry;
use aqueduct_policy::{Backend as Block, Call, Concurrency, Metrics, Policy, Scope};
use aqueduct_ratelimit::Quota;
use aqueduct_testkit::backend::{Backend, Latency, Script};
use rustix::time::{ClockId, clock_gettime};
use tower_service::Service;

const CALLS: u32 = 200_000;
const CPU_ROUNDS: usize = 9;
const LOOPBACK_CALLS: u32 = 500;
const LOOPBACK_ROUNDS: usize = 20;
const IN_FLIGHT: u64 = 10_000;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Ok(arm) = std::env::var(arms::ARM) {
        match (arm.as_str(), &arguments[..]) {
            ("loopback", [url]) => runtime.block_on(loopback(url))?,
            (_, [url, items]) => {
                tokio::runtime::Runtime::new()?.block_on(hold(&arm, url, items.parse()?))?;
                arms::print_peak();
            }
            _ => return Err(format!("no arm {arm}").into()),
        }
        return Ok(());
    }
    title("processor, a service that answers at once");
    runtime.block_on(processor())?;
    title("time on loopback, answers after 1 ms");
    beside(Duration::from_millis(1), |url| {
        let program = std::env::current_exe()?;
        let status =
            Command::new(program).env(arms::ARM, "loopback").arg(url).stdin(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err("the arm loopback failed".into()) }
    })?;
    title("memory");
    for (arm, calls, wanted) in [
        ("bare reqwest", IN_FLIGHT, ""),
        ("our client", IN_FLIGHT, ""),
        ("our client behind the block", IN_FLIGHT, "< 300"),
        ("pipeline", 100, ""),
        ("pipeline", IN_FLIGHT, "< 300"),
    ] {
        let mut peak = f64::NAN;
        let in_flight = beside(20 * SECOND, |url| {
            peak = arms::run(arm, &[url, &calls.to_string()]).peak_mib;
            Ok(())
        })?;
        row(&format!("{arm}: peak MiB with {in_flight} calls in flight"), wanted, &format!("{peak:.0}"));
    }
    Ok(())
}

/// Runs a backend while `work` calls it from another process, and gives the most calls that were in flight.
fn beside(answer: Duration, work: impl FnOnce(&str) -> Result<(), Failure>) -> Result<u64, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let script = Script::builder().latency(Latency::of(answer)).build()?;
    let backend = runtime.block_on(Backend::start(script))?;
    work(backend.url(0))?;
    Ok(runtime.block_on(backend.stop()).total.in_flight_max)
}

// ---- The block ----

/// All layers but the cache and the hedge.
fn block<S, Req>(service: &S, calls_max: u32) -> Result<Block<S, Req>, Failure>
where
    S: Service<Req> + Clone,
{
    let quota = Quota::per_second(100_000_000)?;
    let policy = Policy::builder()
        .deadline(300 * SECOND)
        .concurrency(Concurrency::fixed(calls_max))
        .retry(aqueduct_retry::Config::default())
        .breaker(aqueduct_breaker::Config::default())
        .rate_limit(quota, Scope::Shared)
        .rate_limit(quota, Scope::PerKey)
        .endpoint_breaker(aqueduct_breaker::Config::default())
        .attempt_timeout(30 * SECOND)
        .metrics(Metrics::register(&Registry::default(), "bench")?)
        .build()?;
    Ok(policy.over(["a", "b", "c"].map(|name| Endpoint::new(name, service.clone())))?)
}

// ---- Processor ----

#[derive(Clone, Copy, Debug)]
struct AtOnce;

#[derive(Clone, Copy, Debug)]
struct Never(Infallible);

impl Classified for Never {
    fn class(&self) -> ErrorClass {
        match self.0 {}
    }
}

impl Service<u64> for AtOnce {
    type Response = u64;
    type Error = Never;
    type Future = Ready<Result<u64, Never>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(std::hint::black_box(request)))
    }
}

async fn processor() -> Result<(), Failure> {
    let block = block(&AtOnce, 64)?;
    let (mut bare, mut through) = (Vec::new(), Vec::new());
    for round in 0..=CPU_ROUNDS {
        let begun = processor_time();
        for number in 0..u64::from(CALLS) {
            let _ = std::hint::black_box(AtOnce.call(number).await);
        }
        let between = processor_time();
        for number in 0..u64::from(CALLS) {
            let call = Call::new(number).key("host");
            std::hint::black_box(block.call(call).await.map_err(|_| "a call through the block failed")?);
        }
        let ended = processor_time();
        if round > 0 {
            bare.push(micros(between - begun) / f64::from(CALLS));
            through.push(micros(ended - between) / f64::from(CALLS));
        }
    }
    row("us a call, bare", "", &format!("{:.3}", spread(&bare).1));
    let (least, half, most) = spread(&through);
    row("us a call, through the block", "< 2", &format!("{half:.3}"));
    row("us a call, through the block: least and most of the rounds", "", &format!("{least:.2}..{most:.2}"));
    Ok(())
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

// ---- Time ----

async fn loopback(url: &str) -> Result<(), Failure> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is a provider")?;
    let url = format!("{url}/item/7");
    let bare = reqwest::Client::builder().http1_only().no_proxy().build()?;
    let config = aqueduct_http::Config::builder().allow_private(true).build()?;
    let client = Client::new(config)?;
    let block = block(&client, 64)?;
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..=LOOPBACK_ROUNDS {
        for (arm, kept) in times.iter_mut().enumerate() {
            let clock = Clock::system();
            let begun = clock.now();
            for _ in 0..LOOPBACK_CALLS {
                let bytes = match arm {
                    0 | 1 => bare.get(&url).send().await?.bytes().await?.len(),
                    2 => client.call(Request::new(Method::GET, &*url)).await?.body().len(),
                    _ => {
                        let call = Call::new(Request::new(Method::GET, &*url)).key("127.0.0.1");
                        block.call(call).await?.body().len()
                    }
                };
                std::hint::black_box(bytes);
            }
            if round > 0 {
                kept.push(micros(clock.now().since(begun)) / f64::from(LOOPBACK_CALLS));
            }
        }
    }
    let [bare, again, client, block] = &times;
    row("us a call, bare reqwest", "", &format!("{:.0}", spread(bare).1));
    for (what, wanted, arm) in [
        ("the same again", "", again),
        ("our client", "", client),
        ("our client behind the block", "<= 5 %", block),
    ] {
        let more: Vec<f64> = arm.iter().zip(bare).map(|(arm, bare)| 100.0 * (arm / bare - 1.0)).collect();
        let (least, half, most) = spread(&more);
        let what = format!("{what}: more than bare ({least:.1} to {most:.1} % by round)");
        row(&what, wanted, &format!("{half:.1} %"));
    }
    Ok(())
}

// ---- Memory ----

/// Makes all calls at once, in the way that `arm` says, and waits for their answers.
async fn hold(arm: &str, url: &str, calls: u32) -> Result<(), Failure> {
    if arm == "pipeline" {
        return hold_pipeline(url, u64::from(calls)).await;
    }
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is a provider")?;
    let url = format!("{url}/item/7");
    let bare = reqwest::Client::builder().http1_only().no_proxy().build()?;
    let config = aqueduct_http::Config::builder().allow_private(true);
    let client = Client::new(config.connections_per_host(10_000).timeout(120 * SECOND).build()?)?;
    let block = block(&client, calls)?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let request = Request::new(Method::GET, &*url);
        let (bare, client, block, url) = (bare.clone(), client.clone(), block.clone(), url.clone());
        match arm {
            "bare reqwest" => {
                tasks.spawn(async move { Ok(bare.get(url).send().await?.bytes().await?.len()) })
            }
            "our client" => tasks.spawn(async move { Ok(client.call(request).await?.body().len()) }),
            _ => {
                tasks.spawn(
                    async move { Ok(block.call(Call::new(request).key("127.0.0.1")).await?.body().len()) },
                )
            }
        };
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(Failure::from).flatten()?;
    }
    Ok(())
}

async fn hold_pipeline(url: &str, items: u64) -> Result<(), Failure> {
    let pipeline = format!(
        r#"
name = "hold"
[source]
type = "generator"
fields = {{ id = "sequence" }}
count = {items}
[[backend]]
name = "scorer"
endpoints = ["https://scorer.example"]
requests_per_minute = 0
calls_max = 10000
connections_per_host = 10000
timeout_seconds = 120
[[stage]]
name = "score"
type = "http"
backend = "scorer"
url = "/item/{{item.id}}"
set = {{ score = "item.response.body.score" }}
in_flight = 10000
[run]
window_items = 20000
[sink]
type = "jsonl"
path = "out.jsonl"
"#
    );
    let report = run_at(&pipeline, vec![url.to_owned()], aqueduct_core::ShutdownSignal::never()).await?;
    if report.counts.delivered == items { Ok(()) } else { Err("items are missing".into()) }
}

fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}
