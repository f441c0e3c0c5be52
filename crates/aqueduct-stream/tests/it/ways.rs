//! Branches, sinks that stages name, and what leads nowhere.

use std::sync::Arc;

use aqueduct_core::{Item, Payload};
use aqueduct_stream::{Emission, OnError, Outcome, Pipeline, Stage, StageError, StdoutSink};
use serde::{Deserialize, Serialize};

use crate::support::{Folder, words};

#[derive(Serialize, Deserialize)]
struct Number {
    n: u64,
}

/// Sends numbers below 10 to `small`, even ones to `even`, and lets the others pass.
struct Sort {
    /// Says that nothing passes, which is a lie for odd numbers.
    claims_all: bool,
}

fn number(item: &Item) -> u64 {
    let record = item.payload.record().unwrap();
    serde_json::from_str::<Number>(record.as_text()).unwrap().n
}

impl Stage for Sort {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        Ok(match number(item) {
            0..10 => Outcome::Send(0),
            n if n % 2 == 0 => Outcome::Send(1),
            _ => Outcome::Keep,
        })
    }

    fn targets(&self) -> Vec<Arc<str>> {
        vec!["small".into(), "even".into()]
    }

    fn diverts(&self) -> bool {
        self.claims_all
    }
}

fn lines(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

fn plus(more: u64) -> impl Fn(&Number) -> Number + Send + Sync + 'static {
    move |number| Number { n: number.n + more }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_have_stages_and_sinks_of_their_own() {
    let folder = Folder::new();
    folder.write_numbers(2_500);
    let file = |name: &str| aqueduct_stream::JsonlSink::new(folder.at(name));
    let report = folder
        .pipeline()
        .stage("sort", Sort { claims_all: false })
        .map("hundred", plus(100))
        .on_branch("small")
        .map("thousand", plus(1_000_000))
        .sink("rest", file("rest.jsonl"))
        .sink("small", file("small.jsonl"))
        .on_branch("small")
        .sink("again", file("again.jsonl"))
        .on_branch("small")
        .sink("even", file("even.jsonl"))
        .run()
        .await
        .unwrap();
    assert_eq!(folder.read("small.jsonl"), lines((0..10).map(|n| n + 100)));
    assert_eq!(folder.read("again.jsonl"), folder.read("small.jsonl"));
    // Straight to a sink: past the stages behind.
    assert_eq!(folder.read("even.jsonl"), lines((10..2_500).filter(|n| n % 2 == 0)));
    assert_eq!(folder.read("rest.jsonl"), lines((10..2_500).filter(|n| n % 2 == 1).map(|n| n + 1_000_000)));
    assert_eq!((report.counts.delivered, report.counts.spawned), (2_510, 10));
}

/// Copies every item to both targets.
struct Both;

impl Stage for Both {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let copy = |name: &str| -> Result<Emission, StageError> {
            Ok(Emission::To(name.into(), Payload::Record(item.payload.record()?.into_owned())))
        };
        Ok(Outcome::Many(vec![copy("left")?, copy("right")?]))
    }

    fn targets(&self) -> Vec<Arc<str>> {
        vec!["left".into(), "right".into()]
    }

    fn diverts(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_for_branches_are_children_and_the_main_way_may_end_without_a_sink() {
    let folder = Folder::new();
    folder.write_numbers(3);
    let report = folder
        .pipeline()
        .stage("both", Both)
        .map("hundred", plus(100))
        .on_branch("right")
        .sink("left", folder.table_sink())
        .sink("right", folder.file_sink())
        .on_branch("right")
        .run()
        .await
        .unwrap();
    assert_eq!((report.counts.read, report.counts.spawned, report.counts.delivered), (3, 3, 6));
    assert_eq!(folder.read("out.jsonl"), lines(100..103));
    let rows = folder.query("out.db", "select item_id, n from items order by 1").await;
    assert_eq!(
        rows.iter().map(|row| row[0].clone().unwrap()).collect::<Vec<_>>(),
        ["a0a0a0a0", "a0a0a8a0", "a0a0b16a0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_comes_to_an_end_without_a_sink_stops_the_run_in_front_of_it() {
    let folder = Folder::new();
    folder.write_numbers(20);
    let failure = folder
        .pipeline()
        .stage("sort", Sort { claims_all: true })
        .sink("small", folder.file_sink())
        .sink("even", aqueduct_stream::JsonlSink::new(folder.at("even.jsonl")))
        .run()
        .await
        .unwrap_err();
    assert!(words(&failure).contains("the route failed on item a0a0b89"), "{}", words(&failure));
    assert_eq!(folder.read("even.jsonl"), lines(10..11));
}

#[test]
fn ways_that_lead_nowhere_are_refused() {
    let folder = Folder::new();
    let refused = |pipeline: Pipeline| pipeline.guarantees().unwrap_err().to_string();
    let start = || folder.pipeline().stage("sort", Sort { claims_all: false });
    let unknown = refused(start().sink("small", StdoutSink::new()));
    assert_eq!(unknown, "stage \"sort\" sends items to \"even\", but the sinks and branches are small");
    let dry = refused(
        start()
            .map("on even", plus(1))
            .on_branch("even")
            .sink("main", StdoutSink::new())
            .sink("small", folder.file_sink()),
    );
    assert_eq!(dry, "no sink takes the items of branch \"even\"; give one `branch = \"even\"`");
    let unfed = refused(folder.pipeline().sink("main", StdoutSink::new()).on_branch("nowhere"));
    assert_eq!(
        unfed,
        "\"main\" takes the items of branch \"nowhere\", but no stage before it sends any there"
    );
    let no_main = refused(start().sink("small", StdoutSink::new()).sink("even", folder.file_sink()));
    assert!(no_main.starts_with("no sink takes the items"), "{no_main}");
}

/// Sends everything to a place that it does not list.
struct Liar;

impl Stage for Liar {
    fn apply(&self, _: &Item) -> Result<Outcome, StageError> {
        Ok(Outcome::Send(3))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_sends_items_where_it_never_said_fails_on_them() {
    let folder = Folder::new();
    folder.write_numbers(1);
    let pipeline = folder.pipeline().stage("liar", Liar).on_error(OnError::DeadLetter);
    let report = pipeline.sink("out", folder.file_sink()).run().await.unwrap();
    assert_eq!(report.counts.dead_lettered, 1);
    let reason = &folder.letters().await[0].0;
    assert_eq!(reason, "the stage sent an item to target 3, and lists 0");
}
