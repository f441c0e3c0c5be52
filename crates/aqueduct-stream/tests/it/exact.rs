use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_core::{Counts, Shutdown};
use aqueduct_stream::{
    Ended, Every, Guarantee, JsonlSink, OnError, Options, Pipeline, SqliteSink, StageError, StdoutSink,
};
use serde::{Deserialize, Serialize};

use crate::support::{Folder, words};

#[derive(Serialize, Deserialize)]
struct Number {
    n: u64,
}

fn numbers_up_to(count: u64) -> String {
    (0..count).map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

/// Batches of five items, each an epoch of its own.
fn small(folder: &Folder) -> Options {
    Options { batch_items: 5, epoch_batches: 1, data_dir: Some(folder.at("data")), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_through_in_input_order_and_the_second_run_has_nothing_to_do() {
    let folder = Folder::new();
    folder.write_numbers(10_000);
    let run = || {
        folder.pipeline().map("same", |n: &Number| Number { n: n.n }).sink("out", folder.file_sink()).run()
    };
    let report = run().await.unwrap();
    assert_eq!(report.counts, Counts { read: 10_000, delivered: 10_000, ..Counts::default() });
    assert_eq!((report.ended, report.guarantee), (Ended::Done, Guarantee::ExactlyOnce));
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(10_000));
    let again = run().await.unwrap();
    assert_eq!((again.ended, again.counts), (Ended::NothingToDo, Counts::default()));
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_position_share_the_sinks_database() {
    let folder = Folder::new();
    folder.write(
        "in.jsonl",
        "{\"n\":1,\"t\":\"x\",\"l\":[1,2],\"b\":true,\"f\":1.5}\n{\"n\":123456789012345678901}\n",
    );
    folder.pipeline().sink("out", folder.table_sink()).run().await.unwrap();
    let rows = folder.query("out.db", "select item_id, n, t, l, b, f from items order by 1").await;
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(rows[0], [text("a0a0a0"), text("1"), text("x"), text("[1,2]"), text("1"), text("1.5")]);
    assert_eq!(rows[1][1], text("123456789012345678901"));
    assert!(!folder.at("data/ledger.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grown_input_continues_and_a_replaced_one_is_refused() {
    let folder = Folder::new();
    let run = || folder.pipeline().sink("out", folder.file_sink()).run();
    folder.write_numbers(3);
    run().await.unwrap();
    folder.write_numbers(5);
    assert_eq!(run().await.unwrap().counts.read, 2);
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(5));
    folder.write("in.jsonl", "{\"n\":7}\n{\"n\":8}\n{\"n\":9}\n{\"n\":10}\n{\"n\":11}\n{\"n\":12}\n");
    let error = words(&run().await.unwrap_err());
    assert!(error.contains("what stands in front of that place is different now"), "{error}");
    folder.write_numbers(1);
    let error = words(&run().await.unwrap_err());
    assert!(error.contains("it is shorter now"), "{error}");
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unterminated_last_line_may_get_its_line_end_but_must_not_grow() {
    let folder = Folder::new();
    let run = || folder.pipeline().sink("out", folder.file_sink()).run();
    folder.write("in.jsonl", "{\"n\":0}\n{\"n\":1}");
    assert_eq!(run().await.unwrap().counts.read, 2);
    folder.write("in.jsonl", "{\"n\":0}\n{\"n\":1}\r\n{\"n\":2}");
    assert_eq!(run().await.unwrap().counts.read, 1);
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(3));
    folder.write("in.jsonl", "{\"n\":0}\n{\"n\":1}\r\n{\"n\":2}0\n");
    let error = words(&run().await.unwrap_err());
    assert!(error.contains("its last line had no line end and has grown"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_commits_everything_before_the_failing_item_and_a_mended_stage_continues() {
    let folder = Folder::new();
    folder.write_numbers(1000);
    let failing = |bad: u64| {
        folder
            .pipeline()
            .try_map("check", move |n: &Number| match n.n {
                n if n == bad => Err(StageError::permanent("seven hundred and one is bad")),
                n => Ok(Number { n }),
            })
            .sink("out", folder.file_sink())
            .options(small(&folder))
            .run()
    };
    let failure = failing(701).await.unwrap_err();
    let text = words(&failure);
    assert!(text.starts_with("check failed on item a0a0d"), "{text}");
    assert!(text.ends_with("everything before it is committed: seven hundred and one is bad"), "{text}");
    let counts = failure.report.unwrap().counts;
    assert_eq!(counts.delivered, 701);
    assert_eq!(counts.check(), Ok(()));
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(701));
    let report = failing(u64::MAX).await.unwrap();
    assert_eq!(report.counts.read, 299);
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sinks_take_every_item_and_the_fan_out_balances() {
    let folder = Folder::new();
    folder.write_numbers(500);
    let report = folder
        .pipeline()
        .sink("rows", folder.table_sink())
        .sink("file", folder.file_sink())
        .sink("parts", JsonlSink::new(folder.at("parts")).with_part_bytes(1000))
        .options(small(&folder))
        .run()
        .await
        .unwrap();
    assert_eq!(report.counts, Counts { read: 500, spawned: 1000, delivered: 1500, ..Counts::default() });
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(500));
    assert_eq!(
        folder.query("out.db", "select count(*), min(n), max(n) from items").await[0][0],
        Some("500".into())
    );
    let manifest: serde_json::Value = serde_json::from_str(&folder.read("parts/manifest.json")).unwrap();
    let parts = manifest["parts"].as_array().unwrap();
    assert!(parts.len() > 3, "{manifest}");
    let joined: String =
        parts.iter().map(|part| folder.read(&format!("parts/{}", part["part"].as_str().unwrap()))).collect();
    assert_eq!(joined, numbers_up_to(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn uncommitted_tails_are_cut_off_and_unknown_files_are_refused() {
    let folder = Folder::new();
    folder.write_numbers(5);
    folder.write("out.jsonl", "mine\n");
    let run = || folder.pipeline().sink("out", folder.file_sink()).run();
    let error = words(&run().await.unwrap_err());
    assert!(error.contains("is there already and this pipeline did not write it"), "{error}");
    assert_eq!(folder.read("out.jsonl"), "mine\n");
    std::fs::remove_file(folder.at("out.jsonl")).unwrap();
    run().await.unwrap();
    folder.write("out.jsonl", numbers_up_to(5) + "{\"n\":");
    run().await.unwrap();
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(5));
    folder.write("out.jsonl", numbers_up_to(4));
    let error = words(&run().await.unwrap_err());
    assert!(error.contains("has 32 bytes, but 40 are committed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_a_strangers_file_is_refused() {
    let folder = Folder::new();
    folder.write_numbers(5);
    std::fs::create_dir(folder.at("parts")).unwrap();
    folder.write("parts/part-00000.jsonl", "mine\n");
    let run = || folder.pipeline().sink("out", JsonlSink::new(folder.at("parts"))).run();
    let failure = run().await.unwrap_err();
    assert!(words(&failure).contains("part-00000.jsonl is there already"), "{failure}");
    std::fs::rename(folder.at("parts/part-00000.jsonl"), folder.at("parts/manifest.json")).unwrap();
    let failure = run().await.unwrap_err();
    assert!(words(&failure).contains("manifest.json is there already"), "{failure}");
    assert_eq!(folder.read("parts/manifest.json"), "mine\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_database_is_effectively_once_and_exactly_once_is_refused_for_it() {
    let folder = Folder::new();
    folder.write_numbers(20);
    let build = || {
        folder
            .pipeline()
            .sink("first", folder.table_sink())
            .sink("second", SqliteSink::new(folder.at("second.db"), "items"))
    };
    let given = build().guarantees().unwrap();
    assert_eq!(
        [given[0].guarantee, given[1].guarantee],
        [Guarantee::ExactlyOnce, Guarantee::EffectivelyOnce]
    );
    let asked = Options { guarantee: Some(Guarantee::ExactlyOnce), ..small(&folder) };
    let error = words(&build().options(asked).run().await.unwrap_err());
    assert!(
        error.starts_with("exactly-once is asked for, but the route gives effectively-once: sink second"),
        "{error}"
    );
    build().options(small(&folder)).run().await.unwrap();
    for database in ["out.db", "second.db"] {
        let rows =
            folder.query(database, "select count(distinct item_id), count(*), sum(n) from items").await;
        assert_eq!(rows[0], [Some("20".to_owned()), Some("20".to_owned()), Some("190".to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_gives_at_least_once_and_says_why() {
    let folder = Folder::new();
    folder.write_numbers(1);
    let pipeline = folder.pipeline().sink("screen", StdoutSink::new());
    let given = &pipeline.guarantees().unwrap()[0];
    assert_eq!(given.guarantee, Guarantee::AtLeastOnce);
    assert!(given.reason.contains("cannot be taken back"), "{}", given.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_delivers_everything_too() {
    let folder = Folder::new();
    folder.write_numbers(50);
    let options = Options { guarantee: Some(Guarantee::AtLeastOnce), ..small(&folder) };
    let report = folder
        .pipeline()
        .sink("rows", folder.table_sink())
        .sink("file", folder.file_sink())
        .options(options)
        .run()
        .await
        .unwrap();
    assert_eq!((report.counts.delivered, report.guarantee), (100, Guarantee::AtLeastOnce));
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_named_after_its_commit_over_several_runs() {
    use aqueduct_store::{SqliteStore, Store};
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let folder = Folder::new();
        folder.write_numbers(30);
        for _ in 0..2 {
            let options = Options {
                checkpoint_interval: Every::Batches(1),
                limit: Some(15),
                guarantee: Some(guarantee),
                ..small(&folder)
            };
            let pipeline =
                folder.pipeline().sink("rows", folder.table_sink()).sink("file", folder.file_sink());
            pipeline.options(options).run().await.unwrap();
        }
        let mut store = SqliteStore::open_read_only(folder.at("out.db")).await.unwrap();
        let kept = store.checkpoints("test").await.unwrap();
        assert_eq!(kept.len(), 6, "{guarantee}");
        for checkpoint in kept {
            assert_eq!(checkpoint.name, format!("epoch-{}", checkpoint.epoch), "{guarantee}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_ends_with_everything_committed_and_the_next_run_goes_on() {
    let folder = Folder::new();
    folder.write_numbers(100);
    let run = |limit| {
        let options = Options { limit, ..small(&folder) };
        folder.pipeline().sink("out", folder.file_sink()).options(options).run()
    };
    let report = run(Some(33)).await.unwrap();
    assert_eq!((report.ended, report.counts.delivered), (Ended::Limited, 33));
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(33));
    assert_eq!(run(Some(67)).await.unwrap().ended, Ended::Done);
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_commits_what_was_read_and_a_later_run_finishes() {
    let folder = Folder::new();
    folder.write_numbers(20_000);
    let (shutdown, signal) = Shutdown::new();
    let seen = Arc::new(AtomicU64::new(0));
    let build = |seen: Arc<AtomicU64>, shutdown: Shutdown| {
        folder
            .pipeline()
            .map("count", move |n: &Number| {
                if seen.fetch_add(1, Ordering::Relaxed) == 500 {
                    shutdown.drain();
                }
                Number { n: n.n }
            })
            .sink("out", folder.file_sink())
    };
    let options = Options { shutdown: signal, window_items: 100, ..small(&folder) };
    let report = build(Arc::clone(&seen), shutdown.clone()).options(options).run().await.unwrap();
    assert_eq!((report.ended, report.counts.in_flight), (Ended::Drained, 0));
    assert!(report.counts.delivered < 20_000);
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(report.counts.delivered));
    build(seen, shutdown).options(small(&folder)).run().await.unwrap();
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(20_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_what_is_in_flight_to_the_next_run() {
    let folder = Folder::new();
    folder.write_numbers(5_000);
    let (shutdown, signal) = Shutdown::new();
    let stopper = shutdown.clone();
    let report = folder
        .pipeline()
        .map("count", move |n: &Number| {
            if n.n == 1000 {
                stopper.stop();
            }
            Number { n: n.n }
        })
        .sink("out", folder.file_sink())
        .options(Options { shutdown: signal, ..small(&folder) })
        .run()
        .await
        .unwrap();
    assert_eq!(report.ended, Ended::Stopped);
    assert_eq!(report.counts.check(), Ok(()));
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(report.counts.delivered));
    folder.pipeline().sink("out", folder.file_sink()).run().await.unwrap();
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(5_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_on_one_data_folder_are_refused() {
    let folder = Folder::new();
    folder.write_numbers(10);
    let inner = folder.at("data");
    let other = folder.at("in.jsonl");
    let failure = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&failure);
    let runtime = tokio::runtime::Handle::current();
    folder
        .pipeline()
        .map("nested", move |n: &Number| {
            if n.n == 3 {
                let second = Pipeline::named("test")
                    .source(aqueduct_stream::Jsonl::new(other.clone()).named("in.jsonl"))
                    .sink("out", StdoutSink::to(Box::new(std::io::sink())))
                    .data_dir(inner.clone());
                *seen.lock().unwrap() = words(&runtime.block_on(second.run()).unwrap_err());
            }
            Number { n: n.n }
        })
        .sink("out", folder.file_sink())
        .run()
        .await
        .unwrap();
    let message = failure.lock().unwrap().clone();
    assert!(message.contains("is in use by another run (process "), "{message}");
}

/// A run that was fenced off once appended to a file that the newer run had cut: 400 items stood there twice.
#[tokio::test(flavor = "multi_thread")]
async fn two_runs_on_one_output_are_refused_although_their_data_folders_differ() {
    for sink in ["out.jsonl", "out"] {
        let folder = Folder::new();
        folder.write_numbers(1000);
        let (input, output, database, data) =
            (folder.at("in.jsonl"), folder.at(sink), folder.at("out.db"), folder.at("other-data"));
        let second = move || {
            Pipeline::named("test")
                .source(aqueduct_stream::Jsonl::new(input.clone()).named("in.jsonl"))
                .sink("rows", SqliteSink::new(database.clone(), "items"))
                .sink("out", JsonlSink::new(output.clone()))
                .data_dir(data.clone())
                .run()
        };
        let failure = Arc::new(std::sync::Mutex::new(String::new()));
        let seen = Arc::clone(&failure);
        let runtime = tokio::runtime::Handle::current();
        folder
            .pipeline()
            .map("nested", move |n: &Number| {
                if n.n == 900 {
                    *seen.lock().unwrap() = words(&runtime.block_on(second()).unwrap_err());
                }
                Number { n: n.n }
            })
            .sink("rows", folder.table_sink())
            .sink("out", JsonlSink::new(folder.at(sink)))
            .options(Options { workers: 1, window_items: 100, ..small(&folder) })
            .run()
            .await
            .unwrap();
        let message = failure.lock().unwrap().clone();
        assert!(message.contains("is being written by another run"), "{message}");
        let written = if sink == "out" { "out/part-00000.jsonl" } else { sink };
        assert_eq!(folder.read(written), numbers_up_to(1000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_input_under_the_same_name_is_refused_unless_the_change_is_accepted() {
    let folder = Folder::new();
    folder.write_numbers(3);
    folder.pipeline().sink("out", folder.file_sink()).run().await.unwrap();
    folder.write("other.jsonl", "{\"n\":9}\n");
    let run = |accept_change: bool| {
        let other = aqueduct_stream::Jsonl::new(folder.at("other.jsonl")).named("other.jsonl");
        let options = Options { accept_change, ..small(&folder) };
        Pipeline::named("test").source(other).sink("out", folder.file_sink()).options(options).run()
    };
    let text = words(&run(false).await.unwrap_err());
    assert_eq!(
        text,
        "the source has changed since the last run, from \"jsonl in.jsonl\" to \"jsonl other.jsonl\"; put it back, give \
         the pipeline another name, or accept the change (--accept-change)"
    );
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(3));
    // Accepted, the new input is read from its beginning, and is the one that the next run expects.
    run(true).await.unwrap();
    assert_eq!(folder.read("out.jsonl"), numbers_up_to(3) + "{\"n\":9}\n");
    assert_eq!(run(false).await.unwrap().ended, Ended::NothingToDo);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_means_upsert_and_a_missing_key_is_the_items_error() {
    let folder = Folder::new();
    folder.write(
        "in.jsonl",
        "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":2}\n{\"k\":\"a\",\"v\":3}\n{\"v\":4}\n",
    );
    let report = folder
        .pipeline()
        .sink("out", folder.table_sink().with_key("k").with_columns(["k", "v"]))
        .on_error(OnError::DeadLetter)
        .run()
        .await
        .unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered), (3, 1));
    let rows = folder.query("out.db", "select k, v from items order by k").await;
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(rows, [[text("a"), text("3")], [text("b"), text("2")]]);
}
