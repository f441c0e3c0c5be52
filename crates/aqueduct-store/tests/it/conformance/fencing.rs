use aqueduct_core::{Fence, Timestamp};
use aqueduct_store::{Claim, Commit, CommitError, RunOutcome};

use super::epoch::{PIPELINE, advance, claim, entry, epoch};
use crate::place::Place;

fn fenced(result: Result<(), CommitError>) -> (Fence, Fence) {
    match result {
        Err(CommitError::Fenced { ours, current }) => (ours, current),
        other => panic!("expected to be fenced off, got {other:?}"),
    }
}

pub(super) async fn the_newest_claim_fences_off_every_older_run(place: &impl Place) {
    let mut older = place.open().await;
    let first = claim(older.as_mut(), &["a"]).await;
    let mut newer = place.open().await;
    let second = claim(newer.as_mut(), &["a"]).await;
    assert!(second.fence > first.fence);

    let mut commit = epoch(first.fence);
    commit.advances.push(advance(0, 0, "late"));
    assert_eq!(fenced(older.commit(commit).await), (first.fence, second.fence));
    assert_eq!(
        fenced(older.journal(PIPELINE, first.fence, vec![entry("i", 0, "v")]).await),
        (first.fence, second.fence)
    );
    let finished = older.finish(PIPELINE, first.fence, RunOutcome::Done, Timestamp(3_000)).await;
    assert_eq!(fenced(finished), (first.fence, second.fence));

    let ledger = newer.ledger(PIPELINE).await.expect("readable").expect("claimed");
    assert_eq!(ledger, second.ledger);
    assert_eq!(newer.journalled(PIPELINE).await.expect("readable"), []);
}

pub(super) async fn a_pipeline_that_was_never_claimed_takes_no_write(place: &impl Place) {
    let mut store = place.open().await;
    assert_eq!(store.ledger(PIPELINE).await.expect("readable"), None);
    assert_eq!(fenced(store.commit(epoch(Fence(1))).await), (Fence(1), Fence(0)));
    assert_eq!(fenced(store.journal(PIPELINE, Fence(0), vec![entry("i", 0, "v")]).await).1, Fence(0));
    assert_eq!(store.ledger(PIPELINE).await.expect("readable"), None);
}

pub(super) async fn pipelines_in_one_store_do_not_see_each_other(place: &impl Place) {
    let mut store = place.open().await;
    let ours = claim(store.as_mut(), &["a"]).await;
    let other = Claim { pipeline: "other".to_owned(), partitions: vec!["a".to_owned()], ..Claim::default() };
    let theirs = store.claim(other).await.expect("the claim succeeds");
    assert_eq!(theirs.partitions[0].id, ours.partitions[0].id);

    let mut commit = Commit::new("other", theirs.fence, Timestamp(1));
    commit.advances.push(advance(0, 0, "far"));
    commit.dead_letters.push(super::epoch::letter("i", "score"));
    commit.state.push(super::epoch::change("k", Some("v")));
    commit.checkpoint = Some("night".to_owned());
    store.commit(commit).await.expect("the commit succeeds");
    store.journal("other", theirs.fence, vec![entry("i", 0, "v")]).await.expect("journalled");

    assert_eq!(store.ledger(PIPELINE).await.expect("readable").expect("claimed"), ours.ledger);
    assert_eq!(store.dead_letter_count(PIPELINE).await.expect("readable"), 0);
    assert_eq!(store.dead_letters(PIPELINE, Default::default()).await.expect("readable"), []);
    assert_eq!(store.state(PIPELINE, "window", None, 100).await.expect("readable"), []);
    assert_eq!(store.checkpoints(PIPELINE).await.expect("readable"), []);
    assert_eq!(store.journalled(PIPELINE).await.expect("readable"), []);
    let consumed = Commit { consumed: vec!["i".to_owned()], ..epoch(ours.fence) };
    store.commit(consumed).await.expect("the commit succeeds");
    assert_eq!(store.journalled("other").await.expect("readable").len(), 1);
}
