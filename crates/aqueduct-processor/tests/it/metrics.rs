//! What a pool counts.

use aqueduct_core::Clock;
use aqueduct_metrics::Registry;
use aqueduct_processor::{Config, Job, Metrics, Pool};

use crate::{FINAL, Fault, SECOND, manual, sized, until};

#[tokio::test]
async fn each_job_is_counted_by_how_it_ended() {
    let registry = Registry::new(aqueduct_metrics::Config::default()).unwrap();
    let metrics = Metrics::register(&registry, "thumbs").unwrap();
    let pool = Pool::io(Config { metrics: Some(metrics), ..sized(2) }, Clock::system()).unwrap();
    for _ in 0..3 {
        pool.try_submit(Job::default(), |_| async { Ok::<_, Fault>(()) }).unwrap().await.unwrap();
    }
    let failed = pool.try_submit(Job::default(), |_| async { Err::<(), _>(FINAL) }).unwrap();
    failed.await.unwrap_err();
    let text = registry.snapshot().to_text();
    for line in [
        "aqueduct_processor_jobs_total{pool=\"thumbs\",outcome=\"done\"} 3\n",
        "aqueduct_processor_jobs_total{pool=\"thumbs\",outcome=\"failed\"} 1\n",
        "aqueduct_processor_wait_seconds_count{pool=\"thumbs\"} 4\n",
        "aqueduct_processor_run_seconds_count{pool=\"thumbs\"} 4\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn the_capacity_follows_the_size() {
    let (clock, time) = manual();
    let pool = Pool::io(sized(2), clock).unwrap();
    let long = pool
        .try_submit(Job::default().with_within(SECOND * 4), |_| std::future::pending::<Result<(), Fault>>());
    time.advance(SECOND * 3);
    pool.resize(1).unwrap();
    until(|| pool.figures().running == 1).await;
    time.advance(SECOND);
    long.unwrap().await.unwrap_err();
    let figures = pool.figures();
    assert_eq!((figures.busy, figures.capacity), (SECOND * 4, SECOND * 7));
    assert!((figures.efficiency() - 4.0 / 7.0).abs() < 1e-9);
}
