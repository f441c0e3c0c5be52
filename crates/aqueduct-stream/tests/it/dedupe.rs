//! Deduplication against a naive model, over kills, stops and restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use aqueduct_core::{Clock, Item, ItemId, PartitionId, Payload, Record, SourceId, Timestamp};
use aqueduct_stream::{Dedupe, Horizon, OnError, Options, OrderedStage, Outcome, Pipeline, StageError};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::{Folder, words};

#[derive(Serialize, Deserialize)]
struct Keyed {
    k: u64,
}

fn key(item: &Item, bytes: &mut Vec<u8>) -> Result<(), StageError> {
    let record = item.payload.record()?;
    let value = record.get("k").ok_or_else(|| StageError::permanent("the item has no k"))?;
    bytes.extend_from_slice(value.as_text().as_bytes());
    Ok(())
}

fn dedupe(horizon: Horizon) -> impl OrderedStage + 'static {
    Dedupe::new(horizon, "k", key)
}

fn item(k: u64) -> Item {
    let id = ItemId::new(SourceId(0), PartitionId(0), 0);
    Item { id, payload: Payload::Record(Record::parse(format!("{{\"k\":{k}}}")).unwrap()) }
}

/// Which of these keys pass, as one would write it down.
fn naive(keys: &[u64], reach: u64) -> Vec<bool> {
    let mut passed: BTreeMap<u64, u64> = BTreeMap::new();
    let mut at = 0;
    keys.iter()
        .map(|key| {
            at += 1;
            let new = passed.get(key).is_none_or(|seen| at - seen > reach);
            if new {
                passed.insert(*key, at);
            }
            new
        })
        .collect()
}

proptest! {
    #[test]
    fn a_stage_that_is_cut_and_restored_decides_as_the_naive_one(
        keys in prop::collection::vec(0_u64..40, 1..600),
        reach in 1_u64..50,
        cuts in prop::collection::vec(1_usize..60, 0..20),
    ) {
        let wanted = naive(&keys, reach);
        let fresh = || dedupe(Horizon::Items(reach));
        let mut stage = fresh();
        let mut kept: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut log = Vec::new();
        let mut cuts = cuts.into_iter();
        let mut next_cut = cuts.next();
        let mut found = Vec::new();
        for key in &keys {
            if next_cut == Some(found.len()) {
                kept.push((stage.reached(), std::mem::take(&mut log)));
                // What lies below the needed is not needed, so it is not given back.
                let needed = stage.needed();
                kept.retain(|(reached, _)| *reached > needed);
                stage = fresh();
                for (reached, notes) in &mut kept {
                    stage.restore(notes).unwrap();
                    *reached = stage.reached();
                }
                next_cut = cuts.next().map(|cut| found.len() + cut);
            }
            let outcome = stage.apply(&item(*key), Timestamp(0), &mut log).unwrap();
            found.push(matches!(outcome, Outcome::Keep));
        }
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn time_forgets_and_a_clock_that_goes_back_does_not() {
    let mut stage = dedupe(Horizon::Time(Duration::from_secs(10)));
    let mut log = Vec::new();
    let mut passes = |stage: &mut dyn OrderedStage, k: u64, second: i64| {
        matches!(stage.apply(&item(k), Timestamp(second * 1000), &mut log).unwrap(), Outcome::Keep)
    };
    assert!(passes(&mut stage, 1, 100));
    assert!(!passes(&mut stage, 1, 110));
    assert!(passes(&mut stage, 1, 111));
    assert!(!passes(&mut stage, 1, 50));
    assert!(passes(&mut stage, 2, 50));
    assert!(!passes(&mut stage, 2, 121));
    let mut again = dedupe(Horizon::Time(Duration::from_secs(10)));
    again.restore(&log).unwrap();
    assert_eq!(again.reached(), stage.reached());
    assert!(!matches!(again.apply(&item(2), Timestamp(0), &mut Vec::new()).unwrap(), Outcome::Keep));
}

#[test]
fn records_that_are_not_its_own_are_refused() {
    for broken in [&b"\x01abc"[..], b"\x07", b"\x02\x01"] {
        let error = dedupe(Horizon::Items(5)).restore(broken).unwrap_err();
        assert_eq!(error.to_string(), "its notes end in the middle or begin with an unknown sign");
    }
}

/// 3,000 items of 700 keys, in an order that is neither sorted nor regular.
fn write_keys(folder: &Folder) -> Vec<u64> {
    let mut state = 7_u64;
    let keys: Vec<u64> = (0..3_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % 700
        })
        .collect();
    folder.write("in.jsonl", keys.iter().map(|k| format!("{{\"k\":{k}}}\n")).collect::<String>());
    keys
}

fn wanted(keys: &[u64], reach: u64) -> String {
    let passed = keys.iter().zip(naive(keys, reach)).filter(|(_, passes)| *passes);
    passed.map(|(k, _)| format!("{{\"k\":{k}}}\n")).collect()
}

fn pipeline(folder: &Folder, options: Options) -> Pipeline {
    folder
        .pipeline()
        .options(Options { data_dir: Some(folder.at("data")), batch_items: 20, workers: 4, ..options })
        .map("same", |keyed: &Keyed| Keyed { k: keyed.k })
        .ordered_stage("dedupe", dedupe(Horizon::Items(300)))
        .map("same again", |keyed: &Keyed| Keyed { k: keyed.k })
        .sink("out", folder.file_sink())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_and_many_runs_give_what_one_pass_gives() {
    let folder = Folder::new();
    let keys = write_keys(&folder);
    // Seventeen runs of different lengths, each with the state of the one before.
    let mut left = 3_000;
    for run in 0.. {
        let limit = (37 * (run % 9) + 40).min(left);
        let options = Options {
            limit: Some(limit),
            epoch_batches: 1 + usize::try_from(run % 4).unwrap(),
            ..Options::default()
        };
        pipeline(&folder, options).run().await.unwrap();
        left -= limit;
        if left == 0 {
            break;
        }
    }
    assert_eq!(folder.read("out.jsonl"), wanted(&keys, 300));
    // What lies behind the horizon and all checkpoints is forgotten: some 16 checkpoints of 10 batches of 20.
    let kept = folder.query("data/ledger.db", "select sum(length(value)) from aqueduct_state").await;
    let kept: usize = kept[0][0].as_ref().unwrap().parse().unwrap();
    assert!(kept < 3_000 * 14, "{kept} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stop_cuts_off_is_not_remembered() {
    let folder = Folder::new();
    let keys = write_keys(&folder);
    let run = |poison: bool| {
        folder
            .pipeline()
            .options(Options { data_dir: Some(folder.at("data")), batch_items: 50, ..Options::default() })
            .ordered_stage("dedupe", dedupe(Horizon::Items(300)))
            .try_map("poison", move |keyed: &Keyed| {
                if poison && keyed.k == 123 {
                    return Err(StageError::permanent("123"));
                }
                Ok(Keyed { k: keyed.k })
            })
            .sink("out", folder.file_sink())
            .run()
    };
    let failure = run(true).await.unwrap_err();
    assert!(words(&failure).contains("poison failed on item"), "{}", words(&failure));
    run(false).await.unwrap();
    assert_eq!(folder.read("out.jsonl"), wanted(&keys, 300));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_without_a_key_goes_the_way_of_the_rule() {
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"k\":1}\n{\"n\":1}\n{\"k\":1}\n");
    let pipeline =
        folder.pipeline().ordered_stage("dedupe", dedupe(Horizon::Items(9))).on_error(OnError::DeadLetter);
    let report = pipeline.sink("out", folder.file_sink()).run().await.unwrap();
    let counts = report.counts;
    assert_eq!((counts.delivered, counts.skipped, counts.dead_lettered), (1, 1, 1));
    assert_eq!(folder.letters().await, [("the item has no k".to_owned(), "{\"n\":1}".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_means_something_else_needs_the_change_accepted() {
    let folder = Folder::new();
    folder.write("in.jsonl", "{\"k\":1}\n");
    let (clock, _) = Clock::manual(Timestamp(1_000_000));
    let run = |horizon: Horizon, accept_change: bool| {
        let options = Options {
            data_dir: Some(folder.at("data")),
            accept_change,
            clock: clock.clone(),
            ..Options::default()
        };
        let pipeline = folder.pipeline().options(options).ordered_stage("dedupe", dedupe(horizon));
        pipeline.sink("out", folder.file_sink()).run()
    };
    run(Horizon::Items(10), false).await.unwrap();
    folder.write("in.jsonl", "{\"k\":1}\n{\"k\":1}\n");
    // A longer horizon reads the same state.
    let counts = run(Horizon::Items(20), false).await.unwrap().counts;
    assert_eq!(counts.skipped, 1);
    folder.write("in.jsonl", "{\"k\":1}\n{\"k\":1}\n{\"k\":1}\n");
    let refused = run(Horizon::Time(Duration::from_secs(5)), false).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the state of stage dedupe has changed since the last run, from \"dedupe 1 in items by k\" to \"dedupe 1 in \
         seconds by k\"; put it back, give the pipeline another name, or accept the change (--accept-change)"
    );
    let counts = run(Horizon::Time(Duration::from_secs(5)), true).await.unwrap().counts;
    assert_eq!((counts.skipped, counts.delivered), (0, 1));
}
