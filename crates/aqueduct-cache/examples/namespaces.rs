//! Two kinds of answers of a database under rules of their own, a clock that is moved by hand, and a database that fails.
//!
//! `cargo run -p aqueduct-cache --example namespaces`.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::cell::Cell;
use std::time::Duration;

use aqueduct_cache::{Cache, Json, Namespace, NamespaceConfig, SetOptions};
use aqueduct_core::{Clock, Timestamp};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Stands for a database, and counts what it is asked.
#[derive(Default)]
struct Database {
    queries: Cell<u32>,
    is_down: Cell<bool>,
}

impl Database {
    async fn rows(&self, limit: u32) -> Result<Json<Vec<u32>>, &'static str> {
        self.queries.set(self.queries.get() + 1);
        if self.is_down.get() { Err("the database is down") } else { Ok(Json::new((0..limit).collect())) }
    }
}

async fn latest(
    space: &Namespace<Json<Vec<u32>>>,
    database: &Database,
    limit: u32,
) -> Result<usize, Failure> {
    let key = format!("training_data_latest_{limit}");
    let options = SetOptions::new().tags(&["projects"]);
    let load = || async { database.rows(limit).await.map(Some) };
    let rows = space.try_get_with(&key, options, load).await?;
    Ok(rows.map_or(0, |rows| rows.len()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let cache = Cache::builder().clock(clock).build();
    let rule = |seconds| NamespaceConfig::builder().ttl(Duration::from_secs(seconds));
    // What is a little old is better than nothing, for a minute.
    let training = cache.namespace("training_data", rule(30).stale(Duration::from_secs(60)).build()?)?;
    let scheduler = cache.namespace::<Json<u32>>("scheduler_stats", rule(10).build()?)?;
    let database = Database::default();

    for _ in 0..100 {
        latest(&training, &database, 10).await?;
        latest(&training, &database, 50).await?;
    }
    println!("200 requests for two lists: {} queries", database.queries.get());

    training.invalidate_tag("projects").await;
    latest(&training, &database, 10).await?;
    println!("a project has changed: {} queries", database.queries.get());

    database.is_down.set(true);
    hand.advance(Duration::from_secs(31));
    println!(
        "after 31 s, and the database is down: {} rows all the same",
        latest(&training, &database, 10).await?
    );

    scheduler.set("scheduler_stats_nightly", Json::new(7)).await;
    hand.advance(Duration::from_secs(11));
    println!("the other namespace forgets after 10 s: {:?}", scheduler.get("scheduler_stats_nightly").await);

    let stats = cache.stats().total;
    println!("{} hits, {} misses, {} %", stats.hits, stats.misses, stats.hit_rate_percent);
    Ok(())
}
