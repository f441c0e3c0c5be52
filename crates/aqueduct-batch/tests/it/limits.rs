//! Too many failures end the run, and what is before them stays.

use aqueduct_batch::{OnError, SkipLimit, SkipLimitReached};
use aqueduct_stream::{Jsonl, RunError, StageError};

use crate::support::{Folder, Number, words};

/// Every tenth number fails.
fn every_tenth(some: Number) -> Result<Option<Number>, StageError> {
    if some.n % 10 == 9 { Err(StageError::permanent("a nine")) } else { Ok(Some(some)) }
}

async fn run(folder: &Folder, limit: Option<SkipLimit>, rule: OnError) -> Result<u64, RunError> {
    let mut batch = folder.numbers(2000);
    if let Some(limit) = limit {
        batch = batch.skip_limit(limit);
    }
    let batch = batch.each("work", |some: Number| async move { every_tenth(some) }).on_error(rule);
    match batch.sink("out", folder.file()).run().await {
        Ok(report) => Ok(report.run.failed),
        Err(failure) => {
            let counts = failure.report.map(|report| report.counts).unwrap_or_default();
            // Never more are left behind than failed before the limit was reached.
            let allowed = if counts.read > 0 { reached(&failure.error).failed } else { 0 };
            assert!(counts.skipped + counts.dead_lettered <= allowed);
            Err(failure.error)
        }
    }
}

fn reached(error: &RunError) -> &SkipLimitReached {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(reached) = cause.downcast_ref() {
            return reached;
        }
        cause = cause.source().unwrap_or_else(|| panic!("no limit in {}", words(error)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_item_more_than_the_limit_ends_the_run_and_everything_before_it_is_committed() {
    for rule in [OnError::Skip, OnError::DeadLetter] {
        let folder = Folder::new();
        let error = run(&folder, Some(SkipLimit::items(25)), rule).await.unwrap_err();
        assert_eq!(reached(&error).failed, 25);
        assert!(words(&error).contains("than the skip limit of 25 items allows"), "{}", words(&error));
        assert!(words(&error).ends_with("a nine"), "{}", words(&error));
        // What is there is a whole beginning of what would be there.
        let out = folder.out();
        let whole: Vec<u64> = (0..2000).filter(|n| n % 10 != 9).collect();
        assert!(!out.is_empty() && whole.starts_with(&out), "{out:?}");
        // With another limit it goes on from there, with the item that was one too many.
        assert_eq!(run(&folder, None, rule).await.unwrap(), 201 - out.len() as u64 / 9);
        assert_eq!(folder.out(), whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_as_the_limit_may_fail() {
    let folder = Folder::new();
    assert_eq!(run(&folder, Some(SkipLimit::items(200)), OnError::Skip).await.unwrap(), 200);
    let folder = Folder::new();
    assert_eq!(run(&folder, Some(SkipLimit::items(300).and_share(0.25)), OnError::Skip).await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_taken_of_at_least_a_thousand_items() {
    let folder = Folder::new();
    let error = run(&folder, Some(SkipLimit::share(0.05)), OnError::Skip).await.unwrap_err();
    let reached = reached(&error);
    // Five percent of what was read by then, and never of fewer than a thousand.
    assert!((50..=100).contains(&reached.failed), "{reached}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_limit_of_none_the_first_failure_stops_as_the_rule_to_stop_does() {
    let folder = Folder::new();
    run(&folder, Some(SkipLimit::items(0)), OnError::Skip).await.unwrap_err();
    assert_eq!(folder.out().last(), Some(&8));
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_cannot_be_read_counts_and_so_does_what_a_sink_cannot_take() {
    let folder = Folder::new();
    let bad = "{\"n\":1}\nnot json\n{\"n\":2}\nnot json\n{\"n\":3}\n";
    std::fs::write(folder.at("in.jsonl"), bad).unwrap();
    let batch = |limit| {
        let batch = aqueduct_batch::Batch::named("test").source(Jsonl::new(folder.at("in.jsonl")));
        batch.dir(folder.at("data")).size(1).skip_limit(SkipLimit::items(limit)).sink("out", folder.file())
    };
    let failure = batch(1).run().await.unwrap_err();
    assert_eq!(reached(&failure.error).failed, 1);
    assert_eq!(folder.out(), [1, 2]);
    assert_eq!(batch(1).run().await.unwrap().run.counts.dead_lettered, 1);
    assert_eq!(folder.out(), [1, 2, 3]);

    let folder = Folder::new();
    std::fs::write(folder.at("in.jsonl"), "{\"k\":1,\"n\":1}\n{\"n\":2}\n{\"k\":3,\"n\":3}\n{\"n\":4}\n")
        .unwrap();
    let failure = aqueduct_batch::Batch::named("test")
        .source(Jsonl::new(folder.at("in.jsonl")))
        .dir(folder.at("data"))
        .skip_limit(SkipLimit::items(1))
        .sink(
            "out",
            aqueduct_stream::SqliteSink::new(folder.at("out.db"), "t").with_key("k").with_columns(["k", "n"]),
        )
        .on_error(OnError::DeadLetter)
        .run()
        .await
        .unwrap_err();
    assert_eq!(reached(&failure.error).failed, 1, "{}", words(&failure));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_beyond_one_is_refused_before_anything_happens() {
    let folder = Folder::new();
    let error = run(&folder, Some(SkipLimit::share(1.5)), OnError::Skip).await;
    let Err(RunError::Config(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), "skip_limit is 1.5; it must be a share from 0 to 1");
}
