use aqueduct_core::{PartitionId, Revision, Timestamp};
use aqueduct_store::{Claim, CommitError, Conflict, RunOutcome};

use super::epoch::{PIPELINE, advance, claim, epoch, letter, rows, table};
use crate::place::Place;

fn numbers(claimed: &aqueduct_store::Claimed) -> Vec<(&str, PartitionId)> {
    claimed.partitions.iter().map(|known| (known.name.as_str(), known.id)).collect()
}

pub(super) async fn partitions_keep_the_number_of_their_first_sight(place: &impl Place) {
    let mut store = place.open().await;
    let first = claim(store.as_mut(), &["b", "a"]).await;
    assert_eq!(numbers(&first), [("b", PartitionId(0)), ("a", PartitionId(1))]);
    let second = claim(store.as_mut(), &["a", "0", "b"]).await;
    assert_eq!(numbers(&second), [("a", PartitionId(1)), ("0", PartitionId(2)), ("b", PartitionId(0))]);
    // One that is gone keeps its number for the day it is back.
    let third = claim(store.as_mut(), &["c"]).await;
    assert_eq!(numbers(&third), [("c", PartitionId(3))]);
    assert_eq!(third.ledger.partitions.len(), 4);
}

pub(super) async fn a_partition_named_twice_is_one_partition(place: &impl Place) {
    let mut store = place.open().await;
    let claimed = claim(store.as_mut(), &["a", "a", "b"]).await;
    assert_eq!(numbers(&claimed), [("a", PartitionId(0)), ("a", PartitionId(0)), ("b", PartitionId(1))]);
    assert_eq!(claimed.ledger.partitions.len(), 2);
}

pub(super) async fn another_configuration_starts_a_generation(place: &impl Place) {
    let mut store = place.open().await;
    let mut generation = async |configuration: &str| {
        let configuration = configuration.to_owned();
        let claim = Claim { pipeline: PIPELINE.to_owned(), configuration, ..Claim::default() };
        store.claim(claim).await.expect("the claim succeeds").generation
    };
    assert_eq!(generation("one").await, 1);
    assert_eq!(generation("one").await, 1);
    assert_eq!(generation("two").await, 2);
    assert_eq!(generation("one").await, 3);
}

pub(super) async fn a_claim_starts_a_run_and_finish_ends_it(place: &impl Place) {
    let mut store = place.open().await;
    let claimed = claim(store.as_mut(), &["a"]).await;
    assert_eq!(claimed.ledger.run.started, Timestamp(1_000));
    assert_eq!(claimed.ledger.run.outcome, None);
    assert_eq!(claimed.partitions[0].revision, Revision(0));
    assert_eq!(claimed.partitions[0].position, None);

    let mut commit = epoch(claimed.fence);
    commit.advances.push(advance(0, 0, "1"));
    store.commit(commit).await.expect("the commit succeeds");
    let run = store.ledger(PIPELINE).await.expect("readable").expect("claimed").run;
    assert_eq!((run.started, run.last_seen, run.outcome), (Timestamp(1_000), Timestamp(2_000), None));

    for outcome in [RunOutcome::Done, RunOutcome::Stopped, RunOutcome::Failed] {
        store.finish(PIPELINE, claimed.fence, outcome, Timestamp(3_000)).await.expect("finished");
        let run = store.ledger(PIPELINE).await.expect("readable").expect("claimed").run;
        assert_eq!((run.last_seen, run.outcome), (Timestamp(3_000), Some(outcome)));
    }
    assert_eq!(claim(store.as_mut(), &["a"]).await.ledger.run.outcome, None);
}

pub(super) async fn a_forgotten_pipeline_starts_over_and_its_rows_stay(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let table = table("results", &["value"], Conflict::Refuse);
    let mut commit = epoch(fence);
    commit.tables.push((*table).clone());
    commit.rows.push(rows(&table, &[("i1", "one")]));
    commit.advances.push(advance(0, 0, "10"));
    commit.dead_letters.push(letter("i1", "score"));
    commit.checkpoint = Some("c".to_owned());
    store.commit(commit).await.expect("the commit succeeds");
    store.forget(PIPELINE).await.expect("it can be written");
    assert_eq!(store.ledger(PIPELINE).await.expect("readable"), None);
    assert_eq!(store.dead_letter_count(PIPELINE).await.expect("readable"), 0);
    assert_eq!(store.checkpoints(PIPELINE).await.expect("readable"), []);
    assert_eq!(place.rows("results", &["value"]).await.len(), 1);
    let late = store.commit(epoch(fence)).await;
    assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
    assert_eq!(claim(store.as_mut(), &["a"]).await.partitions[0].position, None);
}
