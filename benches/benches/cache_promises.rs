//! Question: does a cache over all levels keep what it promises where it matters: over a slow query, when much is taken back
//! at once, when its server dies, and where keys come in the same order again?
//!
//! Workloads, each with a line of its own:
//!
//! * query: nine keys under the rules of two namespaces (30 s and 10 s) over a query of SQLite that takes 50 to 100 ms; 100
//!   requests a second for 15 s.
//! * tag: 1,000,000 entries in memory of which 100,000 carry a tag, and the tag is invalidated.
//! * outage: 16 callers over memory and a real redis-server, which is killed and started again.
//! * prediction: the loop of benches/data/traces, with and without loading what comes next.
//!
//! A good answer: query: hits under 1 ms at the 99th percentile, 50 x faster than the query, 90 % fewer queries. tag: under
//! 1 ms. outage: no error, less than 5 ms more at the 99th percentile, and what was changed meanwhile known within 2 s of the
//! return. prediction: 5 points more on the loop.

use std::convert::Infallible;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_benches::calls::{Failure, row, title};
use aqueduct_cache::{
    Cache, GuardConfig, Json, Level, Loading, Namespace, NamespaceConfig, Redis, RedisConfig, SetOptions,
};
use aqueduct_core::Clock;
use aqueduct_testkit::RedisServer;
use hdrhistogram::Histogram;
use sqlx::sqlite::SqlitePoolOptions;

const MILLI: Duration = Duration::from_millis(1);

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tag().await;
        prediction().await?;
        query().await?;
        outage().await
    })
}

fn millis(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1_000.0
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

async fn tag() {
    title("tag: 100,000 of 1,000,000 entries");
    let config = NamespaceConfig::builder().capacity(1_100_000).build().unwrap_or_default();
    let Ok(space) = Cache::builder().build().in_memory::<u64>("n", config) else { return };
    for key in 0..1_000_000_u64 {
        let tags: &[&str] = if key % 10 == 0 { &["t"] } else { &[] };
        space.set_with(key.to_be_bytes(), key, SetOptions::new().tags(tags)).await;
    }
    let clock = Clock::system();
    let begun = clock.now();
    space.invalidate_tag("t").await;
    let took = clock.now().since(begun);
    let (mut gone, mut left) = (0, 0);
    for key in 0..1_000_000_u64 {
        match space.get(key.to_be_bytes()).await {
            None if key % 10 == 0 => gone += 1,
            Some(_) => left += 1,
            None => {}
        }
    }
    row("ms", "1", &format!("{:.4}", took.as_secs_f64() * 1_000.0));
    row("entries that are gone, and that are left", "100000/900000", &format!("{gone}/{left}"));
}

async fn prediction() -> Result<(), Failure> {
    title("prediction: the share of requests that find a value, without and with it");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/traces/lirs-loop.trace.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path)?).read_to_string(&mut text)?;
    let keys: Vec<u64> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let mut chance = aqueduct_core::Random::seeded(1);
    let random: Vec<u64> = (0..keys.len()).map(|_| chance.below(2_000)).collect();
    for (name, keys) in [("loop", &keys), ("random", &random)] {
        for capacity in [256, 512, 900] {
            let mut rates = Vec::new();
            for is_predicting in [false, true] {
                let config = NamespaceConfig::builder().capacity(capacity).build()?;
                let space = Cache::builder().build().in_memory::<u64>("n", config)?;
                let load = |_key| async { Ok::<_, Infallible>(Some(1)) };
                let loading =
                    if is_predicting { Loading::predicting(space, load) } else { Loading::new(space, load) };
                for key in keys {
                    loading.get(key.to_be_bytes()).await?;
                    // As if a load took less than the time between two requests.
                    loading.settle().await;
                }
                rates.push((loading.namespace().stats().hit_rate_percent, loading.stats().predicted));
            }
            row(
                &format!("{name}@{capacity}, {} loads ahead", rates[1].1),
                if name == "loop" { "+5" } else { "" },
                &format!("{:.2} -> {:.2}", rates[0].0, rates[1].0),
            );
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "hundreds")]
async fn query() -> Result<(), Failure> {
    title("query: 9 keys of two namespaces, 100 requests a second for 15 s");
    let clock = Clock::system();
    let pool = SqlitePoolOptions::new().max_connections(4).connect("sqlite::memory:").await?;
    // As many steps as take some 70 ms here.
    let mut steps = 50_000_u64;
    let ask = |steps: u64| {
        let pool = pool.clone();
        async move {
            let text = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?) SELECT sum(x) FROM n";
            sqlx::query_scalar::<_, i64>(text)
                .bind(i64::try_from(steps).unwrap_or(i64::MAX))
                .fetch_one(&pool)
                .await
        }
    };
    for _ in 0..8 {
        let begun = clock.now();
        ask(steps).await?;
        let took = clock.now().since(begun).as_secs_f64().max(1e-6);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "some steps more or less"
        )]
        {
            steps = (steps as f64 * 0.07 / took) as u64;
        }
    }
    let cache = Cache::builder().build();
    let rule = |seconds| NamespaceConfig::builder().ttl(Duration::from_secs(seconds)).build();
    let training = cache.namespace::<Json<i64>>("training_data", rule(30)?)?;
    let scheduler = cache.namespace::<Json<i64>>("scheduler_stats", rule(10)?)?;
    let (mut hits, mut misses) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let queries = AtomicU64::new(0);
    let begun = clock.now();
    for request in 0..1_500_u32 {
        clock.sleep((request * 10 * MILLI).saturating_sub(clock.now().since(begun))).await;
        let (space, key): (&Namespace<Json<i64>>, String) = match request % 9 {
            limit @ 0..5 => (&training, format!("training_data_latest_{}", (limit + 1) * 10)),
            name => (&scheduler, format!("scheduler_stats_{name}")),
        };
        let before = queries.load(Ordering::Relaxed);
        let asked = clock.now();
        let load = || async {
            queries.fetch_add(1, Ordering::Relaxed);
            ask(steps).await.map(Json::new)
        };
        space.get_with(&key, load).await?;
        let took = nanos(clock.now().since(asked));
        let is_hit = queries.load(Ordering::Relaxed) == before;
        if is_hit { hits.record(took)? } else { misses.record(took)? }
    }
    let asked = queries.load(Ordering::Relaxed);
    row("query, median ms", "50 to 100", &format!("{:.1}", millis(misses.value_at_quantile(0.5))));
    row("hit, ms at the 99th percentile", "1", &format!("{:.4}", millis(hits.value_at_quantile(0.99))));
    row("faster, mean over mean", "50", &format!("{:.0}", misses.mean() / hits.mean()));
    row("% fewer queries, of 1,500 requests", "90", &format!("{:.1}", 100.0 - asked as f64 / 15.0));
    row("hit rate, %", "70 to 90", &cache.stats().total.hit_rate_percent.to_string());
    Ok(())
}

async fn outage() -> Result<(), Failure> {
    title("outage: 16 callers, and a redis-server that is killed and comes back");
    let mut server = RedisServer::start()?;
    let clock = Clock::system();
    let open = |url: &str| -> Result<Namespace<Json<u64>>, Failure> {
        let level: Arc<dyn Level> = Arc::new(Redis::new(url, RedisConfig::default(), Clock::system())?);
        let cache = Cache::builder().shared(level, GuardConfig::default()).build();
        let config = NamespaceConfig::builder().capacity(1_000).build()?;
        Ok(cache.namespace("n", config)?)
    };
    let (space, other) = (open(&server.url())?, open(&server.url())?);
    let errors = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    // Before, during, after: which histogram a request belongs to.
    let phase = Arc::new(AtomicU64::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16_u64 {
        let (space, errors, is_over) = (space.clone(), Arc::clone(&errors), Arc::clone(&is_over));
        let (phase, clock) = (Arc::clone(&phase), clock.clone());
        callers.spawn(async move {
            let mut chance = aqueduct_core::Random::seeded(caller);
            let mut took: [Vec<u64>; 4] = Default::default();
            while !is_over.load(Ordering::Relaxed) {
                let key = format!("key {}", chance.below(2_000));
                let begun = clock.now();
                let load = || async { Ok::<_, Infallible>(Json::new(caller)) };
                match chance.below(10) {
                    0 => space.set(&key, Json::new(caller)).await,
                    1 => space.remove(&key).await,
                    _ => {
                        if space.get_with(&key, load).await.is_err() {
                            errors.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                let phase = usize::try_from(phase.load(Ordering::Relaxed)).unwrap_or(0);
                took[phase].push(nanos(clock.now().since(begun)));
                clock.sleep(MILLI).await;
            }
            took
        });
    }
    clock.sleep(Duration::from_secs(3)).await;
    server.kill()?;
    // Three calls find out; then the guard is open.
    phase.store(3, Ordering::Relaxed);
    clock.sleep(Duration::from_millis(500)).await;
    phase.store(1, Ordering::Relaxed);
    for key in 0..100_u64 {
        space.set(format!("changed {key}"), Json::new(key)).await;
    }
    clock.sleep(Duration::from_secs(3)).await;
    server.restart()?;
    let back = clock.now();
    phase.store(2, Ordering::Relaxed);
    let mut known = 0;
    while known < 100 && clock.now().since(back) < Duration::from_secs(10) {
        known = 0;
        for key in 0..100_u64 {
            known += u64::from(other.get(format!("changed {key}")).await.is_some_and(|value| *value == key));
        }
        tokio::task::yield_now().await;
    }
    let converged = clock.now().since(back);
    clock.sleep(Duration::from_secs(1)).await;
    is_over.store(true, Ordering::Relaxed);
    let mut phases: [Vec<u64>; 4] = Default::default();
    while let Some(took) = callers.join_next().await {
        for (all, some) in phases.iter_mut().zip(took?) {
            all.extend(some);
        }
    }
    let p99 = |took: &mut Vec<u64>| {
        took.sort_unstable();
        took.get(took.len() * 99 / 100).copied().map_or(0.0, millis)
    };
    let [before, open, after, finding_out] = &mut phases;
    for (what, took) in [
        ("before", before),
        ("in the first half second without it", finding_out),
        ("without it", open),
        ("after its return", after),
    ] {
        row(&format!("ms at the 99th percentile, {what}"), "+5", &format!("{:.3}", p99(took)));
    }
    row("errors", "0", &errors.load(Ordering::Relaxed).to_string());
    row(
        &format!("s until {known} of 100 changes were known elsewhere"),
        "2",
        &format!("{:.2}", converged.as_secs_f64()),
    );
    Ok(())
}
